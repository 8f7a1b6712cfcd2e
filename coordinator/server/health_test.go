package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// breaking is a store that can fail, as one does for good after its disk failed.
type breaking struct {
	store.Store
	broken atomic.Bool
}

func (b *breaking) View(ctx context.Context, fn func(store.Tx) error) error {
	if b.broken.Load() {
		return fault.New(fault.Unavailable, "the disk failed")
	}
	return b.Store.View(ctx, fn)
}

// Once the disk failed health says so, and the server ends, so that whoever watches it opens the store again.
func TestF07_ServerEndsWithItsStore(t *testing.T) {
	st, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	b := &breaking{Store: st}
	all, err := state.New(t.Context(), b, open)
	if err != nil {
		t.Fatal(err)
	}
	s := New(all, Options{checkEvery: 200 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), l) }()
	health := func() int {
		t.Helper()
		r, err := http.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		beside := httptest.NewRecorder()
		s.Health(beside, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		if beside.Code != r.StatusCode {
			t.Errorf("beside the API %d", beside.Code)
		}
		return r.StatusCode
	}
	if got := health(); got != 200 {
		t.Errorf("%d", got)
	}
	b.broken.Store(true)
	if got := health(); got != 503 {
		t.Errorf("with a store that failed: %d", got)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, fault.Unavailable) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server goes on without its store")
	}
}
