package columnar_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/s3"
	"coldframe/columnar/storetest"
)

// A column subset read from a real S3 server takes at most 1.05 times the bytes of the wanted chunks and one tail for each part, and no
// more requests than ranges and tails, counted in front of the server.
func TestColumnSubsetFromS3(t *testing.T) {
	var sent, requests atomic.Int64
	counting := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		requests.Add(1)
		next.ServeHTTP(&countingWriter{w, &sent}, r)
	}
	server := storetest.Gateway(t).Front(t, counting)
	store, err := s3.New(t.Context(), s3.Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, PathStyle: true, AllowLoopback: true, AllowPlainHTTP: true,
		Credentials: s3.NewCredentials(server.AccessKey, []byte(server.SecretKey), nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, store, columnartest.MixedSchema)
	batch := columnartest.NewMixed(3).Batch(400_000)
	defer batch.Release()
	w.mustPut(batch)

	for _, fields := range [][]int{{1, 2}, {0, 9}, {7}, {3, 5, 8}} {
		sent.Store(0)
		requests.Store(0)
		var columns []columnar.ColumnID
		for _, f := range fields {
			columns = append(columns, w.columns[f])
		}
		batches, err := w.get(columnar.ReadOptions{Columns: columns})
		if err != nil {
			t.Fatal(err)
		}
		var rows int64
		for _, b := range batches {
			rows += b.NumRows()
			b.Release()
		}
		wanted, tails := columnar.ChunkBytes(w.head, fields)
		ratio := float64(sent.Load()-tails) / float64(wanted)
		ranges := len(columnar.ChunkRanges(w.head, fields))
		t.Logf("fields %v: %d rows, wanted %d bytes in %d ranges, tails %d, sent by the server %d in %d requests: %.4f", fields, rows, wanted, ranges, tails,
			sent.Load(), requests.Load(), ratio)
		if rows != batch.NumRows() || ratio > 1.05 || int(requests.Load()) > ranges+len(w.head.Parts) {
			t.Errorf("fields %v: %d rows, ratio %.4f, %d requests", fields, rows, ratio, requests.Load())
		}
	}
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
