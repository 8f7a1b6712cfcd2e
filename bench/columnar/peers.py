"""The peers of bench/columnar: DuckDB and pyarrow over one table, an Arrow stream in a file. Each line on stdin is an object {"do", "path", ...}; the
answer is one with the seconds it took on the clock and of CPU, and the length of the file at that path. Who reads lets each batch go before the next."""
import base64, gc, json, os, resource, sys, time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

table = pa.ipc.open_stream(sys.argv[1]).read_all().combine_chunks()
pa.set_cpu_count(2)
db = duckdb.connect(config={"threads": 2})
db.register("arrow_table", table)
db.execute("CREATE TABLE t AS SELECT * FROM arrow_table")
# The wheel has no OpenSSL, and without it DuckDB refuses to encrypt unless told so: this is its built-in mbedtls.
db.execute("SET force_mbedtls_unsafe = true")
db.execute("PRAGMA add_parquet_key('k', '0123456789112345')")


class Kms(pe.KmsClient):
    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key, _):
        return base64.b64encode(key)

    def unwrap_key(self, key, _):
        return base64.b64decode(key)


factory, connection = pe.CryptoFactory(Kms), pe.KmsConnectionConfig()


def leaves():
    out = pa.BufferOutputStream()
    pq.write_table(table.slice(0, 0), out)
    schema = pq.ParquetFile(pa.BufferReader(out.getvalue())).schema
    return [schema.column(i).path for i in range(len(schema))]


# Every column under a key of its own, of 256 bits, as ours are.
each_its_own = pe.EncryptionConfiguration(
    footer_key="f", column_keys={f"k{i}": [leaf] for i, leaf in enumerate(leaves())}, encryption_algorithm="AES_GCM_V1",
    data_key_length_bits=256, double_wrapping=False)


def duckdb_plain(path, **_):
    db.execute(f"COPY t TO '{path}' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)")


def duckdb_encrypted(path, **_):
    db.execute(f"COPY t TO '{path}' (FORMAT parquet, COMPRESSION zstd, ENCRYPTION_CONFIG {{footer_key: 'k'}})")


def pyarrow_encrypted(path, **_):
    with pq.ParquetWriter(path, table.schema, compression="zstd", encryption_properties=factory.file_encryption_properties(connection, each_its_own)) as w:
        w.write_table(table)


# Both are faster in batches than as a whole table.
def duckdb_read(path, **_):
    return sum(b.num_rows for b in db.execute(f"SELECT * FROM '{path}'").to_arrow_reader(1 << 17))


def pyarrow_read(path, **_):
    keys = factory.file_decryption_properties(connection, pe.DecryptionConfiguration())
    return sum(b.num_rows for b in pq.ParquetFile(path, decryption_properties=keys).iter_batches(1 << 17))


def duckdb_query(path, sql, **_):
    return len(db.execute(sql.replace("mixed", f"'{path}'")).fetchall())


def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), u.ru_utime + u.ru_stime


print(json.dumps({}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    gc.collect()
    before = used()
    count = globals()[request.pop("do")](**request)
    after = used()
    answer = {"wall": after[0] - before[0], "cpu": after[1] - before[1], "rows": count or 0, "bytes": os.path.getsize(request["path"])}
    print(json.dumps(answer), flush=True)
