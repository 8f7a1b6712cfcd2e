package keystore_test

import (
	"maps"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// removedRig are two machines of a user, of which the first opens without a person, and the vault of a third one, which was removed: the password
// was changed after that.
func removedRig(t *testing.T) (server, removed *rig, remote *keystoretest.Replica, credential secret.Key) {
	t.Helper()
	server, remote, kit := joinedRig(t)
	laptop := fetched(t, remote, kit)
	credential = server.enableUnattended()
	removed = fetched(t, remote, kit)
	laptop.sync()
	laptop.changePassword(password, another)
	laptop.put("x", "after the removal")
	if err := server.vault.FollowUnattended(t.Context(), remote, credential); err != nil {
		t.Fatal(err)
	}
	return server, removed, remote, credential
}

// A machine that was removed and the coordinator know the hash of the newest root together, and have a former vault key and the slot keys. What they
// make of that is taken over by no machine, open or not, in whatever way it looks.
func TestV08_RemovedMachineMakesAVault(t *testing.T) {
	ctx := t.Context()
	former, slot := []byte(password), []byte(nil)
	for name, c := range map[string]struct {
		keystore.Forgery
		password []byte
	}{
		"former key":            {keystore.Forgery{}, former},
		"former key, far ahead": {keystore.Forgery{Ahead: 1000}, former},
		"newest header":         {keystore.Forgery{Header: true}, slot},
		"slot":                  {keystore.Forgery{OwnKey: true}, slot},
		"slot, far ahead":       {keystore.Forgery{OwnKey: true, Ahead: 1000}, slot},
	} {
		t.Run(name, func(t *testing.T) {
			server, removed, remote, credential := removedRig(t)
			good := remote.Records()
			remote.Set(edited(good, "v-root", removed.vault.Forge(t, good["v-root"].Body, c.Forgery)))
			records := server.records()
			refused := func(err error, codes ...fault.Code) {
				t.Helper()
				if !slices.Contains(codes, fault.CodeOf(err)) {
					t.Errorf("%v; want %v", err, codes)
				}
				if !maps.EqualFunc(server.records(), records, slices.Equal) {
					t.Fatal("something was taken over")
				}
			}
			refused(server.vault.Sync(ctx), fault.NotAuthentic, fault.Locked)
			refused(server.tryPut("secret", "of the user"), fault.NotAuthentic, fault.Locked)
			follow := func() {
				t.Helper()
				refused(server.vault.FollowUnattended(ctx, remote, credential), fault.NotAuthentic, fault.Locked)
				if c.password != nil {
					refused(server.vault.Follow(ctx, remote, c.password, nil), fault.NotAuthentic)
				}
			}
			follow()
			if server.wants("x", "after the removal"); !server.saw(keystore.EventDamaged) {
				t.Error("no event:", server.events)
			}
			server.vault.Lock()
			follow()
			remote.Set(good)
			if err := server.vault.FollowUnattended(ctx, remote, credential); err != nil {
				t.Fatal(err)
			}
			server.wants("x", "after the removal")
		})
	}
}

// A change whose answer was lost is not decided by a vault that a removed machine made.
func TestV08_RemovedMachineDecidesNoChange(t *testing.T) {
	server, removed, remote, _ := removedRig(t)
	mend := loseAnswer(remote, false)
	if err := server.tryPut("y", "pending"); !keystore.Undecided(err) {
		t.Fatal(err)
	}
	mend()
	good := remote.Records()
	remote.Set(edited(good, "v-root", removed.vault.Forge(t, good["v-root"].Body, keystore.Forgery{})))
	wantCode(t, server.vault.Sync(t.Context()), fault.NotAuthentic)
	remote.Set(good)
	server.sync()
	server.wants("y", "pending")
}
