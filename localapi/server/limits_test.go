package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/internal/fault"
)

func TestL11_SlowHeadIsClosed(t *testing.T) {
	b := startBench(t, limits{times: times{head: 150 * time.Millisecond}})
	for name, begin := range map[string]string{
		"nothing":            "",
		"a part of a head":   "GET /v1/status HT",
		"after a good one":   "GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\nGET /v1/st",
		"one byte at a time": "G",
	} {
		t.Run(name, func(t *testing.T) {
			c := b.dial()
			if _, err := io.WriteString(c, b.fill(begin)); err != nil {
				t.Fatal(err)
			}
			if name == "one byte at a time" {
				go drip(c)
			}
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				t.Fatal("still open")
			}
		})
	}
}

func drip(c net.Conn) {
	for {
		if _, err := c.Write([]byte("E")); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestL11_LongHeadIsRefused(t *testing.T) {
	b := startBench(t, limits{})
	long := strings.Repeat("x", maxHead)
	many := strings.Repeat("A: b\r\n", maxHeaders+1)
	for name, raw := range map[string]string{
		"field":  "GET /v1/status HTTP/1.1\r\n{host}\r\nA: " + long + "\r\n\r\n",
		"target": "GET /" + long + " HTTP/1.1\r\n{host}\r\n\r\n",
		"fields": "GET /v1/status HTTP/1.1\r\n{host}\r\n" + many + "\r\n",
	} {
		answers, bodies, closed := b.exchange(raw, 1)
		if len(answers) != 1 || answers[0].StatusCode != http.StatusRequestHeaderFieldsTooLarge || !closed || !strings.Contains(bodies[0], `"too_large"`) {
			t.Errorf("%s: %d answers, %q", name, len(answers), bodies)
		}
	}
}

func TestL11_LargeBodyIsRefused(t *testing.T) {
	b := startBench(t, limits{})
	unlock := "POST /v1/unlock HTTP/1.1\r\n{host}\r\n{auth}\r\nConnection: close\r\nContent-Type: application/json\r\n"
	for name, raw := range map[string]string{
		"by its length": fmt.Sprintf(unlock+"Content-Length: %d\r\n\r\n", maxBody+1) + strings.Repeat(" ", 1000),
		"in chunks":     fmt.Sprintf(unlock+"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", maxBody+1, strings.Repeat(" ", maxBody+1)),
	} {
		answers, bodies, _ := b.exchange(raw, 1)
		if len(answers) != 1 || answers[0].StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(bodies[0], `"too_large"`) {
			t.Errorf("%s: %d answers, %q", name, len(answers), bodies)
		}
	}
}

// TestL11_NoProgress stops in the middle of a body and stops reading in the middle of an answer; both end, and the handler learns of it.
func TestL11_NoProgress(t *testing.T) {
	b := startBench(t, limits{times: times{progress: time.Second}})
	ended := make(chan error, 1)
	b.api.write = func(_ context.Context, body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		ended <- err
		return err
	}
	answers, bodies, closed := b.exchange(put+"Content-Length: 100\r\n\r\nhello", 1)
	if err := <-ended; !errors.Is(err, fault.Incomplete) {
		t.Fatalf("the handler saw %v", err)
	}
	if len(answers) != 1 || answers[0].StatusCode != http.StatusRequestTimeout || !closed {
		t.Fatalf("%d answers, closed %v, %q", len(answers), closed, bodies)
	}
	answers, _, _ = b.exchange("POST /v1/unlock HTTP/1.1\r\n{host}\r\n{auth}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", 1)
	if len(answers) != 1 || answers[0].StatusCode != http.StatusRequestTimeout {
		t.Fatalf("a JSON body that stops: %d answers\n%s", len(answers), b.logs)
	}
	b.api.setRead(func(w io.Writer) error {
		piece := make([]byte, 1<<20)
		for {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return err
			}
		}
	})
	c := b.dial()
	io.WriteString(c, b.fill("GET /v1/datasets/d/data HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n")) //nolint:errcheck // the answer is what counts
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the handler saw %v", err)
	}
}

// TestL11_RefusedBodyIsNotWaitedFor: a caller without a token announces a body and sends none; the answer and the end come at once.
func TestL11_RefusedBodyIsNotWaitedFor(t *testing.T) {
	b := startBench(t, limits{})
	for _, announce := range []string{"Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"} {
		answers, _, closed := b.exchange("PUT /v1/datasets/d/data HTTP/1.1\r\n{host}\r\n"+announce, 1)
		if len(answers) != 1 || answers[0].StatusCode != http.StatusUnauthorized || !closed {
			t.Errorf("%d answers, closed %v", len(answers), closed)
		}
	}
}

// TestL11_BusyBeyondTheLimit fills all places and wants the next call refused, streams and health aside, and taken again afterwards.
func TestL11_BusyBeyondTheLimit(t *testing.T) {
	const n = 32
	b := startBench(t, limits{requests: n})
	release := make(chan struct{})
	var in sync.WaitGroup
	in.Add(n)
	b.api.status = func(context.Context) (GetStatusResponseObject, error) {
		in.Done()
		<-release
		return GetStatus200JSONResponse{State: StatusStateLocked}, nil
	}
	status := "GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n"
	results := make(chan int, n)
	for range n {
		c := b.dial()
		io.WriteString(c, b.fill(status)) //nolint:errcheck // the answer is what counts
		go func() {
			answers, _ := readAnswers(t, bufio.NewReader(c), 1)
			results <- answers[0].StatusCode
		}()
	}
	in.Wait()
	answers, bodies, _ := b.exchange("POST /v1/lock HTTP/1.1\r\n{host}\r\n{auth}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n", 1)
	if answers[0].StatusCode != http.StatusServiceUnavailable || answers[0].Header.Get("Retry-After") == "" || !strings.Contains(bodies[0], `"busy"`) {
		t.Errorf("status %d, %q", answers[0].StatusCode, bodies[0])
	}
	close(release)
	for range n {
		if s := <-results; s != http.StatusOK {
			t.Errorf("status %d", s)
		}
	}
	answers, _, _ = b.exchange("POST /v1/lock HTTP/1.1\r\n{host}\r\n{auth}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n", 1)
	if answers[0].StatusCode != http.StatusNoContent {
		t.Errorf("afterwards: status %d", answers[0].StatusCode)
	}
}

// TestL11_ConnectionsAreBounded opens more silent connections than there may be; the oldest go, and a normal call is answered.
func TestL11_ConnectionsAreBounded(t *testing.T) {
	const limit = 16
	b := startBench(t, limits{connections: limit})
	var silent []net.Conn
	for range 4 * limit {
		silent = append(silent, b.dial())
	}
	answers, _, _ := b.exchange("GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\nConnection: close\r\n\r\n", 1)
	if len(answers) != 1 || answers[0].StatusCode != http.StatusOK {
		t.Fatalf("%d answers", len(answers))
	}
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the oldest silent connection is still open: %v", err)
	}
	p := b.srv.listeners[0].(*guardedListener).pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) > limit {
		t.Errorf("%d connections", len(p.conns))
	}
}

// TestL11_WorkIsNotEvicted holds a request in work while silent connections fill the pool.
func TestL11_WorkIsNotEvicted(t *testing.T) {
	const limit = 8
	b := startBench(t, limits{connections: limit})
	release, in := make(chan struct{}), make(chan struct{})
	b.api.status = func(context.Context) (GetStatusResponseObject, error) {
		close(in)
		<-release
		return GetStatus200JSONResponse{State: StatusStateLocked}, nil
	}
	c := b.dial()
	io.WriteString(c, b.fill("GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n")) //nolint:errcheck // the answer is what counts
	<-in
	for range 3 * limit {
		b.dial()
	}
	answers, _, _ := b.exchange("GET /healthz HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n", 1)
	if len(answers) != 1 {
		t.Fatal("a new call got no answer")
	}
	close(release)
	if answers, _ := readAnswers(t, bufio.NewReader(c), 1); len(answers) != 1 || answers[0].StatusCode != http.StatusOK {
		t.Fatal("the request in work was lost")
	}
}

// TestF20_SlowClients: 500 clients send a byte a second; normal calls stay quick and the slow ones are closed in time. It measures, so it runs alone.
func TestF20_SlowClients(t *testing.T) {
	if os.Getenv("COLDFRAME_TIMING") == "" {
		t.Skip("measures time: set COLDFRAME_TIMING=1 and run it alone")
	}
	const slow = 500
	b := startBench(t, limits{})
	var mu sync.Mutex
	var longest time.Duration
	var all sync.WaitGroup
	for range slow {
		c := b.dial()
		all.Go(func() {
			began := time.Now()
			go func() {
				for {
					if _, err := c.Write([]byte("G")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			io.Copy(io.Discard, c) //nolint:errcheck // the end counts
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(began))
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	var took []time.Duration
	for open := true; open || len(took) < 500; {
		began := time.Now()
		answers, _, _ := b.exchange("GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\nConnection: close\r\n\r\n", 1)
		if len(answers) != 1 || answers[0].StatusCode != http.StatusOK {
			t.Fatalf("a normal call got %d answers", len(answers))
		}
		took = append(took, time.Since(began))
		select {
		case <-done:
			open = false
		default:
		}
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d normal calls, p99 %v; slow ones closed after at most %v", len(took), p99, longest)
	if p99 > 250*time.Millisecond || longest > 10*time.Second {
		t.Error("outside of 250 ms and 10 s")
	}
}

// TestF19_GoroutinesOfTheServer runs requests of all kinds, good, bad and cut off, and wants no goroutine left.
func TestF19_GoroutinesOfTheServer(t *testing.T) {
	b := startBench(t, limits{times: times{progress: 300 * time.Millisecond, head: 300 * time.Millisecond}})
	b.exchange("GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\nConnection: close\r\n\r\n", 1)
	before := runtime.NumGoroutine()
	for _, raw := range []string{
		"GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\nConnection: close\r\n\r\n",
		put + "Content-Length: 100\r\n\r\nhello", put + "Transfer-Encoding: chunked\r\n\r\nzz", "GET / HTTP/1.0\r\n\r\n", "GET /v1", "",
	} {
		for range 20 {
			c := b.dial()
			io.WriteString(c, b.fill(raw)) //nolint:errcheck // the server may close first
			c.Close()
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+5 {
		if time.Now().After(deadline) {
			buf := make([]byte, 64<<10)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestStreamThatFailsIsCutOff: a failure before the first byte is a problem, one after it ends the connection without the end of the body.
func TestStreamThatFailsIsCutOff(t *testing.T) {
	b := startBench(t, limits{})
	get := "GET /v1/datasets/d/data HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n"
	b.api.setRead(func(io.Writer) error { return fault.New(fault.NotAuthentic, "a chunk does not match its hash") })
	answers, bodies, _ := b.exchange(get+"GET /healthz HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n", 2)
	if len(answers) != 2 || answers[0].StatusCode != http.StatusUnprocessableEntity || !strings.Contains(bodies[0], "not_authentic") {
		t.Fatalf("%d answers, %q", len(answers), bodies)
	}
	for _, n := range []int{1, 1000, 100_000} {
		for name, end := range map[string]func() error{
			"error": func() error { return fault.New(fault.NotAuthentic, "a chunk does not match its hash") },
			"panic": func() error { panic("secret") },
		} {
			b.api.setRead(func(w io.Writer) error {
				if _, err := w.Write(make([]byte, n)); err != nil {
					return err
				}
				return end()
			})
			c := b.dial()
			io.WriteString(c, b.fill(get)) //nolint:errcheck // the answer is what counts
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err == nil {
				t.Errorf("%s after %d bytes looks like a success", name, n)
			}
		}
	}
	if strings.Contains(b.logs.String(), "secret") {
		t.Error("the text of a panic is in the log")
	}
}

// TestExpectContinue: a refusal comes before the body; a body that is wanted gets its 100.
func TestExpectContinue(t *testing.T) {
	b := startBench(t, limits{})
	c := b.dial()
	io.WriteString(c, b.fill(put+"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")) //nolint:errcheck // the answer is what counts
	br := bufio.NewReader(c)
	r, err := http.ReadResponse(br, nil)
	if err != nil || r.StatusCode != http.StatusContinue {
		t.Fatalf("%v, %v", r, err)
	}
	io.WriteString(c, "hello") //nolint:errcheck // as above
	if answers, bodies := readAnswers(t, br, 1); len(answers) != 1 || answers[0].StatusCode != 200 || !strings.Contains(bodies[0], `"written":5`) {
		t.Fatalf("%q", bodies)
	}
	refused := strings.Replace(put, "{auth}\r\n", "", 1)
	answers, _, closed := b.exchange(refused+"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", 1)
	if len(answers) != 1 || answers[0].StatusCode != http.StatusUnauthorized || !closed {
		t.Fatalf("%d answers, closed %v", len(answers), closed)
	}
}

// TestEarlyRefusalReachesTheClient: a client that sends a large body without waiting still reads why it was refused.
func TestEarlyRefusalReachesTheClient(t *testing.T) {
	b := startBench(t, limits{})
	b.api.write = func(context.Context, io.Reader) error { return fault.New(fault.Locked, "locked") }
	const size = 8 << 20
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+b.host+"/v1/datasets/d/data", strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+benchToken)
	req.Header.Set("Content-Type", "text/csv")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusLocked {
		t.Errorf("status %d", r.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}
