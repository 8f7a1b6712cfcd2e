package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

func testRoundTrip(t *testing.T, s columnar.Store) {
	for i, n := range []int{0, 1, 4095, 4096, 1 << 20, 5 << 20, Large} {
		body := Bytes(uint64(i), n)
		wantBody(t, s, mustPut(t, s, body), body)
	}
}

// testWriteCopies writes slices of random lengths through one buffer that is overwritten at once.
func testWriteCopies(t *testing.T, s columnar.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	body, name := Bytes(seed, Large), columnar.NewObjectName()
	u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	for rest := body; len(rest) > 0; {
		n := copy(buf[:r.IntN(len(buf))], rest)
		if m, err := u.Write(buf[:n]); err != nil || m != n {
			t.Fatalf("wrote %d of %d: %v", m, n, err)
		}
		rest = rest[n:]
		clear(buf)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if err := u.Abort(); err != nil {
		t.Fatalf("abort after close: %v", err)
	}
	wantBody(t, s, name, body)
}

func testNeverReplaces(t *testing.T, s columnar.Store) {
	for _, n := range []int{100, Large} {
		first := Bytes(1, n)
		name := mustPut(t, s, first)
		wantCode(t, "second write", Put(t.Context(), s, name, Bytes(2, n)), fault.Conflict)
		wantCode(t, "second write, other length", Put(t.Context(), s, name, Bytes(2, 7)), fault.Conflict)
		wantBody(t, s, name, first)
	}
}

// testRace has eight writers of one name: one wins, and the object is its.
func testRace(t *testing.T, s columnar.Store) {
	name := columnar.NewObjectName()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = Put(t.Context(), s, name, Bytes(uint64(i), 1000)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatalf("writers %d and %d both won", winner, i)
		default:
			wantCode(t, "loser", err, fault.Conflict)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	wantBody(t, s, name, Bytes(uint64(winner), 1000))
}

func testNothingBeforeClose(t *testing.T, s columnar.Store) {
	name := columnar.NewObjectName()
	u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(Bytes(1, Large)); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, name)
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	wantBody(t, s, name, Bytes(1, Large))
}

func testAbort(t *testing.T, s columnar.Store) {
	for _, n := range []int{0, 100, Large} {
		name := columnar.NewObjectName()
		u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(Bytes(1, n)); err != nil {
			t.Fatal(err)
		}
		if err := u.Abort(); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("more")); err == nil {
			t.Fatal("an aborted upload takes more")
		}
		if u.Close() == nil {
			t.Fatal("an aborted upload can be closed")
		}
		wantNothing(t, s, name)
		body := Bytes(2, 50)
		if err := Put(t.Context(), s, name, body); err != nil {
			t.Fatalf("name of an aborted upload: %v", err)
		}
		wantBody(t, s, name, body)
	}
}

func testCancelled(t *testing.T, s columnar.Store) {
	for _, n := range []int{100, Large} {
		ctx, cancel := context.WithCancel(t.Context())
		name := columnar.NewObjectName()
		u, err := s.Create(ctx, name, columnar.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(Bytes(1, n)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := u.Close(); !errors.Is(err, context.Canceled) {
			t.Fatalf("close after cancel: %v", err)
		}
		if err := u.Abort(); err != nil {
			t.Fatal(err)
		}
		wantNothing(t, s, name)
		if _, err := Get(ctx, s, name, 0, 1); !errors.Is(err, context.Canceled) {
			t.Fatalf("read after cancel: %v", err)
		}
	}
}

func testAbortUploads(t *testing.T, s columnar.Store) {
	name, other := columnar.NewObjectName(), mustPut(t, s, Bytes(3, 10))
	for range 2 { // what a process that died leaves
		u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(Bytes(1, Large)); err != nil {
			t.Fatal(err)
		}
		defer u.Abort() //nolint:errcheck // for its goroutines
	}
	for range 2 {
		if err := s.AbortUploads(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantNothing(t, s, name)
	if err := s.AbortUploads(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	wantBody(t, s, other, Bytes(3, 10))
}

func testProgress(t *testing.T, s columnar.Store) {
	var last int64
	u, err := s.Create(t.Context(), columnar.NewObjectName(), columnar.CreateOptions{SizeHint: Large, Progress: func(n int64) {
		if n < last {
			t.Errorf("progress fell from %d to %d", last, n)
		}
		last = n
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(Bytes(1, Large)); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if last != Large {
		t.Fatalf("progress ended at %d of %d", last, Large)
	}
}

func testBadName(t *testing.T, s columnar.Store) {
	for _, bad := range []columnar.ObjectName{"", "..", "../../etc/passwd", "ab/cd", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aaaaaaaaaaaaaaaaaaaaaaaaa\x00"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken as a name", bad)
				}
			}()
			_ = s.Delete(t.Context(), bad) // it panics
		}()
	}
}

func testCheck(t *testing.T, s columnar.Store) {
	probes := s.Check(t.Context())
	if len(probes) != 5 {
		t.Fatalf("%d probes", len(probes))
	}
	for _, p := range probes {
		if p.Err != nil || p.Text == "" {
			t.Errorf("%s: %s: %v", p.Name, p.Text, p.Err)
		}
	}
	if n := len(listed(t, s)); n != 0 {
		t.Fatalf("%d objects left", n)
	}
}
