package remote_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/coordinator/state"
	"coldframe/daemon/contacts"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// person is a user with a book over a vault.
type person struct {
	*machine
	contacts.Keys
	directory *remote.Directory
	prekeys   *ratchet.PreKeys
	book      *contacts.Book
}

func (m *machine) person(hash func(string) (contacts.Hash, error)) *person {
	m.t.Helper()
	user := m.vault.UserID()
	p := &person{
		machine: m, Keys: contacts.Keys{User: user, Identity: ratchet.NewIdentity(), Signing: secret.Random()},
		directory: remote.NewDirectory(over(m.client)),
	}
	p.prekeys = ratchet.NewPreKeys(&ratchet.Local{Identity: p.Identity, Address: ratchet.Address{Name: user, Device: 1}, RegistrationID: 77}, 0)
	own := contacts.Own{User: user, Identity: p.Identity.Public(), Signing: signed.Signer{Key: p.Signing}.Public()}
	var err error
	p.book, err = contacts.New(contacts.Options{
		Own: own, Vault: m.vault, Directory: p.directory, EmailHash: hash, Clock: func() time.Time { return noon },
	})
	must(m.t, err)
	return p
}

// sign makes the next upload with n one-time prekeys.
func (p *person) sign(n int) contacts.Upload {
	p.t.Helper()
	bundles := func(n int, o ratchet.BundleOptions) []ratchet.Bundle {
		if n == 0 {
			return nil
		}
		list, err := p.prekeys.Bundles(n, o, noon, func([]byte) error { return nil })
		must(p.t, err)
		return list
	}
	u, err := p.book.Publish(p.t.Context(), p.Keys, bundles(1, ratchet.BundleOptions{LastResort: true})[0], bundles(n, ratchet.BundleOptions{OneTime: true}))
	must(p.t, err)
	return u
}

// left is how many one-time prekeys a user has at the coordinator.
func (w *world) left(user string) int {
	w.t.Helper()
	s, err := w.Main.State().PreKeyStatus(w.t.Context(), state.UserID(user))
	must(w.t, err)
	return s.OneTime
}

// Somebody publishes, and another finds and pins them; what is handed out under the own name is what was published.
func TestPublishAndFind(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	m, _ := w.joined()
	hashOf := func(string) (contacts.Hash, error) { return [32]byte(coordinatortest.UserN(1).EmailHash), nil }
	ada := m.person(hashOf)
	bob := remote.NewDirectory(over(w.client))

	if s, err := ada.directory.Status(ctx); err != nil || s != (remote.PreKeyStatus{}) {
		t.Error(s, err)
	}
	_, err := bob.FetchBundle(ctx, ada.User)
	wants(t, "nothing was published", err, fault.NotFound)
	u := ada.sign(5)
	for range 2 { // the same again changes nothing
		left, err := ada.directory.Publish(ctx, u, false)
		if err != nil || left != 5 {
			t.Fatal(left, err)
		}
	}
	must(t, ada.book.Uploaded(t.Context(), u))
	if s, err := ada.directory.Status(ctx); err != nil || s != (remote.PreKeyStatus{Sequence: 1, Bundle: sha256.Sum256(u.Bundle), Left: 5}) {
		t.Error(s, err)
	}
	own, err := ada.directory.FetchOwn(ctx)
	must(t, err)
	must(t, ada.book.CheckOwn(t.Context(), own))
	p, err := bob.FetchBundle(ctx, ada.User)
	must(t, err)
	if o, err := contacts.Verify(ada.User, p, noon); err != nil || o.Weak {
		t.Error("what bob got:", err)
	}
	if n := w.left(ada.User); n != 3 {
		t.Error(n, "one-time prekeys are left")
	}
	next := ada.sign(2)
	if left, err := ada.directory.Publish(ctx, next, true); err != nil || left != 2 {
		t.Error(left, err)
	}
	_, err = ada.directory.Publish(ctx, u, false)
	wants(t, "an older one", err, fault.Conflict)
	none := ada.sign(0)
	if left, err := ada.directory.Publish(ctx, none, true); err != nil || left != 0 {
		t.Error(left, err)
	}
	if p, err = bob.FetchBundle(ctx, ada.User); err != nil || p.OneTime != nil {
		t.Error("no one-time prekey was left:", err)
	}

	carol := w.Register(coordinatortest.UserN(2), coordinator.Options{})
	if _, err := ada.book.Add(ctx, contacts.Addition{Email: "bob@example.org"}); !errors.Is(err, fault.NotFound) {
		t.Error("bob published nothing:", err)
	}
	_, err = bob.FindUser(ctx, contacts.Hash{1})
	wants(t, "nobody's address", err, fault.NotFound)
	if id, err := bob.FindUser(ctx, [32]byte(coordinatortest.UserN(2).EmailHash)); err != nil || id != carol.User() {
		t.Error(id, err)
	}
}

// A fetch whose answer was lost is the same one when it is made again, so one prekey is used up; an answered one is another.
func TestFetchWithLostAnswer(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	m, _ := w.joined()
	ada := m.person(nil)
	_, err := ada.directory.Publish(ctx, ada.sign(10), false)
	must(t, err)
	bob := remote.NewDirectory(over(w.client))
	w.lost("fetchPreKeys", true)
	_, err = bob.FetchBundle(ctx, ada.User)
	wants(t, "lost", err, fault.Unavailable)
	if n := w.left(ada.User); n != 9 {
		t.Fatal(n, "are left")
	}
	var got []string
	for range 3 {
		p, err := bob.FetchBundle(ctx, ada.User)
		must(t, err)
		got = append(got, string(p.OneTime))
	}
	if n := w.left(ada.User); n != 7 || got[0] == got[1] || got[1] == got[2] {
		t.Error(n, "are left")
	}
	ids := map[string]int{}
	for _, r := range w.Records("fetchPreKeys") {
		var request coordinator.PreKeyRequest
		must(t, json.Unmarshal(r.Body, &request))
		ids[request.Request]++
	}
	if len(ids) != 3 {
		t.Error("ids of the fetches:", ids)
	}
	for range 300 { // of users that are never asked for again
		w.Hook(coordinatortest.Nth("fetchPreKeys", 0, func(e *coordinatortest.Exchange) { e.Drop() }))
		_, err := bob.FetchBundle(ctx, coordinator.NewRequestID())
		wants(t, "lost", err, fault.Unavailable)
	}
}

// What nobody published, and other answers that are none.
func TestDirectoryLies(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	m, _ := w.joined()
	ada := m.person(nil)
	_, err := ada.directory.Publish(ctx, ada.sign(3), false)
	must(t, err)
	answers(w, "fetchPreKeys", func(k *coordinator.PreKeys) { k.Bundle = []byte("of mallory") })
	p, err := ada.directory.FetchOwn(ctx)
	must(t, err) // unchecked: that is the book's
	wants(t, "another bundle", ada.book.CheckOwn(t.Context(), p), fault.NotAuthentic)
	answers(w, "getPreKeyStatus", func(s *coordinator.PreKeyStatus) { s.BundleHash = new([]byte{1}) })
	_, err = ada.directory.Status(ctx)
	wants(t, "no hash", err, fault.NotAuthentic)
	answers(w, "getPreKeyStatus", func(s *coordinator.PreKeyStatus) { s.OneTimeLeft, s.Sequence = -5, -1 })
	if s, err := ada.directory.Status(ctx); err != nil || s.Left != 0 || s.Sequence != 0 {
		t.Error(s, err)
	}
	w.lost("putPreKeys", true)
	u := ada.sign(1)
	_, err = ada.directory.Publish(ctx, u, false)
	wants(t, "lost", err, fault.Unavailable)
	if left, err := ada.directory.Publish(ctx, u, false); err != nil || left != 3 {
		t.Error("the same again:", left, err)
	}
	u.Sequence = 1 << 63
	_, err = ada.directory.Publish(ctx, u, false)
	wants(t, "a number beyond", err, fault.InvalidRequest)
	none := remote.NewDirectory(offline)
	_, find := none.FindUser(ctx, contacts.Hash{})
	_, fetch := none.FetchBundle(ctx, ada.User)
	_, own := none.FetchOwn(ctx)
	_, publish := none.Publish(ctx, u, false)
	_, status := none.Status(ctx)
	for _, err := range []error{find, fetch, own, publish, status} {
		wants(t, "offline", err, fault.Unavailable)
	}
}
