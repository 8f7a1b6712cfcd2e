package keystore_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// The anchor could not be moved with the last change, and the replica shows a branch from before it, with a new password: the change was
// acknowledged, so the branch is a fork, whatever the anchor says.
func TestE04_FollowAForkOfTheNewestChange(t *testing.T) {
	for _, locked := range []bool{false, true} {
		a, remote, kit := joinedRig(t)
		b := fetched(t, remote, kit)
		common := remote.Records()
		anchor := readFile(t, filepath.Join(a.dir, "vault.anchor"))
		a.put("x", "acknowledged")
		if err := os.WriteFile(filepath.Join(a.dir, "vault.anchor"), anchor, 0o600); err != nil { // as after a crash before it moved
			t.Fatal(err)
		}
		remote.Set(common)
		if err := b.vault.ChangePassword(t.Context(), []byte(password), []byte(another)); err != nil {
			t.Fatal(err)
		}
		if locked {
			a.vault.Lock()
		}
		records := a.records()
		wantCode(t, a.vault.Follow(t.Context(), remote, []byte(another), nil), fault.Forked)
		if !a.saw(keystore.EventForked) || !maps.EqualFunc(a.records(), records, slices.Equal) {
			t.Fatal("the branch was taken over", a.events)
		}
	}
}
