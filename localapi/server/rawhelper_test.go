package server_test

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"coldframe/localapi/localapitest"
)

// rawAnswer sends raw bytes over TCP, ends its side and returns all that comes back.
func rawAnswer(t *testing.T, w *localapitest.World, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", w.TCP)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, raw)
	must(t, err)
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Fatal(err)
	}
	return string(b)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
