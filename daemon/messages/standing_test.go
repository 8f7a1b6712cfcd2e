package messages

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// strangers makes a device believe that it has sessions with n others, begun at a time.
func (d *device) strangers(n int, since time.Time, s Standing) {
	d.p.w.t.Helper()
	err := d.db.Update(func(tx *kv.Tx) error {
		for i := range n {
			peer := fmt.Sprintf("10000000-0000-4000-8000-%012x", i)
			d.p.stands[peer] = s
			b := binary.BigEndian.AppendUint64(nil, uint64(since.Unix()))
			if err := tx.Set(strangerPrefix+peer, binary.BigEndian.AppendUint64(b, 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.p.w.t.Fatal(err)
	}
}

// blobsOf returns the names of the blobs of a record that are at the coordinator.
func (d *device) blobsOf(base string) (names []string) {
	d.p.w.t.Helper()
	list, err := d.remote.List(d.p.w.t.Context(), base+"-")
	if err != nil {
		d.p.w.t.Fatal(err)
	}
	for _, b := range list {
		if !b.Removed {
			names = append(names, b.Name)
		}
	}
	return names
}

// Of strangers who ask for nothing the one who wrote first makes room for another one; nothing of theirs is left. Whoever is a contact later
// gets a new session, which the user's other device, that knew the one before, takes over.
func TestStrangersMakeRoomForOneAnother(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	alice.p.stands[bob.p.id], alice.p.stands[carol.p.id] = StandingNone, StandingNone
	second := alice.p.device()
	say(t, bob, alice, "from a stranger")
	bob.enqueue(alice.p, "to the second device")
	bob.send()
	if n := second.receive(); n != 1 {
		t.Fatal(n, second.events)
	}
	w.later(time.Minute)
	alice.strangers(maxStrangers-1, w.clock(), StandingNone)
	base := sessionBase(bob.p.id)
	if len(alice.blobsOf(base)) == 0 {
		t.Fatal("there is no record")
	}
	alice.vault = nil // the second device changed it
	say(t, carol, alice, "one more")
	if left := alice.blobsOf(base); len(left) > 0 {
		t.Error("left at the coordinator:", left)
	}
	for _, prefix := range []string{copyPrefix + base, markPrefix + base, seenPrefix + bob.p.id, strangerPrefix + bob.p.id} {
		if n := countOf(t, alice, prefix); n != 0 {
			t.Errorf("%d records are left under %s", n, prefix)
		}
	}
	if !slices.Contains(alice.events, Event{GivenUp, bob.p.id, fault.TooLarge}) {
		t.Error(alice.events)
	}
	alice.p.stands[bob.p.id] = StandingContact
	say(t, alice, bob, "a new session")
	second.vault = nil
	bob.enqueue(alice.p, "for whichever device")
	bob.send()
	if n := second.receive(); n != 1 {
		t.Fatal(n, second.events)
	}
	if list, err := second.Faults(); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
}

// Where all strangers ask, the next one's message is dropped before anything is made of it; so is one too many of a single one.
func TestStrangersWhoAskKeepTheirRoom(t *testing.T) {
	w, alice, bob := pair(t)
	alice.p.stands[bob.p.id] = StandingNone
	alice.strangers(maxStrangers, w.clock(), StandingAsks)
	bob.enqueue(alice.p, "no room")
	bob.send()
	if n := alice.receive(); n != 0 || len(alice.blobsOf(sessionBase(bob.p.id))) > 0 {
		t.Errorf("%d taken", n)
	}
	if !slices.Contains(alice.events, Event{Dropped, bob.p.id, fault.TooLarge}) {
		t.Error(alice.events)
	}
	alice.p.stands[fmt.Sprintf("10000000-0000-4000-8000-%012x", 7)] = StandingContact // who is none any more makes room
	say(t, bob, alice, "there is room")
	err := alice.db.Update(func(tx *kv.Tx) error {
		return tx.Set(strangerPrefix+bob.p.id, binary.BigEndian.AppendUint64(make([]byte, 8, 16), maxStrangerMessages))
	})
	if err != nil {
		t.Fatal(err)
	}
	bob.enqueue(alice.p, "one too many")
	bob.send()
	if n := alice.receive(); n != 0 {
		t.Errorf("%d taken", n)
	}
	alice.p.stands[bob.p.id] = StandingContact
	say(t, bob, alice, "a contact")
}

// A stranger cannot make a large record by leaving messages out.
func TestStrangersRecordStaysSmall(t *testing.T) {
	_, alice, bob := pair(t)
	alice.p.stands[bob.p.id] = StandingNone
	say(t, bob, alice, "first")
	bob.remote.post = func(string, string, []byte) error { return nil }
	for range maxStrangerPart/40 + 10 {
		bob.enqueue(alice.p, "never comes")
		bob.send()
	}
	bob.remote.post = nil
	bob.enqueue(alice.p, "after many that are missing")
	bob.send()
	if n := alice.receive(); n != 0 || !slices.Contains(alice.events, Event{Dropped, bob.p.id, fault.TooLarge}) {
		t.Errorf("%d taken, %v", n, alice.events)
	}
	alice.p.stands[bob.p.id] = StandingContact
	say(t, bob, alice, "a contact may")
}

// Nothing is kept of what strangers say and echo; who is no contact any more has no say.
func TestOnlyContactsHaveASay(t *testing.T) {
	w, alice, bob := pair(t)
	own := func(sequence uint64, hash byte) Head { return head("vault", alice.p.id, sequence, hash) }
	alice.tells(own(7, 7))
	say(t, alice, bob, "seven")
	bob.tells(head("vault", bob.p.id, 1, 1))
	alice.p.stands[bob.p.id] = StandingFormer
	say(t, bob, alice, "of a stranger")
	for _, prefix := range []string{headPrefix, echoPrefix, saidPrefix, objPrefix} {
		if n := countOf(t, alice, prefix); n != 0 {
			t.Errorf("%d records under %s", n, prefix)
		}
	}
	w.later(staleAfter + time.Hour)
	wantFindings(t, alice, own(7, 0x77), fault.Stale) // whoever is no contact answers nothing
	for _, d := range []*device{alice, bob} {
		if err := d.p.client.Login(t.Context(), login(d.p)); err != nil {
			t.Fatal(err)
		}
	}
	delete(alice.p.stands, bob.p.id)
	say(t, bob, alice, "of a contact")
	wantFindings(t, alice, own(7, 0x77), fault.Forked)
	alice.p.stands[bob.p.id] = StandingNone
	wantFindings(t, alice, own(7, 0x77))
	delete(alice.p.stands, bob.p.id)
	wantFindings(t, alice, own(7, 0x77)) // what they said before is forgotten
}

// Each finding names whose echo it is; one contact's can be cleared, and is back when they say it again.
func TestForkIsOneContactsClaim(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	own := func(hash byte) Head { return head("vault", alice.p.id, 7, hash) }
	alice.tells(own(7))
	say(t, alice, bob, "seven")
	carol.offer(5)
	say(t, alice, carol, "seven")
	say(t, bob, alice, "echo")
	say(t, carol, alice, "echo")
	claims := func() (peers []string) {
		t.Helper()
		found, err := alice.CheckOwn([]Head{own(0x77)})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Code != fault.Forked {
				t.Error(f)
			}
			peers = append(peers, f.Peer)
		}
		return peers
	}
	if got := strings.Join(claims(), " "); got != bob.p.id+" "+carol.p.id {
		t.Error(got)
	}
	if err := alice.ClearFork("vault", alice.p.id, bob.p.id); err != nil {
		t.Fatal(err)
	}
	if got := claims(); len(got) != 1 || got[0] != carol.p.id {
		t.Error(got)
	}
	wantCode(t, "again", alice.ClearFork("vault", alice.p.id, bob.p.id), fault.NotFound)
	say(t, bob, alice, "the same again")
	if got := claims(); len(got) != 2 {
		t.Error(got)
	}
	if err := alice.ClearFork("vault", alice.p.id, ""); err != nil {
		t.Fatal(err)
	}
	if got := claims(); len(got) != 0 {
		t.Error(got)
	}
}
