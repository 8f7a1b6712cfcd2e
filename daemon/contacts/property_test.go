package contacts_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
)

// believer is what a person and a contact's rules have agreed on so far.
type believer struct {
	*world
	user    string
	faces   []*person // the first is genuine, the others came later
	pinned  int       // -1: nobody
	revoked map[int]bool
	known   bool
	secrets int // ids given out
	numbers map[int]string
}

// number returns the safety number that a face's screen shows. It is dear to make.
func (b *believer) number(face int) string {
	if b.numbers[face] == "" {
		b.numbers[face] = b.faces[face].fingerprint(b.me).Digits()
	}
	return b.numbers[face]
}

func (b *believer) face(t *rapid.T) int { return rapid.IntRange(0, len(b.faces)-1).Draw(t, "face") }

// state returns the contact as it is; nobody is the zero value.
func (b *believer) state(t *rapid.T) contacts.Contact {
	c, err := b.book.Get(b.user)
	if err != nil && !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return c
}

// serve makes the coordinator serve a face's next bundle, or the same again.
func (b *believer) serve(t *rapid.T) {
	f := b.faces[b.face(t)]
	b.served[b.user] = f.publish(b.t, b.now)
}

// pins says that the contact's pin may have become a face's: by Add, a message, or AcceptNew.
func (b *believer) pins(face int) { b.pinned, b.known = face, true }

func (b *believer) add(t *rapid.T) {
	before := b.state(t)
	_, err := b.book.Add(b.t.Context(), contacts.Addition{User: b.user, Name: "x"})
	if err == nil && b.pinned < 0 {
		b.pins(b.servedFace(t))
	}
	if err == nil && before.State != "" && before.State != contacts.StateAsked {
		t.Fatalf("added over %s", before.State)
	}
	b.known = b.known || err == nil
}

// servedFace returns whose bundle the coordinator serves.
func (b *believer) servedFace(t *rapid.T) int {
	o, err := contacts.Verify(b.user, b.served[b.user], b.now)
	if err != nil {
		t.Fatal(err)
	}
	return slices.IndexFunc(b.faces, func(p *person) bool { return p.Identity.Public() == o.Card.Identity })
}

func (b *believer) message(t *rapid.T) {
	face := b.face(t)
	b.secrets++
	before := b.state(t)
	_, err := b.receive(b.faces[face].secret(b.t, byte(b.secrets), "t", "b"))
	if b.revoked[face] && err == nil && before.State != contacts.StateBlocked {
		t.Fatal("a message under a revoked identity was taken")
	}
	if err == nil && b.pinned < 0 {
		b.pinned = face
	}
}

func (b *believer) acceptNew(t *rapid.T) {
	face := b.face(t)
	before := b.state(t)
	err := b.book.AcceptNew(t.Context(), b.user, contacts.Comparison{Number: b.number(face)})
	if err != nil {
		return
	}
	if before.State != contacts.StateChanged || before.Candidate.Pin.Identity != b.faces[face].Identity.Public() {
		t.Fatal("something was accepted that was not compared")
	}
	if face != b.pinned {
		b.revoked[b.pinned] = true
	}
	b.pinned = face
}

func (b *believer) remove(t *rapid.T) {
	before := b.state(t)
	if b.book.Remove(t.Context(), b.user) == nil && !before.Known {
		b.pinned = -1 // a stranger who was declined; nothing was ever sent to them
	}
}

// check holds the contact against what is believed.
func (b *believer) check(t *rapid.T) {
	c := b.state(t)
	pinned, err := b.book.Identity(b.t.Context(), b.user)
	if c.State == contacts.StateChanged {
		wants(b.t, "identity while changed", err, fault.KeyChanged)
		pinned, err = c.Pinned.Identity, nil
	}
	switch {
	case b.pinned < 0:
		if err != nil || pinned != (contacts.Key{}) {
			t.Fatal("somebody is pinned by nobody's doing")
		}
		return
	case err != nil || pinned != b.faces[b.pinned].Identity.Public():
		t.Fatalf("the pin is not face %d: %v", b.pinned, err)
	case b.revoked[b.pinned]:
		t.Fatal("a revoked identity is pinned")
	case len(c.History) != 0 && len(c.History) != len(b.revoked):
		t.Fatalf("%d in the history, %d were replaced", len(c.History), len(b.revoked))
	}
	if c.Candidate != nil && slices.ContainsFunc(c.History, func(f contacts.Former) bool { return f.Pin.Identity == c.Candidate.Pin.Identity }) {
		t.Fatal("a revoked identity is a candidate")
	}
	if may := b.book.MaySend(b.user); (may == nil) != (c.State == contacts.StateAccepted) {
		t.Fatalf("%s: %v", c.State, may)
	}
	_, err = b.book.Send(t.Context(), contacts.Draft{To: b.user, Body: []byte("x")})
	if (err == nil) != (c.State == contacts.StateAccepted && c.Verified.Number == b.number(b.pinned)) {
		t.Fatalf("%s, verified %q: %v", c.State, c.Verified.Number, err)
	}
	for _, s := range b.world.secrets() {
		if s.From == b.user && s.State == contacts.SecretReceived && !c.Known && c.State != "" {
			t.Fatal("shown before consent")
		}
	}
}

// Random histories: whatever the coordinator serves and whoever writes, a pin changes only by a person's comparison, what was replaced
// never comes back, and nothing is sent but to an accepted contact whose number was compared.
func TestK02_AnyHistory(t *testing.T) {
	w := newWorld(t)
	tally := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		first := newPerson(w.t)
		b := &believer{world: w, user: first.User, faces: []*person{first}, pinned: -1, revoked: map[int]bool{}, numbers: map[int]string{}}
		for range 3 {
			b.faces = append(b.faces, impostor(w.t, first))
		}
		b.serve(t)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			step := rapid.SampledFrom([]string{"serve", "add", "bundle", "message", "accept", "verify", "new", "new", "old", "remove", "block"}).Draw(t, "step")
			switch step {
			case "serve":
				b.serve(t)
			case "add":
				b.add(t)
			case "bundle":
				_, _ = w.book.Bundle(w.t.Context(), b.user)
			case "message":
				b.message(t)
			case "accept":
				_ = w.book.Accept(t.Context(), b.user)
			case "verify":
				_ = w.book.SetVerified(t.Context(), b.user, contacts.Comparison{Number: b.number(b.face(t))})
			case "new":
				b.acceptNew(t)
			case "old":
				_ = w.book.KeepOld(t.Context(), b.user)
			case "remove":
				b.remove(t)
			case "block":
				_ = w.book.Block(t.Context(), b.user)
			}
			b.check(t)
			tally[fmt.Sprint(b.state(t).State)]++
		}
		if c := b.state(t); c.State == contacts.StateAsked { // room for the next ones
			wants(w.t, "decline", w.book.Remove(t.Context(), b.user), "")
		}
		_ = w.book.Block(t.Context(), b.user)
	})
	t.Log(tally)
	for _, state := range []contacts.State{contacts.StateAsked, contacts.StateAccepted, contacts.StateBlocked, contacts.StateChanged, ""} {
		if tally[string(state)] == 0 {
			t.Errorf("no history came to %q", state)
		}
	}
}
