package columnar_test

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
)

// peakLive runs fn and returns by how much what the collector found alive rose at most, in bytes. The collector runs often meanwhile, so that
// little is missed between two looks.
func peakLive(fn func()) int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	look := func() int64 { metrics.Read(live); return int64(live[0].Value.Uint64()) }
	runtime.GC()
	runtime.GC() // pools are empty after the second
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	before := look()
	most, stop := before, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				most = max(most, look())
			}
		}
	})
	fn()
	close(stop)
	wg.Wait()
	return most - before
}

// noise is a table of which nothing can be compressed: what is sealed is as long as what came.
var noise = arrow.NewSchema([]arrow.Field{
	{Name: "a", Type: &arrow.FixedSizeBinaryType{ByteWidth: 100}}, {Name: "b", Type: arrow.BinaryTypes.Binary}, {Name: "c", Type: arrow.PrimitiveTypes.Int64},
}, nil)

func noiseBatch(r *rand.ChaCha8, rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, noise)
	defer b.Release()
	value := make([]byte, 208)
	for range rows {
		_, _ = r.Read(value) // never fails
		b.Field(0).(*array.FixedSizeBinaryBuilder).Append(value[:100])
		b.Field(1).(*array.BinaryBuilder).Append(value[100:200])
		b.Field(2).(*array.Int64Builder).Append(int64(binary.LittleEndian.Uint64(value[200:])))
	}
	return b.NewRecordBatch()
}

// TestMemoryBounds compares what a Writer and a Reader hold with the formulas of the package comment, for tables that compress well and not
// at all, and for row groups of two sizes.
func TestMemoryBounds(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies memory")
	}
	mixed, random := columnartest.NewMixed(5), rand.NewChaCha8([32]byte{5})
	for _, c := range []struct {
		name     string
		schema   *arrow.Schema
		batch    func() arrow.RecordBatch
		bytes    int // of a batch
		rowGroup int64
		where    string
	}{
		{"mixed", columnartest.MixedSchema, func() arrow.RecordBatch { return mixed.Batch(10_000) }, 1_340_000, columnar.DefaultRowGroupBytes, "price < 7000 AND note IS NOT NULL"},
		{"noise", noise, func() arrow.RecordBatch { return noiseBatch(random, 5_000) }, 1_060_000, columnar.DefaultRowGroupBytes, "c > 0"},
		{"noise", noise, func() arrow.RecordBatch { return noiseBatch(random, 5_000) }, 1_060_000, 4 << 20, "c > 0"},
	} {
		w := newWorld(t, folder(t), c.schema)
		w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = c.rowGroup }
		wrote := peakLive(func() {
			wr, keys, err := w.writer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 4 * int(c.rowGroup) / c.bytes {
				b := c.batch()
				if err := wr.Write(b); err != nil {
					t.Fatal(err)
				}
				b.Release()
			}
			parts, err := wr.Close()
			if err != nil {
				t.Fatal(err)
			}
			w.publish(keys, parts)
		})
		read := peakLive(func() { drain(t, w, columnar.ReadOptions{}) })
		filtered := peakLive(func() { drain(t, w, columnar.ReadOptions{Where: where(c.where)}) })
		t.Logf("%s, row groups of %d MiB: a writer held %d MiB of %d, a reader %d and %d with a condition of %d", c.name, c.rowGroup>>20, wrote>>20,
			columnar.WriterBound(c.rowGroup)>>20, read>>20, filtered>>20, columnar.ReaderBound()>>20)
		if wrote > columnar.WriterBound(c.rowGroup) {
			t.Errorf("a writer held %d bytes, the bound is %d", wrote, columnar.WriterBound(c.rowGroup))
		}
		if most := max(read, filtered); most > columnar.ReaderBound() {
			t.Errorf("a reader held %d bytes, the bound is %d", most, columnar.ReaderBound())
		}
		if wrote < c.rowGroup || read < 1<<20 {
			t.Errorf("nothing was measured: %d and %d bytes", wrote, read)
		}
	}
}
