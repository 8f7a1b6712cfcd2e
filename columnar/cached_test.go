package columnar_test

import (
	"cmp"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/cache"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/s3"
	"coldframe/columnar/storetest"
)

// cachedWorld is a dataset of two parts whose reads go through a cache, before a store that counts.
func cachedWorld(t *testing.T) (w *world, store *loggingStore, folder string) {
	store = &loggingStore{Store: columnar.NewMemStore()}
	w = newWorld(t, store, columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 1 << 20 }
	batch := columnartest.NewMixed(3).Batch(60_000)
	defer batch.Release()
	w.mustPut(batch)
	if err := w.put(w.head.Parts, batch); err != nil {
		t.Fatal(err)
	}
	folder = filepath.Join(t.TempDir(), "cache")
	c, err := cache.Open(folder, cache.Options{Limit: 1 << 30, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w.store = c.Store(store)
	return w, store, folder
}

// asked reads some fields and returns what the store was asked for.
func (w *world) asked(t *testing.T, store *loggingStore, fields ...int) []columnar.Range {
	t.Helper()
	store.ranges = nil
	var o columnar.ReadOptions
	for _, f := range fields {
		o.Columns = append(o.Columns, w.columns[f])
	}
	got, err := w.get(o)
	if err != nil || rowsOf(got) != 120_000 {
		t.Fatalf("fields %v: %d rows, %v", fields, rowsOf(got), err)
	}
	for _, b := range got {
		b.Release()
	}
	slices.SortFunc(store.ranges, func(a, b columnar.Range) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Offset, b.Offset))
	})
	return store.ranges
}

// A first read through a cache asks for just what it asks for without one; what was read, or columns of it, is not asked for again; and of
// what lacks only that.
func TestReadsThroughACache(t *testing.T) {
	w, store, _ := cachedWorld(t)
	behind := w.store
	w.store = store
	without := map[int][]columnar.Range{}
	for i, fields := range [][]int{{1, 2, 3}, {1, 2, 3, 7}} {
		without[i] = slices.Clone(w.asked(t, store, fields...))
	}
	w.store = behind
	if cold := w.asked(t, store, 1, 2, 3); !slices.Equal(cold, without[0]) {
		t.Errorf("a first read asked for\n%v, without a cache\n%v", cold, without[0])
	}
	for _, fields := range [][]int{{1, 2, 3}, {2}, {3, 1}} {
		if warm := w.asked(t, store, fields...); len(warm) > 0 {
			t.Errorf("fields %v, which were read: %v", fields, warm)
		}
	}
	var got int64
	more := w.asked(t, store, 1, 2, 3, 7)
	for _, r := range more {
		got += r.Length
	}
	chunks, _ := columnar.ChunkBytes(w.head, []int{7})
	wanted, _ := columnar.ChunkBytes(w.head, []int{1, 2, 3, 7})
	if got > chunks+wanted/25 || len(more) > len(columnar.ChunkRanges(w.head, []int{7})) {
		t.Errorf("%d bytes in %d requests for one more column of %d bytes", got, len(more), chunks)
	}
	if warm := w.asked(t, store, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9); len(warm) == 0 {
		t.Error("columns that were never read came from nowhere")
	}
	if warm := w.asked(t, store, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9); len(warm) > 0 {
		t.Errorf("all columns again: %v", warm)
	}
}

// Whatever somebody does to the files of the cache, the rows are right, the store is asked for what was damaged, and the cache has it
// again.
func TestD17_DamagedCacheIsFetchedAgain(t *testing.T) {
	w, store, folder := cachedWorld(t)
	w.asked(t, store, 0, 1, 2, 3)
	for what, change := range map[string]func(path string, b []byte) error{
		"a bit":   func(path string, b []byte) error { b[len(b)/2] ^= 1; return os.WriteFile(path, b, 0o600) },
		"cut":     func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"zeros":   func(path string, b []byte) error { return os.WriteFile(path, make([]byte, len(b)), 0o600) },
		"removed": func(path string, _ []byte) error { return os.Remove(path) },
	} {
		for _, f := range cacheFiles(t, folder) {
			b, err := os.ReadFile(f)
			if err == nil {
				err = change(f, b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if asked := w.asked(t, store, 0, 1, 2, 3); len(asked) == 0 {
			t.Errorf("%s: the store was not asked", what)
		}
		w.asked(t, store, 0, 1, 2, 3) // the rest of files that were damaged in a part
		if asked := w.asked(t, store, 0, 1, 2, 3); len(asked) > 0 {
			t.Errorf("%s: asked for again after it was mended: %v", what, asked)
		}
	}
}

func cacheFiles(t *testing.T, folder string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			out = append(out, p)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d files, %v", len(out), err)
	}
	return out
}

// BenchmarkSecondRead reads three of ten columns that were read before from an S3 server, with and without a cache, and reports what the
// server was asked for.
func BenchmarkSecondRead(b *testing.B) {
	var requests, sent atomic.Int64
	server := storetest.Fake(b).Front(b, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		requests.Add(1)
		next.ServeHTTP(&countingWriter{w, &sent}, r)
	})
	bucket, err := s3.New(b.Context(), s3.Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, PathStyle: true, AllowLoopback: true, AllowPlainHTTP: true,
		Credentials: s3.NewCredentials(server.AccessKey, []byte(server.SecretKey), nil),
	})
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, bucket, columnartest.MixedSchema)
	batch := columnartest.NewMixed(3).Batch(400_000)
	defer batch.Release()
	w.mustPut(batch)
	c, err := cache.Open(filepath.Join(b.TempDir(), "cache"), cache.Options{Limit: 1 << 30, MinFree: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for _, with := range []struct {
		name  string
		store columnar.Store
	}{{"without", bucket}, {"cached", c.Store(bucket)}} {
		b.Run(with.name, func(b *testing.B) {
			w.store = with.store
			read := func() {
				got, err := w.get(columnar.ReadOptions{Columns: []columnar.ColumnID{w.columns[1], w.columns[2], w.columns[5]}})
				if err != nil || rowsOf(got) != 400_000 {
					b.Fatal(rowsOf(got), err)
				}
				for _, r := range got {
					r.Release()
				}
			}
			read()
			requests.Store(0)
			sent.Store(0)
			b.ResetTimer()
			for range b.N {
				read()
			}
			b.ReportMetric(float64(requests.Load())/float64(b.N), "requests/op")
			b.ReportMetric(float64(sent.Load())/float64(b.N), "fetched-B/op")
		})
	}
}
