# ---
# jupyter: {jupytext: {text_representation: {extension: .py, format_name: percent}}, kernelspec: {name: python3, display_name: Python 3}}
# ---
# %% [markdown]
# # A table into Coldframe and out again
# Needs a running, unlocked agent and pyarrow; the rest is the standard library. Open it as a notebook (Jupyter with jupytext, VS Code, PyCharm,
# Spyder), or run it as it is: `python3 examples/notebook.py`. Everything goes over 127.0.0.1; what leaves the machine is encrypted.

# %%
import datetime as dt, io, json, os, random, urllib.error, urllib.parse, urllib.request

import pyarrow as pa

AGENT = "http://127.0.0.1:" + os.environ.get("COLDFRAME_PORT", "7878")
ARROW = "application/vnd.apache.arrow.stream"
# The user's own token, which the agent draws at each start. For a script of its own make one that can do less: coldframe apps add NAME --scope read
with open(os.environ["XDG_RUNTIME_DIR"] + "/coldframe/token") as f:
    TOKEN = f.read().strip()


def agent(method, path, body=None, kind="application/json", **query):
    """One request. An answer that is an error says why."""
    url = AGENT + path + ("?" + urllib.parse.urlencode(query) if query else "")
    headers = {"Authorization": "Bearer " + TOKEN} | ({"Content-Type": kind} if body is not None else {})
    try:
        return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method))
    except urllib.error.HTTPError as refused:
        problem = json.load(refused)
        raise RuntimeError(f"{problem['code']}: {problem.get('detail', problem['title'])}") from None


def table(answer):
    """A stream that breaks off raises, as a table that is not whole must."""
    with answer:
        return pa.ipc.open_stream(answer).read_all()


# %% [markdown]
# ## In
# Any pyarrow table goes in as an Arrow stream (`pa.Table.from_pandas(df)` makes one of a data frame). Each column is encrypted under a key of its own.

# %%
chance = random.Random(7)
days = [dt.date(2025, 1, 1) + dt.timedelta(days=n) for n in range(365)]
readings = pa.table({
    "day": pa.array([d for d in days for _ in range(3)], pa.date32()),
    "station": pa.array(["Bergen", "Oslo", "Tromsø"] * 365).dictionary_encode(),
    "temperature": pa.array([round(chance.gauss(8, 9), 1) for _ in range(3 * 365)]),
    "rain": pa.array([None if chance.random() < 0.05 else round(chance.expovariate(0.3), 1) for _ in range(3 * 365)]),
})
title = "readings of " + dt.datetime.now().isoformat(timespec="microseconds")
dataset = json.load(agent("POST", "/v1/datasets", json.dumps({"title": title}).encode()))["id"]
stream = io.BytesIO()
with pa.ipc.new_stream(stream, readings.schema) as out:
    out.write_table(readings)
written = json.load(agent("PUT", f"/v1/datasets/{dataset}/data", stream.getvalue(), ARROW))
print(f"version {written['version']}: {written['rows']} rows, {written['bytes']} bytes in the store")

# %% [markdown]
# ## Two columns, some rows
# Only the chunks of these columns are fetched, and of row groups that can hold such rows.

# %%
wet = table(agent("GET", f"/v1/datasets/{dataset}/data", format="arrow", columns="day,rain", where="rain > 10 AND station = 'Bergen'"))
print(wet.schema)
print(wet.slice(0, 5).to_pylist())

# %% [markdown]
# ## SQL
# One SELECT over any of your datasets, by title or id. It runs in a process that has no key, no network and no files.

# %%
sql = f"""
    SELECT station, month(day) AS month, round(avg(temperature), 2) AS mean, round(sum(rain), 1) AS rain
    FROM "{dataset}" WHERE day >= DATE '2025-06-01' GROUP BY ALL ORDER BY station, month"""
monthly = table(agent("POST", "/v1/query", json.dumps({"sql": sql}).encode(), format="arrow"))
for row in monthly.slice(0, 7).to_pylist():
    print(f"{row['station']:8} {row['month']:2}  {row['mean']:6} °C  {row['rain']:6} mm")

# %% [markdown]
# ## What came out is what went in

# %%
back = table(agent("GET", f"/v1/datasets/{dataset}/data", format="arrow"))
assert back.column_names == readings.column_names and back.to_pydict() == readings.to_pydict()
assert wet.column_names == ["day", "rain"]
assert wet.to_pylist() == [{"day": r["day"], "rain": r["rain"]} for r in readings.to_pylist() if r["station"] == "Bergen" and (r["rain"] or 0) > 10]
assert monthly.num_rows == 3 * 7 and set(monthly.column_names) == {"station", "month", "mean", "rain"}
expected = {s: sum(r["rain"] or 0 for r in readings.to_pylist() if r["station"] == s and r["day"] >= dt.date(2025, 6, 1)) for s in ("Bergen", "Oslo", "Tromsø")}
for station, total in expected.items():
    assert abs(sum(r["rain"] for r in monthly.to_pylist() if r["station"] == station) - total) < 0.5
agent("DELETE", f"/v1/datasets/{dataset}", b"", "application/json").close()
print("all as expected; the dataset is deleted")
