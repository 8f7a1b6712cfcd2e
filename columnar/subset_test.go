package columnar_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/s3"
	"coldframe/columnar/storetest"
)

// A column subset read from a real S3 server: the server sends at most 1.02 times the bytes of the wanted chunks, of the holes that join
// them and of the tails; the holes are at most a tenth of the wanted bytes, and there is at most one request more than ranges. Counted in
// front of the server. The worst of the subsets is printed for bench/columnar.
func TestColumnSubsetFromS3(t *testing.T) {
	var sent, requests atomic.Int64
	counting := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		requests.Add(1)
		next.ServeHTTP(&countingWriter{w, &sent}, r)
	}
	server := storetest.Gateway(t).Front(t, counting)
	bucket, err := s3.New(t.Context(), s3.Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, PathStyle: true, AllowLoopback: true, AllowPlainHTTP: true,
		Credentials: s3.NewCredentials(server.AccessKey, []byte(server.SecretKey), nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	store := &loggingStore{Store: bucket}
	w := newWorld(t, store, columnartest.MixedSchema)
	batch := columnartest.NewMixed(3).Batch(400_000)
	defer batch.Release()
	w.mustPut(batch)

	var bytes, holes float64
	beyond := -1 << 20
	for _, fields := range [][]int{{1, 2}, {0, 9}, {7}, {3, 5, 8}} {
		sent.Store(0)
		requests.Store(0)
		store.ranges = nil
		if rows := w.rowsOf(fields); rows != batch.NumRows() {
			t.Fatalf("fields %v: %d rows", fields, rows)
		}
		asked := int64(0)
		for _, r := range store.ranges {
			asked += r.Length
		}
		wanted, tails := columnar.ChunkBytes(w.head, fields)
		ranges := columnar.ChunkRanges(w.head, fields)
		checkHoles(t, store.ranges, ranges)
		bytes = max(bytes, float64(sent.Load())/float64(asked))
		holes = max(holes, 100*float64(asked-tails-wanted)/float64(wanted))
		beyond = max(beyond, int(requests.Load())-len(ranges))
		t.Logf("fields %v: wanted %d bytes in %d ranges, tails %d, asked for %d in %d requests, sent by the server %d", fields, wanted, len(ranges), tails,
			asked, requests.Load(), sent.Load())
	}
	fmt.Printf("columnar.subset.bytes %.4f x\ncolumnar.subset.holes %.2f %%\ncolumnar.subset.requests %d more\n", bytes, holes, beyond)
	if bytes > 1.02 || holes > 10 || beyond > 1 {
		t.Error("a column subset costs more than that")
	}
}

// rowsOf reads some columns and counts the rows.
func (w *world) rowsOf(fields []int) (rows int64) {
	var o columnar.ReadOptions
	for _, f := range fields {
		o.Columns = append(o.Columns, w.columns[f])
	}
	batches, err := w.get(o)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range batches {
		rows += b.NumRows()
		b.Release()
	}
	return rows
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}
