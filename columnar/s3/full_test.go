package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// TestF06_StoreFull fills the store at write n = 1, 2, 3 … of a large object, until the object fits.
func TestF06_StoreFull(t *testing.T) {
	var left atomic.Int32
	server := storetest.Gateway(t)
	s := openStore(t, configFor(server.Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if (r.Method == http.MethodPut || r.Method == http.MethodPost) && left.Add(-1) < 0 {
			io.Copy(io.Discard, r.Body) //nolint:errcheck // so that the connection lives
			w.WriteHeader(http.StatusInsufficientStorage)
			fmt.Fprint(w, "<Error><Code>InsufficientStorage</Code></Error>")
			return
		}
		next.ServeHTTP(w, r)
	})))
	for _, size := range []int{100, storetest.Large} {
		body := storetest.Bytes(1, size)
		for n := range int32(20) {
			left.Store(n)
			name := columnar.NewObjectName()
			err := storetest.Put(t.Context(), s, name, body)
			if there := whole(t, s, name, body); there != (err == nil) {
				t.Fatalf("write %d: %v, there: %v", n+1, err, there)
			}
			noUploads(t, server)
			if err == nil {
				t.Logf("%d bytes took %d writes", size, n)
				break
			}
			if !errors.Is(err, fault.StorageFull) {
				t.Fatalf("write %d: %v", n+1, err)
			}
			if n == 19 {
				t.Fatal("it never fitted")
			}
		}
	}
}

// TestF19_Goroutines counts goroutines after work, failures and stops.
func TestF19_Goroutines(t *testing.T) {
	server := storetest.Gateway(t)
	before := runtime.NumGoroutine()
	s := openStore(t, configFor(server))
	if worked := operations(t, s, 64); worked != 64 {
		t.Fatalf("%d of 64 worked", worked)
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		u, err := s.Create(ctx, columnar.NewObjectName(), columnar.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(storetest.Bytes(1, storetest.Large)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := u.Abort(); err != nil {
			t.Fatal(err)
		}
		name := columnar.NewObjectName()
		if err := storetest.Put(t.Context(), s, name, storetest.Bytes(1, 1<<20)); err != nil {
			t.Fatal(err)
		}
		r, err := s.ReadRange(t.Context(), name, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r.Read(make([]byte, 10)) //nolint:errcheck // given up in the middle
		r.Close()                //nolint:errcheck // only read
	}
	s.Close() //nolint:errcheck // never fails
	settle(t, before+5)
}
