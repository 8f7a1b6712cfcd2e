package s3

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func moments() int {
	if os.Getenv("COLDFRAME_NIGHTLY") != "" {
		return 200
	}
	return 20
}

// whole fails the test unless the object is there whole or not at all.
func whole(t *testing.T, s columnar.Store, name columnar.ObjectName, body []byte) (there bool) {
	t.Helper()
	got, err := storetest.Get(t.Context(), s, name, 0, int64(len(body)))
	if errors.Is(err, fault.NotFound) {
		return false
	}
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("an object is partly there: %d bytes, %v", len(got), err)
	}
	return true
}

// TestF12_Cancelled cancels uploads at random moments.
func TestF12_Cancelled(t *testing.T) {
	for name, start := range map[string]func(testing.TB) storetest.Server{"fake": storetest.Fake, "versitygw": storetest.Gateway} {
		t.Run(name, func(t *testing.T) {
			d, server := newDice(t), start(t)
			s := openStore(t, configFor(server))
			body := storetest.Bytes(1, 4*MinPartSize)
			for range moments() {
				ctx, cancel := context.WithCancel(t.Context())
				timer := time.AfterFunc(time.Duration(d.n(100_000))*time.Microsecond, cancel)
				name := columnar.NewObjectName()
				err := storetest.Put(ctx, s, name, body)
				timer.Stop()
				cancel()
				if there := whole(t, s, name, body); there != (err == nil) {
					t.Fatalf("put said %v, there: %v", err, there)
				}
				noUploads(t, server)
			}
		})
	}
}

// TestF12_Died breaks all connections at random moments, as if the process had died, and starts again.
func TestF12_Died(t *testing.T) {
	d, server := newDice(t), storetest.Gateway(t)
	after := openStore(t, configFor(server))
	body := storetest.Bytes(2, 4*MinPartSize)
	for range moments() {
		var dead atomic.Bool
		front := server.Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if dead.Load() {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		c := configFor(front)
		c.Limits.Tries = 2
		s := openStore(t, c)
		name := columnar.NewObjectName()
		timer := time.AfterFunc(time.Duration(d.n(100_000))*time.Microsecond, func() { dead.Store(true) })
		err := storetest.Put(t.Context(), s, name, body)
		timer.Stop()
		s.Close()      //nolint:errcheck // never fails
		for range 20 { // the server may still be busy with a part
			if err := after.AbortUploads(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if len(server.Uploads(t)) == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		noUploads(t, server)
		if there := whole(t, after, name, body); err == nil && !there {
			t.Fatal("an acknowledged object is gone")
		}
	}
}

func TestResume(t *testing.T) {
	for name, start := range map[string]func(testing.TB) storetest.Server{"fake": storetest.Fake, "versitygw": storetest.Gateway} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			s := openStore(t, configFor(server))
			for _, written := range []int{MinPartSize + 1, 2*MinPartSize + 1, 3*MinPartSize + 17} {
				resumeAfter(t, s, written)
				noUploads(t, server)
			}
		})
	}
}

func resumeAfter(t *testing.T, s *Store, written int) {
	t.Helper()
	body, name := storetest.Bytes(3, 4*MinPartSize+99), columnar.NewObjectName()
	u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := u.(columnar.Resumable)
	if first.Token() != nil {
		t.Fatal("a token before there is anything to resume")
	}
	if _, err := first.Write(body[:written]); err != nil {
		t.Fatal(err)
	}
	if err := first.Suspend(); err != nil {
		t.Fatal(err)
	}
	tok := first.Token()
	second, off, err := s.Resume(t.Context(), tok, columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64((written - 1) / MinPartSize * MinPartSize); off != want {
		t.Fatalf("goes on at %d, want %d", off, want)
	}
	if _, err := second.Write(body[off:]); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if !whole(t, s, name, body) {
		t.Fatal("not there")
	}
	if _, _, err := s.Resume(t.Context(), tok, columnar.CreateOptions{}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("resume of a completed upload: %v", err)
	}
}

func TestResumeOfAnAbortedUpload(t *testing.T) {
	s := openStore(t, configFor(storetest.Gateway(t)))
	u, err := s.Create(t.Context(), columnar.NewObjectName(), columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, MinPartSize+1)); err != nil {
		t.Fatal(err)
	}
	r, _ := u.(columnar.Resumable)
	tok := r.Token()
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Resume(t.Context(), tok, columnar.CreateOptions{}); !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	if _, _, err := s.Resume(t.Context(), tok[1:], columnar.CreateOptions{}); !errors.Is(err, fault.InvalidRequest) {
		t.Fatal(err)
	}
}
