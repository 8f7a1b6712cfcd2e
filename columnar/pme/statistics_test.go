package pme_test

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"

	"coldframe/columnar/pme"
)

// sealStated seals one row group with some columns whose statistics are stated.
func sealStated(t *testing.T, k *keyring, rec arrow.RecordBatch, stated map[int]pme.Statistics) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := pme.NewFileWriter(&out, pme.FileConfig{
		Template: encode(t, rec), AADPrefix: testPrefix, Footer: k.footer,
		ColumnKey: func(l pme.Leaf) pme.NamedKey { return k.columns[l.Column] },
	})
	if err != nil {
		t.Fatal(err)
	}
	var columns []*pme.SealedColumn
	for i := range int(rec.NumCols()) {
		c, err := w.SealPlain(0, i, encode(t, column(rec, i)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := stated[i]; ok {
			c.Restate(s)
		}
		columns = append(columns, c)
	}
	if _, err := w.AppendRowGroup(columns); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Statistics come back as the encoder gave them, to us and to a decoder; those of a hidden column do not, nor are they in the
// clear.
func TestStatistics(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	rec := testRecord(newRand(80), 50, "planted ")
	low, high := []byte("a planted bound"), []byte("z planted bound")
	b := sealStated(t, k, rec, map[int]pme.Statistics{
		1: {Min: make([]byte, 8), Max: make([]byte, 8), NaNs: 7}, 2: {Min: low, MinCut: true, NaNs: -1}, 3: {Min: low, Max: high, NaNs: -1},
	})
	if bytes.Contains(b, []byte("planted")) {
		t.Error("a bound is in the clear")
	}
	f, err := open(b, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	id := f.Statistics(0, 0)
	if !bytes.Equal(id.Min, make([]byte, 8)) || !bytes.Equal(id.Max, []byte{147, 0, 0, 0, 0, 0, 0, 0}) || id.Nulls != 0 || id.NaNs != -1 {
		t.Errorf("of the encoder: %+v", id)
	}
	if s := f.Statistics(0, 1); s.Min == nil || s.Max == nil || s.NaNs != 7 || s.Nulls != 0 {
		t.Errorf("floats: %+v", s)
	}
	if s := f.Statistics(0, 2); !bytes.Equal(s.Min, low) || s.Max != nil || s.Nulls != 0 {
		t.Errorf("one bound: %+v", s)
	}
	if s := f.Statistics(0, 3); !bytes.Equal(s.Min, low) || !bytes.Equal(s.Max, high) {
		t.Errorf("both bounds: %+v", s)
	}
	p, err := plainFile(f, b, all())
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(p)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.MetaData().RowGroup(0).ColumnChunk(3)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Statistics()
	if err != nil || !bytes.Equal(s.EncodeMin(), low) || !bytes.Equal(s.EncodeMax(), high) {
		t.Errorf("to a decoder: %v, %v", s, err)
	}
	tbl, err := readAll(b, k.keys(), strict, all())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tbl, []arrow.RecordBatch{rec}, all())
	keys := k.keys()
	keys.Column = func(pme.Leaf) (pme.NamedKey, bool) { return pme.NamedKey{}, false }
	if f, err = open(b, keys, strict); err != nil {
		t.Fatal(err)
	}
	if s := f.Statistics(0, 3); s.Min != nil || s.Max != nil || s.Nulls != -1 || s.NaNs != -1 {
		t.Errorf("of a hidden column: %+v", s)
	}
}
