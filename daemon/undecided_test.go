package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// replicated is an agent whose vault a replica keeps.
func replicated(t *testing.T) (*running, *keystoretest.Replica) {
	t.Helper()
	a, remote := startAgent(t, t.TempDir(), nil), keystoretest.NewReplica()
	a.register()
	a.vault.Connect(remote)
	if err := a.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, remote
}

var errReset = errors.New("connection reset")

// loseAnswer has the replica make the next swap, or not, and then say nothing any more. The function it returns ends that.
func loseAnswer(remote *keystoretest.Replica, made bool) (mend func()) {
	hook := func(keystore.Swap) error {
		remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
		return errReset
	}
	if made {
		remote.AfterSwap = hook
	} else {
		remote.OnSwap = hook
	}
	return func() { remote.OnSwap, remote.AfterSwap, remote.OnRead = nil, nil, nil }
}

// A switch whose answer was lost may be made later: until it is decided nobody removes the objects that it names.
func TestUndecidedSwitchKeepsItsObjects(t *testing.T) {
	for name, made := range map[string]bool{"made": true, "not made": false} {
		t.Run(name, func(t *testing.T) {
			a, remote := replicated(t)
			id := a.create("t")
			a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
			before := a.objectFiles()
			mend := loseAnswer(remote, made)
			_, err := a.write(WriteRequest{Dataset: id}, "x\n2\n")
			wantCode(t, "write", err, fault.Unavailable)
			written := a.objectFiles()
			if len(written) <= len(before) || a.uploads() == 0 {
				t.Fatal("the objects of the pending switch are gone")
			}
			s, _, leave, err := a.enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			for range 2 {
				if err := a.sweepUploads(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(a.objectFiles(), written) {
				t.Fatal("the sweep took objects of the pending switch")
			}
			mend()
			if err := a.vault.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n2\n" || a.uploads() != 0 {
				t.Fatal(got, a.uploads())
			}
			a.mustWrite(WriteRequest{Dataset: id, Append: true}, "x\n3\n")
		})
	}
}

// The objects of a switch that is refused in the end, and of an upload that has nothing to do with it, go with the sweep.
func TestRefusedSwitchLosesItsObjects(t *testing.T) {
	a, remote := replicated(t)
	id := a.create("t")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	before := a.objectFiles()
	mend := loseAnswer(remote, false)
	_, err := a.write(WriteRequest{Dataset: id}, "x\n2\n")
	wantCode(t, "write", err, fault.Unavailable)
	other := journal{a: a.Agent}
	if err := other.register(columnar.NewObjectName()); err != nil {
		t.Fatal(err)
	}
	a.names.remove(other.all())
	s, _, leave, err := a.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	pending := a.uploads()
	if err := a.sweepUploads(t.Context(), s); err != nil || a.uploads() != pending-1 {
		t.Fatal("the sweep passes over what is pending, and nothing else:", err, a.uploads(), pending)
	}
	mend()
	remote.OnSwap = func(s keystore.Swap) error {
		if len(s.Changes) > 1 {
			return fault.New(fault.Forbidden, "no")
		}
		return nil
	}
	if err := a.vault.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.sweepUploads(t.Context(), s); err != nil || a.uploads() != 0 || !slices.Equal(a.objectFiles(), before) {
		t.Fatal(err, a.uploads(), a.objectFiles(), before)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Fatal(got)
	}
}

// A request with an Idempotency-Key that is sent again after its answer was lost has one effect, whether the coordinator made the change or not,
// and is not done again while nobody knows.
func TestSentAgainAfterALostAnswer(t *testing.T) {
	for _, made := range []bool{false, true} {
		a, remote := replicated(t)
		id := a.create("t")
		a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
		ids := map[string]bool{}
		calls := map[string]func() error{
			"create": func() error {
				d, err := a.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "u", IdempotencyKey: "k1"})
				if err == nil {
					ids[d.ID] = true
				}
				return err
			},
			"write": func() error {
				_, err := a.write(WriteRequest{Dataset: id, Append: true, IdempotencyKey: "k2"}, "x\n2\n")
				return err
			},
		}
		for name, call := range calls {
			swaps := 0
			mend := loseAnswer(remote, made)
			wantCode(t, name, call(), fault.Unavailable)
			wantCode(t, name+" again, without an answer", call(), fault.Unavailable)
			mend()
			remote.AfterSwap = func(keystore.Swap) error { swaps++; return nil }
			for range 2 {
				if err := call(); err != nil {
					t.Fatal(made, name, err)
				}
			}
			if made && swaps > 0 || swaps > 1 {
				t.Errorf("made %v: %s changed the vault %d times more", made, name, swaps)
			}
			remote.AfterSwap = nil
		}
		if list, err := a.Datasets(t.Context(), user, ""); err != nil || len(list) != 2 || len(ids) != 1 {
			t.Errorf("made %v: %d datasets, ids %v, %v", made, len(list), ids, err)
		}
		if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n2\n" {
			t.Errorf("made %v: read %q", made, got)
		}
		if a.countEvents(EventDatasetCreated) != 2 {
			t.Errorf("made %v: %d datasets were created", made, a.countEvents(EventDatasetCreated))
		}
	}
}

// The event of a switch whose answer was lost comes once the switch is made, whatever else was logged meanwhile, and takes no other's number.
func TestEventOfAnUndecidedSwitch(t *testing.T) {
	a, remote := replicated(t)
	id := a.create("t")
	sub, err := a.Subscribe(t.Context(), user, FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	mend := loseAnswer(remote, true)
	_, err = a.write(WriteRequest{Dataset: id}, "x\n2\n")
	wantCode(t, "write", err, fault.Unavailable)
	a.event(Event{Type: EventClock})
	mend()
	if err := a.vault.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.event(Event{Type: EventStoreChanged})
	var types []string
	for e := range sub.C {
		if e.ID != 0 {
			types = append(types, e.Type)
		}
		if e.Type == EventStoreChanged {
			break
		}
	}
	if !slices.Equal(types, []string{EventClock, EventVersion, EventStoreChanged}) {
		t.Fatal(types)
	}
}

// A vault that locks itself, here because the password that was set at last is another one, takes the session with it: the keys are wiped, callers
// get locked, and the new password opens.
func TestVaultThatLocksItself(t *testing.T) {
	a, remote := replicated(t)
	id := a.create("t")
	mend := loseAnswer(remote, true)
	const replacement = "quarry-mellow-93-lantern-fig"
	err := a.ChangePassword(t.Context(), []byte(testPassword), []byte(replacement))
	wantCode(t, "change", err, fault.Unavailable)
	mend()
	sub, err := a.Subscribe(t.Context(), user, FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	s, ctx, leave, err := a.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "sync", a.vault.Sync(t.Context()), fault.Locked)
	<-ctx.Done()
	wantCode(t, "call under way", context.Cause(ctx), fault.Locked)
	leave()
	for e := range sub.C {
		if e.Type == EventLocked {
			break
		}
	}
	if a.hasSession() || !s.signer.Key.IsZero() {
		t.Fatal("the session is still there")
	}
	_, err = a.read(ReadRequest{Dataset: id})
	wantCode(t, "read", err, fault.Locked)
	if err := a.Unlock(t.Context(), UnlockRequest{Password: []byte(replacement)}); err != nil {
		t.Fatal(err)
	}
	a.vault.Connect(remote) // opening has made it the coordinator's, and none is set
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
}

// silent is a replica whose swaps are answered when the caller gives up.
type silent struct {
	keystore.Replica
	reached chan struct{}
}

func (s silent) Swap(ctx context.Context, _ keystore.Swap) error {
	s.reached <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// Whoever gives up a call does not wait for a coordinator that does not answer.
func TestCallsEndWithTheirContext(t *testing.T) {
	a, remote := replicated(t)
	id := a.create("t")
	s := silent{Replica: remote, reached: make(chan struct{})}
	for name, call := range map[string]func(ctx context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := a.CreateDataset(ctx, user, CreateDatasetRequest{Title: "u"})
			return err
		},
		"delete": func(ctx context.Context) error { return a.DeleteDataset(ctx, user, id) },
		"write": func(ctx context.Context) error {
			_, err := a.WriteData(ctx, user, WriteRequest{Dataset: id, Format: format.CSV}, strings.NewReader("x\n1\n"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a.vault.Connect(s)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- call(ctx) }()
			select {
			case <-s.reached:
			case err := <-done:
				t.Fatal("it asked nobody:", err)
			}
			cancel()
			wantCode(t, name, <-done, fault.Unavailable)
			a.vault.Connect(remote)
			if err := a.vault.Republish(t.Context()); err != nil { // the change is given up
				t.Fatal(err)
			}
		})
	}
}
