package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// impatient gives up soon: two tries of a fifth of a second each.
func impatient(server storetest.Server) Config {
	c := configFor(server)
	c.Limits = Limits{Tries: 2, Stall: 200 * time.Millisecond, Total: 3 * time.Second, Backoff: time.Millisecond, Cleanup: time.Second}
	return c
}

// drip writes a byte now and then, until the client has gone.
func drip(w http.ResponseWriter, r *http.Request, body []byte) {
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the test's own server
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// half passes an answer on and calls rest where its body should be.
func half(w http.ResponseWriter, r *http.Request, next http.Handler, rest func(body []byte)) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	rest(rec.Body.Bytes())
}

func TestF10_Stalls(t *testing.T) {
	server := storetest.Fake(t)
	good := openStore(t, configFor(server))
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), good, name, storetest.Bytes(1, 100_000)); err != nil {
		t.Fatal(err)
	}
	for what, serve := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler, hang func()){
		"never answers": func(_ http.ResponseWriter, _ *http.Request, _ http.Handler, hang func()) { hang() },
		"stops in the middle": func(w http.ResponseWriter, r *http.Request, next http.Handler, hang func()) {
			half(w, r, next, func(body []byte) {
				w.Write(body[:len(body)/2]) //nolint:errcheck // a test's own server
				w.(http.Flusher).Flush()    //nolint:forcetypeassert // the test's own server
				hang()
			})
		},
		"a byte at a time": func(w http.ResponseWriter, r *http.Request, next http.Handler, _ func()) {
			half(w, r, next, func(body []byte) { drip(w, r, body) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			over := make(chan struct{}) // a handler that does not read the body does not see that the client has gone
			s := openStore(t, impatient(server.Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				serve(w, r, next, func() {
					select {
					case <-r.Context().Done():
					case <-over:
					}
				})
			})))
			defer close(over)
			stalled(t, s, name, what == "never answers")
		})
	}
}

// stalled reads, and writes if that stalls too, from a server that does not get on.
func stalled(t *testing.T, s *Store, name columnar.ObjectName, writes bool) {
	t.Helper()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() {
			if _, err := storetest.Get(t.Context(), s, name, 0, 90_000); !errors.Is(err, fault.Unavailable) {
				t.Errorf("read: %v", err)
			}
		})
	}
	wg.Wait()
	if writes {
		for _, n := range []int{1000, storetest.Large} {
			if err := storetest.Put(t.Context(), s, columnar.NewObjectName(), make([]byte, n)); !errors.Is(err, fault.Unavailable) {
				t.Fatalf("write: %v", err)
			}
		}
		if _, err := s.Size(t.Context(), name); !errors.Is(err, fault.Unavailable) {
			t.Fatalf("size: %v", err)
		}
	}
	s.Close()             //nolint:errcheck // never fails
	settle(t, before+3*7) // those of the server's side, which is in this process and still hangs
}

// settle waits until at most n goroutines are left.
func settle(t *testing.T, n int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("F19: %d goroutines are left, want at most %d", runtime.NumGoroutine(), n)
}

// TestF10_SlowReader reads slowly from a good server: that is no stall.
func TestF10_SlowReader(t *testing.T) {
	c := configFor(storetest.Fake(t))
	body, name := storetest.Bytes(1, 12<<20), columnar.NewObjectName()
	if err := storetest.Put(t.Context(), openStore(t, c), name, body); err != nil {
		t.Fatal(err)
	}
	c.Limits = Limits{Tries: 1, Stall: time.Second}
	r, err := openStore(t, c).ReadRange(t.Context(), name, 0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []byte
	for buf := make([]byte, 6<<20); ; {
		n, err := io.ReadFull(r, buf)
		got = append(got, buf[:n]...)
		if err != nil {
			break
		}
		time.Sleep(1200 * time.Millisecond)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("%d bytes", len(got))
	}
}

// silent gives newServer a logger of nothing: the zero value of zerolog's, whose module this one need not name for that.
func silent[M, L, S any](newServer func(M, L) S) func(M) S {
	return func(m M) S {
		var logger L
		return newServer(m, logger)
	}
}

// toxic starts a proxy that can be made ill.
func toxic(t *testing.T, server storetest.Server) (storetest.Server, *toxiproxy.Proxy) {
	t.Helper()
	api := silent(toxiproxy.NewServer)(toxiproxy.NewMetricsContainer(nil))
	p := toxiproxy.NewProxy(api, "s3", "127.0.0.1:0", strings.TrimPrefix(server.Endpoint, "http://"))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	server.Endpoint = "http://" + p.Listen
	return server, p
}

func TestF11_Connections(t *testing.T) {
	behindProxy := storetest.Gateway(t)
	for _, c := range []struct{ what, toxic string }{
		{"reset", `{"name":"ill","type":"reset_peer","attributes":{"timeout":0}}`},
		{"half open", `{"name":"ill","type":"timeout","attributes":{"timeout":0}}`},
		{"closed in the middle", `{"name":"ill","type":"limit_data","attributes":{"bytes":1000}}`},
		{"slow", `{"name":"ill","type":"bandwidth","attributes":{"rate":1}}`},
	} {
		t.Run(c.what, func(t *testing.T) {
			server, p := toxic(t, behindProxy)
			config := impatient(server)
			s := openStore(t, config)
			body, name := storetest.Bytes(1, 200_000), columnar.NewObjectName()
			if err := storetest.Put(t.Context(), openStore(t, configFor(server)), name, body); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Toxics.AddToxicJson(strings.NewReader(c.toxic)); err != nil {
				t.Fatal(err)
			}
			if _, err := storetest.Get(t.Context(), s, name, 0, 200_000); !errors.Is(err, fault.Unavailable) {
				t.Fatalf("read: %v", err)
			}
			// The illness passes while a second read is at it.
			config.Limits.Tries, config.Limits.Backoff = 20, 50*time.Millisecond
			patient := openStore(t, config)
			timer := time.AfterFunc(300*time.Millisecond, func() { p.Toxics.ResetToxics(context.Background()) })
			defer timer.Stop()
			got, err := storetest.Get(t.Context(), patient, name, 0, 200_000)
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("afterwards: %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestF11_NotReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() //nolint:errcheck // so that the port refuses
	for what, c := range map[string]Config{
		"refused":       {Endpoint: "http://" + l.Addr().String(), AllowPlainHTTP: true},
		"not resolving": {Endpoint: "https://store.invalid"},
	} {
		c.Bucket, c.PathStyle, c.Credentials = "bucket", true, NewCredentials("a", []byte("s"), nil)
		c.Limits = Limits{Tries: 3, Backoff: time.Millisecond, Cleanup: time.Second}
		s := openStore(t, c)
		if _, err := s.Size(t.Context(), columnar.NewObjectName()); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
		if err := storetest.Put(t.Context(), s, columnar.NewObjectName(), []byte("x")); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
		if probes := s.Check(t.Context()); len(probes) != 1 || probes[0].Err == nil || !strings.Contains(probes[0].Text, "address") {
			t.Errorf("%s: %v", what, probes)
		}
	}
}

// TestF11_BrokenUpload breaks the connections of a large upload: the parts are sent again.
func TestF11_BrokenUpload(t *testing.T) {
	var n atomic.Int32
	server := storetest.Fake(t)
	s := openStore(t, configFor(server.Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && n.Add(1)%2 == 1 {
			io.CopyN(io.Discard, r.Body, 1<<20) //nolint:errcheck // then hang up
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})))
	body, name := storetest.Bytes(1, storetest.Large), columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, body); err != nil {
		t.Fatal(err)
	}
	if !whole(t, s, name, body) {
		t.Fatalf("not there after %d parts", n.Load())
	}
}
