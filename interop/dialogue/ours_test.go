package dialogue

import (
	"io"
	"testing"

	"coldframe/interop/lines"
	"coldframe/interop/signalpeer/driver"
)

// connectOurs runs the driver of signalpeer in this process, where the race detector sees it.
func connectOurs(t testing.TB) *peer {
	in, toDriver := io.Pipe()
	fromDriver, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := driver.Serve(in, out)
		_ = out.CloseWithError(io.EOF)
		done <- err
	}()
	t.Cleanup(func() {
		_ = toDriver.Close()
		if err := <-done; err != nil {
			t.Errorf("the driver ended: %v", err)
		}
	})
	return &peer{Peer: lines.New(ours, toDriver, fromDriver), kind: ours}
}
