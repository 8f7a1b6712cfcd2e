import os, pathlib, urllib.request, pyarrow as pa
run = pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "coldframe")
token = pathlib.Path(os.environ.get("COLDFRAME_TOKEN_FILE", run / "token")).read_text().strip()
get = lambda path: urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:7878/v1/{path}", headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.apache.arrow.stream"}))
print(pa.ipc.open_stream(get("datasets/" + os.environ["DATASET"] + "/data?columns=date,temp_max")).read_all())
