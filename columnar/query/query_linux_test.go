package query_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// cells returns a result as text: rows by semicolons, values by commas.
func cells(batches []arrow.RecordBatch) string {
	var rows []string
	for _, b := range batches {
		for row := range int(b.NumRows()) {
			var values []string
			for _, c := range b.Columns() {
				values = append(values, c.ValueStr(row))
			}
			rows = append(rows, strings.Join(values, ","))
		}
	}
	return strings.Join(rows, ";")
}

func TestQuery(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(30_000)
	w.add(5_000)
	for sql, want := range map[string]string{
		`SELECT count(*) FROM mixed`:                                                                     "35000",
		`SELECT count(*) FROM Mixed m1, "mixed" m2 WHERE m1.id = m2.id`:                                  "", // "Mixed" is no dataset here
		`SELECT min(id), max(id), sum(id)::BIGINT FROM mixed WHERE id >= 30000`:                          "30000,34999,162497500",
		`SELECT id FROM mixed WHERE id IN (7, 31000) ORDER BY id DESC`:                                   "31000;7",
		`SELECT a.id FROM mixed a JOIN MIXED b USING (id) WHERE a.id = 5`:                                "5",
		`WITH t AS (SELECT id % 3 AS k FROM mixed) SELECT k, count(*) FROM t GROUP BY k ORDER BY k`:      "0,11667;1,11667;2,11666",
		`SELECT (SELECT count(*) FROM mixed WHERE "count" IS NULL) + (SELECT count("count") FROM mixed)`: "35000",
		`SELECT count(DISTINCT city) FROM mixed`:                                                         "200",
		`SELECT sum(len(tags))::BIGINT FROM mixed`:                                                       "52152",
		`SELECT x.i FROM range(3) x(i) ORDER BY 1`:                                                       "0;1;2",
		`FROM mixed SELECT max(id)`:                                                                      "34999",
		`SELECT 1 WHERE false`:                                                                           "",
	} {
		got, err := w.run(context.Background(), o, sql)
		if want == "" && sql != `SELECT 1 WHERE false` {
			if err == nil {
				t.Errorf("%s: %s", sql, cells(got))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		} else if cells(got) != want {
			t.Errorf("%s: %s, want %s", sql, cells(got), want)
		}
	}
}

// Only the chunks of the columns that a statement reads are fetched: those of the others may be gone.
func TestOnlyWantedColumns(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(20_000)
	all, few := w.fetched(o, `SELECT * FROM mixed`), w.fetched(o, `SELECT city, count(*) FROM (SELECT * FROM mixed WHERE flag) GROUP BY city`)
	if none := w.fetched(o, `SELECT count(*) FROM mixed`); few*10 > all || none*2 > few {
		t.Errorf("%d bytes for all columns, %d for two of ten, %d for none", all, few, none)
	}
}

func TestManyAtOnce(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(20_000)
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			got, err := w.run(context.Background(), o, fmt.Sprintf(`SELECT id FROM mixed WHERE id = %d`, i))
			if err != nil || cells(got) != fmt.Sprint(i) {
				t.Errorf("query %d: %s, %v", i, cells(got), err)
			}
		})
	}
	g.Wait()
}

func TestManyParts(t *testing.T) {
	w, o := newWorld(t), options(t)
	for range 60 {
		w.add(10)
	}
	got, err := w.run(context.Background(), o, `SELECT count(*), count(DISTINCT a.token) FROM mixed a JOIN mixed b USING (id) JOIN mixed c USING (id)`)
	if err != nil || cells(got) != "600,600" {
		t.Errorf("%s, %v", cells(got), err)
	}
}

func TestWithoutRows(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(0)
	got, err := w.run(context.Background(), o, `SELECT count(*), max(city) FROM mixed`)
	if err != nil || cells(got) != "0,(null)" {
		t.Fatalf("%s, %v", cells(got), err)
	}
}

// A column whose key is not had, be it of one part only, is not there; the others are read, and filters on them work.
func TestHiddenColumns(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	w.add(1000)
	w.withheld = map[columnar.Version][]columnar.ColumnID{2: {w.columns[1], w.columns[9]}, 1: {w.columns[3]}} // price, note; token
	got, err := w.run(t.Context(), o, `SELECT * FROM mixed WHERE id = 1500`)
	if err != nil || len(got) != 1 || got[0].NumCols() != 7 || got[0].NumRows() != 1 {
		t.Fatalf("%s, %v", cells(got), err)
	}
	for i, want := range []string{"id", "city", "time", "flag", "count", "tags", "amount"} {
		if name := got[0].ColumnName(i); name != want {
			t.Errorf("column %d is %s, want %s", i, name, want)
		}
	}
	for _, sql := range []string{`SELECT price FROM mixed`, `SELECT id FROM mixed WHERE note IS NULL`, `SELECT count(token) FROM mixed`} {
		if _, err := w.run(t.Context(), o, sql); !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	w.withheld = map[columnar.Version][]columnar.ColumnID{2: w.columns}
	if got, err := w.run(t.Context(), o, `SELECT count(*) FROM mixed`); err == nil {
		t.Errorf("without any key: %s", cells(got))
	}
}

// Every type that a dataset can have is read, with nulls.
func TestTypes(t *testing.T) {
	type value struct {
		typ      arrow.DataType
		in, want string
	}
	values := []value{
		{arrow.FixedWidthTypes.Boolean, "true", "true"},
		{arrow.PrimitiveTypes.Int8, "-128", "-128"},
		{arrow.PrimitiveTypes.Int16, "-32768", "-32768"},
		{arrow.PrimitiveTypes.Int32, "-7", "-7"},
		{arrow.PrimitiveTypes.Int64, "-9223372036854775808", "-9223372036854775808"},
		{arrow.PrimitiveTypes.Uint8, "255", "255"},
		{arrow.PrimitiveTypes.Uint16, "65535", "65535"},
		{arrow.PrimitiveTypes.Uint32, "4294967295", "4294967295"},
		{arrow.PrimitiveTypes.Uint64, "18446744073709551615", "18446744073709551615"},
		{arrow.FixedWidthTypes.Float16, "1.5", "1.5"},
		{arrow.PrimitiveTypes.Float32, "1.5", "1.5"},
		{arrow.PrimitiveTypes.Float64, "-0.1", "-0.1"},
		{arrow.BinaryTypes.String, "æøå", "æøå"},
		{arrow.BinaryTypes.Binary, "AAEC", "AAEC"},
		{&arrow.FixedSizeBinaryType{ByteWidth: 3}, "AAEC", "AAEC"},
		{arrow.FixedWidthTypes.Date32, "2026-11-21", "2026-11-21"},
		{arrow.FixedWidthTypes.Date64, "2026-11-21", "2026-11-21T00:00:00"},
		{arrow.FixedWidthTypes.Time32s, "12:34:56", "12:34:56.000000"},
		{arrow.FixedWidthTypes.Time32ms, "12:34:56.789", "12:34:56.789000"},
		{arrow.FixedWidthTypes.Time64us, "12:34:56.789012", "12:34:56.789012"},
		{arrow.FixedWidthTypes.Time64ns, "12:34:56.789012345", "12:34:56.789012"},
		{&arrow.TimestampType{Unit: arrow.Second}, "2026-11-21T12:34:56", "2026-11-21T12:34:56"},
		{&arrow.TimestampType{Unit: arrow.Nanosecond}, "2026-11-21T12:34:56.789012345", "2026-11-21T12:34:56.789012345"},
		{&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, "2026-11-21T12:34:56.5Z", "2026-11-21T12:34:56.5Z"},
		{arrow.FixedWidthTypes.Duration_ms, "1500ms", "1500"},
		{&arrow.Decimal32Type{Precision: 7, Scale: 2}, "-12345.67", "-12345.67"},
		{&arrow.Decimal64Type{Precision: 15, Scale: 2}, "12345.67", "12345.67"},
		{&arrow.Decimal128Type{Precision: 38, Scale: 10}, "1.5", "1.5"},
		{&arrow.Decimal256Type{Precision: 30, Scale: 5}, "1.5", "1.5"},
		{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, "x", "x"},
		{arrow.ListOf(arrow.BinaryTypes.String), `["a",null]`, `["a",null]`},
		{arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32), `[1,2]`, `[1,2]`},
		{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true}), `{"a":3}`, `{"a":3}`},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), `[{"key":"k","value":1}]`, `[{"key":"k","value":1}]`},
		{arrow.Null, "(null)", "(null)"},
	}
	fields, columns := make([]arrow.Field, len(values)), make([]arrow.Array, len(values))
	for i, v := range values {
		fields[i] = arrow.Field{Name: fmt.Sprintf("c%d", i), Type: v.typ, Nullable: true}
		b := array.NewBuilder(memory.DefaultAllocator, v.typ)
		if err := b.AppendValueFromString(v.in); err != nil {
			t.Fatalf("%s: %v", v.typ, err)
		}
		b.AppendNull()
		columns[i] = b.NewArray()
	}
	fields = append(fields, arrow.Field{Name: "wide", Type: arrow.ListOf(&arrow.Decimal256Type{Precision: 60, Scale: 5}), Nullable: true})
	columns = append(columns, array.MakeArrayOfNull(memory.DefaultAllocator, fields[len(values)].Type, 2))
	schema := arrow.NewSchema(fields, nil)
	w, o := newWorldOf(t, schema), options(t)
	w.write(array.NewRecordBatch(schema, columns, 2))
	if _, err := w.run(context.Background(), o, `SELECT wide FROM mixed`); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("a column that DuckDB reads wrong: %v", err)
	}
	for condition, want := range map[string]string{ // statistics prune by them
		"c4 < -9223372036854775807": "1", "c7 > 4294967294": "1", "c8 > 18446744073709551614": "1", "c8 < 5": "0", "c9 > 1.25": "1", "c9 > 1.75": "0",
		"c11 < -0.05": "1", "c12 >= 'æ'": "1", "c15 = DATE '2026-11-21'": "1", "c16 < TIMESTAMP '2026-11-22'": "1", "c17 > TIME '12:34:55'": "1",
		"c20 > TIME '12:34:55'": "1", "c21 > TIMESTAMP '2026-11-21 12:34:55'": "1", "c22 < TIMESTAMP '2026-11-21 12:34:57'": "1", "c25 < -12345.66": "1",
		"c27 > 1.4": "1", "c28 > 1.4": "1", "c29 = 'x'": "1",
	} {
		got, err := w.run(context.Background(), o, `SELECT count(*) FROM mixed WHERE `+condition)
		if err != nil || cells(got) != want {
			t.Errorf("%s: %s, want %s (%v)", condition, cells(got), want, err)
		}
	}
	for i, v := range values {
		got, err := w.run(context.Background(), o, fmt.Sprintf(`SELECT c%d FROM mixed`, i))
		if want := v.want + ";(null)"; err != nil || cells(got) != want {
			t.Errorf("%s: %s, want %s (%v)", v.typ, cells(got), want, err)
		}
	}
}

// What is not one SELECT over datasets is refused, by DuckDB's own parser.
func TestRefusals(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(100)
	for sql, want := range map[string]fault.Code{
		`COPY mixed TO '/tmp/x.csv'`:      fault.Policy,
		`COPY (SELECT 1) TO '/dev/shm/x'`: fault.Policy,
		`ATTACH '/tmp/x.db'`:              fault.Policy,
		`INSTALL httpfs`:                  fault.Policy,
		`LOAD httpfs`:                     fault.Policy,
		`PRAGMA database_list`:            fault.Policy,
		`PRAGMA show_tables`:              fault.Policy,
		`SET memory_limit = '1TB'`:        fault.Policy,
		`RESET lock_configuration`:        fault.Policy,
		`CREATE TABLE x AS SELECT 1`:      fault.Policy,
		`CREATE MACRO f() AS TABLE SELECT * FROM read_text('/etc/passwd')`:    fault.Policy,
		`INSERT INTO mixed VALUES (1)`:                                        fault.Policy,
		`DELETE FROM mixed`:                                                   fault.Policy,
		`DROP VIEW mixed`:                                                     fault.Policy,
		`EXPLAIN SELECT 1`:                                                    fault.Policy,
		`CALL pragma_version()`:                                               fault.Policy,
		`SHOW TABLES`:                                                         fault.Policy,
		`DESCRIBE mixed`:                                                      fault.Policy,
		`SUMMARIZE mixed`:                                                     fault.Policy,
		`EXPORT DATABASE '/tmp/x'`:                                            fault.Policy,
		`VACUUM`:                                                              fault.Policy,
		`PREPARE p AS SELECT 1`:                                               fault.Policy,
		`BEGIN`:                                                               fault.Policy,
		`SELECT * FROM read_csv('/etc/passwd')`:                               fault.Policy,
		`SELECT * FROM READ_CSV_AUTO('/etc/passwd')`:                          fault.Policy,
		`SELECT * FROM read_parquet('/proc/self/fd/5')`:                       fault.Policy,
		`SELECT * FROM main.read_text('/etc/passwd')`:                         fault.Policy,
		`SELECT * FROM read_blob('/etc/passwd')`:                              fault.Policy,
		`SELECT * FROM glob('/*')`:                                            fault.Policy,
		`SELECT * FROM sniff_csv('/etc/passwd')`:                              fault.Policy,
		`SELECT * FROM query('SELECT 1')`:                                     fault.Policy,
		`SELECT * FROM query_table('mixed')`:                                  fault.Policy,
		`SELECT * FROM duckdb_settings()`:                                     fault.Policy,
		`SELECT * FROM duckdb_secrets()`:                                      fault.Policy,
		`SELECT * FROM pragma_version()`:                                      fault.Policy,
		`SELECT * FROM system.main.range(3)`:                                  fault.Policy,
		`SELECT * FROM information_schema.tables`:                             fault.Policy,
		`SELECT * FROM memory.main.mixed`:                                     fault.Policy,
		`SELECT (SELECT count(*) FROM read_text('/etc/passwd'))`:              fault.Policy,
		`WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT 1`:         fault.Policy,
		`SELECT * FROM mixed WHERE id IN (SELECT 1 FROM glob('/*'))`:          fault.Policy,
		`IMPORT DATABASE '/tmp/x'`:                                            fault.Policy,
		`DETACH memory`:                                                       fault.Policy,
		`USE memory`:                                                          fault.Policy,
		`ATTACH ':memory:' AS other`:                                          fault.Policy,
		`CREATE SECRET s (TYPE S3, KEY_ID 'x')`:                               fault.Policy,
		`FORCE INSTALL httpfs FROM community`:                                 fault.Policy,
		`UPDATE EXTENSIONS`:                                                   fault.Policy,
		`UPDATE mixed SET id = 1`:                                             fault.Policy,
		`SET VARIABLE x = 1`:                                                  fault.Policy,
		`SET GLOBAL enable_external_access = true`:                            fault.Policy,
		`PRAGMA enable_profiling`:                                             fault.Policy,
		`EXECUTE p`:                                                           fault.Policy,
		`DEALLOCATE p`:                                                        fault.Policy,
		`EXPLAIN ANALYZE SELECT 1`:                                            fault.Policy,
		`CHECKPOINT`:                                                          fault.Policy,
		`COMMIT`:                                                              fault.Policy,
		`ROLLBACK`:                                                            fault.Policy,
		`COMMENT ON VIEW mixed IS 'x'`:                                        fault.Policy,
		`ALTER VIEW mixed RENAME TO x`:                                        fault.Policy,
		`COPY FROM DATABASE memory TO other`:                                  fault.Policy,
		`COPY mixed FROM '/etc/passwd'`:                                       fault.Policy,
		`CREATE TYPE x AS INTEGER`:                                            fault.Policy,
		`CREATE TEMP VIEW x AS SELECT 1`:                                      fault.Policy,
		`PREPARE p AS COPY mixed TO '/tmp/x'`:                                 fault.Policy,
		`SELECT * FROM read_json('/etc/passwd')`:                              fault.Policy,
		`SELECT * FROM read_ndjson_auto('/etc/passwd')`:                       fault.Policy,
		`SELECT * FROM parquet_scan('/proc/self/fd/5')`:                       fault.Policy,
		`SELECT * FROM parquet_metadata('/proc/self/fd/5')`:                   fault.Policy,
		`SELECT * FROM "read_csv"('/etc/passwd')`:                             fault.Policy,
		`SELECT * FROM duckdb_extensions()`:                                   fault.Policy,
		`SELECT * FROM duckdb_memory()`:                                       fault.Policy,
		`SELECT * FROM duckdb_variables()`:                                    fault.Policy,
		`SELECT * FROM which_secret('s3://x', 's3')`:                          fault.Policy,
		`SELECT * FROM pragma_storage_info('mixed')`:                          fault.Policy,
		`SELECT * FROM pragma_table_info('mixed')`:                            fault.Policy,
		`SELECT * FROM arrow_scan(1, 2, 3)`:                                   fault.Policy,
		`SELECT * FROM seq_scan('mixed')`:                                     fault.Policy,
		`SELECT * FROM json_execute_serialized_sql('{}')`:                     fault.Policy,
		`SELECT * FROM pg_catalog.pg_settings`:                                fault.Policy,
		`SELECT * FROM temp.information_schema.tables`:                        fault.Policy,
		`FROM range(3), read_text('/etc/passwd')`:                             fault.Policy,
		`SELECT * FROM mixed, LATERAL (SELECT * FROM read_text(mixed.token))`: fault.Policy,
		`SELECT EXISTS (FROM read_blob('/etc/passwd'))`:                       fault.Policy,
		`SELECT * FROM mixed ORDER BY (SELECT 1 FROM glob('/*'))`:             fault.Policy,
		`SELECT * FROM '/etc/passwd'`:                                         fault.NotFound,
		`SELECT * FROM '/proc/self/environ'`:                                  fault.NotFound,
		`SELECT * FROM 's3://bucket/x.parquet'`:                               fault.NotFound,
		`SELECT * FROM duckdb_secrets`:                                        fault.NotFound,
		`SELECT * FROM sqlite_master`:                                         fault.NotFound,
		`SELECT * FROM 'x.parquet'`:                                           fault.NotFound,
		`SELECT * FROM "https://example.org/x.csv"`:                           fault.NotFound,
		`SELECT * FROM duckdb_tables`:                                         fault.NotFound,
		`SELECT * FROM nowhere`:                                               fault.NotFound,
		`SELECT 1; SELECT 2`:                                                  fault.InvalidRequest,
		`SELECT 1; COPY mixed TO '/tmp/x'`:                                    fault.Policy,
		``:                                                                    fault.InvalidRequest,
		`-- nothing`:                                                          fault.InvalidRequest,
		`SELEC 1`:                                                             fault.InvalidRequest,
		`SELECT * FROM mixed WHERE tags BETWEEN [1] AND [2]`:                  fault.InvalidRequest,
		`SELECT nothing FROM mixed`:                                           fault.InvalidRequest,
		`SELECT ?`:                                                            fault.InvalidRequest,
		`SELECT $1`:                                                           fault.InvalidRequest,
		`SELECT 'abc'::INT`:                                                   fault.InvalidRequest,
		`SELECT getenv('HOME')`:                                               fault.InvalidRequest,
		`SELECT getvariable('x'), * FROM read_csv(getvariable('x'))`:          fault.Policy,
		`SELECT nextval('s')`:                                                 fault.InvalidRequest,
		`SELECT $name`:                                                        fault.InvalidRequest,
		"SELECT 1\x00; COPY mixed TO '/tmp/x'":                                fault.InvalidRequest,
		`SELECT ` + strings.Repeat("(", 20_000) + `1` + strings.Repeat(")", 20_000): fault.InvalidRequest,
		`SELECT ` + strings.Repeat("x", 70_000):                                     fault.TooLarge,
	} {
		got, err := w.run(context.Background(), o, sql)
		if !errors.Is(err, want) {
			t.Errorf("%.80s: %v (%s), want %s", sql, err, cells(got), want)
		}
	}
}
