package coordinator

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// forever writes a text until the client has gone.
func forever(w io.Writer, text string) {
	b := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// drip writes a byte now and then, until the client has gone.
func drip(w http.ResponseWriter, r *http.Request) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for r.Context().Err() == nil {
		io.WriteString(w, " ")
		w.(http.Flusher).Flush()
		<-ticker.C
	}
}

// Answers of 1 GiB, of 10,000 levels, without an end, without progress: each ends as what it is, and none takes more than 32 MiB.
func TestC15_HugeAnswers(t *testing.T) {
	quick := pace{silence: 300 * time.Millisecond, start: 600 * time.Millisecond, slowest: 1 << 20}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		pace   pace
		want   error
	}{
		"1 GiB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			io.WriteString(w, `{"body":"`)
			forever(w, "AAAA")
		}, pace{}, fault.TooLarge},
		"1 GiB of space": {func(w http.ResponseWriter, _ *http.Request) { forever(w, " ") }, pace{}, fault.TooLarge},
		"10,000 levels":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat(`{"a":[`, 5000)) }, pace{}, fault.TooLarge},
		"levels, closed": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, nested(10000)) }, pace{}, fault.TooLarge},
		"a million links": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"links":[`+strings.Repeat("{},", 1<<20)+`{}]}`)
		}, pace{}, fault.TooLarge},
		"packed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 16<<20))
			z.Close()
		}, pace{}, fault.Incomplete},
		"a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ProblemType)
			w.WriteHeader(http.StatusConflict)
			forever(w, " ")
		}, pace{}, fault.TooLarge},
		"a head": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1 << 10 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1<<10))
			}
		}, pace{}, fault.Unavailable},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, quick, errSlow},
		"stalled": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, quick, errSlow},
		"dripping": {drip, quick, errSlow},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, serverOf(t, c.answer), c.pace)
			for what, call := range map[string]func(context.Context) error{
				"account": func(ctx context.Context) error { _, err := client.Account(ctx); return err },
				"links":   func(ctx context.Context) error { _, err := client.DeviceLinks(ctx, "me", 0); return err },
				"blob":    func(ctx context.Context) error { _, err := client.Blob(ctx, "vault", 0); return err },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				grown := memory(func() {
					if err := call(ctx); !errors.Is(err, c.want) {
						t.Errorf("%s: %v, want %v", what, err, c.want)
					}
				})
				if cancel(); grown > 32<<20 {
					t.Errorf("%s: %d MiB", what, grown>>20)
				}
			}
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// memory returns by how much the heap, garbage included, grew at most while fn ran.
func memory(fn func()) (grown uint64) {
	objects := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	runtime.GC()
	before, done := objects(), make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if now := objects(); now > before {
				grown = max(grown, now-before)
			}
		case <-done:
			return grown
		}
	}
}

// A slow line is no failure: an answer goes on for longer than a silence may, as long as bytes come; and so does a request.
func TestSlowCoordinator(t *testing.T) {
	body := make([]byte, 2<<20)
	hash := BlobHash("me", "vault", 1, [HashSize]byte{}, [NonceSize]byte{}, body)
	text, err := json.Marshal(BlobBody{Counter: 1, Hash: hash[:], Previous: make([]byte, HashSize), Nonce: make([]byte, NonceSize), Body: body})
	if err != nil {
		t.Fatal(err)
	}
	slowly := func(step func(n int) bool) {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for step(16 << 10) {
			<-ticker.C
		}
	}
	url := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			slowly(func(n int) bool { m, err := io.CopyN(io.Discard, r.Body, int64(n)); return err == nil && m > 0 })
			io.WriteString(w, `{"versions":[]}`)
			return
		}
		left := text
		slowly(func(n int) bool {
			n = min(n, len(left))
			w.Write(left[:n])
			w.(http.Flusher).Flush()
			left = left[n:]
			return len(left) > 0
		})
	})
	c := clientOf(t, url, pace{silence: time.Second, start: time.Second, slowest: 512 << 10})
	if b, err := c.Blob(t.Context(), "vault", 0); err != nil || len(b.Body) != len(body) {
		t.Error(err)
	}
	if _, err := c.Swap(t.Context(), Swap{Body: body}); err != nil {
		t.Error(err)
	}
}

// Of keys, signatures and histories a coordinator has nothing to say, and nothing that it says reaches a terminal as it was.
func TestOpinionsOfACoordinator(t *testing.T) {
	for code, want := range map[string]fault.Code{
		"conflict": fault.Conflict, "busy": fault.Busy, "storage_full": fault.StorageFull, "not_found": fault.NotFound, "policy": fault.Policy,
		"rolled_back": fault.NotAuthentic, "forked": fault.NotAuthentic, "key_changed": fault.NotAuthentic, "untrusted_key": fault.NotAuthentic,
		"stale": fault.NotAuthentic, "replayed": fault.NotAuthentic, "revoked": fault.NotAuthentic, "locked": fault.NotAuthentic,
		"internal": fault.Unavailable, "incomplete": fault.Unavailable, "unsupported_media_type": fault.Unavailable, "teapot": fault.Unavailable,
	} {
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ProblemType)
			w.WriteHeader(http.StatusConflict)
			json.NewEncoder(w).Encode(map[string]string{"code": code, "detail": "\x1b[2J\r\nno\u202ewhere\x00 \xff" + strings.Repeat("ä", 300), "title": "\x07"})
		})
		_, err := c.Account(t.Context())
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, want) || e.Problem.Code != string(want) {
			t.Errorf("%s became %v", code, err)
			continue
		}
		detail := *e.Problem.Detail
		if len(detail) > maxText || !strings.HasPrefix(detail, " [2J  no where  ä") || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x202e || r == 0xfffd }) {
			t.Errorf("%q", err)
		}
	}
}

// FuzzAnswer: what passes the check of its shape and is read into each type is small, and reads again to the same.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"user":"x"}`, `{"blobs":[{"name":"a","newest":{"counter":1},"history":[]}],"more":true}`, `{"messages":[{"body":"AAAA"}]}`, nested(9), `{"a":"\"["}`, `"\\"[[[[[[[[[`,
		`{"code":"busy","detail":"x","retry_after":1}`, "{\"code\":\"a\xff\",\"detail\":\"\x1b\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkShape(b) != nil {
			return
		}
		var list BlobPage
		if json.Unmarshal(b, &list) == nil && len(list.Blobs) > maxValues {
			t.Fatalf("%d blobs", len(list.Blobs))
		}
		var deep any
		if json.Unmarshal(b, &deep) == nil && levels(deep) > maxDepth {
			t.Fatalf("%q has %d levels", b, levels(deep))
		}
		if c := clean(string(b)); len(c) > maxText || clean(c) != c {
			t.Fatalf("%q became %q", b, c)
		}
	})
}

func levels(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n = max(n, levels(e))
		}
	case map[string]any:
		for _, e := range v {
			n = max(n, levels(e))
		}
	default:
		return 0
	}
	return n + 1
}
