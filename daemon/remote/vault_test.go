package remote_test

import (
	"errors"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// A vault lives at the coordinator: joined there, changed with blobs of the sessions in one swap, its password changed with the proof, and
// fetched by a second machine.
func TestVaultAtTheCoordinator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	one, kit := w.joined()
	one.put("title", "before")

	blobs := remote.NewBlobs(over(one.client), one.vault.UserID())
	first, err := blobs.First(ctx)
	must(t, err)
	fresh := messages.BlobChange{Name: "r-new", Counter: first, Nonce: [16]byte{1}, Body: []byte("by messages")}
	must(t, blobs.Swap(ctx, []messages.BlobChange{fresh, {Name: "i-waiting", Counter: first, Nonce: [16]byte{2}, Body: []byte("a body")}}))
	list, err := blobs.List(ctx, "i-")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	removal := messages.BlobChange{Name: "i-waiting", Counter: list[0].Counter + 1, Previous: list[0].Hash, Remove: true}
	follow := messages.BlobChange{Name: "r-new", Counter: first + 1, Previous: blobs.Hash(fresh)}
	effect := func(tx *keystore.Tx) error {
		return errors.Join(
			tx.Put(keystore.Item{ID: "effect", Kind: "metadata", Body: []byte("of the message")}),
			tx.Attach("r-new", remote.Before(follow), []byte("by the vault")),
			tx.Attach("r-first", remote.Before(messages.BlobChange{Counter: first}), []byte("a first version")),
			tx.Attach("r-none", keystore.Mark{}, []byte("another")),
			tx.Detach("i-waiting", remote.Before(removal)),
		)
	}
	must(t, one.vault.UpdateContext(ctx, effect))
	list, err = blobs.Read(ctx, []string{"r-new", "r-first", "r-none", "i-waiting"})
	must(t, err)
	bodies := map[string]string{}
	for _, b := range list {
		bodies[b.Name] = string(b.Body)
		if b.Name == "r-new" && b.Counter != first+1 {
			t.Error("r-new is at", b.Counter)
		}
	}
	if len(bodies) != 4 || bodies["r-new"] != "by the vault" || bodies["r-first"] != "a first version" || bodies["r-none"] != "another" || bodies["i-waiting"] != "" {
		t.Fatal(bodies)
	}
	wants(t, "the effect again", one.vault.UpdateContext(ctx, effect), fault.Conflict)
	for _, b := range list { // what the vault wrote, messages go on with
		if b.Name == "r-new" {
			must(t, blobs.Swap(ctx, []messages.BlobChange{{Name: b.Name, Counter: b.Counter + 1, Previous: b.Hash, Nonce: [16]byte{3}, Body: []byte("on")}}))
		}
	}

	two := w.machine()
	must(t, two.login(one.vault.UserID(), one.proof(password), false))
	var before, after keystore.Proof
	must(t, one.vault.ChangePasswordForLogin(ctx, []byte(password), []byte(another), func(_ *kv.Tx, b, a keystore.Proof) error {
		before, after = b.Clone(), a.Clone()
		return nil
	}))
	_, err = two.replica().Read(ctx, []string{"v-root"})
	wants(t, "another device's session, begun with the old password", err, fault.Unauthorized)
	wants(t, "the old proof", two.login(one.vault.UserID(), before, false), fault.Unauthorized)
	must(t, two.login(one.vault.UserID(), after, false))
	one.put("title", "after")

	must(t, two.vault.Fetch(ctx, two.replica(), keystore.FetchOptions{Kit: kit, Password: []byte(another)}))
	two.vault.Connect(two.replica())
	two.has("title", "after")
	two.has("effect", "of the message")
	two.put("title", "of the second machine")
	must(t, one.vault.Sync(ctx))
	one.has("title", "of the second machine")
	if found := w.Leaks("metadata", "of the message", "title", email, password, another); len(found) > 0 {
		t.Error(found)
	}
}

// Two machines change the vault in turns and at once; what one removes as garbage the other does not miss.
func TestTwoMachines(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	one, kit := w.joined()
	two := w.machine()
	must(t, two.login(one.vault.UserID(), one.proof(password), false))
	must(t, two.vault.Fetch(ctx, two.replica(), keystore.FetchOptions{Kit: kit, Password: []byte(password)}))
	two.vault.Connect(two.replica())
	done := make(chan error)
	for _, m := range []*machine{one, two} {
		go func() {
			for range 8 {
				err := m.tryPut(m.client.Device(), "x")
				for errors.Is(err, fault.Conflict) {
					err = m.tryPut(m.client.Device(), "x")
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	must(t, errors.Join(<-done, <-done))
	for _, m := range []*machine{one, two} {
		n, err := m.vault.Collect(ctx)
		if err != nil || m == one && n < 16 {
			t.Error(n, err)
		}
	}
	for _, m := range []*machine{one, two, one} {
		m.put("last", m.client.Device())
		must(t, m.vault.Sync(ctx))
		m.has(one.client.Device(), "x")
		m.has(two.client.Device(), "x")
	}
}

// The recovery kit changes at the coordinator with the vault, or not at all; it logs in where the password is forgotten, on a new machine and on
// one that is logged in.
func TestRecoveryKitAtTheCoordinator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	one, kit := w.joined()
	user := one.vault.UserID()
	w.lost("changeProof", false)
	first, err := keystoretest.NewKit(ctx, one.vault, []byte(password), "")
	wants(t, "the request was lost", err, fault.Unavailable)
	must(t, w.machine().login(user, kit.Proof(), true))
	wants(t, "a kit that is not made yet", w.machine().login(user, first.Proof(), true), fault.Unauthorized)

	w.lost("changeProof", true)
	wants(t, "its answer is lost now", one.vault.Sync(ctx), fault.Unavailable)
	wants(t, "the kit of before", w.machine().login(user, kit.Proof(), true), fault.Unauthorized)
	must(t, w.machine().login(user, first.Proof(), true))
	must(t, one.vault.Sync(ctx))

	w.lost("changeProof", true)
	second, err := keystoretest.NewKit(ctx, one.vault, []byte(password), "")
	must(t, err) // the vault that is there says that it was made
	w.Hook(nil)
	wants(t, "the first kit", w.machine().login(user, first.Proof(), true), fault.Unauthorized)
	one.put("x", "one's session goes on")

	two := w.machine()
	must(t, two.login(user, second.Proof(), true))
	must(t, two.vault.Fetch(ctx, two.replica(), keystore.FetchOptions{Kit: second, NewPassword: []byte(another)}))
	two.vault.Connect(two.replica())
	two.put("x", "by the kit")
	wants(t, "the forgotten password", w.machine().login(user, one.proof(password), false), fault.Unauthorized)
	must(t, w.machine().login(user, two.proof(another), false))

	forgotten := two.proof(another)
	must(t, two.vault.Recover(ctx, second, []byte(password)))
	two.has("x", "by the kit")
	wants(t, "the password of before", w.machine().login(user, forgotten, false), fault.Unauthorized)
	must(t, w.machine().login(user, two.proof(password), false))
}

// A new address changes at the coordinator with the vault, and an address that somebody has is not taken.
func TestChangedAddress(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	one, kit := w.joined()
	taken, err := keystore.EmailHash("bob@example.org")
	must(t, err)
	must(t, w.Client(coordinator.Options{}).Register(ctx, coordinator.Registration{
		User: coordinatortest.UserN(7).ID, EmailHash: taken[:], Proof: make([]byte, 32),
	}))
	_, err = keystoretest.NewKit(ctx, one.vault, []byte(password), "bob@example.org")
	wants(t, "somebody's address", err, fault.Conflict)
	must(t, w.machine().login(one.vault.UserID(), kit.Proof(), true))

	other := w.machine()
	must(t, other.login(one.vault.UserID(), one.proof(password), false))
	must(t, other.vault.Fetch(ctx, other.replica(), keystore.FetchOptions{Kit: kit, Password: []byte(password)}))
	other.vault.Connect(other.replica())
	fresh, err := keystoretest.NewKit(ctx, one.vault, []byte(password), "new@example.org")
	must(t, err)
	must(t, other.vault.Sync(ctx)) // its session goes on, as the password stayed
	if other.vault.Email() != "new@example.org" {
		t.Error("the other machine did not follow:", other.vault.Email())
	}
	hash, err := keystore.EmailHash("new@example.org")
	must(t, err)
	if id, err := w.client.Lookup(ctx, hash[:]); err != nil || id != one.vault.UserID() {
		t.Error(id, err)
	}
	wants(t, "the kit of before", w.machine().login(one.vault.UserID(), kit.Proof(), true), fault.Unauthorized)
	two := w.machine()
	must(t, two.login(one.vault.UserID(), fresh.Proof(), true))
	must(t, two.vault.Fetch(ctx, two.replica(), keystore.FetchOptions{Kit: fresh, Password: []byte(password)}))
	if two.vault.Email() != "new@example.org" {
		t.Error(two.vault.Email())
	}
}

// Answers are lost wherever they can be while a vault changes: nothing that was acknowledged is lost, and all that is pending is decided.
func TestF11_LostAnswersToAVault(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	one, kit := w.joined()
	for i, acted := range []bool{true, false, true, false} {
		for _, operation := range []string{"readBlobs", "swapBlobs"} {
			body := string(rune('a' + i))
			w.lost(operation, acted)
			for err := one.tryPut(operation, body); err != nil; err = one.tryPut(operation, body) {
				wants(t, operation, err, fault.Unavailable)
			}
			w.Hook(nil)
			one.has(operation, body)
		}
	}
	two := w.machine()
	must(t, two.login(one.vault.UserID(), one.proof(password), false))
	must(t, two.vault.Fetch(ctx, two.replica(), keystore.FetchOptions{Kit: kit, Password: []byte(password)}))
	two.has("readBlobs", "d")
	two.has("swapBlobs", "d")
}
