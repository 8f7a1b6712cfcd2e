package columnar

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// meeting is a store whose reads wait for one another: it answers only once as many are open as it was told to expect.
type meeting struct {
	*memStore
	all      sync.WaitGroup
	requests atomic.Int64
	longest  atomic.Int64
}

func (m *meeting) ReadRange(ctx context.Context, n ObjectName, off, length int64) (io.ReadCloser, error) {
	m.requests.Add(1)
	if length > maxRequest {
		m.longest.Store(length)
	}
	m.all.Done()
	m.all.Wait()
	return m.memStore.ReadRange(ctx, n, off, length)
}

// A span that is longer than a request may be is read in pieces, all at once.
func TestLongSpan(t *testing.T) {
	body, name := make([]byte, 37<<20), NewObjectName()
	noise := rand.NewChaCha8([32]byte{})
	noise.Read(body) //nolint:errcheck // never fails
	store := &meeting{memStore: newMemStore()}
	store.objects[name] = body
	store.all.Add(3)
	var fetched atomic.Int64
	got := make([]byte, 36<<20)
	err := readRange(t.Context(), store, name, 1000, 0, got, &fetched)
	if err != nil || !bytes.Equal(got, body[1000:1000+36<<20]) || fetched.Load() != 36<<20 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if store.requests.Load() != 3 || store.longest.Load() != 0 {
		t.Errorf("%d requests, one of %d bytes", store.requests.Load(), store.longest.Load())
	}
}
