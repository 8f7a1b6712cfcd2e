"""What the tests share: the agent over HTTP, and tables of every type."""
import datetime as dt, decimal, json, os, random, subprocess, sys, urllib.request
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples"))
import pyarrow as pa

url = "http://127.0.0.1:" + os.environ["COLDFRAME_PORT"]
own = open(os.environ["XDG_RUNTIME_DIR"] + "/coldframe/token").read().strip()
password = os.environ["TEST_PASSWORD_FILE"]


def request(method, path, body=None, kind="application/json", token=own):
    headers = {"Authorization": "Bearer " + token} | ({"Content-Type": kind} if body is not None else {})
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers, method=method)) as answer:
        return answer.read()


def dataset(title, table):
    """A new dataset with the table in it."""
    made = json.loads(request("POST", "/v1/datasets", json.dumps({"title": title}).encode()))["id"]
    write(made, table)
    return made


def write(made, table, method="PUT"):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    request(method, f"/v1/datasets/{made}/data", sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream")


def get(made):
    """The table as the agent itself reads it."""
    return pa.ipc.open_stream(request("GET", f"/v1/datasets/{made}/data?format=arrow")).read_all()


def token(made, *columns):
    ask = ["coldframe", "apps", "add", "pyarrow", "--scope", "kms", "--dataset", made] + [x for c in columns for x in ("--column", c)]
    with open(password) as f:
        return subprocess.run(ask, stdin=f, check=True, capture_output=True, text=True).stdout.strip()


def same(a, b):
    """The same values; a dictionary may have them in another order."""
    plain = lambda c: c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c
    a, b = plain(a), plain(b)
    return a.to_pylist() == b.to_pylist() if a.type != b.type else a.combine_chunks().equals(b.combine_chunks())


def every_type(rows, seed):
    """A table with each type that Coldframe stores, nulls in all columns but one."""
    r = random.Random(seed)
    some = lambda make: [None if r.random() < 0.1 else make() for _ in range(rows)]
    text = lambda: "".join(r.choice("aä漢 z") for _ in range(r.randrange(12)))
    blob = lambda n=None: r.randbytes(r.randrange(20) if n is None else n)
    whole = lambda bits, signed=True: r.randrange(-(1 << bits - 1), 1 << bits - 1) if signed else r.randrange(1 << bits)
    number = lambda digits, scale: decimal.Decimal(r.randrange(-10**digits + 1, 10**digits)).scaleb(-scale, decimal.Context(prec=80))
    day = lambda: dt.date(1970, 1, 1) + dt.timedelta(days=r.randrange(-10000, 30000))
    point = pa.struct([("x", pa.float64()), ("name", pa.string())])
    columns = {"key": pa.array(range(rows), pa.int64())}
    def add(name, kind, make): columns[name] = pa.array(some(make), kind)
    add("null", pa.null(), lambda: None)
    add("bool", pa.bool_(), lambda: r.random() < 0.5)
    for bits in (8, 16, 32, 64):
        add(f"int{bits}", getattr(pa, f"int{bits}")(), lambda: whole(bits))
        add(f"uint{bits}", getattr(pa, f"uint{bits}")(), lambda: whole(bits, False))
    columns["float16"] = pa.array(some(lambda: r.uniform(-9, 9)), pa.float32()).cast(pa.float16())
    add("float32", pa.float32(), lambda: r.gauss(0, 1e6))
    add("float64", pa.float64(), lambda: r.choice([r.gauss(0, 1e9), float("inf"), -0.0]))
    add("decimal18", pa.decimal128(18, 4), lambda: number(18, 4))
    add("decimal38", pa.decimal128(38, 10), lambda: number(38, 10))
    add("decimal76", pa.decimal256(76, 2), lambda: number(76, 2))
    add("string", pa.string(), text)
    add("large_string", pa.large_string(), text)
    add("binary", pa.binary(), blob)
    add("fixed", pa.binary(7), lambda: blob(7))
    add("date", pa.date32(), day)
    add("time_s", pa.time32("s"), lambda: r.randrange(86400))
    for unit, n in (("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        add(f"time_{unit}", (pa.time32 if unit == "ms" else pa.time64)(unit), lambda: r.randrange(86400 * n))
        add(f"timestamp_{unit}", pa.timestamp(unit), lambda: r.randrange(2 * 10**9) * n + r.randrange(n))
        add(f"timestamp_{unit}_utc", pa.timestamp(unit, "UTC"), lambda: r.randrange(2 * 10**9) * n)
    add("timestamp_berlin", pa.timestamp("us", "Europe/Berlin"), lambda: r.randrange(2 * 10**15))
    add("duration", pa.duration("us"), lambda: r.randrange(10**12))
    add("list", pa.list_(pa.int32()), lambda: [whole(32) for _ in range(r.randrange(5))])
    add("fixed_list", pa.list_(pa.float32(), 3), lambda: [1.5, r.random(), 0.25])
    add("struct", point, lambda: {"x": r.random(), "name": text()})
    add("map", pa.map_(pa.string(), pa.int64()), lambda: [(str(i), whole(64)) for i in range(r.randrange(4))])
    add("nested", pa.list_(pa.struct([("at", pa.timestamp("us")), ("tags", pa.list_(pa.string()))])),
        lambda: [{"at": r.randrange(10**15), "tags": [text() for _ in range(r.randrange(3))]} for _ in range(r.randrange(3))])
    columns["dictionary"] = pa.array(some(lambda: r.choice(["amber", "basin", "cedar"])), pa.string()).dictionary_encode()
    columns["dictionary_binary"] = pa.array(some(lambda: r.choice([b"\x00", b"\xff\xfe"])), pa.binary()).dictionary_encode()
    return pa.table(columns)
