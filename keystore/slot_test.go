package keystore

import (
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Whoever sees a header has the public key of each slot and can encapsulate to it. That must not be enough to put a vault key of his own
// in the slot: he lacks the slot key.
func TestV08_SlotFilledByAStranger(t *testing.T) {
	v, kit := registered(t)
	credential, err := v.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	h := v.c.header
	for kind, c := range map[slotKind]struct {
		slot   slot
		holder secret.Key
	}{
		slotRecovery:   {h.recovery, kit.RecoveryKey},
		slotUnattended: {*h.unattended, credential},
	} {
		if _, err := kind.open(c.slot, c.holder, h.user, h.keyID); err != nil {
			t.Fatalf("%s: the slot as it is: %v", kind, err)
		}
		forged, err := kind.fill(c.slot, secret.Random(), h.user, h.keyID, secret.Random())
		if err != nil {
			t.Fatal(err)
		}
		if key, err := kind.open(forged, c.holder, h.user, h.keyID); !errors.Is(err, fault.NotAuthentic) || !key.IsZero() {
			t.Errorf("%s: a slot that a stranger filled: %v", kind, err)
		}
	}
}
