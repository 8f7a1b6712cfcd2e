#!/usr/bin/env python3
"""Writes the fixtures in files/: one small table, as pandas, polars, DuckDB and pyarrow emit it.

    python3 -m venv ~/.cache/coldframe/formatvenv
    ~/.cache/coldframe/formatvenv/bin/pip install -r requirements.txt
    ~/.cache/coldframe/formatvenv/bin/python generate.py

Beside each Arrow or Parquet file NAME stands NAME.ndjson: its rows by pyarrow, in the text form of docs/formats.md, without the
types. The tests compare each file, read by Coldframe and written as NDJSON, with it line by line. Needs neither network nor Go.
"""
import base64
import datetime as dt
import decimal
import json
import math
import pathlib
import uuid

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent / "files"
UTC = dt.timezone.utc


def text(v, t):
    """v, of Arrow type t, as docs/formats.md says that NDJSON has it."""
    if isinstance(t, pa.ExtensionType) or isinstance(t, pa.BaseExtensionType):
        t = t.storage_type
    if pa.types.is_dictionary(t):
        return text(v, t.value_type)
    if pa.types.is_run_end_encoded(t):
        return text(v, t.value_type)
    if v is None:
        return None
    if pa.types.is_map(t):
        if str(t.key_type) in ("string", "large_string", "string_view"):
            return {k: text(x, t.item_type) for k, x in v}
        return [{"key": text(k, t.key_type), "value": text(x, t.item_type)} for k, x in v]
    if pa.types.is_struct(t):
        return {f.name: text(v[f.name], f.type) for f in t}
    if (pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t)
            or pa.types.is_list_view(t) or pa.types.is_large_list_view(t)):
        return [text(x, t.value_type) for x in v]
    if pa.types.is_floating(t):
        if math.isnan(v):
            return "NaN"
        if math.isinf(v):
            return "Infinity" if v > 0 else "-Infinity"
        return {"float": v}  # compared as numbers
    if pa.types.is_decimal(t):
        return {"number": format(v, "f")}
    if isinstance(v, uuid.UUID):
        v = v.bytes
    if isinstance(v, bytes):
        return base64.b64encode(v).decode()
    return v


def stamp(v, t):
    """Nanoseconds and friends: exact, from the integer below."""
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[t.unit]
    shown = {"s": "ms"}.get(t.unit, t.unit)
    digits = {"ms": 3, "us": 6, "ns": 9}[shown]
    s, frac = divmod(v, unit)
    frac *= 10**digits // unit
    base = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=s)
    out = base.isoformat()
    if frac:
        out += "." + str(frac).rjust(digits, "0")
    return out + ("Z" if getattr(t, "tz", None) else "")


def column(col, t):
    if pa.types.is_timestamp(t):
        return [None if v is None else stamp(v, t) for v in col.cast(pa.int64()).to_pylist()]
    if pa.types.is_duration(t):
        return col.cast(pa.int64()).to_pylist()
    if pa.types.is_time(t):
        ints = col.cast(pa.int32() if t.bit_width == 32 else pa.int64()).to_pylist()
        return [None if v is None else stamp(v, t)[11:] for v in ints]
    if pa.types.is_date(t):
        return [None if v is None else v.isoformat() for v in col.to_pylist()]
    return [text(v, t) for v in col.to_pylist()]


def expect(name, table):
    cols = [column(pa.chunked_array(table.column(i)), table.schema.field(i).type) for i in range(table.num_columns)]
    with open(OUT / (name + ".ndjson"), "w") as f:
        for row in zip(*cols):
            f.write(json.dumps(dict(zip(table.column_names, row)), ensure_ascii=False) + "\n")


def stream(name, table, options=None, **kw):
    with pa.ipc.new_stream(str(OUT / name), table.schema, options=options) as w:
        w.write_table(table, **kw)
    expect(name, table)


def everything():
    """Every type of the issue, with nulls and extremes."""
    d = decimal.Decimal
    us = dt.timedelta(microseconds=1)
    return pa.table({
        "null": pa.array([None, None, None], pa.null()),
        "bool": pa.array([True, None, False]),
        **{f"i{n}": pa.array([-(2 ** (n - 1)), None, 2 ** (n - 1) - 1], getattr(pa, f"int{n}")()) for n in (8, 16, 32, 64)},
        **{f"u{n}": pa.array([0, None, 2**n - 1], getattr(pa, f"uint{n}")()) for n in (8, 16, 32, 64)},
        "f16": pa.array([1.5, None, float("nan")], pa.float16()),
        "f32": pa.array([0.1, None, float("-inf")], pa.float32()),
        "f64": pa.array([0.1, None, 1.7976931348623157e308]),
        "d32": pa.array([d("-9.99"), None, d("9.99")], pa.decimal32(3, 2)),
        "d64": pa.array([d("-99999999.99"), None, d("0.01")], pa.decimal64(10, 2)),
        "d128": pa.array([d("-" + "9" * 38), None, d("9" * 38)], pa.decimal128(38, 0)),
        "d256": pa.array([d("-" + "9" * 70 + ".999999"), None, d("0.000001")], pa.decimal256(76, 6)),
        "text": pa.array(["", None, 'quote " comma , line\nnul \0 ünï 🜁']),
        "large_text": pa.array(["", None, "x" * 20], pa.large_string()),
        "text_view": pa.array(["", None, "longer than twelve bytes"], pa.string_view()),
        "bin": pa.array([b"", None, b"\x00\xff"]),
        "large_bin": pa.array([b"", None, b"\x00\xff"], pa.large_binary()),
        "bin_view": pa.array([b"", None, bytes(range(40))], pa.binary_view()),
        "fixed": pa.array([b"abcd", None, b"\0\0\0\0"], pa.binary(4)),
        "date32": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)], pa.date32()),
        "date64": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)], pa.date64()),
        "time_s": pa.array([dt.time(0, 0, 0), None, dt.time(23, 59, 59)], pa.time32("s")),
        "time_ms": pa.array([dt.time(0, 0, 0), None, dt.time(23, 59, 59, 999000)], pa.time32("ms")),
        "time_us": pa.array([dt.time(0, 0, 0), None, dt.time(23, 59, 59, 999999)], pa.time64("us")),
        "time_ns": pa.array([0, None, 86399999999999], pa.time64("ns")),
        "ts_s": pa.array([dt.datetime(1, 1, 1), None, dt.datetime(9999, 12, 31, 23, 59, 59)], pa.timestamp("s")),
        "ts_ms": pa.array([dt.datetime(1, 1, 1), None, dt.datetime(9999, 12, 31, 23, 59, 59, 999000)], pa.timestamp("ms")),
        "ts_us": pa.array([dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None, dt.datetime(9999, 12, 31)], pa.timestamp("us", "UTC")),
        "ts_ns": pa.array([-1, None, 2**63 - 1], pa.timestamp("ns", "Europe/Zurich")),
        "duration": pa.array([-1, None, 2**62], pa.duration("us")),
        "list": pa.array([[], None, [1, None, 3]], pa.list_(pa.int32())),
        "large_list": pa.array([[], None, ["a", None]], pa.large_list(pa.string())),
        "list_view": pa.array([[], None, [1, None, 3]], pa.list_view(pa.int32())),
        "fixed_list": pa.array([[1, 2], None, [None, 3]], pa.list_(pa.int16(), 2)),
        "lists": pa.array([[[1], [], None], None, []], pa.list_(pa.list_(pa.int8()))),
        "struct": pa.array([{"a": 1, "b": [{"c": "x"}]}, None, {"a": None, "b": None}],
                           pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.string())])))])),
        "map": pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64())),
        "int_map": pa.array([[(1, "a")], None, []], pa.map_(pa.int32(), pa.string())),
        "dict": pa.array(["a", None, "b"]).dictionary_encode(),
        "int_dict": pa.array([7, None, 9]).dictionary_encode(),
        "list_dict": pa.array([["a", "b"], None, ["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["x", None])),
    })


def pandas_frame():
    return pd.DataFrame({
        "id": range(6),
        "price": [1.5, None, 3.25, float("inf"), -0.0, 2.0],
        "name": ["a", None, "", "ü", "e", "f"],
        "when": pd.to_datetime(["2024-01-01", None, "2024-01-01T00:00:00.123456789", "1700-01-01", "2200-12-31", "1970-01-01"], format="ISO8601"),
        "zoned": pd.date_range("2024-03-30", periods=6, freq="12h", tz="Europe/Zurich"),
        "kind": pd.Categorical(["x", "y", None, "x", "y", "z"]),
        "number": pd.Categorical([3, 1, None, 3, 1, 2]),
        "delta": pd.to_timedelta([1, 2, None, 4, 5, 6], unit="s"),
        "flag": pd.array([True, False, None, True, True, False], dtype="boolean"),
    })


def polars_frame():
    return pl.DataFrame({
        "id": [1, 2, 3],
        "name": ["short", None, "a string longer than twelve bytes"],
        "cat": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        "enum": pl.Series(["lo", "hi", None], dtype=pl.Enum(["lo", "hi"])),
        "bin": [b"\x00", None, bytes(range(30))],
        "list": [[1, 2], [], None],
        "pair": pl.Series([[1.0, 2.0], None, [3.0, None]], dtype=pl.Array(pl.Float64, 2)),
        "struct": [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 3, "b": "z"}],
        "date": [dt.date(2024, 1, 1), None, dt.date(1969, 12, 31)],
        "time": [dt.time(1, 2, 3), None, dt.time(23, 59, 59, 999999)],
        "at": [dt.datetime(2024, 1, 1, 12), None, dt.datetime(1, 1, 1)],
        "zoned": pl.Series([dt.datetime(2024, 1, 1, 12, tzinfo=UTC)] * 3).dt.convert_time_zone("Asia/Tokyo"),
        "delta": [dt.timedelta(seconds=1), None, dt.timedelta(days=-1)],
        "price": pl.Series([decimal.Decimal("1.10"), None, decimal.Decimal("-99.99")], dtype=pl.Decimal(10, 2)),
        "flag": [True, None, False],
        "none": [None, None, None],
        "u64": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
    })


DUCK = """
select * from (values
  (1, 'short', 1.10::decimal(18,4), timestamp '2024-01-01 12:00:00.123456', timestamptz '2024-01-01 12:00:00+01', date '0001-01-01',
   time '23:59:59.999999', [1, 2, null], {'x': 1.5, 'y': 'a'}, map {'k': 1}, 'a'::enum_t, '\\x00\\xFF'::blob, '99999999999999999999999999999999999999'::decimal(38,0), true, uuid '00112233-4455-6677-8899-aabbccddeeff'),
  (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
  (-9223372036854775808, 'a string longer than twelve bytes', -0.0001, timestamp '1969-12-31 23:59:59.999999', timestamptz '1900-01-01 00:00:00Z', date '9999-12-31',
   time '00:00:00', [], {'x': null, 'y': null}, map {}, 'b', ''::blob, 0, false, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff')
) t(id, name, price, moment, zoned, day, clock, list, struct, map, enum, bin, big, flag, uuid)
"""


def deltas():
    """Two batches whose dictionary grows by a delta, and a stream whose dictionary is replaced."""
    a = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["a", "b"]))
    b = pa.DictionaryArray.from_arrays(pa.array([2, 0, None], pa.int8()), pa.array(["a", "b", "c"]))
    c = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int8()), pa.array(["z", None, "z"]))
    for name, parts, delta in (("pyarrow-delta.arrows", [a, b], True), ("pyarrow-replaced.arrows", [a, c, b], False)):
        schema = pa.schema([pa.field("d", a.type)])
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=delta)
        with pa.ipc.new_stream(str(OUT / name), schema, options=options) as w:
            for p in parts:
                w.write_batch(pa.record_batch([p], schema=schema))
        expect(name, pa.table({"d": pa.chunked_array([p.cast(pa.string()) for p in parts])}))


def main():
    OUT.mkdir(exist_ok=True)
    for f in OUT.iterdir():
        f.unlink()
    t = everything()
    stream("pyarrow-all.arrows", t)
    stream("pyarrow-all-lz4.arrows", t, pa.ipc.IpcWriteOptions(compression="lz4"))
    stream("pyarrow-all-zstd.arrows", t, pa.ipc.IpcWriteOptions(compression="zstd"))
    stream("pyarrow-slice.arrows", pa.concat_tables([t, t, t]).slice(2, 5).combine_chunks())
    stream("pyarrow-batches.arrows", pa.concat_tables([t, t]), max_chunksize=1)
    stream("pyarrow-empty.arrows", t.slice(0, 0))
    pyarrow.feather.write_feather(t, str(OUT / "pyarrow-all.feather"), compression="lz4")
    expect("pyarrow-all.feather", t)
    deltas()
    plain = t.drop(["list_view", "runs", "list_dict"])
    pq.write_table(plain, str(OUT / "pyarrow-all.parquet"), compression="zstd", row_group_size=2)
    expect("pyarrow-all.parquet", plain)
    pq.write_table(plain.drop(["null"]), str(OUT / "pyarrow-v2.parquet"), compression="snappy", data_page_version="2.0", store_schema=False, use_dictionary=False)
    expect("pyarrow-v2.parquet", pq.read_table(str(OUT / "pyarrow-v2.parquet")))

    df = pandas_frame()
    stream("pandas.arrows", pa.Table.from_pandas(df))
    df.to_feather(str(OUT / "pandas.feather"))
    expect("pandas.feather", pa.Table.from_pandas(df))
    df.to_parquet(str(OUT / "pandas.parquet"))
    expect("pandas.parquet", pq.read_table(str(OUT / "pandas.parquet")))

    pf = polars_frame()
    for name, compression in (("polars.arrows", "uncompressed"), ("polars-lz4.arrows", "lz4"), ("polars-zstd.arrows", "zstd")):
        pf.write_ipc_stream(str(OUT / name), compression=compression)
        expect(name, pa.ipc.open_stream(str(OUT / name)).read_all())
    pf.write_ipc_stream(str(OUT / "polars-compat.arrows"), compat_level=pl.CompatLevel.oldest())
    expect("polars-compat.arrows", pa.ipc.open_stream(str(OUT / "polars-compat.arrows")).read_all())
    pf.write_ipc(str(OUT / "polars.feather"), compression="zstd")
    expect("polars.feather", pa.ipc.open_file(str(OUT / "polars.feather")).read_all())
    pf.write_parquet(str(OUT / "polars.parquet"))
    expect("polars.parquet", pq.read_table(str(OUT / "polars.parquet")))

    con = duckdb.connect()
    con.execute("set timezone='UTC'; create type enum_t as enum ('a', 'b')").fetchall()
    for name, setting in (("duckdb.arrows", ""), ("duckdb-large.arrows", "set arrow_large_buffer_size=true"),
                          ("duckdb-views.arrows", "set arrow_large_buffer_size=false; set produce_arrow_string_view=true; set arrow_output_list_view=true; set arrow_output_version='1.5'")):
        if setting:
            con.execute(setting).fetchall()
        t = con.sql(DUCK).to_arrow_table()
        stream(name, t)
    con.execute(f"copy ({DUCK}) to '{OUT}/duckdb.parquet' (format parquet)").fetchall()
    expect("duckdb.parquet", pq.read_table(str(OUT / "duckdb.parquet")))
    print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes in", len(list(OUT.iterdir())), "files")


if __name__ == "__main__":
    main()
