package ratchet_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

var (
	oneTime    = ratchet.BundleOptions{OneTime: true}
	lastResort = ratchet.BundleOptions{LastResort: true}
)

// tester is what *testing.T, *testing.F and *rapid.T have in common.
type tester interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// meet returns two parties with a session that both have used.
func meet(t tester) (alice, bob *ratchettest.Party) {
	t.Helper()
	alice, bob = ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	introduce(t, alice, bob)
	return alice, bob
}

func introduce(t tester, alice, bob *ratchettest.Party) {
	t.Helper()
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "hello")
	say(t, bob, alice, "hello back")
}

func start(t tester, from, to *ratchettest.Party, o ratchet.BundleOptions) {
	t.Helper()
	if err := from.Start(to.Bundle(o)); err != nil {
		t.Fatal(err)
	}
}

func send(t tester, from, to *ratchettest.Party, text string) ratchet.Message {
	t.Helper()
	m, err := from.Send(to.Address(), text)
	if err != nil {
		t.Fatalf("%s to %s: %v", from.Address().Name, to.Address().Name, err)
	}
	return m
}

// read delivers a message and wants it to say text.
func read(t tester, from, to *ratchettest.Party, m ratchet.Message, text string) {
	t.Helper()
	got, err := to.Receive(from.Address(), m)
	if err != nil || got != text {
		t.Fatalf("%s read %q, %v; want %q", to.Address().Name, got, err, text)
	}
}

func say(t tester, from, to *ratchettest.Party, text string) {
	t.Helper()
	read(t, from, to, send(t, from, to, text), text)
}

// refuse delivers a message and wants it refused with the code, and nothing changed: neither in the store nor in memory.
func refuse(t tester, from, to *ratchettest.Party, m ratchet.Message, code fault.Code) {
	t.Helper()
	before, keys := stored(t, to, from), to.PreKeys.Record()
	got, err := to.Receive(from.Address(), m)
	if got != "" || !errors.Is(err, code) {
		t.Fatalf("%s read %q, %v; want %s", to.Address().Name, got, err, code)
	}
	unchanged(t, to, from, before, keys)
}

// unchanged wants the record and the prekeys of a party as they were, in the store and in memory.
func unchanged(t tester, p, peer *ratchettest.Party, before []ratchet.Part, keys []byte) {
	t.Helper()
	sameParts(t, "the store", stored(t, p, peer), before)
	if s := session(t, p, peer); before != nil {
		sameParts(t, "the session in memory", s.Record(), before)
	} else if s.Info().Exists {
		t.Error("there is a session that is not stored")
	}
	if !bytes.Equal(p.PreKeys.Record(), keys) {
		t.Error("the prekeys changed")
	}
}

func stored(t tester, p, peer *ratchettest.Party) []ratchet.Part {
	t.Helper()
	parts, err := p.Store.Parts(peer.Address())
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func sameParts(t tester, where string, got, want []ratchet.Part) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d parts, not %d", where, len(got), len(want))
	}
	for i := range got {
		if got[i].ID != want[i].ID || !bytes.Equal(got[i].Body, want[i].Body) {
			t.Fatalf("part %d of %s is not part %d of before", got[i].ID, where, want[i].ID)
		}
	}
}

func session(t tester, p, peer *ratchettest.Party) *ratchet.Session {
	t.Helper()
	s, err := p.Session(peer.Address())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain keeps a record unsealed: sealing takes long under the race detector where each change is large.
type plain struct {
	parts map[ratchet.PartID][]byte
	put   int // bytes of the last change
}

func (p *plain) save(c ratchet.Change) error {
	if p.parts == nil {
		p.parts = map[ratchet.PartID][]byte{}
	}
	p.put = 0
	for _, part := range c.Put {
		p.put += len(part.Body)
		p.parts[part.ID] = bytes.Clone(part.Body)
	}
	for _, id := range c.Drop {
		delete(p.parts, id)
	}
	return nil
}

func (p *plain) record() (parts []ratchet.Part) {
	for _, id := range slices.Sorted(maps.Keys(p.parts)) {
		parts = append(parts, ratchet.Part{ID: id, Body: p.parts[id]})
	}
	return parts
}

func (p *plain) size() (n int) {
	for _, b := range p.parts {
		n += len(b)
	}
	return n
}

func wantFault(t tester, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v; want %s", what, err, code)
	}
}

// A dialogue in which both sides talk in turns, and each message comes at once, sees many post-quantum epochs.
func TestDialogue(t *testing.T) {
	alice, bob := meet(t)
	for i := range 300 {
		say(t, alice, bob, fmt.Sprintf("a%d", i))
		say(t, bob, alice, fmt.Sprintf("b%d", i))
		if i%50 == 25 {
			alice.Reload()
			bob.Reload()
		}
	}
	for _, p := range [][2]*ratchettest.Party{{alice, bob}, {bob, alice}} {
		info := session(t, p[0], p[1]).Info()
		if !info.Exists || info.Unacknowledged || info.Archived != 0 || info.Epoch < 5 ||
			info.RemoteIdentity != p[1].Local.Identity.Public() || info.RemoteRegistrationID != p[1].Local.RegistrationID {
			t.Errorf("%+v", info)
		}
	}
}

func TestMessagesOfEverySize(t *testing.T) {
	alice, bob := meet(t)
	for _, n := range []int{0, 1, 15, 16, 17, 4096, ratchet.MaxPlaintext} {
		say(t, alice, bob, string(bytes.Repeat([]byte{7}, n)))
	}
	_, err := alice.Send(bob.Address(), string(make([]byte, ratchet.MaxPlaintext+1)))
	wantFault(t, "a message too long", err, fault.TooLarge)
	start(t, alice, bob, oneTime)
	say(t, alice, bob, string(bytes.Repeat([]byte{7}, ratchet.MaxPlaintext)))
}

func TestWithoutASession(t *testing.T) {
	alice, bob := meet(t)
	carol := ratchettest.NewParty("carol")
	_, err := carol.Send(bob.Address(), "hello")
	wantFault(t, "encrypting without a session", err, fault.NotFound)
	_, err = carol.Receive(alice.Address(), send(t, alice, bob, "not for carol"))
	wantFault(t, "decrypting without a session", err, fault.NotFound)
	_, err = carol.Receive(alice.Address(), ratchet.Message{Type: 9})
	wantFault(t, "a message of no type", err, fault.InvalidRequest)

	s := session(t, alice, bob)
	s.Wipe()
	if bytes.Count(s.Scratch(), []byte{0}) != len(s.Scratch()) || len(s.Scratch()) == 0 {
		t.Error("Wipe leaves the last head")
	}
	_, err = s.Encrypt(nil, ratchettest.Day, alice.Store.Save(bob.Address()))
	wantFault(t, "encrypting after Wipe", err, fault.Conflict)
	_, err = s.Decrypt(send(t, bob, alice, "late"), nil, alice.Store.Save(bob.Address()))
	wantFault(t, "decrypting after Wipe", err, fault.Conflict)
}

// A failing Save hands out nothing. Whether the record was stored or not, no key is used again.
func TestFailingSave(t *testing.T) {
	for _, wasStored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", wasStored), func(t *testing.T) { failingSave(t, wasStored) })
	}
}

func failingSave(t *testing.T, wasStored bool) {
	alice, bob := meet(t)
	failed := errors.New("the disk is gone")
	failing := func(p *ratchettest.Party, peer ratchet.Address) ratchet.Save {
		return func(c ratchet.Change) error {
			if wasStored {
				if err := p.Store.Save(peer)(c); err != nil {
					t.Fatal(err)
				}
			}
			return failed
		}
	}
	used := map[ratchet.KeyName]bool{ratchet.KeyOf(send(t, alice, bob, "before")): true}

	s := session(t, alice, bob)
	m, err := s.Encrypt([]byte("lost"), ratchettest.Day, failing(alice, bob.Address()))
	if !errors.Is(err, failed) || m.Body != nil {
		t.Fatalf("%d bytes were handed out, %v", len(m.Body), err)
	}
	_, err = s.Encrypt(nil, ratchettest.Day, alice.Store.Save(bob.Address()))
	wantFault(t, "Encrypt after a failed save", err, fault.Conflict)
	_, err = s.Decrypt(send(t, bob, alice, "on its way"), nil, alice.Store.Save(bob.Address()))
	wantFault(t, "Decrypt after a failed save", err, fault.Conflict)
	wantFault(t, "Start after a failed save", s.Start(bob.Bundle(oneTime), ratchettest.Day), fault.Conflict)

	alice.Reload()
	for range 5 {
		m := send(t, alice, bob, "after")
		if used[ratchet.KeyOf(m)] {
			t.Error("a key was used twice")
		}
		used[ratchet.KeyOf(m)] = true
		read(t, alice, bob, m, "after")
	}

	m = send(t, alice, bob, "read, but not stored")
	b, err := session(t, bob, alice).Decrypt(m, bob.PreKeys, failing(bob, alice.Address()))
	if !errors.Is(err, failed) || b != nil {
		t.Fatalf("%q was handed out, %v", b, err)
	}
	_, err = bob.Receive(alice.Address(), m)
	wantFault(t, "a second try without opening the record", err, fault.Conflict)
	bob.Reload()
	if wasStored {
		refuse(t, alice, bob, m, fault.Replayed)
	} else {
		read(t, alice, bob, m, "read, but not stored")
	}
	say(t, bob, alice, "and on")
}

// The same for a first message, which takes prekeys with it.
func TestFailingSaveOfAFirstMessage(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	keys := bob.PreKeys.Record()
	m := send(t, alice, bob, "hello")
	failed := errors.New("the disk is gone")
	_, err := session(t, bob, alice).Decrypt(m, bob.PreKeys, func(c ratchet.Change) error {
		if c.PreKeys == nil {
			t.Error("the change does not say which prekeys were used")
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if session(t, bob, alice).Info().Exists || !bytes.Equal(bob.PreKeys.Record(), keys) {
		t.Error("a message that was not stored made a session, or used prekeys")
	}
	if _, err := bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, bob.Store.SavePreKeys); !errors.Is(err, fault.Conflict) {
		t.Errorf("the prekeys go on after a failed save: %v", err)
	}
	bob.Reload()
	read(t, alice, bob, m, "hello")
}

// Both start at once. Whoever is heard last wins, and both settle on one session.
func TestSimultaneousInitiation(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	start(t, bob, alice, oneTime)
	fromAlice, fromBob := send(t, alice, bob, "me first"), send(t, bob, alice, "no, me")
	read(t, alice, bob, fromAlice, "me first")
	read(t, bob, alice, fromBob, "no, me")
	if a, b := session(t, alice, bob).BaseKey(), session(t, bob, alice).BaseKey(); a == b {
		t.Fatal("they agree at once, which this test is not about")
	}
	for i := range 10 {
		fromAlice, fromBob = send(t, alice, bob, "a"), send(t, bob, alice, "b")
		read(t, alice, bob, fromAlice, "a")
		read(t, bob, alice, fromBob, "b")
		if i%2 == 0 {
			say(t, alice, bob, "ping")
			say(t, bob, alice, "pong")
		}
	}
	a, b := session(t, alice, bob), session(t, bob, alice)
	if a.BaseKey() != b.BaseKey() {
		t.Error("they did not settle")
	}
	for _, info := range []ratchet.SessionInfo{a.Info(), b.Info()} {
		if info.Archived != 1 || info.Unacknowledged {
			t.Errorf("%+v", info)
		}
	}
}

// Messages of archived sessions are read, out of order too, and bring their session back.
func TestArchivedSessions(t *testing.T) {
	alice, bob := meet(t)
	var waiting []ratchet.Message
	for range 5 {
		for range 3 {
			waiting = append(waiting, send(t, alice, bob, fmt.Sprint(len(waiting))))
		}
		start(t, alice, bob, oneTime)
	}
	for i := len(waiting) - 1; i >= 0; i-- {
		read(t, alice, bob, waiting[i], fmt.Sprint(i))
	}
	if n := session(t, bob, alice).Info().Archived; n != 4 {
		t.Errorf("%d archived sessions, want 4", n)
	}
	for _, m := range waiting {
		refuse(t, alice, bob, m, fault.Replayed)
	}
	// Bob now is where they began. What he says brings Alice there too.
	say(t, bob, alice, "back to the start")
	if a, b := session(t, alice, bob), session(t, bob, alice); a.BaseKey() != b.BaseKey() {
		t.Error("they did not settle")
	}
	say(t, alice, bob, "fine")
}

func TestArchiveIsBounded(t *testing.T) {
	alice, bob := meet(t)
	var first []ratchet.Message
	for i := range 45 {
		start(t, alice, bob, oneTime)
		m := send(t, alice, bob, fmt.Sprint(i))
		read(t, alice, bob, m, fmt.Sprint(i))
		first = append(first, send(t, alice, bob, fmt.Sprint(i)))
	}
	for _, p := range [][2]*ratchettest.Party{{alice, bob}, {bob, alice}} {
		p[0].Reload()
		if n := session(t, p[0], p[1]).Info().Archived; n != 40 {
			t.Errorf("%s has %d archived sessions, want 40", p[0].Address().Name, n)
		}
	}
	// 44 is the current session, 4 the oldest archived one; the handshake of 3 cannot be done again, for its prekeys are gone.
	refuse(t, alice, bob, first[3], fault.Stale)
	read(t, alice, bob, first[4], "4")
	read(t, alice, bob, first[44], "44")
	// They cost a message nothing.
	send(t, alice, bob, "lost")
	say(t, alice, bob, "not lost")
	store := &plain{}
	if _, err := session(t, bob, alice).Decrypt(send(t, alice, bob, "and on"), nil, store.save); err != nil || store.put > 1_024 {
		t.Errorf("a message puts %d bytes, with 40 archived sessions; %v", store.put, err)
	}
}

// A session that the peer has not answered serves for 30 days.
func TestUnacknowledgedSessionGrowsOld(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	s := session(t, alice, bob)
	last := ratchettest.Day.Add(ratchet.MaxUnacknowledged)
	m, err := s.Encrypt([]byte("in time"), last, alice.Store.Save(bob.Address()))
	if err != nil {
		t.Fatal(err)
	}
	alice.Reload()
	s = session(t, alice, bob)
	_, err = s.Encrypt([]byte("too late"), last.Add(time.Second), alice.Store.Save(bob.Address()))
	wantFault(t, "an old session without an answer", err, fault.Stale)
	read(t, alice, bob, m, "in time")
	say(t, bob, alice, "an answer")
	if _, err = s.Encrypt([]byte("ever after"), last.Add(1000*time.Hour), alice.Store.Save(bob.Address())); err != nil {
		t.Error(err)
	}
}

// Another identity is never taken for the one that is known, whichever side it turns up on.
func TestChangedIdentity(t *testing.T) {
	alice, bob := meet(t)
	other := ratchettest.NewParty("bob")
	before, keys := stored(t, alice, bob), alice.PreKeys.Record()
	wantFault(t, "a bundle of another identity", alice.Start(other.Bundle(oneTime)), fault.KeyChanged)
	unchanged(t, alice, bob, before, keys)
	start(t, other, alice, oneTime)
	refuse(t, other, alice, send(t, other, alice, "I am Bob"), fault.KeyChanged)

	fresh := ratchet.NewSession(alice.Local, bob.Address(), 0)
	if err := fresh.Pin(bob.Local.Identity.Public()); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "a bundle of an identity that is not pinned", fresh.Start(other.Bundle(oneTime), ratchettest.Day), fault.KeyChanged)
	wantFault(t, "pinning another", fresh.Pin(other.Local.Identity.Public()), fault.KeyChanged)
	wantFault(t, "pinning ourselves", ratchet.NewSession(alice.Local, bob.Address(), 0).Pin(alice.Local.Identity.Public()), fault.Policy)
	say(t, alice, bob, "still here")
}

func TestBundleOfAnotherAddress(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	b := bob.Bundle(oneTime)
	s := ratchet.NewSession(alice.Local, ratchet.Address{Name: "carol", Device: 1}, 0)
	wantFault(t, "a bundle of another address", s.Start(b, ratchettest.Day), fault.InvalidRequest)
}

// Start may be given up: what was there goes on.
func TestStartWithoutAMessage(t *testing.T) {
	alice, bob := meet(t)
	m := send(t, bob, alice, "an old one")
	start(t, alice, bob, oneTime)
	read(t, bob, alice, m, "an old one")
	start(t, alice, bob, oneTime)
	alice.Reload()
	say(t, alice, bob, "as before")
}

// A message of an archived session has post-quantum key numbers that the current session has seen: that is no replay.
func TestArchivedSessionBehindABusyOne(t *testing.T) {
	alice, bob := meet(t)
	old := send(t, alice, bob, "an old one")
	start(t, alice, bob, oneTime)
	for range 10 {
		say(t, alice, bob, "a newer one")
	}
	read(t, alice, bob, old, "an old one")
	refuse(t, alice, bob, old, fault.Replayed)
}

// Gaps that come one after the other leave what earlier ones left.
func TestOneGapAfterAnother(t *testing.T) {
	alice, bob := meet(t)
	var sent []ratchet.Message
	for i := range 40 {
		sent = append(sent, send(t, alice, bob, fmt.Sprint(i)))
	}
	for i := 3; i < len(sent); i += 4 {
		read(t, alice, bob, sent[i], fmt.Sprint(i))
	}
	for i := range sent {
		if i%4 != 3 {
			read(t, alice, bob, sent[i], fmt.Sprint(i))
		}
	}
}

// A message that comes after five newer ratchet keys of its sender is lost, after four it is read.
func TestMessageBehindNewerRatchetKeys(t *testing.T) {
	for newer := range 7 {
		alice, bob := meet(t)
		late := send(t, alice, bob, "late")
		say(t, alice, bob, "the first of its chain")
		for range newer {
			say(t, bob, alice, "answer")
			say(t, alice, bob, "a new ratchet key")
		}
		if newer < mostChains {
			read(t, alice, bob, late, "late")
		} else {
			refuse(t, alice, bob, late, fault.NotAuthentic)
		}
	}
}

// And one whose post-quantum epoch was dropped: when the receiver sends in the second epoch after that of the message's key.
func TestMessageBehindItsEpoch(t *testing.T) {
	alice, bob := meet(t)
	epoch := func() uint64 { return session(t, bob, alice).Info().Epoch }
	block := func(from, to *ratchettest.Party) { // long ones, so that it is not the number of chains that loses the message
		for range 80 {
			say(t, from, to, "text")
		}
	}
	block(alice, bob)
	late, kept, began := send(t, alice, bob, "late"), send(t, alice, bob, "kept"), epoch()
	for i := 0; epoch() < began+2; i++ {
		if i == mostChains-1 {
			t.Fatalf("no two epochs in %d blocks", i)
		}
		block(bob, alice)
		block(alice, bob)
	}
	read(t, alice, bob, kept, "kept")
	say(t, bob, alice, "in the new epoch")
	refuse(t, alice, bob, late, fault.Replayed)
}
