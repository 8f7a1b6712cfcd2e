package storetest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

func testRanges(t *testing.T, s columnar.Store) {
	body := Bytes(1, 100_000)
	name := mustPut(t, s, body)
	for _, c := range []struct{ off, n int64 }{
		{0, 1}, {0, 100_000}, {99_999, 1}, {1, 99_999}, {50_000, 8}, {0, 0}, {100_000, 0},
	} {
		got, err := Get(t.Context(), s, name, c.off, c.n)
		if err != nil || !bytes.Equal(got, body[c.off:c.off+c.n]) {
			t.Fatalf("%d bytes at %d: got %d, %v", c.n, c.off, len(got), err)
		}
	}
	for _, c := range []struct{ off, n int64 }{{0, 100_001}, {99_999, 2}, {100_000, 1}, {1 << 40, 1}} {
		_, err := Get(t.Context(), s, name, c.off, c.n)
		wantCode(t, "past the end", err, fault.Incomplete)
	}
	_, err := Get(t.Context(), s, columnar.NewObjectName(), 0, 1)
	wantCode(t, "absent", err, fault.NotFound)
}

// testRangeEnds reads through a tiny buffer: io.EOF comes after the last byte and not before.
func testRangeEnds(t *testing.T, s columnar.Store) {
	name := mustPut(t, s, Bytes(1, 1000))
	r, err := s.ReadRange(t.Context(), name, 10, 70)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := columnar.ObjectSize(r); !ok || n != 1000 {
		t.Fatalf("object size %d, %v", n, ok)
	}
	var total int
	for buf := make([]byte, 7); ; {
		n, err := r.Read(buf)
		total += n
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if total != 70 {
		t.Fatalf("%d bytes", total)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func testSizeAndDelete(t *testing.T, s columnar.Store) {
	name := mustPut(t, s, Bytes(1, 77))
	if n, err := s.Size(t.Context(), name); err != nil || n != 77 {
		t.Fatalf("size %d, %v", n, err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantNothing(t, s, name)
	if err := Put(t.Context(), s, name, Bytes(2, 5)); err != nil {
		t.Fatalf("name of a deleted object: %v", err)
	}
}

func listed(t *testing.T, s columnar.Store) map[columnar.ObjectName]int64 {
	t.Helper()
	got := map[columnar.ObjectName]int64{}
	err := s.List(t.Context(), func(name columnar.ObjectName, size int64, created time.Time) error {
		if _, twice := got[name]; twice {
			t.Errorf("%s is listed twice", name)
		}
		if d := time.Since(created); d < -24*time.Hour || d > 24*time.Hour {
			t.Errorf("%s was made at %v", name, created)
		}
		got[name] = size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func testList(t *testing.T, s columnar.Store) {
	want := map[columnar.ObjectName]int64{}
	for i := range 60 {
		want[mustPut(t, s, Bytes(uint64(i), i))] = int64(i)
	}
	if got := listed(t, s); !maps.Equal(got, want) {
		t.Fatalf("listed %d objects, want %d", len(got), len(want))
	}
}

func testListStops(t *testing.T, s columnar.Store) {
	for i := range 3 {
		mustPut(t, s, Bytes(uint64(i), 10))
	}
	stop := errors.New("stop")
	var calls int
	err := s.List(t.Context(), func(columnar.ObjectName, int64, time.Time) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}
