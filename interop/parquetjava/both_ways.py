"""parquet-java opens what the agent wrote, with keys from the agent; and the agent imports what parquet-java encrypted."""
import base64, itertools, json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "pyarrow"))
from common import dataset, every_type, get, own, request, same, token, url, write

classes = os.environ["COLDFRAME_PARQUETJAVA"]
work = tempfile.mkdtemp()


def java(*args, lines=()):
    done = subprocess.run(["java", "-cp", classes, *args], input="".join(l + "\n" for l in lines), capture_output=True, text=True)
    return done.returncode, done.stdout.strip(), done.stderr


# Every type, two parts, compared row by row with the same table as the agent hands it out in the clear.
table = every_type(2000, 7)
made = dataset("for java", table)
write(made, every_type(300, 8), "POST")
plain = work + "/plain.parquet"
with open(plain, "wb") as f:
    f.write(request("GET", f"/v1/datasets/{made}/data?format=parquet"))
files = [f["path"] for f in json.loads(request("GET", f"/v1/datasets/{made}/files"))["files"]]
code, out, errors = java("Read", url, made, plain, lines=[token(made), *files])
assert (code, out) == (0, "2300"), (out, errors[-3000:])

# A token for two columns: these read, a third is refused.
some = token(made, "date", "string")
code, out, errors = java("Read", url, made, plain, "message m { optional int32 date (DATE); optional binary string (STRING); }", lines=[some, *files])
assert (code, out) == (0, "2300"), (out, errors[-3000:])
code, out, errors = java("Read", url, made, plain, "message m { optional int32 date (DATE); optional int64 int64; }", lines=[some, *files])
assert code != 0 and ("HiddenColumn" in errors or "KeyAccessDenied" in errors), (out, errors[-3000:])
print(f"parquet-java reads {table.num_columns} columns of 2300 rows, and only those of its token")

# The other way round.
masters = {"footer": os.urandom(16), "left": os.urandom(32)}
keys = ",".join(f"{k}:{base64.b64encode(v).decode()}" for k, v in masters.items())
code, _, errors = java("Write", work + "/bare.parquet")
assert code == 0, errors[-3000:]
subprocess.run(["coldframe", "--quiet", "put", work + "/bare.parquet", "--title", "bare"], check=True)
want = get(json.loads(request("GET", "/v1/datasets?title=bare"))["datasets"][0]["id"])
cases = 0
for double, internal, plain_footer, bits, algorithm, pages in [
    *itertools.product([False, True], [False, True], [False, True], [128], ["AES_GCM_V1"], [1]),
    (True, True, False, 256, "AES_GCM_V1", 2), (True, True, False, 128, "AES_GCM_CTR_V1", 1), (False, True, True, 128, "AES_GCM_CTR_V1", 2),
]:
    path = f"{work}/java{cases}.parquet"
    settings = {
        "footer.key": "footer", "column.keys": "left:id,price,city,tags.list.element,point.x,at", "double.wrapping": double, "key.material.store.internally": internal,
        "plaintext.footer": plain_footer, "data.key.length.bits": bits, "algorithm": algorithm,
    }
    code, _, errors = java("Write", path, *[f"parquet.encryption.{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings.items()],
                           f"test.pages={pages}", lines=[keys])
    assert code == 0, errors[-3000:]
    secrets = f"{work}/keys.json"
    with open(secrets, "w") as f:
        json.dump({k: base64.b64encode(v).decode() for k, v in masters.items()}, f)
    command = ["coldframe", "--json", "put", path, "--title", f"java {cases}", "--decryption-keys", secrets]
    if algorithm == "AES_GCM_CTR_V1" or pages == 2:
        assert subprocess.run(command, capture_output=True).returncode == 9
        command.append("--allow-ctr")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (settings, done.stderr)
    got = get(json.loads(done.stdout)["dataset"])
    assert got.num_rows == 5000 and all(same(got[c], want[c]) for c in want.column_names), settings
    cases += 1
print(f"{cases} files that parquet-java encrypted are imported, {cases * want.num_rows * want.num_columns} values compared")
