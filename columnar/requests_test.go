package columnar_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
)

// loggingStore remembers which ranges were asked for.
type loggingStore struct {
	columnar.Store
	mu     sync.Mutex
	ranges []columnar.Range
	open   int
	most   int // at once
}

func (s *loggingStore) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, columnar.Range{Name: name, Offset: off, Length: n})
	s.open++
	s.most = max(s.most, s.open)
	r, err := s.Store.ReadRange(ctx, name, off, n)
	return &loggedRead{r, s}, err
}

type loggedRead struct {
	io.ReadCloser
	s *loggingStore
}

func (r *loggedRead) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.open--
	return r.ReadCloser.Close()
}

// TestRequests counts what a column subset costs: every byte asked for is a wanted one, one of the tail, or one of a hole that joins two
// wanted ranges; holes are at most 1 MiB each and 10 % of the wanted bytes together, and there are no more requests than ranges, plus one.
func TestRequests(t *testing.T) {
	for _, rowGroup := range []int64{0, 1 << 20} {
		store := &loggingStore{Store: columnar.NewMemStore()}
		w := newWorld(t, store, columnartest.MixedSchema)
		w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = rowGroup }
		batch := columnartest.NewMixed(3).Batch(300_000)
		w.mustPut(batch)
		batch.Release()
		for _, fields := range [][]int{{1, 2}, {0, 9}, {7}, {5}, {3, 5, 8}, {2, 3, 4, 6, 7, 8, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
			store.ranges, store.most = nil, 0
			o := columnar.ReadOptions{}
			for _, f := range fields {
				o.Columns = append(o.Columns, w.columns[f])
			}
			got, err := w.get(o)
			if err != nil || rowsOf(got) != 300_000 {
				t.Fatalf("%d rows, %v", rowsOf(got), err)
			}
			checkRequests(t, w, store, fields)
		}
	}
}

func checkRequests(t *testing.T, w *world, store *loggingStore, fields []int) {
	t.Helper()
	wanted, tails := columnar.ChunkBytes(w.head, fields)
	spans := columnar.ChunkRanges(w.head, fields)
	var total int64
	for _, r := range store.ranges {
		total += r.Length
		if r.Length > 16<<20 {
			t.Errorf("fields %v: a request of %d bytes", fields, r.Length)
		}
	}
	holes := total - tails - wanted
	t.Logf("fields %v of %d row groups: %d ranges, %d requests, %d at once, wanted %d, holes %d (%.2f %%)", fields, w.head.Parts[0].RowGroups,
		len(spans), len(store.ranges), store.most, wanted, holes, 100*float64(holes)/float64(wanted))
	if len(store.ranges) > len(spans)+1 || holes < 0 || 10*holes > wanted {
		t.Errorf("fields %v: %d requests for %d ranges, holes of %d for %d bytes", fields, len(store.ranges), len(spans), holes, wanted)
	}
	checkHoles(t, store.ranges, spans)
}

// checkHoles looks for a wanted range that no request has whole, and for holes of more than 1 MiB.
func checkHoles(t *testing.T, requests, wanted []columnar.Range) {
	t.Helper()
	for _, r := range requests {
		at := r.Offset
		for _, s := range wanted {
			if s.Offset < r.Offset || s.Offset+s.Length > r.Offset+r.Length {
				continue
			}
			if s.Offset-at > 1<<20 {
				t.Errorf("a hole of %d bytes was fetched", s.Offset-at)
			}
			at = s.Offset + s.Length
		}
	}
	for _, s := range wanted {
		if !slices.ContainsFunc(requests, func(r columnar.Range) bool {
			return r.Name == s.Name && r.Offset <= s.Offset && s.Offset+s.Length <= r.Offset+r.Length
		}) {
			t.Errorf("%+v was not asked for", s)
		}
	}
}
