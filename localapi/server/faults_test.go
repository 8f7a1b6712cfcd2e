package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// TestF18_FileDescriptors runs an agent in a process of its own that may have 64 files open, takes what is left by connections, and wants calls that fail to fail
// with an error, the process to live, calls to work again, and the number of files back where it was.
func TestF18_FileDescriptors(t *testing.T) {
	if os.Getenv("COLDFRAME_TEST_FILES") != "" {
		fewFiles(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestF18_FileDescriptors$", "-test.v")
	cmd.Env = append(os.Environ(), "COLDFRAME_TEST_FILES=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fewFiles(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	d, err := c.CreateDataset(t.Context(), "weather", "")
	must(t, err)
	put := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Put(ctx, d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv"})
		return err
	}
	must(t, put())
	c.Close()
	before := openFiles(t)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}))
	var conns []net.Conn
	for len(conns) < 200 {
		n, err := net.Dial("tcp", w.TCP)
		if err != nil {
			break
		}
		conns = append(conns, n)
	}
	if len(conns) == 200 {
		t.Fatal("the limit does not hold")
	}
	if err := put(); err == nil {
		t.Log("a write went through without a free file")
	} else if _, ok := errors.AsType[*localapi.Error](err); !ok && !errors.Is(err, localapi.Unavailable) {
		t.Errorf("a write without a free file: %v", err)
	}
	for _, n := range conns {
		n.Close()
	}
	deadline := time.Now().Add(20 * time.Second)
	for err := put(); err != nil; err = put() {
		if time.Now().After(deadline) {
			t.Fatalf("still failing: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.Close()
	http.DefaultClient.CloseIdleConnections()
	for openFiles(t) > before+2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d files before, %d after", before, openFiles(t))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(files)
}

// TestG02_TokenTiming compares how long the agent takes for a token that is wrong in its first byte and in its last one. It measures, so it runs alone.
func TestG02_TokenTiming(t *testing.T) {
	if os.Getenv("COLDFRAME_TIMING") == "" {
		t.Skip("measures time: set COLDFRAME_TIMING=1 and run it alone")
	}
	w := localapitest.Start(t, localapitest.Options{})
	token := w.Token()
	flip := func(i int) string {
		b := []byte(token)
		if b[i] == 'a' {
			b[i] = 'b'
		} else {
			b[i] = 'a'
		}
		return string(b)
	}
	first, last := flip(len("cf_user_")), flip(len(token)-2)
	const n = 2000
	var a, b []time.Duration
	for i := range 2*n + 200 {
		tok := first
		if i%2 == 1 {
			tok = last
		}
		began := time.Now()
		for range 16 { // one takes a few hundred nanoseconds, and the clock has steps of ten
			if _, err := w.Agent.Authenticate(tok); err == nil {
				t.Fatal("a wrong token was taken")
			}
		}
		took := time.Since(began)
		if i < 200 {
			continue
		}
		if i%2 == 1 {
			b = append(b, took)
		} else {
			a = append(a, took)
		}
	}
	ma, mb := median(a), median(b)
	t.Logf("median for the first byte %v, for the last %v", ma, mb)
	if d := max(ma, mb) - min(ma, mb); float64(d) > 0.05*float64(min(ma, mb)) {
		t.Errorf("the medians differ by %v", d)
	}
}
