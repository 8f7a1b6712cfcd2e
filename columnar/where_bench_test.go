package columnar

import (
	"context"
	"errors"
	"io"
	"testing"
)

// BenchmarkWhere reads a table of 400,000 rows under conditions: bytes are those fetched, rows those that came.
func BenchmarkWhere(tb *testing.B) {
	b := newBench(tb, 400_000)
	b.write()
	for _, where := range []string{"", "id >= 200000 AND id < 201000", "price < 5000", "city = 'city-7'", "note IS NULL AND flag = TRUE", "amount < -1"} {
		tb.Run(where, func(tb *testing.B) {
			var w Where
			if where != "" {
				var err error
				w, err = ParseWhere(where)
				b.must(err)
			}
			b.store.read = 0
			var rows int64
			for tb.Loop() {
				rows = b.filtered(w)
			}
			tb.ReportMetric(float64(b.store.read)/float64(tb.N), "B-fetched/op")
			tb.ReportMetric(float64(rows), "rows")
		})
	}
}

func (b *bench) filtered(w Where) (rows int64) {
	r, err := NewReader(context.Background(), b.store, b.version, fixedKeys{b.keys}, ReadOptions{Where: w})
	b.must(err)
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows
		}
		b.must(err)
		rows += rec.NumRows()
		rec.Release()
	}
}
