package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// dice is a seeded generator for several goroutines.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(t testing.TB) *dice {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &dice{r: rand.New(rand.NewPCG(seed, 0))}
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

func (d *dice) percent(p int) bool { return d.n(100) < p }

// flaky answers a share of the requests with an error, half of them after having carried them out.
func flaky(d *dice, percent *atomic.Int32, faults *atomic.Int32) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !d.percent(int(percent.Load())) {
			next.ServeHTTP(w, r)
			return
		}
		faults.Add(1)
		if d.percent(50) {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		io.Copy(io.Discard, r.Body) //nolint:errcheck // so that the connection lives
		status := []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests}[d.n(3)]
		w.WriteHeader(status)
		if d.percent(50) {
			fmt.Fprint(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
		}
	}
}

// operations runs n operations (put, size, get, delete in turn) on eight goroutines and counts those that worked. Every failure is
// fault.Unavailable, and what was read is what was written.
func operations(t *testing.T, s columnar.Store, n int) (worked int) {
	t.Helper()
	var wg sync.WaitGroup
	var ok atomic.Int32
	count := func(err error) bool {
		if err == nil {
			ok.Add(1)
		} else if !errors.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		return err == nil
	}
	for g := range 8 {
		wg.Go(func() {
			for i := range n / 8 / 4 {
				name, body := columnar.NewObjectName(), storetest.Bytes(uint64(g*1000+i), 2000)
				stored := count(storetest.Put(t.Context(), s, name, body))
				if size, err := s.Size(t.Context(), name); stored || err == nil {
					if count(err) && size != int64(len(body)) {
						t.Errorf("size %d", size)
					}
				}
				if got, err := storetest.Get(t.Context(), s, name, 10, 1000); stored || err == nil {
					if count(err) && !bytes.Equal(got, body[10:1010]) {
						t.Error("other bytes")
					}
				}
				count(s.Delete(t.Context(), name))
			}
		})
	}
	wg.Wait()
	return int(ok.Load())
}

func TestF08_ErrorsOfTheServer(t *testing.T) {
	const n = 512
	for _, c := range []struct{ percent, need int }{{10, n}, {50, n * 80 / 100}} {
		t.Run(fmt.Sprint(c.percent), func(t *testing.T) {
			var percent, faults atomic.Int32
			percent.Store(int32(c.percent)) //nolint:gosec // at most 100
			server := storetest.Fake(t).Front(t, flaky(newDice(t), &percent, &faults))
			s := openStore(t, configFor(server))
			worked := operations(t, s, n)
			t.Logf("%d of %d worked, %d faults", worked, n, faults.Load())
			if worked < c.need || int(faults.Load()) < n*c.percent/200 {
				t.Fatal("not what was asked for")
			}
			percent.Store(0)
			if worked := operations(t, s, 32); worked != 32 {
				t.Fatalf("afterwards %d of 32 worked", worked)
			}
		})
	}
}

// TestF08_Parts sends large objects past a server of which a fifth of all answers are errors.
func TestF08_Parts(t *testing.T) {
	var percent, faults atomic.Int32
	percent.Store(20)
	server := storetest.Gateway(t)
	s := openStore(t, configFor(server.Front(t, flaky(newDice(t), &percent, &faults))))
	body := storetest.Bytes(7, storetest.Large)
	for range 8 {
		name := columnar.NewObjectName()
		if err := storetest.Put(t.Context(), s, name, body); err != nil {
			if !errors.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			continue
		}
		if got, err := storetest.Get(t.Context(), s, name, 0, storetest.Large); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	percent.Store(0)
	// A failed upload may be left if clearing up failed too; the next start finds it by name.
	for _, left := range server.Uploads(t) {
		name := columnar.ObjectName(left[len("p/") : len("p/")+columnar.ObjectNameSize])
		if err := s.AbortUploads(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	noUploads(t, server)
}

// TestF08_Limits counts the attempts at a server that always fails, and those that are not worth another.
func TestF08_Limits(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   fault.Code
		tries  int32
	}{
		{500, "InternalError", fault.Unavailable, 6},
		{503, "SlowDown", fault.Unavailable, 6},
		{429, "", fault.Unavailable, 6},
		{502, "", fault.Unavailable, 6},
		{409, "OperationAborted", fault.Unavailable, 6},
		{400, "RequestTimeout", fault.Unavailable, 6},
		{400, "BadDigest", fault.Unavailable, 6},
		{200, "InternalError", fault.Unavailable, 6},
		{403, "AccessDenied", fault.Forbidden, 1},
		{403, "SignatureDoesNotMatch", fault.Forbidden, 1},
		{401, "", fault.Forbidden, 1},
		{403, "QuotaExceeded", fault.StorageFull, 1},
		{507, "InsufficientStorage", fault.StorageFull, 1},
		{507, "", fault.StorageFull, 1},
		{507, "XMinioStorageFull", fault.StorageFull, 1},
		{404, "NoSuchKey", fault.NotFound, 1},
		{404, "NoSuchBucket", fault.InvalidRequest, 1},
		{416, "InvalidRange", fault.Incomplete, 1},
		{400, "EntityTooLarge", fault.TooLarge, 1},
		{501, "NotImplemented", fault.Policy, 1},
		{301, "PermanentRedirect", fault.Policy, 1},
		{307, "TemporaryRedirect", fault.Policy, 1},
		{400, "InvalidRequest", fault.Policy, 1},
	} {
		var seen atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen.Add(1)
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
			w.WriteHeader(c.status)
			fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>secret text</Message></Error>", c.code)
		}))
		s := openStore(t, configFor(storetest.Server{Endpoint: server.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "s"}))
		_, err := storetest.Get(t.Context(), s, columnar.NewObjectName(), 0, 10)
		if c.status == 200 { // not the range that was asked for
			c.code = ""
		}
		if !errors.Is(err, c.want) || seen.Load() != c.tries {
			t.Errorf("%d %s: %d tries, %v", c.status, c.code, seen.Load(), err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("secret text")) {
			t.Errorf("the server's text is in %v", err)
		}
		s.Close() //nolint:errcheck // never fails
		server.Close()
	}
}

// TestF09_DamagedBodies damages half of all answers to a read. What is wrong in length or place is noticed here and read again; other
// bytes of the right length cannot be, that is for the hashes of the manifest.
func TestF09_DamagedBodies(t *testing.T) {
	d := newDice(t)
	var damaged atomic.Int32
	server := storetest.Fake(t).Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		body, h := rec.Body.Bytes(), w.Header()
		for k, v := range rec.Header() {
			h[k] = v
		}
		if r.Method == http.MethodGet && rec.Code == http.StatusPartialContent && d.percent(50) {
			damaged.Add(1)
			body = damage(d.n(7), body, h)
		}
		w.WriteHeader(rec.Code)
		w.Write(body) //nolint:errcheck // too long for its header in one case
	})
	s := openStore(t, configFor(server))
	body := storetest.Bytes(1, 100_000)
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, body); err != nil {
		t.Fatal(err)
	}
	var worked int
	for range 500 {
		off := int64(d.n(90_000))
		n := int64(1 + d.n(10_000))
		got, err := storetest.Get(t.Context(), s, name, off, n)
		if err == nil {
			worked++
			if !bytes.Equal(got, body[off:off+n]) {
				t.Fatalf("%d bytes at %d: %d other bytes and no error", n, off, len(got))
			}
		} else if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Incomplete) {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 500 worked, %d answers damaged", worked, damaged.Load())
	if worked < 250 || damaged.Load() < 200 {
		t.Fatal("not what was asked for")
	}
}

// damage changes a body or its headers.
func damage(how int, body []byte, h http.Header) []byte {
	switch how {
	case 0: // cut, and the connection with it
		return body[:len(body)/2]
	case 1: // cut, with headers that agree
		body = body[:len(body)/2]
		h.Set("Content-Length", fmt.Sprint(len(body)))
	case 2: // too long, with headers that agree
		body = append(body, "more"...)
		h.Set("Content-Length", fmt.Sprint(len(body)))
	case 3: // more than announced
		return append(body, "more"...)
	case 4: // another place
		var first, last, total int64
		fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total) //nolint:errcheck // as the server wrote it
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first+1, last+1, total+1))
	case 5: // no place
		h.Del("Content-Range")
	case 6: // nonsense
		h.Set("Content-Range", "bytes 5-3/-1")
	}
	return body
}

// TestF09_OtherBytes shows what the store cannot see: its reader gives them out, and the manifest's hash must refuse them.
func TestF09_OtherBytes(t *testing.T) {
	server := storetest.Fake(t).Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(bytes.ToUpper(rec.Body.Bytes())) //nolint:errcheck // a test's own server
	})
	s := openStore(t, configFor(server))
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if got, err := storetest.Get(t.Context(), s, name, 0, 3); err != nil || string(got) != "ABC" {
		t.Fatalf("%q, %v", got, err)
	}
}
