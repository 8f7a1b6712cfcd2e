"""pyarrow opens what the agent wrote, column by column, with keys from the agent."""
import json, os, subprocess
import pyarrow as pa, pyarrow.parquet as pq
from common import dataset, every_type, get, request, same, token, url, write
import pyarrow_client as client

table = every_type(5000, 1)
made = dataset("every type", table)
write(made, every_type(700, 2), "POST")  # a second part, whose keys are those of version 2
want = get(made)
assert want.num_rows == 5700 and want.num_columns == table.num_columns
for name in ("int64", "string", "float64", "decimal76", "timestamp_us_utc", "map", "nested"):
    assert same(want[name].slice(0, 5000), table[name]), name


whole = token(made)
compared = 0
for name in want.column_names:
    got = client.read_dataset(whole, made, [name], url=url)
    assert got.column_names == [name] and got.num_rows == want.num_rows, name
    assert same(got[name], want[name]), f"{name}: {got.schema.field(name).type}"
    compared += got.num_rows
    if str(got.schema.field(name).type) != str(want.schema.field(name).type):
        print(f"  {name}: pyarrow has {got.schema.field(name).type}, the agent {want.schema.field(name).type}")
everything = client.read_dataset(whole, made, url=url)
assert everything.column_names == want.column_names and everything.num_rows == want.num_rows
files, _ = client.open_dataset(whole, made, url=url)
assert sum(f.read().num_rows for f in files) == want.num_rows
old = client.read_dataset(whole, made, version=1, url=url)
assert old.num_rows == 5000 and same(old["string"], want["string"].slice(0, 5000))
print(f"{len(want.column_names)} columns, {compared} values compared")

# A token for two columns: these read, the others are refused, by pyarrow and at the route.
some = token(made, "date", "nested")
assert client.read_dataset(some, made, url=url).column_names == ["date", "nested"]
assert same(client.read_dataset(some, made, ["nested"], url=url)["nested"], want["nested"])
hidden = 0
for name in want.column_names:
    if name in ("date", "nested"):
        continue
    try:
        client.read_dataset(some, made, [name], url=url)
    except (PermissionError, OSError) as refused:
        assert "forbidden" in str(refused), refused
        hidden += 1
assert hidden == len(want.column_names) - 2, hidden
for path, method in ((f"/v1/datasets/{made}/data", "GET"), (f"/v1/datasets/{made}", "GET")):
    try:
        request(method, path, token=some)
        raise SystemExit(f"{path}: a token of the scope kms got through")
    except client.urllib.error.HTTPError as refused:
        assert refused.code == 403
print(f"{hidden} columns without their key are refused, the others read")

# A token for another dataset gets nothing here.
other = dataset("other", pa.table({"a": [1]}))
try:
    client.read_dataset(token(other), made, url=url)
    raise SystemExit("a token for another dataset got through")
except PermissionError as refused:
    assert "forbidden" in str(refused), refused

# A folder of links, which readers of folders take.
if "COLDFRAME_S3_ENDPOINT" not in os.environ:
    folder = os.path.join(os.environ["XDG_RUNTIME_DIR"], "links")
    subprocess.run(["coldframe", "files", "every type", "--link", folder], check=True)
    assert sorted(os.listdir(folder)) == ["part-00000.parquet", "part-00001.parquet"]
    config = client.pe.KmsConnectionConfig(kms_instance_id=made, kms_instance_url=url, key_access_token=whole)
    keys = client.pe.CryptoFactory(client.KmsClient).file_decryption_properties(config)
    first = pq.read_table(os.path.join(folder, "part-00000.parquet"), decryption_properties=keys)
    assert first.num_rows == 5000 and same(first["date"], want["date"].slice(0, 5000))

# Revoked: no key any more.
app = [a["id"] for a in json.loads(request("GET", "/v1/apps"))["apps"] if a.get("columns") == ["date", "nested"]]
request("DELETE", "/v1/apps/" + app[0], b"{}")
try:
    client.read_dataset(some, made, url=url)
    raise SystemExit("a revoked token got through")
except PermissionError as refused:
    assert "unauthorized" in str(refused), refused
print("pyarrow reads what the agent wrote")
