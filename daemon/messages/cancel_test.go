package messages

import (
	"context"
	"errors"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// An entry that is cancelled while Send works on it is not posted, wherever that is; whether its message was made is told.
func TestCancelledWhileItIsSent(t *testing.T) {
	for _, c := range []struct {
		step string
		left bool
	}{{"swap", false}, {"encrypted", false}, {"entered", true}} {
		w, alice, bob := pair(t)
		id := alice.enqueue(bob.p, "taken back")
		w.step = func(s string) {
			if s != c.step {
				return
			}
			w.step = nil
			if left, err := alice.Cancel(id); err != nil || left != c.left {
				t.Errorf("%s: left %v, %v", c.step, left, err)
			}
		}
		alice.send()
		if waits, err := alice.Waits(id); err != nil || waits || w.step != nil {
			t.Errorf("%s: it waits still, %v", c.step, err)
		}
		if n := bob.receive(); n != 0 {
			t.Errorf("%s: it arrived", c.step)
		}
		say(t, alice, bob, "the next one")
	}
}

// A call of a person's does not wait for a Send that the coordinator stalls, and what that tries is tried again after it.
func TestNothingWaitsForASend(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "before")
	posting, let := make(chan struct{}), make(chan struct{})
	alice.remote.post = func(string, string, []byte) error {
		close(posting)
		<-let
		return fault.New(fault.NotFound, "no such user")
	}
	id := alice.enqueue(bob.p, "stalls")
	sent := make(chan time.Time)
	go func() {
		next, err := alice.Send(t.Context())
		if err != nil {
			t.Error(err)
		}
		sent <- next
	}()
	<-posting
	done := make(chan error, 3)
	go func() {
		done <- alice.Hurry(bob.p.id)
		done <- alice.Reconnected()
		done <- alice.Restart(bob.p.id)
	}()
	for range 3 {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a call waits for a Send")
		}
	}
	alice.remote.post = nil
	close(let)
	if next := <-sent; next.After(alice.p.w.clock()) {
		t.Errorf("the next try is at %v", next)
	}
	if waits, err := alice.Waits(id); err != nil || !waits {
		t.Error(waits, err)
	}
}

// A message that was made, and dropped with its session, may have left, also while the next one is not made yet.
func TestCancelledAfterItsMessageWasDropped(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "before")
	busy := fault.New(fault.Busy, "not now")
	alice.remote.post = func(string, string, []byte) error { return busy }
	id := alice.enqueue(bob.p, "may have arrived")
	alice.send()
	alice.remote.swap = func(context.Context, []BlobChange) error { return busy }
	if err := errors.Join(alice.Restart(bob.p.id), alice.Hurry(bob.p.id)); err != nil {
		t.Fatal(err)
	}
	alice.send()
	var e *entry
	err := alice.db.View(func(tx *kv.Tx) (err error) { e, err = alice.findEntry(tx, id); return err })
	if err != nil || e == nil || len(e.Ciphertext) > 0 {
		t.Fatalf("the message was not dropped: %v, %v", e, err)
	}
	if left, err := alice.Cancel(id); err != nil || !left {
		t.Errorf("left %v, %v", left, err)
	}
}
