# Rows of a dataset as an Arrow table: read.py TITLE [COLUMN ...]. Needs pyarrow; the token is the user's own, from the agent's folder.
import json, os, sys, urllib.parse as url, urllib.request as web, pyarrow as pa
run, agent = os.environ["XDG_RUNTIME_DIR"] + "/coldframe", "http://127.0.0.1:" + os.environ.get("COLDFRAME_PORT", "7878") + "/v1/datasets"
get = lambda path: web.urlopen(web.Request(agent + path, headers={"Authorization": "Bearer " + open(run + "/token").read().strip()}))
dataset = json.load(get("?title=" + url.quote(sys.argv[1])))["datasets"][0]["id"]
print(pa.ipc.open_stream(get(f"/{dataset}/data?format=arrow" + "".join("&columns=" + ",".join(map(url.quote, sys.argv[2:])) for _ in sys.argv[2:3]))).read_all())
