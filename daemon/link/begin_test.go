package link

import (
	"errors"
	"testing"

	"coldframe/coordinator"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// A machine without a vault logs in with a proof, keeps nothing, and its session ends when it says so. One of the recovery key may set a
// login proof and little else.
func TestBegin(t *testing.T) {
	settings, _ := real(t, nil)
	joined(t, settings)
	o := newRig(t, settings, &memory{}, nil).o
	o.Device = "00000000-0000-4000-8000-0000000000bb"
	begin := func(proof secret.Key, recovery bool) (*coordinator.Client, error) {
		b, err := Begin(t.Context(), o, proof, recovery)
		if err != nil {
			return nil, err
		}
		t.Cleanup(b.Close)
		return b.Client()
	}
	other := secret.Random()
	defer other.Wipe()
	for _, recovery := range []bool{false, true} {
		if _, err := begin(other, recovery); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("another proof: %v", err)
		}
	}
	c, err := begin(proof(t), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetRecovery(t.Context(), coordinator.RecoveryChange{Proof: proof(t).Bytes(), RecoveryProof: other.Bytes()}); err != nil {
		t.Fatal(err)
	}
	b, err := Begin(t.Context(), o, other, true)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c, err = b.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Account(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Sessions(t.Context()); !errors.Is(err, fault.Forbidden) {
		t.Errorf("a session of the recovery key may do more: %v", err)
	}
	if err := b.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Account(t.Context()); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("after the end: %v", err)
	}
}
