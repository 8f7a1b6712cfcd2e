package coordinatortest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// Two users meet different histories, each consistent in itself; a frozen one; and an old one after a newer one.
func TestForks(t *testing.T) {
	w := newWorld(t)
	w.swap(w.alice, "vault", "common")
	fork := w.Main.Fork()
	w.Serve(fork, w.bob.User())
	w.swap(w.alice, "vault", "new")
	other := w.Register(UserN(1), coordinator.Options{}) // alice's second device
	w.sees(other, "vault", "new")
	if err := w.send(1, "lost for bob"); err != nil || len(w.inbox()) != 0 {
		t.Errorf("%v, %q", err, w.inbox())
	}
	w.Hook(func(e *Exchange) { // of one user, one device meets the fork
		if e.Header.Get("Authorization") != "" && e.Caller == w.alice.User() && e.Operation == "getBlob" {
			e.Branch = fork
		}
	})
	w.sees(w.alice, "vault", "common")
	w.Hook(nil)
	w.sees(w.alice, "vault", "new")

	old := w.Main.Fork()
	w.swap(w.alice, "vault", "newest")
	w.Serve(old, w.alice.User())
	w.sees(w.alice, "vault", "new")
	w.swap(w.alice, "vault", "of the old history")
	w.Serve(w.Main, w.alice.User(), w.bob.User())
	w.sees(w.alice, "vault", "newest")
	if got := w.inbox(); !slices.Equal(got, []string{"lost for bob"}) {
		t.Errorf("%q", got)
	}
}

// The server is gone for a while, in order and out of order, at its address and with what it had.
func TestRestartAndKill(t *testing.T) {
	w := newWorld(t)
	for i, end := range []func(){w.Main.Restart, func() { w.Main.Kill(); w.Main.Start() }, func() { w.Main.Kill(); w.Main.Kill(); w.Main.Restart() }} {
		body := string(rune('a' + i))
		w.swap(w.alice, "vault", body)
		end()
		w.sees(w.alice, "vault", body)
	}
	w.Main.Stop()
	if err := swap(w.alice, "vault", "x"); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	w.Main.Start()

	for want, acts := range []bool{false, true} { // no message, then one
		back := make(chan struct{})
		w.Hook(Nth("sendMessage", 1, func(e *Exchange) {
			if acts {
				e.Forward()
			}
			w.Main.Kill()
			w.Main.Start()
			close(back)
			e.Drop()
		}))
		if err := w.send(1, "x"); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%v: %v", acts, err)
		}
		<-back
		if n := len(w.inbox()); n != want {
			t.Errorf("killed, acted is %v: %d messages", acts, n)
		}
	}
}

// Of what was acknowledged nothing is lost, however often the server dies while several write, and streams of events come back.
func TestKillsUnderLoad(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	acknowledged := make([]int64, 4)
	var all sync.WaitGroup
	for i := range acknowledged {
		c := w.Register(UserN(10+i), coordinator.Options{})
		all.Go(func() {
			for ctx.Err() == nil {
				if swap(c, "vault", "x") == nil {
					acknowledged[i]++
				}
			}
		})
	}
	for range 6 {
		for start := len(w.Records("swapBlobs")); len(w.Records("swapBlobs")) < start+20; {
			time.Sleep(time.Millisecond)
		}
		w.Main.Kill()
		w.Main.Start()
	}
	cancel()
	all.Wait()
	for i, n := range acknowledged {
		b, err := w.Register(UserN(10+i), coordinator.Options{}).Blob(t.Context(), "vault", 0)
		if err != nil || b.Counter < n || n == 0 {
			t.Errorf("%d swaps were acknowledged, the counter is %d, %v", n, b.Counter, err)
		}
	}
}
