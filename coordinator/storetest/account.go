package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// refreshOnce: of 32 that exchange one refresh token under their own ids at most one gets tokens that are good, and reuse ends the session.
func refreshOnce(t *testing.T, b *stateBench) {
	ctx := context.Background()
	tokens := b.user(0)
	other, err := b.Login(ctx, state.Login{User: UserN(0), Device: DeviceN(99), Proof: bytes32(0)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var got []state.Tokens
	for i := range 32 {
		wg.Go(func() {
			k, err := b.Refresh(ctx, tokens.Refresh, requestN(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got = append(got, k)
			} else if !errors.Is(err, fault.Unauthorized) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("%d exchanges of one token", len(got))
	}
	b.restart()
	for _, access := range []string{tokens.Access, got[0].Access} {
		if _, err := b.Authenticate(ctx, access); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("after reuse: %v", err)
		}
	}
	if c, err := b.Authenticate(ctx, other.Access); err != nil || c.User != UserN(0) {
		t.Errorf("the other session: %v", err)
	}
}

func invitationsOnce(t *testing.T, b *stateBench) {
	b.o.Registration = state.Invitation
	b.restart()
	ctx := context.Background()
	invitation, err := b.Invite(ctx, 3, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	registered := 0
	for i := range 12 {
		wg.Go(func() {
			for range 2 { // the answer was lost
				_, err := b.Register(ctx, state.NewAccount{User: UserN(i), Device: DeviceN(i), Email: bytes32(i), Proof: bytes32(i), Invitation: invitation})
				mu.Lock()
				if err == nil {
					registered++
				} else if !errors.Is(err, fault.Forbidden) {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if registered != 6 {
		t.Errorf("%d registrations went through, twice each, with an invitation for 3", registered)
	}
	b.o.Registration = state.Closed
	b.restart()
	for i := range 13 { // those that are there, and those that are not
		_, err := b.Register(ctx, state.NewAccount{User: UserN(i), Device: DeviceN(i), Email: bytes32(i), Proof: bytes32(i), Invitation: invitation})
		if !errors.Is(err, fault.Policy) {
			t.Errorf("registration is closed: %v", err)
		}
	}
}
