package messages

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
)

func head(typ, id string, sequence uint64, hash byte) Head {
	return Head{Type: typ, ID: id, Sequence: sequence, Hash: [hashSize]byte{hash}}
}

// tells makes a device tell these heads with every message from now on.
func (d *device) tells(list ...Head) {
	d.config.Heads = func(context.Context, string) ([]Head, error) { return list, nil }
	d.restart()
}

func wantFindings(t *testing.T, d *device, own Head, want ...fault.Code) {
	t.Helper()
	found, err := d.CheckOwn([]Head{own})
	if err != nil {
		t.Fatal(err)
	}
	var got []fault.Code
	for _, f := range found {
		got = append(got, f.Code)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v: %v, want %v", own, found, want)
	}
}

// What a peer echoes of our own vault shows that it went back, that it is another one, or that nobody hears of it any more. A fork stays
// one.
func TestEchoesShowOurOwnVault(t *testing.T) {
	w, alice, bob := pair(t)
	own := func(sequence uint64, hash byte) Head { return head("vault", alice.p.id, sequence, hash) }
	wantFindings(t, alice, own(1, 1)) // nobody was told of it
	alice.tells(own(6, 6))
	say(t, alice, bob, "six")
	same := head("roster", "never-changes", 1, 1)
	alice.tells(own(7, 7), same)
	say(t, alice, bob, "seven")
	wantFindings(t, alice, own(7, 7)) // and nobody has answered
	say(t, bob, alice, "echo")
	wantFindings(t, alice, own(7, 7))
	wantFindings(t, alice, own(8, 8))
	wantFindings(t, alice, own(6, 6), fault.RolledBack)

	w.later(30 * time.Hour)
	wantFindings(t, alice, own(7, 7)) // nobody was told since
	login := func() {
		t.Helper()
		for _, d := range []*device{alice, bob} {
			if err := d.p.client.Login(t.Context(), login(d.p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	login()
	for range 2 {
		say(t, alice, bob, "seven again")
		w.later(13 * time.Hour)
	}
	login()
	say(t, alice, bob, "seven again, as every day")
	wantFindings(t, alice, own(7, 7), fault.Stale)
	wantFindings(t, alice, same, fault.Stale)
	wantFindings(t, alice, own(6, 6), fault.RolledBack, fault.Stale)
	say(t, bob, alice, "echo again")
	wantFindings(t, alice, own(7, 7))
	wantFindings(t, alice, head("devices", alice.p.id, 1, 1))

	wantFindings(t, alice, own(7, 0x77), fault.Forked)
	alice.restart()
	wantFindings(t, alice, own(9, 9), fault.Forked)
	found, err := alice.CheckOwn([]Head{own(9, 9)})
	if err != nil || len(found) != 1 || found[0].Sequence != 7 || found[0].Peer != bob.p.id {
		t.Errorf("%+v, %v", found, err)
	}
}

// Another device of ours tells of another version under the same number: whoever hears both echoes what it heard, and both learn of it.
func TestEchoesShowAFork(t *testing.T) {
	_, alice, bob := pair(t)
	second := alice.p.device()
	alice.tells(head("vault", alice.p.id, 7, 1))
	second.tells(head("vault", alice.p.id, 7, 2))
	say(t, alice, bob, "one")
	second.enqueue(bob.p, "two")
	second.send()
	bob.receive()
	if list, err := bob.Forks(); err != nil || len(list) != 1 || list[0].One != [hashSize]byte{1} || list[0].Other != [hashSize]byte{2} {
		t.Fatalf("%+v, %v", list, err)
	}
	if !slices.Contains(bob.events, Event{HeadFault, alice.p.id, fault.Forked}) {
		t.Error(bob.events)
	}
	bob.enqueue(alice.p, "echo")
	bob.send()
	if n := second.receive(); n != 1 {
		t.Fatal(n)
	}
	wantFindings(t, second, head("vault", alice.p.id, 7, 2), fault.Forked) // the echo is of both
}

// Two peers tell of one object under one number: that is a fork, of whatever they share.
func TestPeersTellOfAFork(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	bob.tells(head("roster", "d1", 3, 3), head("vault", bob.p.id, 1, 1))
	carol.tells(head("roster", "d1", 3, 4), head("vault", carol.p.id, 1, 2))
	say(t, bob, alice, "from bob")
	if list, err := alice.Forks(); err != nil || len(list) > 0 {
		t.Fatal(list, err)
	}
	say(t, carol, alice, "from carol")
	list, err := alice.Forks()
	if err != nil || len(list) != 1 || list[0].Type != "roster" || list[0].ID != "d1" || list[0].Peer != carol.p.id {
		t.Fatalf("%+v, %v", list, err)
	}
	carol.tells(head("roster", "d1", 4, 5))
	say(t, carol, alice, "all is well")
	if list, err := alice.Forks(); err != nil || len(list) != 1 {
		t.Error("a later message healed it", list, err)
	}
	said, err := alice.HeadsOf(carol.p.id)
	if err != nil || len(said) != 2 || said[0].Head != head("roster", "d1", 4, 5) {
		t.Errorf("%+v, %v", said, err)
	}
}

// A head that was overtaken does not go back, and nobody makes us remember as much as they like.
func TestHeadsAreBounded(t *testing.T) {
	_, alice, bob := pair(t)
	alice.tells(head("vault", alice.p.id, 9, 9))
	say(t, alice, bob, "nine")
	alice.tells(head("vault", alice.p.id, 8, 8))
	say(t, alice, bob, "eight")
	if said, err := bob.HeadsOf(alice.p.id); err != nil || len(said) != 1 || said[0].Sequence != 9 {
		t.Errorf("%+v, %v", said, err)
	}
	for i := range maxObjects/MaxHeads + 2 {
		var list []Head
		for j := range MaxHeads {
			list = append(list, head("dataset", fmt.Sprintf("%d-%d", i, j), 1, 1))
		}
		alice.tells(list...)
		say(t, alice, bob, fmt.Sprint(i))
	}
	if n := countOf(t, bob, headPrefix); n != maxObjects {
		t.Errorf("%d objects are remembered, want %d", n, maxObjects)
	}
	if said, err := bob.HeadsOf(alice.p.id); err != nil || len(said) != MaxHeads {
		t.Error(len(said), err)
	}
	say(t, bob, alice, "and they fit into an answer")
	for i := range uint64(maxHistory + 10) {
		alice.tells(head("vault", alice.p.id, 100+i, byte(i)))
		say(t, alice, bob, fmt.Sprint("vault ", i))
	}
}

// A message of heads alone reaches no handler, tells and echoes like any other, and is had once; a second one does not pile up on one that
// waits.
func TestHeadsAlone(t *testing.T) {
	_, alice, bob := pair(t)
	own := head("vault", alice.p.id, 7, 7)
	alice.tells(own)
	first, err := alice.Enqueue(bob.p.id, KindHeads, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := alice.Enqueue(bob.p.id, KindHeads, nil); err != nil || second != first {
		t.Error("a second one waits", err)
	}
	_, err = alice.Enqueue(bob.p.id, KindHeads, []byte("text"))
	wantCode(t, "with a payload", err, fault.InvalidRequest)
	alice.send()
	if n := bob.receive(); n != 0 {
		t.Errorf("%d reached the application", n)
	}
	if said, err := bob.HeadsOf(alice.p.id); err != nil || len(said) != 1 || said[0].Head != own {
		t.Fatalf("%+v, %v", said, err)
	}
	if list, err := bob.Asides(); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
	if _, err := bob.Enqueue(alice.p.id, KindHeads, nil); err != nil {
		t.Fatal(err)
	}
	bob.send()
	alice.receive()
	wantFindings(t, alice, head("vault", alice.p.id, 6, 6), fault.RolledBack)
	if left, _, err := bob.remote.Remote.Inbox(t.Context(), 0); err != nil || len(left) > 0 {
		t.Error("left in the mailbox", err)
	}
}

// Whoever may not speak of an object makes no fork of it. One who may and lies is named, with whom they contradict, and a person who knows
// who lied can clear it.
func TestOneLiarForksNothingForGood(t *testing.T) {
	w, alice, bob := pair(t)
	mallory := w.person().device()
	alice.config.MaySpeak = nil
	alice.restart()
	of := head("vault", bob.p.id, 7, 7)
	lie := head("vault", bob.p.id, 7, 0x66)
	bob.tells(of)
	mallory.tells(lie, head("devices", mallory.p.id, 1, 1))
	say(t, bob, alice, "true")
	say(t, mallory, alice, "a lie")
	if list, err := alice.Forks(); err != nil || len(list) > 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	if said, err := alice.HeadsOf(mallory.p.id); err != nil || len(said) != 1 {
		t.Errorf("%+v, %v", said, err)
	}
	alice.config.MaySpeak = func(_, _, _ string) bool { return true }
	alice.restart()
	say(t, mallory, alice, "a lie about what is shared")
	list, err := alice.Forks()
	if err != nil || len(list) != 1 || list[0].Peer != mallory.p.id || list[0].Before != bob.p.id {
		t.Fatalf("%+v, %v", list, err)
	}
	for range 2 {
		if err := alice.ClearFork("vault", bob.p.id, ""); err != nil {
			t.Fatal(err)
		}
		say(t, bob, alice, "true again")
		if list, err := alice.Forks(); err != nil || len(list) > 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		say(t, mallory, alice, "and a lie again")
		if list, err := alice.Forks(); err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	wantCode(t, "no fork", alice.ClearFork("vault", alice.p.id, ""), fault.NotFound)
}

// Who has more heads than fit into a message tells them in turn.
func TestManyHeadsAreToldInTurn(t *testing.T) {
	_, alice, bob := pair(t)
	var list []Head
	for i := range 2*MaxHeads + 10 {
		list = append(list, head("dataset", fmt.Sprint(i), 1, 1))
	}
	alice.tells(list...)
	for range 3 {
		if _, err := alice.Enqueue(bob.p.id, KindHeads, nil); err != nil {
			t.Fatal(err)
		}
		alice.send()
		bob.receive()
	}
	if n := countOf(t, bob, headPrefix); n != len(list) {
		t.Errorf("%d were told in three messages, want %d", n, len(list))
	}
}
