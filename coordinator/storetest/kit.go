package storetest

import (
	"context"
	"testing"

	"coldframe/coordinator/state"
)

// keptSessionsAndKits: where sessions are kept, those of other devices and their credentials stay, and none that began with a kit which is replaced does;
// made again, a change ends nothing that began since.
func keptSessionsAndKits(t *testing.T, b *stateBench) {
	ctx := context.Background()
	own := b.user(0)
	c, password, secret := b.caller(own), 0, bytes32(30)
	set := func(kit int) error { return b.SetRecovery(ctx, c, bytes32(password), bytes32(kit)) }
	change := func(p state.ProofChange) func(int) error {
		return func(kit int) error {
			p.Old, p.Recovery = bytes32(password), bytes32(kit)
			if p.New = p.Old; p.KeepSessions {
				p.New = bytes32(kit + 50)
			}
			err := b.ChangeProof(ctx, c, p)
			password = int(p.New[0])
			return err
		}
	}
	if err := set(20); err != nil {
		t.Fatal(err)
	}
	proof := func(l *state.Login) { l.Proof = bytes32(password) }
	for i, replace := range []func(int) error{set, change(state.ProofChange{}), change(state.ProofChange{KeepSessions: true})} {
		old, kit := b.mustLogin(3, byRecovery(bytes32(20+i))), 21+i
		other, robot := b.mustLogin(1, proof), b.mustLogin(2, proof, credential(secret))
		if list, err := b.Sessions(ctx, UserN(0)); err != nil || len(list) != 4 || !list[3].Recovery || list[0].Recovery {
			t.Fatalf("%+v, %v", list, err)
		}
		if err := replace(kit); err != nil {
			t.Fatal(err)
		}
		b.in(old, false)
		began := b.mustLogin(3, byRecovery(bytes32(kit)))
		if err := replace(kit); err != nil { // the answer was lost
			t.Fatal(err)
		}
		b.restart()
		b.in(began, true)
		b.in(other, true)
		b.in(robot, true)
		b.in(own, true)
		b.in(b.mustLogin(2, byDevice(secret)), true)
	}
	// Whoever recovers replaces the kit, too, and stays in; somebody else with the old kit does not.
	k, thief := b.mustLogin(4, byRecovery(bytes32(23))), b.mustLogin(3, byRecovery(bytes32(23)))
	for range 2 {
		if err := b.ChangeProof(ctx, b.caller(k), state.ProofChange{Old: bytes32(23), New: bytes32(99), Recovery: bytes32(24), KeepSessions: true}); err != nil {
			t.Fatal(err)
		}
	}
	b.in(k, true)
	b.in(thief, false)
	if b.caller(k).Recovery {
		t.Error("the session is still that of a kit")
	}
}
