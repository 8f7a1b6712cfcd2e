package keystore_test

import (
	"context"
	"sync"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// A refused vault is told of wherever it is met, not in Sync alone.
func TestEventsOfARefusedVault(t *testing.T) {
	a, remote, _ := joinedRig(t)
	old := remote.Records()
	a.put("x", "y")
	remote.Set(old)
	wantCode(t, a.tryPut("x", "z"), fault.RolledBack)
	if !a.saw(keystore.EventRolledBack) {
		t.Fatal(a.events)
	}
}

// What a replica refuses is not made, whatever the reason, and the next change is not kept waiting for it.
func TestRefusedSwapsAreNotPending(t *testing.T) {
	for _, code := range []fault.Code{
		fault.Revoked, fault.Stale, fault.NotAuthentic, fault.Unauthorized, fault.Busy, fault.UntrustedKey, fault.Replayed, fault.Incomplete,
		fault.Forbidden, fault.Policy, fault.InvalidRequest, fault.TooLarge, fault.NotFound, fault.StorageFull,
	} {
		r, remote, _ := joinedRig(t)
		remote.OnSwap = func(keystore.Swap) error { return fault.New(code, "no") }
		err := r.tryPut("x", "y")
		wantCode(t, err, code)
		if keystore.Undecided(err) || pendingWrites(r, "vault/root") {
			t.Error(code, "is undecided")
		}
		remote.OnSwap = nil
		r.put("x", "z")
	}
}

// A change that is sent again and refused by a replica that wants a login, or is busy, waits; any other refusal drops it.
func TestRefusedAgain(t *testing.T) {
	for code, stays := range map[fault.Code]bool{fault.Unauthorized: true, fault.Busy: true, fault.Unavailable: true, fault.Revoked: false, fault.Forbidden: false} {
		r, remote, _ := joinedRig(t)
		mend := loseAnswer(remote, false)
		wantCode(t, r.tryPut("x", "y"), fault.Unavailable)
		mend()
		remote.OnSwap = func(s keystore.Swap) error {
			if len(s.Changes) == 1 { // not the change
				return nil
			}
			return fault.New(code, "no")
		}
		if err := r.vault.Sync(t.Context()); (err != nil) != stays {
			t.Error(code, err)
		}
		if pendingWrites(r, "vault/root") != stays || r.saw(keystore.EventChangeDropped) == stays {
			t.Error(code, r.events)
		}
	}
}

// silent is a replica that answers when the caller gives up.
type silent struct {
	keystore.Replica
	first   func(ctx context.Context, names []string) ([]keystore.Remote, error) // answers until it gives nothing
	once    sync.Once
	reached chan struct{}
}

func (s *silent) Read(ctx context.Context, names []string) ([]keystore.Remote, error) {
	if s.first != nil {
		if answer, err := s.first(ctx, names); err != nil || answer != nil {
			return answer, err
		}
	}
	s.once.Do(func() { close(s.reached) })
	<-ctx.Done()
	return nil, ctx.Err()
}

// Whoever waits for a replica when the vault is locked gets that for an answer.
func TestLockBreaksOff(t *testing.T) {
	for name, do := range map[string]func(*rig) error{
		"change":    func(r *rig) error { return r.tryPut("x", "y") },
		"sync":      func(r *rig) error { return r.vault.Sync(t.Context()) },
		"join":      func(r *rig) error { return r.vault.Join(t.Context()) },
		"republish": func(r *rig) error { return r.vault.Republish(t.Context()) },
		"collect":   func(r *rig) error { _, err := r.vault.Collect(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var r *rig
			if name == "join" {
				r = newRigInMemory(t)
				r.register()
			} else {
				r, _, _ = joinedRig(t)
			}
			remote := &silent{Replica: keystoretest.NewReplica(), reached: make(chan struct{})}
			r.vault.Connect(remote)
			done := make(chan error)
			go func() { done <- do(r) }()
			<-remote.reached
			go r.vault.Lock()
			wantCode(t, <-done, fault.Locked)
		})
	}
}

// While a device follows, or another fetches, over a replica that does not answer: passwords are judged, a change waits no longer than its
// context, and Lock ends it.
func TestFollowDoesNotStallTheVault(t *testing.T) {
	for _, locked := range []bool{false, true} {
		a, b, remote, _ := behind(t)
		if err := a.vault.ChangePassword(t.Context(), []byte(password), []byte(another)); err != nil {
			t.Fatal(err)
		}
		if locked {
			b.vault.Lock()
		}
		s := &silent{Replica: remote, reached: make(chan struct{})}
		root := true
		s.first = func(ctx context.Context, names []string) ([]keystore.Remote, error) { // the root alone is answered
			if !root {
				return nil, nil
			}
			root = false
			return remote.Read(ctx, names)
		}
		done := make(chan error)
		go func() { done <- b.vault.Follow(t.Context(), s, []byte(another), nil) }()
		<-s.reached
		if err := b.vault.CheckPassword(t.Context(), []byte(password)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(fault.New(fault.Busy, "the caller went away"))
		wantCode(t, b.vault.UpdateContext(ctx, func(*keystore.Tx) error { return nil }), fault.Busy)
		wantCode(t, b.vault.Sync(ctx), fault.Busy)
		b.vault.Lock()
		wantCode(t, <-done, fault.Locked)
		if err := b.unlock(); err != nil {
			t.Fatal(err)
		}
		if err := b.vault.Follow(t.Context(), remote, []byte(another), nil); err != nil {
			t.Fatal(err)
		}
		sameVault(t, a, b)
	}
}

func TestLockEndsAFetch(t *testing.T) {
	_, remote, kit := joinedRig(t)
	n := newRigInMemory(t)
	s := &silent{Replica: remote, reached: make(chan struct{})}
	done := make(chan error)
	fetch := func(r keystore.Replica) error {
		return n.vault.Fetch(t.Context(), r, keystore.FetchOptions{Kit: kit, Password: []byte(password)})
	}
	go func() { done <- fetch(s) }()
	<-s.reached
	n.vault.Lock()
	wantCode(t, <-done, fault.Locked)
	if err := fetch(remote); err != nil {
		t.Fatal(err)
	}
}
