package format

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

// drain reads up to 64 batches of a hostile body and fails the test for anything but a table or one of the refusals.
func drain(t *testing.T, k Kind, in []byte, o ReadOptions) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := NewReader(context.Background(), k, bytes.NewReader(in), o)
	for range 64 {
		if err != nil {
			break
		}
		b, nextErr := r.Next()
		if err = nextErr; err != nil {
			break
		}
		if !b.Schema().Equal(r.Schema()) {
			t.Fatal("a batch of another schema")
		}
		for _, out := range []Kind{CSV, NDJSON} {
			w, werr := NewWriter(out, io.Discard, r.Schema())
			if werr != nil {
				t.Fatal(werr)
			}
			if werr := w.Write(b.NewSlice(0, min(b.NumRows(), 100))); werr != nil {
				t.Fatal(werr)
			}
		}
	}
	if r != nil {
		if cerr := r.Close(); cerr != nil {
			t.Fatal(cerr)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code == fault.Internal || f.Detail == "" {
			t.Fatalf("an error without a code: %v", err)
		}
	}
	// All that was ever allocated, a bound on what was there at once: a few batches, the buffers, and what the input pays for.
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20+2000*uint64(len(in)) {
		t.Fatalf("%d MiB allocated for %d bytes", used>>20, len(in))
	}
}

func addFixtures(f *testing.F, patterns ...string) {
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,\n", "a\n\"x\"\"y\"\r\n\n", "\xef\xbb\xbfa,b\n\"\n\",2024-01-01\n", "a,b,c\n1.5,true,2024-01-01T00:00:00Z\nNaN,false,1970-01-01 00:00:00+01\n",
		"a\n99999999999999999999\n-1\n", "a,b\n\"unclosed", "a\n007\n1e999\n", "a,a\n1,2\n", ",\n", "\n", "a\n\"x\"y\n", "x,y\n[1],\"{\"\"a\"\":1}\"\n",
	} {
		f.Add([]byte(s), "", byte(','), false)
	}
	f.Add([]byte("x;y\n[1];{\"a\":1}\n"), "x list<int64>, y struct<a int8>", byte(';'), false)
	f.Add([]byte("1,2\n"), "x decimal(3,1), y timestamp[ns]", byte(','), true)
	f.Fuzz(func(t *testing.T, in []byte, schema string, delim byte, bare bool) {
		s, err := ParseSchema(schema)
		if err != nil {
			s = nil
		}
		drain(t, CSV, in, ReadOptions{Schema: s, CSV: CSVOptions{Delimiter: delim, NoHeader: bare}})
		sameAgain(t, CSV, in)
	})
}

// sameAgain asks that what reads without options reads the same once written and read with its schema.
func sameAgain(t *testing.T, k Kind, in []byte) {
	schema, table, err := tryRead(k, bytes.NewReader(in), ReadOptions{})
	if err != nil {
		return
	}
	s, b, err := tryRead(k, bytes.NewReader(write(t, k, schema, table)), ReadOptions{Schema: schema})
	if err != nil {
		t.Fatalf("cannot be read back: %v", err)
	}
	sameTable(t, string(k), s, schema, b, table)
}

func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":1.0,"c":"x","d":null,"e":[1,2],"f":{"g":true}}` + "\n{}\n", `{"a":"\ud83c\udf41\u0000"}`, `{"a":1,"a":2}`, `{"a":[[],[{}]]}`,
		`{"a":1}` + "\n" + `{"a":"x"}`, `{"a":12345678901234567890123}`, `{"":1}`, `[1]`, `{"a":` + strings.Repeat("[", 100), `{"a":"NaN"}` + "\n" + `{"a":1.5}`, "{\"a\":1e5}\r\n\r\n",
	} {
		f.Add([]byte(s), "")
	}
	f.Add([]byte(`{"m":{"x":1,"x":2},"n":[{"key":1,"value":"a"}],"t":"2024-01-01T00:00:00Z"}`), "m map<string, int64>, n map<int64, string>, t timestamp[us, UTC]")
	f.Fuzz(func(t *testing.T, in []byte, schema string) {
		s, err := ParseSchema(schema)
		if err != nil {
			s = nil
		}
		drain(t, NDJSON, in, ReadOptions{Schema: s})
		sameAgain(t, NDJSON, in)
	})
}

func FuzzArrow(f *testing.F) {
	addFixtures(f, "testdata/files/*.arrows", "testdata/files/*.feather")
	f.Fuzz(func(t *testing.T, in []byte) { drain(t, Arrow, in, ReadOptions{}) })
}

func FuzzParquet(f *testing.F) {
	addFixtures(f, "testdata/files/*.parquet")
	f.Fuzz(func(t *testing.T, in []byte) { drain(t, Parquet, in, ReadOptions{}) })
}

func FuzzParseSchema(f *testing.F) {
	f.Add("id int64, price decimal(18,4), at timestamp[us, UTC], tags list<int32>, pos struct<x float64, y float64>, attrs map<string, int64>")
	f.Add(`"a \"b\"" string not null, c list<struct<d map<int8, dictionary<string>>> not null>, e time[ns], f timestamp[ms, +02:00]`)
	f.Add("a dictionary<binary, ordered>, b fixed_size_binary(16), c decimal(76,76), d null")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSchema(in)
		if err != nil {
			if fault.CodeOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		out := FormatSchema(s)
		again, err := ParseSchema(out)
		if err != nil {
			t.Fatalf("%q, written as %q: %v", in, out, err)
		}
		if !again.Equal(s) || FormatSchema(again) != out {
			t.Fatalf("%q becomes %q becomes %q", in, out, FormatSchema(again))
		}
	})
}
