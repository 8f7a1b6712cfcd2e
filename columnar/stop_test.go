package columnar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// A store's failure that wraps io.EOF, as those of net/http do, is no end of the table for callers who ask with errors.Is.
func TestFailureIsNoEnd(t *testing.T) {
	w, store := hostileWorld(t)
	last := w.head.Parts[len(w.head.Parts)-1].Name
	store.Set(storetest.Hooks{Before: func(_ context.Context, op string, n columnar.ObjectName) error {
		if op == "read" && n == last {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("Get: %w", io.EOF), "the store went away")
		}
		return nil
	}})
	_, err := w.get(columnar.ReadOptions{})
	if !errors.Is(err, fault.Unavailable) || errors.Is(err, io.EOF) {
		t.Errorf("want unavailable and no io.EOF in it, got %v", err)
	}
}

// TestF19_CancelledInTheMiddle cancels a read while its chunks, and then its tails, hang in the store: Next ends, and nothing is left
// behind (TestMain looks for goroutines too).
func TestF19_CancelledInTheMiddle(t *testing.T) {
	w, store := hostileWorld(t)
	for _, let := range []int64{0, 3, 6} {
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		var reads atomic.Int64
		hanging := make(chan struct{}, 1000)
		store.Set(storetest.Hooks{Before: func(ctx context.Context, op string, _ columnar.ObjectName) error {
			if op == "read" && reads.Add(1) > let {
				hanging <- struct{}{}
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}})
		r, err := columnar.NewReader(ctx, store, w.head, w, columnar.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		<-hanging
		cancel()
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d reads: %v", let, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		}
	}
}

// TestSlowReader takes one batch of a table and waits: what is fetched meanwhile stays within the bound.
func TestSlowReader(t *testing.T) {
	const ahead = 1 << 20
	defer columnar.SetFetchAhead(ahead)()
	var fetched atomic.Int64
	store := storetest.NewHostile(folder(t), storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte {
		fetched.Add(int64(len(b)))
		return b
	}})
	w := newWorld(t, store, columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 256 << 10 }
	w.mustPut(columnartest.NewMixed(1).Batch(200_000))
	r, err := columnar.NewReader(t.Context(), store, w.head, w, columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	last := int64(-1)
	for same := 0; same < 20; same++ {
		time.Sleep(5 * time.Millisecond)
		if now := fetched.Load(); now != last {
			same, last = 0, now
		}
	}
	total := int64(w.head.Parts[0].Length)
	t.Logf("%d of %d bytes fetched", last, total)
	if last > 2*ahead || total < 3*ahead {
		t.Errorf("%d of %d bytes fetched for a reader that waits, %d allowed ahead", last, total, ahead)
	}
}
