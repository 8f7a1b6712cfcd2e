package format

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/files/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bytesOf(t *rapid.T, k Kind, schema *arrow.Schema, table []arrow.RecordBatch) *bytes.Buffer {
	var out bytes.Buffer
	w, err := NewWriter(k, &out, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range table {
		if err := w.Write(b); err != nil {
			t.Fatalf("%s: %v (%s)", k, err, FormatSchema(schema))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// allocated returns the bytes allocated since the program began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
