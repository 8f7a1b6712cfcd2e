package format

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
)

// The fixtures are what pandas, polars, DuckDB and pyarrow emit; testdata/generate.py wrote them, and their rows as NDJSON.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/files/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		var kind Kind
		switch filepath.Ext(file) {
		case ".arrows", ".feather":
			kind = Arrow
		case ".parquet":
			kind = Parquet
		default:
			continue
		}
		n++
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(file + ".ndjson")
			if err != nil {
				t.Fatal(err)
			}
			schema, batches := readAll(t, kind, body, ReadOptions{SpoolDir: t.TempDir()})
			compareRows(t, write(t, NDJSON, schema, batches), want)
		})
	}
	if n < 20 {
		t.Fatalf("%d fixtures; testdata/generate.py makes more", n)
	}
	t.Logf("%d fixtures", n)
}

// readAll reads a whole body, which must be right.
func readAll(t testing.TB, k Kind, body []byte, o ReadOptions) (*arrow.Schema, []arrow.RecordBatch) {
	t.Helper()
	schema, batches, err := tryRead(k, bytes.NewReader(body), o)
	if err != nil {
		t.Fatalf("%s: %v", k, err)
	}
	return schema, batches
}

func tryRead(k Kind, body io.Reader, o ReadOptions) (*arrow.Schema, []arrow.RecordBatch, error) {
	r, err := NewReader(context.Background(), k, body, o)
	if err != nil {
		return nil, nil, err
	}
	var batches []arrow.RecordBatch
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Schema(), batches, r.Close()
		} else if err != nil {
			return nil, nil, errors.Join(err, r.Close())
		}
		batches = append(batches, b)
	}
}

func write(t testing.TB, k Kind, schema *arrow.Schema, batches []arrow.RecordBatch) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(k, &out, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func lines(b []byte) []string {
	s := strings.Split(string(b), "\n")
	return s[:len(s)-1]
}

func compareRows(t *testing.T, got, want []byte) {
	t.Helper()
	g, w := lines(got), lines(want)
	if len(g) != len(w) {
		t.Fatalf("%d rows, want %d", len(g), len(w))
	}
	for i := range g {
		a, b := parseJSON(t, g[i]).(map[string]any), parseJSON(t, w[i]).(map[string]any)
		if len(a) != len(b) {
			t.Fatalf("row %d: %d columns, want %d", i+1, len(a), len(b))
		}
		for name, v := range b {
			if !sameJSON(a[name], v) {
				t.Errorf("row %d, column %s: %v, want %v", i+1, name, a[name], v)
			}
		}
	}
}

func parseJSON(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// sameJSON compares got with want, where {"float": v} stands for a float, single precision being enough, and {"number": "v"} for a
// decimal.
func sameJSON(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		if f, ok := w["float"]; ok && len(w) == 1 {
			n, ok := got.(json.Number)
			a, err1 := strconv.ParseFloat(n.String(), 64)
			b, err2 := strconv.ParseFloat(f.(json.Number).String(), 64)
			return ok && err1 == nil && err2 == nil && (a == b || float32(a) == float32(b) && strings.Contains(n.String(), "."))
		}
		if s, ok := w["number"].(string); ok && len(w) == 1 {
			n, _ := got.(json.Number)
			a, ok1 := new(big.Rat).SetString(n.String())
			b, ok2 := new(big.Rat).SetString(s)
			return ok1 && ok2 && a.Cmp(b) == 0
		}
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k, v := range w {
			if !sameJSON(g[k], v) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i, v := range w {
			if !sameJSON(g[i], v) {
				return false
			}
		}
		return true
	}
	return got == want
}
