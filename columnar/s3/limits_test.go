package s3

import (
	"errors"
	"io"
	"runtime"
	"syscall"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// TestMemory sends 192 MiB and looks at the heap: the bound of the package comment, three parts of 8 MiB, with room for the rest.
func TestMemory(t *testing.T) {
	c := configFor(storetest.Gateway(t))
	c.PartSize = DefaultPartSize
	s := openStore(t, c)
	chunk := storetest.Bytes(1, 1<<20)
	u, err := s.Create(t.Context(), columnar.NewObjectName(), columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak uint64
	for i := range 192 {
		if _, err := u.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if i%16 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	grown := int64(peak) - int64(before.HeapAlloc) //nolint:gosec // far from the limit
	t.Logf("heap grew by %d MiB, total allocated %d MiB", grown>>20, (now.TotalAlloc-before.TotalAlloc)>>20)
	if grown > 3*DefaultPartSize+(4<<20) {
		t.Fatalf("the heap grew by %d bytes", grown)
	}
}

func TestPartSizes(t *testing.T) {
	s := &Store{config: Config{PartSize: DefaultPartSize}}
	for hint, want := range map[int64]int64{
		0: DefaultPartSize, 1: DefaultPartSize, 9000 * DefaultPartSize: DefaultPartSize + 1<<20, 1 << 40: 117 << 20,
	} {
		got := s.partSize(hint)
		if got != want || got*maxParts < hint {
			t.Errorf("hint %d: parts of %d, want %d", hint, got, want)
		}
	}
	if got := s.partSize(maxParts * MaxPartSize); got != MaxPartSize {
		t.Errorf("the longest: parts of %d", got)
	}
	if _, err := (&Store{config: Config{}}).Create(t.Context(), columnar.NewObjectName(), columnar.CreateOptions{SizeHint: maxParts*MaxPartSize + 1}); !errors.Is(err, fault.TooLarge) {
		t.Errorf("longer: %v", err)
	}
}

// TestF18_Descriptors leaves no descriptor for a connection.
func TestF18_Descriptors(t *testing.T) {
	s := openStore(t, impatient(storetest.Gateway(t)))
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) //nolint:errcheck // end of the test
	var readers []io.Closer
	defer func() {
		for _, r := range readers {
			r.Close() //nolint:errcheck // only read
		}
	}()
	s.Close() //nolint:errcheck // so that no connection is left to be used again
	for {
		p, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		readers = append(readers, descriptor(p))
	}
	for what, err := range map[string]error{"put": storetest.Put(t.Context(), s, columnar.NewObjectName(), []byte("x")), "delete": s.Delete(t.Context(), name)} {
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, r := range readers {
		r.Close() //nolint:errcheck // only read
	}
	readers = nil
	if _, err := storetest.Get(t.Context(), s, name, 0, 3); err != nil {
		t.Errorf("back to normal: %v", err)
	}
}

type descriptor int

func (d descriptor) Close() error { return syscall.Close(int(d)) }
