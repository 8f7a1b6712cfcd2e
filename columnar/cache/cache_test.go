package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/cache"
	"coldframe/columnar/dir"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func TestStoreSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) columnar.Store {
		c := open(t, place(t), cache.Options{})
		t.Cleanup(func() {
			if err := cache.CheckIndex(c); err != nil || !cache.Idle(c) {
				t.Errorf("idle: %v, %v", cache.Idle(c), err)
			}
		})
		return c.Store(folder(t))
	})
}

func open(t testing.TB, path string, o cache.Options) *cache.Cache {
	t.Helper()
	if o.Limit == 0 {
		o.Limit = 64 << 20
	}
	if o.MinFree == 0 {
		o.MinFree = 1
	}
	c, err := cache.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// place returns a folder that is not there yet.
func place(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }

func folder(t testing.TB) columnar.Store {
	t.Helper()
	s, err := dir.New(t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// counting counts what is asked of a store.
type counting struct {
	columnar.Store
	mu       sync.Mutex
	requests int
	bytes    int64
}

func (s *counting) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.requests++
	s.bytes += n
	s.mu.Unlock()
	return s.Store.ReadRange(ctx, name, off, n)
}

// asked returns the counts since the last call.
func (s *counting) asked() (int, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, b := s.requests, s.bytes
	s.requests, s.bytes = 0, 0
	return n, b
}

func put(t testing.TB, s columnar.Store, body []byte) columnar.ObjectName {
	t.Helper()
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, body); err != nil {
		t.Fatal(err)
	}
	return name
}

// wantRange fails the test unless the range reads right.
func wantRange(t testing.TB, s columnar.Store, name columnar.ObjectName, body []byte, off, n int64) {
	t.Helper()
	got, err := storetest.Get(t.Context(), s, name, off, n)
	if err != nil || !bytes.Equal(got, body[off:off+n]) {
		t.Fatalf("%d bytes at %d: got %d, %v", n, off, len(got), err)
	}
}

func TestWhatWasFetchedIsNotAskedForAgain(t *testing.T) {
	c := open(t, place(t), cache.Options{})
	behind := &counting{Store: folder(t)}
	s := c.Store(behind)
	body := storetest.Bytes(1, 40<<20)
	name := put(t, s, body)
	for _, step := range []struct {
		off, n   int64
		requests int
		bytes    int64
	}{
		{100, 5000, 1, 5000},                    // cold: just what is wanted
		{100, 5000, 0, 0},                       // again
		{200, 7, 0, 0},                          // a part of it
		{50, 100, 1, 50},                        // the bytes before
		{50, 6000, 1, 950},                      // across two files, and on
		{2 << 20, 100, 1, 100},                  // far away
		{3<<20 + 1000, 1000, 1, 1000},           //
		{2 << 20, 1<<20 + 2000, 1, 1<<20 + 900}, // one hole
		{7 << 20, 100, 1, 100},
		{7<<20 - 1000, 3000, 1, 3000}, // few bytes between two holes: one request
		{10 << 20, 2 << 20, 1, 2 << 20},
		{9 << 20, 4 << 20, 2, 2 << 20},    // many bytes between two: two requests
		{20 << 20, 20 << 20, 1, 20 << 20}, // more than one file takes
		{20 << 20, 20 << 20, 0, 0},
	} {
		wantRange(t, s, name, body, step.off, step.n)
		requests, n := behind.asked()
		if requests != step.requests || n != step.bytes {
			t.Errorf("%d bytes at %d: %d requests for %d bytes, want %d for %d", step.n, step.off, requests, n, step.requests, step.bytes)
		}
		if err := cache.CheckIndex(c); err != nil {
			t.Fatal(err)
		}
	}
	if st := c.Stats(); st.Used < 24<<20 || st.Limit != 64<<20 || st.Hit == 0 || st.Fetched == 0 || st.Ranges == 0 {
		t.Errorf("%+v", st)
	}
}

// The order of use survives a restart, and what does not fit any more goes by it.
func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	path := place(t)
	c := open(t, path, cache.Options{Limit: 4 << 20})
	behind := &counting{Store: folder(t)}
	body := storetest.Bytes(2, 1<<20)
	var names []columnar.ObjectName
	for range 4 {
		names = append(names, put(t, behind, body))
	}
	read := func(c *cache.Cache, i int) int {
		wantRange(t, c.Store(behind), names[i], body, 0, 1<<20)
		requests, _ := behind.asked()
		if err := cache.CheckIndex(c); err != nil {
			t.Fatal(err)
		}
		return requests
	}
	for i := range names {
		read(c, i)
	}
	read(c, 0)
	c.Close()
	c = open(t, path, cache.Options{Limit: 4 << 20})
	names = append(names, put(t, behind, body))
	if read(c, 4) != 1 || read(c, 0) != 0 || read(c, 2) != 0 || read(c, 3) != 0 || read(c, 1) != 1 {
		t.Error("another than the least recently used was evicted")
	}
	c.Close()
	c = open(t, path, cache.Options{Limit: 2 << 20}) // 3 and 1 were used last
	if read(c, 1) != 0 || read(c, 3) != 0 || c.Stats().Used != 2<<20 {
		t.Errorf("after a smaller limit: %+v", c.Stats())
	}
	if n := diskUse(t, path); n > 2<<20 {
		t.Errorf("%d bytes on disk", n)
	}
}

// diskUse returns what the files take, but the lock.
func diskUse(t testing.TB, path string) (sum int64) {
	t.Helper()
	for _, f := range filesIn(t, path) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += (info.Size() + 4095) / 4096 * 4096
	}
	return sum
}

func filesIn(t testing.TB, path string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDeletedAndClearedIsGone(t *testing.T) {
	path := place(t)
	c := open(t, path, cache.Options{})
	s := c.Store(folder(t))
	body := storetest.Bytes(3, 100_000)
	a, b := put(t, s, body), put(t, s, body)
	wantRange(t, s, a, body, 0, 1000)
	wantRange(t, s, a, body, 5000, 1000)
	wantRange(t, s, b, body, 0, 1000)
	if err := s.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Get(t.Context(), s, a, 0, 1000); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	if left := filesIn(t, path); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if err := c.Clear(); err != nil || len(filesIn(t, path)) != 0 || c.Stats().Used != 0 {
		t.Errorf("cleared: %v, %+v", err, c.Stats())
	}
	wantRange(t, s, b, body, 0, 1000)
}

// What is on disk is what the store gave, under names that say no more than the store knows, for this user alone.
func TestD14_FilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder")
	c := open(t, path, cache.Options{})
	s := c.Store(folder(t))
	body := storetest.Bytes(4, 50_000)
	name := put(t, s, body)
	wantRange(t, s, name, body, 10, 30_000)
	files := filesIn(t, path)
	if len(files) != 1 || filepath.Base(files[0]) != string(name)+".10.30000" {
		t.Fatalf("files %v", files)
	}
	if got, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(got, body[10:30_010]) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	err := filepath.WalkDir(filepath.Dir(path), func(p string, d fs.DirEntry, err error) error {
		info, infoErr := d.Info()
		if err = errors.Join(err, infoErr); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %o", p, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolderOfSomebodyElse(t *testing.T) {
	dir := place(t)
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.MkdirAll(shared, 0o700), os.Chmod(shared, 0o750), os.Symlink(dir, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{shared, filepath.Join(dir, "link")} {
		if c, err := cache.Open(path, cache.Options{Limit: 1 << 20}); !errors.Is(err, fault.Policy) {
			t.Errorf("%s: %v, %v", path, c, err)
		}
	}
	c := open(t, dir, cache.Options{})
	if _, err := cache.Open(dir, cache.Options{Limit: 1 << 20}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second one: %v", err)
	}
	c.Close()
	open(t, dir, cache.Options{}).Close()
}

// A store that presigns does so behind a cache.
func TestPresignerShowsThrough(t *testing.T) {
	c := open(t, place(t), cache.Options{})
	if _, ok := c.Store(folder(t)).(columnar.Presigner); ok {
		t.Error("a folder presigns")
	}
	p := struct {
		columnar.Store
		columnar.Presigner
	}{Store: folder(t)}
	s := c.Store(p)
	if _, ok := s.(columnar.Presigner); !ok {
		t.Error("no presigner")
	}
	if _, ok := s.(columnar.Forgetter); !ok {
		t.Error("no forgetter")
	}
}

// slow holds reads until it is told to go on.
type slow struct {
	*counting
	started chan struct{}
	goOn    chan struct{}
}

func (s *slow) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	s.started <- struct{}{}
	r, err := s.counting.ReadRange(ctx, name, off, n)
	return &slowRead{r, s}, err
}

type slowRead struct {
	io.ReadCloser
	s *slow
}

func (r *slowRead) Read(p []byte) (int, error) {
	<-r.s.goOn
	return r.ReadCloser.Read(p)
}

func TestReadersOfOneRangeShareAFetch(t *testing.T) {
	c := open(t, place(t), cache.Options{})
	behind := &slow{&counting{Store: folder(t)}, make(chan struct{}, 16), make(chan struct{})}
	s := c.Store(behind)
	body := storetest.Bytes(5, 3<<20)
	name := put(t, s, body)
	var wg sync.WaitGroup
	reading := func() {
		defer wg.Done()
		got, err := storetest.Get(context.Background(), s, name, 0, 3<<20)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	wg.Add(8)
	go reading()
	<-behind.started // the first one fetches
	for range 7 {
		go reading()
	}
	runtime.Gosched()
	close(behind.goOn)
	wg.Wait()
	if requests, n := behind.asked(); requests != 1 || n != 3<<20 {
		t.Errorf("%d requests for %d bytes", requests, n)
	}
}

// Who waits for a fetch that stands still goes its own way, and who is stopped stops.
func TestNobodyWaitsForAReaderThatDoesNotRead(t *testing.T) {
	c := open(t, place(t), cache.Options{})
	behind := &counting{Store: folder(t)}
	s := c.Store(behind)
	body := storetest.Bytes(6, 1<<20)
	name := put(t, s, body)
	lazy, err := s.ReadRange(t.Context(), name, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := storetest.Get(ctx, s, name, 0, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	wantRange(t, s, name, body, 1000, 1000)
	lazy.Close()
	if !cache.Idle(c) {
		t.Error("something is left")
	}
	wantRange(t, s, name, body, 0, 1<<20)
	if err := cache.CheckIndex(c); err != nil {
		t.Error(err)
	}
}

// The index stays small, however many files there are.
func TestF17_MemoryOfTheIndex(t *testing.T) {
	c := open(t, place(t), cache.Options{Limit: 2 << 30})
	before := heap()
	cache.Fill(c, cache.MaxEntries, func() string { return string(columnar.NewObjectName()) })
	grown := heap() - before
	t.Logf("%d entries of as many objects: %d bytes each", c.Stats().Ranges, grown/cache.MaxEntries)
	if grown > 48<<20 {
		t.Errorf("the index takes %d bytes", grown)
	}
	if err := cache.CheckIndex(c); err != nil {
		t.Error(err)
	}
	s := c.Store(folder(t))
	body := storetest.Bytes(7, 5000)
	wantRange(t, s, put(t, s, body), body, 0, 5000)
	if n := c.Stats().Ranges; n > cache.MaxEntries {
		t.Errorf("%d entries", n)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func FuzzParseFileName(f *testing.F) {
	name := strings.Repeat("a", columnar.ObjectNameSize)
	for _, s := range []string{".0.1", ".9223372036854775807.1", ".00.1", ".0.16777217", ".1.1.part", ".-1.5", ""} {
		f.Add(name + s)
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if again, ok := cache.FileName(s); ok && again != s {
			t.Errorf("%q parses as %q", s, again)
		}
	})
}
