"""The encrypted files of a dataset, read by pyarrow itself; the agent only hands out the keys.

    coldframe apps add pyarrow --scope kms --dataset weather --column date --column temp_max > token    # asks for the password
    python pyarrow_client.py token "$(coldframe --json show weather | jq -r .id)" date temp_max

Copy the functions and classes into a notebook: they need pyarrow (tested with 24.0.0) and nothing else. What pyarrow reads is decrypted and
authenticated file by file, but only the agent compares a version with its signed manifest: a store that serves older files of the same
dataset is noticed by `GET /v1/datasets/{id}/data`, not here.
"""
import base64, io, json, os, sys, urllib.error, urllib.request

import pyarrow as pa, pyarrow.parquet as pq, pyarrow.parquet.encryption as pe


def call(url, token, body=None):
    """One request to the agent; the body, if there is one, is posted as JSON."""
    headers = {"Authorization": "Bearer " + token} | ({"Content-Type": "application/json"} if body else {})
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        problem = json.load(refused)
        raise PermissionError(f"{problem['code']}: {problem.get('detail', problem['title'])}") from None


class KmsClient(pe.KmsClient):
    """pyarrow asks it for the data key of each column that is read. The id of the "KMS instance" is that of the dataset."""

    def __init__(self, config):
        super().__init__()
        self.url, self.token, self.dataset = config.kms_instance_url, config.key_access_token, config.kms_instance_id
        self.known = {}  # pyarrow asks for the same key several times

    def unwrap_key(self, wrapped_key, master_key_identifier):
        if wrapped_key not in self.known:
            text = wrapped_key if isinstance(wrapped_key, str) else bytes(wrapped_key).decode()
            body = {"dataset": self.dataset, "key_id": master_key_identifier, "wrapped_key": text}
            self.known[wrapped_key] = base64.b64decode(call(self.url + "/v1/kms/unwrap", self.token, body)["key"])
        return self.known[wrapped_key]

    def wrap_key(self, key_bytes, master_key_identifier):
        raise NotImplementedError("Coldframe's files are written by the agent")


class Remote(io.RawIOBase):
    """A presigned URL as a file: each read is one ranged request."""

    def __init__(self, url, size):
        self.url, self.size, self.at = url, size, 0

    def readable(self): return True
    def seekable(self): return True
    def tell(self): return self.at

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def read(self, n=-1):
        end = self.size if n < 0 else min(self.at + n, self.size)
        if end <= self.at:
            return b""
        headers = {"Range": f"bytes={self.at}-{end - 1}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=headers)) as answer:
            data = answer.read()
        self.at += len(data)
        return data


def open_dataset(token, dataset, version=None, url="http://127.0.0.1:7878"):
    """The pq.ParquetFile of each part, and the columns that the token may read."""
    listing = call(f"{url}/v1/datasets/{dataset}/files" + (f"?version={version}" if version else ""), token)
    config = pe.KmsConnectionConfig(kms_instance_id=dataset, kms_instance_url=url, key_access_token=token)
    factory = pe.CryptoFactory(KmsClient)
    files = [pq.ParquetFile(f["path"] if "path" in f else pa.PythonFile(Remote(f["url"], f["bytes"]), mode="r"),
                            decryption_properties=factory.file_decryption_properties(config)) for f in listing["files"]]
    return files, [c["name"] for c in listing["columns"] if c["readable"]]


def read_dataset(token, dataset, columns=None, version=None, url="http://127.0.0.1:7878"):
    """The rows of a version as a pyarrow.Table; without columns, those that the token may read."""
    files, readable = open_dataset(token, dataset, version, url)
    columns = columns or readable

    def rows(file):
        # ParquetFile.read, pq.read_table and pyarrow.dataset work too, with a token for all columns: they ask for the keys of the
        # first columns of a file, wanted or not (seen in pyarrow 24). iter_batches asks for those of the wanted ones.
        schema = pa.schema([f for f in file.schema_arrow if f.name in columns])
        return pa.Table.from_batches(file.iter_batches(columns=columns), schema).select(columns)

    return pa.concat_tables(rows(f) for f in files)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        print(read_dataset(f.read().strip(), sys.argv[2], sys.argv[3:], url="http://127.0.0.1:" + os.environ.get("COLDFRAME_PORT", "7878")))
