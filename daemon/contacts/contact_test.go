package contacts_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// impostor is another identity under a person's id, and what a coordinator that made it would serve.
func impostor(t testing.TB, p *person) *person { return newPersonOf(t, p.User) }

func (w *world) draft(p *person) contacts.Draft {
	return contacts.Draft{To: p.User, Title: "key", Body: []byte("hunter2")}
}

// K01: the coordinator answers with its own key for a new member. Nothing is sent until a person has compared the number, which then shows
// it.
func TestK01_OwnKeyForANewContact(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	mallory := impostor(t, bob)
	hash, _ := emailHash("bob@example.org")
	w.found[hash] = bob.User
	w.served[bob.User] = mallory.publish(t, w.now)
	c, err := w.book.Add(t.Context(), contacts.Addition{Email: "Bob@example.org", Name: "bob"})
	wants(t, "add", err, "")
	if c.User != bob.User || c.Email != "Bob@example.org" || c.Verified.Date != 0 {
		t.Fatalf("%+v", c)
	}
	_, err = w.book.Send(t.Context(), w.draft(bob))
	wants(t, "send", err, fault.UntrustedKey)
	if n := w.outbox(bob.User); len(n) != 0 || len(w.secrets()) != 0 {
		t.Fatal("something was queued")
	}
	// Bob's screen shows the number of his own key: not this one.
	wants(t, "compare", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Number: bob.fingerprint(w.me).Digits()}), fault.KeyChanged)
	wants(t, "scan", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Code: bob.fingerprint(w.me).Scannable()}), fault.KeyChanged)
	_, err = w.book.Send(t.Context(), w.draft(bob))
	wants(t, "send after that", err, fault.UntrustedKey)
	// A person may send all the same, and the secret says so.
	d := w.draft(bob)
	d.Unverified = true
	s, err := w.book.Send(t.Context(), d)
	wants(t, "send unverified", err, "")
	if s.Verified || len(w.outbox(bob.User)) != 1 {
		t.Fatalf("%v", s)
	}
}

// K02: the key of a pinned member changes. Everything to them stops, both keys are kept, and only a person goes on.
func TestK02_KeyOfAContactChanges(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	_, err := w.book.Send(t.Context(), w.draft(bob))
	wants(t, "first", err, "")
	pinned := w.contact(bob).Pinned
	mallory := impostor(t, bob)
	w.served[bob.User] = mallory.publish(t, w.now)
	_, err = w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, fault.KeyChanged)
	if e := w.lastEvent(); e.Type != contacts.EventChanged || e.User != bob.User || e.Code != fault.KeyChanged {
		t.Fatalf("%+v", e)
	}
	w.book = w.newBook() // it is in the vault
	c := w.contact(bob)
	if c.State != contacts.StateChanged || c.Pinned != pinned || c.Candidate.Pin.Identity != mallory.Identity.Public() || c.Verified.Date == 0 {
		t.Fatalf("%+v", c)
	}
	_, err = w.book.Send(t.Context(), contacts.Draft{To: bob.User, Body: []byte("x"), Unverified: true})
	wants(t, "send", err, fault.KeyChanged)
	// The genuine bundle again, or a third key, changes nothing about that; nothing is even fetched.
	third := impostor(t, bob)
	for _, p := range []*person{bob, third} {
		w.served[bob.User], w.asked = p.publish(t, w.now), nil
		_, err = w.book.Bundle(t.Context(), bob.User)
		wants(t, "bundle", err, fault.KeyChanged)
		if len(w.asked) != 0 {
			t.Fatal("the coordinator was asked")
		}
	}
	wants(t, "accept is not for this", w.book.Accept(t.Context(), bob.User), fault.KeyChanged)
	n, err := w.book.SafetyNumbers(bob.User)
	if err != nil || n.New == nil || n.Pinned.Digits != bob.fingerprint(w.me).Digits() || n.New.Digits != mallory.fingerprint(w.me).Digits() {
		t.Fatal(n, err)
	}
	wants(t, "new without comparing", w.book.AcceptNew(t.Context(), bob.User, contacts.Comparison{}), fault.InvalidRequest)
	wants(t, "new by the number of the old", w.book.AcceptNew(t.Context(), bob.User, contacts.Comparison{Number: n.Pinned.Digits}), fault.KeyChanged)
	if after := w.contact(bob); after.Pinned != pinned || after.Candidate.Pin.Identity != mallory.Identity.Public() {
		t.Fatalf("%+v", after)
	}
	wants(t, "keep", w.book.KeepOld(t.Context(), bob.User), "")
	if c := w.contact(bob); c.State != contacts.StateAccepted || c.Pinned != pinned || c.Candidate != nil || c.Verified.Date == 0 {
		t.Fatalf("%+v", c)
	}
	w.served[bob.User] = bob.publish(t, w.now)
	_, err = w.book.Bundle(t.Context(), bob.User)
	wants(t, "genuine again", err, "")
	_, err = w.book.Send(t.Context(), w.draft(bob))
	wants(t, "send", err, "")
}

// Another signing key under the same identity is a change too.
func TestK02_SigningKeyChanges(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	again := *newPersonOf(t, bob.User)
	again.Identity = bob.Identity
	again.prekeys = ratchet.NewPreKeys(&ratchet.Local{Identity: bob.Identity, Address: ratchet.Address{Name: bob.User, Device: 1}}, 0)
	w.served[bob.User] = again.publish(t, w.now)
	_, err := w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, fault.KeyChanged)
}

func second[A any](_ A, err error) error { return err }

// snapshot returns what the vault holds of contacts.
func (w *world) snapshot() string {
	w.t.Helper()
	var b strings.Builder
	for _, kind := range []string{"contact", "stranger", "secret", "prekey-bundle"} {
		ids, err := w.vault.List(kind)
		wants(w.t, "list", err, "")
		for _, id := range ids {
			it, err := w.vault.Get(id)
			wants(w.t, "get", err, "")
			b.WriteString(id + " " + string(it.Body) + "\n")
		}
	}
	return b.String()
}

// K10: an identity that was replaced comes back, served and with messages, also after the contact was removed and added again.
func TestK10_RemovedKeyReturns(t *testing.T) {
	w, old := newWorld(t), newPerson(t)
	w.befriend(old)
	fresh := impostor(t, old) // really theirs: a new device, everything lost
	w.served[old.User] = fresh.publish(t, w.now)
	_, err := w.book.Bundle(t.Context(), old.User)
	wants(t, "changed", err, fault.KeyChanged)
	wants(t, "accept", w.book.AcceptNew(t.Context(), old.User, contacts.Comparison{Code: fresh.fingerprint(w.me).Scannable()}), "")
	c := w.contact(old)
	if c.State != contacts.StateAccepted || c.Pinned.Identity != fresh.Identity.Public() || c.Verified.Number != fresh.fingerprint(w.me).Digits() ||
		len(c.History) != 1 || c.History[0].Pin.Identity != old.Identity.Public() || c.History[0].Verified.Number != old.fingerprint(w.me).Digits() {
		t.Fatalf("%+v", c)
	}
	returns := func(what string) {
		t.Helper()
		w.served[old.User] = old.publish(t, w.now)
		_, err = w.book.Bundle(t.Context(), old.User)
		wants(t, what, err, fault.Revoked)
		if e := w.lastEvent(); e.Type != contacts.EventRefused || e.Code != fault.Revoked {
			t.Fatalf("%+v", e)
		}
		_, err = w.receive(old.secret(t, 1, "from", "before"))
		wants(t, what+", a message", err, fault.Revoked)
		if c := w.contact(old); c.State != contacts.StateAccepted || c.Pinned.Identity != fresh.Identity.Public() || len(w.secrets()) != 0 {
			t.Fatalf("%s: %+v", what, c)
		}
	}
	returns("returned")
	wants(t, "remove", w.book.Remove(t.Context(), old.User), "")
	_, err = w.book.Get(old.User)
	wants(t, "removed", err, fault.NotFound)
	w.served[old.User] = old.publish(t, w.now)
	_, err = w.book.Add(t.Context(), contacts.Addition{User: old.User})
	wants(t, "add again by the old key", err, fault.Revoked)
	w.served[old.User] = fresh.publish(t, w.now)
	_, err = w.book.Add(t.Context(), contacts.Addition{User: old.User})
	wants(t, "add again by the new key", err, "")
	if c := w.contact(old); c.Verified.Date != 0 || c.Pinned.Identity != fresh.Identity.Public() {
		t.Fatalf("%+v", c)
	}
	returns("returned after that")
}

// Removing and adding again is no way to another pin.
func TestRemovedContactKeepsItsPin(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	wants(t, "remove", w.book.Remove(t.Context(), bob.User), "")
	wants(t, "remove again", w.book.Remove(t.Context(), bob.User), fault.NotFound)
	all, err := w.book.List()
	if err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	if strings.Contains(w.snapshot(), "bob") {
		t.Fatal("the name is still there")
	}
	w.served[bob.User] = impostor(t, bob).publish(t, w.now)
	_, err = w.book.Add(t.Context(), contacts.Addition{User: bob.User, Name: "bob"})
	wants(t, "add", err, fault.KeyChanged)
	if c := w.contact(bob); c.State != contacts.StateChanged || c.Pinned.Identity != bob.Identity.Public() {
		t.Fatalf("%+v", c)
	}
}

// A removed contact's bundles go on from where they were.
func TestRemovedContactKeepsItsMark(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	old := w.served[bob.User]
	w.served[bob.User] = bob.publish(t, w.now)
	_, err := w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, "")
	wants(t, "remove", w.book.Remove(t.Context(), bob.User), "")
	w.served[bob.User] = old
	_, err = w.book.Add(t.Context(), contacts.Addition{User: bob.User})
	wants(t, "add by an older bundle", err, fault.RolledBack)
	_, err = w.book.Get(bob.User)
	wants(t, "still removed", err, fault.NotFound)
}

// Bundles go forward only, and there is one of each number (R5).
func TestBundlesOfAContact(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	first := w.served[bob.User]
	see := func(what string, p contacts.Published, code fault.Code) {
		t.Helper()
		w.served[bob.User] = p
		_, err := w.book.Bundle(t.Context(), bob.User)
		wants(t, what, err, code)
	}
	see("the same", first, "")
	second := bob.publish(t, w.now)
	branch := bob.mark
	see("the next", second, "")
	see("the one before", first, fault.RolledBack)
	if e := w.lastEvent(); e.Type != contacts.EventRefused || e.Code != fault.RolledBack {
		t.Fatalf("%+v", e)
	}
	bob.publish(t, w.now)
	see("with a gap", bob.publish(t, w.now), "")
	bob.mark = contacts.Mark{Sequence: 4, Hash: branch.Hash} // another one than the fourth
	see("the next of another branch", bob.publish(t, w.now), fault.Forked)
	if c := w.contact(bob); c.State != contacts.StateChanged || c.Mark.Sequence != 4 || c.Candidate.Mark.Sequence != 5 {
		t.Fatalf("%+v", c)
	}
	see("a later one does not heal that", bob.publish(t, w.now), fault.Forked)
	wants(t, "a person looks", w.book.AcceptNew(t.Context(), bob.User, contacts.Comparison{Number: bob.fingerprint(w.me).Digits()}), "")
	if c := w.contact(bob); c.State != contacts.StateAccepted || len(c.History) != 0 || c.Mark.Sequence != 5 {
		t.Fatalf("%+v", c)
	}
	bob.mark = contacts.Mark{Sequence: 4, Hash: branch.Hash}
	see("a second one of that number", bob.publish(t, w.now), fault.Forked)
}

func TestAddByEmail(t *testing.T) {
	w, bob, eve := newWorld(t), newPerson(t), newPerson(t)
	w.served[bob.User], w.served[eve.User] = bob.publish(t, w.now), eve.publish(t, w.now)
	add := func(a contacts.Addition) error { return second(w.book.Add(t.Context(), a)) }
	hash, _ := emailHash("bob@example.org")
	wants(t, "nobody", add(contacts.Addition{Email: "bob@example.org"}), fault.NotFound)
	wants(t, "no address", add(contacts.Addition{Email: "bob"}), fault.InvalidRequest)
	wants(t, "neither", add(contacts.Addition{Name: "bob"}), fault.InvalidRequest)
	wants(t, "both", add(contacts.Addition{User: bob.User, Email: "bob@example.org"}), fault.InvalidRequest)
	wants(t, "control characters", add(contacts.Addition{User: bob.User, Name: "bob\x1b[2J"}), fault.InvalidRequest)
	wants(t, "long name", add(contacts.Addition{User: bob.User, Name: strings.Repeat("b", 257)}), fault.InvalidRequest)
	wants(t, "oneself", add(contacts.Addition{User: w.me.User}), fault.InvalidRequest)
	w.found[hash] = w.me.User
	wants(t, "oneself by address", add(contacts.Addition{Email: "bob@example.org"}), fault.InvalidRequest)
	w.found[hash] = "../" + bob.User
	wants(t, "no user", add(contacts.Addition{Email: "bob@example.org"}), fault.NotAuthentic)
	w.found[hash] = bob.User
	wants(t, "bob", add(contacts.Addition{Email: " bob@example.org ", Name: "bob"}), "")
	// The coordinator now says that the address is eve's. It is not asked.
	w.found[hash], w.asked = eve.User, nil
	wants(t, "again", add(contacts.Addition{Email: "BOB@example.org"}), fault.Conflict)
	if len(w.asked) != 0 {
		t.Fatal("the coordinator was asked")
	}
	wants(t, "again by id", add(contacts.Addition{User: bob.User}), fault.Conflict)
	wants(t, "eve", add(contacts.Addition{User: eve.User, Name: "eve"}), "")
	all, err := w.book.List()
	if err != nil || len(all) != 2 || all[0].Name != "bob" || all[1].Name != "eve" {
		t.Fatal(all, err)
	}
	wants(t, "rename", w.book.Rename(t.Context(), eve.User, "adele"), "")
	if all, _ = w.book.List(); all[0].Name != "adele" {
		t.Fatalf("%+v", all)
	}
	wants(t, "rename nobody", w.book.Rename(t.Context(), uuid.NewString(), "x"), fault.NotFound)
	wants(t, "block", w.book.Block(t.Context(), eve.User), "")
	wants(t, "add who is blocked", add(contacts.Addition{User: eve.User}), fault.Conflict)
	_, err = w.book.Bundle(t.Context(), eve.User)
	wants(t, "bundle of who is blocked", err, fault.Forbidden)
	wants(t, "unblock", w.book.Accept(t.Context(), eve.User), "")
	_, err = w.book.Bundle(t.Context(), eve.User)
	wants(t, "bundle", err, "")
}

// The item ids tell neither who nor what.
func TestItemIDsTellNothing(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	_, err := w.book.Send(t.Context(), w.draft(bob))
	wants(t, "send", err, "")
	for _, kind := range []string{"contact", "secret"} {
		ids, err := w.vault.List(kind)
		if err != nil || len(ids) != 1 || strings.Contains(ids[0], bob.User) || len(ids[0]) != len(kind)+33 {
			t.Fatal(ids, err)
		}
	}
}

func TestSafetyNumbers(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.meet(bob)
	n, err := w.book.SafetyNumbers(bob.User)
	if err != nil || n.New != nil || len(n.Pinned.Groups()) != 12 || strings.Join(n.Pinned.Groups(), "") != n.Pinned.Digits {
		t.Fatal(n, err)
	}
	wants(t, "the other side scans ours", bob.fingerprint(w.me).Compare(n.Pinned.Code), "")
	for _, typed := range []string{"", "1", n.Pinned.Digits + "1", strings.Repeat(" ", 500), n.Pinned.Digits[:59] + "٣", strings.Repeat("x", 60)} {
		wants(t, typed, w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Number: typed}), fault.InvalidRequest)
	}
	wants(t, "both", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Number: n.Pinned.Digits, Code: n.Pinned.Code}), fault.InvalidRequest)
	wants(t, "our own code", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Code: n.Pinned.Code}), fault.KeyChanged)
	wants(t, "no code", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Code: []byte("https://example.org")}), fault.InvalidRequest)
	wants(t, "nobody", w.book.SetVerified(t.Context(), uuid.NewString(), contacts.Comparison{Number: n.Pinned.Digits}), fault.NotFound)
	if w.contact(bob).Verified.Date != 0 {
		t.Fatal("verified by one of these")
	}
	w.now = w.now.Add(time.Hour)
	wants(t, "typed", w.book.SetVerified(t.Context(), bob.User, contacts.Comparison{Number: strings.Join(n.Pinned.Groups(), " \n-")}), "")
	if v := w.contact(bob).Verified; v.Number != n.Pinned.Digits || v.Date != w.now.Unix() {
		t.Fatalf("%+v", v)
	}
	wants(t, "clear", w.book.ClearVerified(t.Context(), bob.User), "")
	_, err = w.book.Send(t.Context(), w.draft(bob))
	wants(t, "send", err, fault.UntrustedKey)
}

func TestHistoryIsBounded(t *testing.T) {
	c := contacts.Contact{User: uuid.NewString(), State: contacts.StateAccepted, Known: true, Pinned: contacts.Pin{Identity: contacts.Key{200}}}
	for i := range contacts.MaxHistory + 1 {
		changed, err := c.See(contacts.Sighting{Pin: contacts.Pin{Identity: contacts.Key{byte(i)}}})
		wants(t, "see", err, fault.KeyChanged)
		next, err := changed.TakeNew(contacts.Verification{Date: int64(i + 1)})
		if i == contacts.MaxHistory {
			wants(t, "one more", err, fault.TooLarge)
			break
		}
		wants(t, "take", err, "")
		c = next
	}
	if len(c.History) != contacts.MaxHistory || c.History[0].Pin.Identity != (contacts.Key{200}) || c.History[0].Until != 1 {
		t.Fatalf("%+v", c)
	}
}

// What the directory fails with is passed on, and changes nothing.
func TestDirectoryFails(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	before := w.snapshot()
	delete(w.served, bob.User)
	_, err := w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, fault.NotFound)
	w.served[bob.User] = contacts.Published{Bundle: []byte("{}")}
	_, err = w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, fault.NotAuthentic)
	if e := w.lastEvent(); e.Type != contacts.EventRefused || e.Code != fault.NotAuthentic {
		t.Fatalf("%+v", e)
	}
	if w.snapshot() != before {
		t.Fatal("the vault has changed")
	}
	w.vault.Lock()
	if _, err := w.book.List(); !errors.Is(err, fault.Locked) {
		t.Fatal(err)
	}
	wants(t, "locked", w.book.MaySend(bob.User), fault.Locked)
}
