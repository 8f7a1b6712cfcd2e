package daemon

import (
	"strings"
	"testing"
	"time"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// exploding is a body, and a receiver, that panics after some calls.
type exploding struct {
	calls int
	line  string
}

func (e *exploding) next() {
	if e.calls--; e.calls < 0 {
		panic("canary of a table: " + e.line)
	}
}

func (e *exploding) Read(p []byte) (int, error) {
	e.next()
	return copy(p, strings.Repeat(e.line, len(p)/len(e.line))), nil
}

func (e *exploding) Write(p []byte) (int, error) {
	e.next()
	return len(p), nil
}

// TestPanicsLetGoOfEverything: a panic in a transfer is an error of that transfer; slot, journal, gate and keys are let go of.
func TestPanicsLetGoOfEverything(t *testing.T) {
	var log lockedBuffer
	a := startAgent(t, t.TempDir(), func(c *Config, o *Options) {
		c.Limits.Transfers = 1
		o.Logger = debugLog(&log)
	})
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "a,b\n1,x\n")
	for _, calls := range []int{0, 1, 40} { // before the schema is known, after, and with row groups on their way
		for _, key := range []string{"", "k"} {
			_, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV, AllowNewLayout: true, IdempotencyKey: key},
				&exploding{calls: calls, line: strings.Repeat("1,abcdefgh\n", 2000)})
			wantCode(t, "a body that panics", err, fault.Internal)
			if len(a.objectFiles()) != 1 || a.uploads() != 0 || len(a.slots) != 0 {
				t.Fatalf("after %d calls: objects %v, journal %d, slots %d", calls, a.objectFiles(), a.uploads(), len(a.slots))
			}
		}
	}
	s, err := a.ReadData(t.Context(), user, ReadRequest{Dataset: id})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a receiver that panics", s.WriteTo(t.Context(), &exploding{line: "x"}, format.CSV), fault.Internal)
	s.Close() //nolint:errcheck // it returns nil
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "a,b\n1,x\n" {
		t.Errorf("read %q", got)
	}
	if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "exploding") {
		t.Errorf("the log should name the place and not the value:\n%s", log.String())
	}
	begin := time.Now()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v", time.Since(begin))
	if a.keepOpen {
		t.Error("a call never left: the stop gave up waiting")
	}
}
