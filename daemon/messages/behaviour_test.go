package messages

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/ratchet"
)

// A changed key stops what is for that contact, visibly, and nothing else. Once a person has looked, a new session begins with the new key,
// and what waited goes.
func TestChangedKeyWaitsForAPerson(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	carol.offer(5)
	say(t, alice, bob, "before")
	say(t, bob, alice, "before")
	alice.p.pins[bob.p.id] = bob.p.local.Identity.Public()

	bob.p.local = &ratchet.Local{Identity: ratchet.NewIdentity(), Address: bob.p.local.Address, RegistrationID: 9} // all is lost but the name
	again := bob.p.device()
	for _, base := range []string{preKeysBase, sessionBase(alice.p.id)} {
		peer := peerOf(base)
		if err := again.Restart(peer); err != nil {
			t.Fatal(err)
		}
	}
	again.offer(5)
	again.enqueue(alice.p, "from the new key")
	again.send()
	if n := alice.receive(); n != 0 || len(alice.events) == 0 || alice.events[0] != (Event{Held, bob.p.id, fault.KeyChanged}) {
		t.Fatalf("%d, %v", n, alice.events)
	}
	alice.p.wrong[bob.p.id] = fault.KeyChanged
	alice.enqueue(bob.p, "first to the new key")
	alice.enqueue(carol.p, "to carol")
	alice.send()
	wantWaiting(t, alice, bob.p, Queued, fault.KeyChanged)
	if carol.receive() != 1 {
		t.Error("carol waits too")
	}
	delete(alice.p.wrong, bob.p.id)
	alice.p.pins[bob.p.id] = bob.p.local.Identity.Public()
	alice.Rescan()
	if n := alice.receive(); n != 1 || alice.p.texts()[1] != "from the new key" {
		t.Errorf("%d came of what was held: %q", n, alice.p.texts())
	}
	if err := alice.Hurry(bob.p.id); err != nil {
		t.Fatal(err)
	}
	alice.send()
	if n := again.receive(); n != 1 {
		t.Errorf("%d arrived; %v", n, again.events)
	}
	if key, err := alice.Identity(t.Context(), bob.p.id); err != nil || key != bob.p.local.Identity.Public() {
		t.Error("the session is not with the new key", err)
	}
}

// A message that was made and not posted before its session was given up, or a person accepted another key, is made again: the peer could
// not open the old one. If that was posted after all the text arrives once.
func TestMessageOfASessionThatWasGivenUp(t *testing.T) {
	for _, how := range []string{"restart", "new key"} {
		for _, posted := range []bool{false, true} {
			w, alice, bob := pair(t)
			say(t, alice, bob, "before")
			say(t, bob, alice, "before")
			lost := fault.New(fault.Unavailable, "no answer")
			alice.remote.post = func(to, id string, body []byte) error {
				if posted {
					return errors.Join(alice.remote.Remote.Post(t.Context(), to, id, body), lost)
				}
				return lost
			}
			alice.enqueue(bob.p, "made before")
			if _, err := alice.Send(t.Context()); !errors.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			wantWaiting(t, alice, bob.p, Encrypted, fault.Unavailable)
			alice.remote.post = nil
			to := bob
			if how == "restart" {
				if err := alice.Restart(bob.p.id); err != nil {
					t.Fatal(err)
				}
				if posted { // and the peer has opened it
					bob.receive()
				} else if err := bob.Restart(alice.p.id); err != nil {
					t.Fatal(err)
				}
			} else {
				bob.p.local = &ratchet.Local{Identity: ratchet.NewIdentity(), Address: bob.p.local.Address, RegistrationID: 9}
				to = bob.p.device()
				if err := errors.Join(to.Restart(""), to.Restart(alice.p.id)); err != nil {
					t.Fatal(err)
				}
				to.offer(5)
				alice.p.pins[bob.p.id] = bob.p.local.Identity.Public()
			}
			w.later(2 * personLimit)
			alice.send()
			to.receive()
			if got := bob.p.texts(); !slices.Equal(got, []string{"before", "made before"}) {
				t.Errorf("%s, posted %t: bob has %q", how, posted, got)
			}
		}
	}
}

// A peer who has not answered for 30 days gets a new session, from a new bundle.
func TestUnansweredSessionBeginsAnew(t *testing.T) {
	w, alice, bob := pair(t)
	alice.enqueue(bob.p, "lost")
	alice.send()
	first, err := alice.Identity(t.Context(), bob.p.id)
	if err != nil || first != bob.p.local.Identity.Public() {
		t.Fatal(err)
	}
	w.later(31 * 24 * time.Hour)
	for _, d := range []*device{alice, bob} {
		if err := d.p.client.Login(t.Context(), login(d.p)); err != nil {
			t.Fatal(err)
		}
		d.offer(5)
	}
	alice.enqueue(bob.p, "after a month")
	alice.send()
	if out, err := alice.Outbox(); err != nil || len(out) > 0 {
		t.Fatal(out, err)
	}
	bob.receive()
	if got := bob.p.texts(); !slices.Contains(got, "after a month") {
		t.Errorf("bob has %q; %v", got, bob.events)
	}
	say(t, bob, alice, "at last")
}

// A kind that this agent does not know is set aside and stays at the coordinator: an agent that knows it reads it once.
func TestUnknownKindWaitsForANewerAgent(t *testing.T) {
	_, alice, bob := pair(t)
	if _, err := alice.Enqueue(bob.p.id, "future", []byte("for later")); err != nil {
		t.Fatal(err)
	}
	alice.send()
	for range 3 {
		if bob.receive() != 0 {
			t.Error("somebody took it")
		}
		list, err := bob.Asides()
		if err != nil || len(list) != 1 || list[0].Kind != "future" || list[0].Code != fault.Policy || list[0].Sender != alice.p.id {
			t.Fatalf("%+v, %v", list, err)
		}
		bob.restart()
	}
	if left, _, err := bob.remote.Remote.Inbox(t.Context(), 0); err != nil || len(left) > 0 {
		t.Error("it blocks the mailbox", err)
	}
	newer := bob.p.device()
	newer.config.Handlers["future"] = newer.handle
	newer.restart()
	bob.config.Handlers["future"] = bob.handle
	bob.restart()
	if n := newer.receive() + bob.receive() + newer.receive(); n != 1 || !slices.Equal(bob.p.texts(), []string{"for later"}) {
		t.Errorf("taken %d times: %q", n, bob.p.texts())
	}
}

// Bodies of kinds that nobody here knows stay at the coordinator, of each sender a share; the rest is set aside here alone.
func TestUnknownKindsAreShared(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	for range maxUnknownOf + 5 {
		if _, err := alice.Enqueue(bob.p.id, "future", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := carol.Enqueue(bob.p.id, "future", nil); err != nil {
		t.Fatal(err)
	}
	alice.send()
	carol.send()
	for range 2 {
		bob.receive()
		names, err := bob.listStored(t.Context())
		if err != nil || len(names) != maxUnknownOf+1 {
			t.Errorf("%d stay, want %d of one and one of the other; %v", len(names), maxUnknownOf, err)
		}
		bob.restart()
	}
	if list, err := bob.Asides(); err != nil || len(list) != maxUnknownOf+6 || list[len(list)-1].Sender != carol.p.id {
		t.Error(len(list), err)
	}
}

// Messages that say they come under another key stay in the mailbox for a person to look, so many of one sender: anybody can make one.
func TestForgedKeyChangesAreBounded(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	bob.p.pins[alice.p.id] = alice.p.local.Identity.Public()
	mallory := alice.p.w.person().device()
	var forged []byte
	mallory.remote.post = func(_, _ string, body []byte) error { forged = body; return nil }
	mallory.enqueue(bob.p, "not alice")
	mallory.send()
	bob.remote.inbox = func(after uint64) (list []Envelope, _ bool, _ error) {
		for i := range uint64(maxChanged + 10) {
			list = append(list, Envelope{after + i + 1, ID{byte(i >> 8), byte(i)}.String(), alice.p.id, forged})
		}
		return list, false, nil
	}
	before := bob.remote.acks
	for range 2 {
		bob.receive()
		if acks := bob.remote.acks - before; acks != 10 || bob.events[0] != (Event{Held, alice.p.id, fault.KeyChanged}) {
			t.Fatalf("%d acknowledged, want 10; %v", acks, bob.events[0])
		}
		before = bob.remote.acks
		bob.Rescan()
	}
	bob.remote.inbox = nil
	bob.restart()
	say(t, alice, bob, "two")
}

// What the application refuses for good is set aside with its code; what it could not do now stays for the next time.
func TestHandlerThatFails(t *testing.T) {
	_, alice, bob := pair(t)
	fails := bob.failing(nil)
	alice.enqueue(bob.p, "one")
	alice.enqueue(bob.p, "two")
	alice.send()
	*fails = fault.New(fault.Unavailable, "not now")
	for range 3 {
		if _, err := bob.Receive(t.Context()); !errors.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		bob.restart()
	}
	*fails = nil
	if n := bob.receive(); n != 2 || len(bob.p.texts()) != 2 {
		t.Errorf("%d, %q", n, bob.p.texts())
	}
	alice.enqueue(bob.p, "three")
	alice.enqueue(bob.p, "four")
	alice.send()
	*fails = fault.New(fault.InvalidRequest, "not now")
	bob.receive()
	list, err := bob.Asides()
	if err != nil || len(list) != 2 || list[0].Code != fault.InvalidRequest || list[0].Size == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	one, err := bob.bodyAside(list[0].Number)
	if err != nil || len(one) != list[0].Size {
		t.Fatal(err)
	}
	if b, err := parseBody(one); err != nil || string(b.Payload) != "three" {
		t.Error("it cannot be read later", err)
	}
	if err := bob.Forget(list[0].Number); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "again", bob.Forget(list[0].Number), fault.NotFound)
	*fails = nil
	say(t, alice, bob, "five")
}

// One body that the application cannot take now holds up no other one, nor what an agent left over. It is taken when that passes, and what
// never passes is set aside, whatever its code.
func TestOneBodyHoldsUpNoOther(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	var refusal error
	bob.config.Handlers["text"] = func(ctx context.Context, r *Received) error {
		if r.Sender == alice.p.id && refusal != nil {
			return refusal
		}
		return bob.handle(ctx, r)
	}
	bob.restart()
	want := []string{}
	for i, code := range []fault.Code{fault.Conflict, fault.StorageFull, fault.Busy} {
		refusal = fault.New(code, "not this one")
		alice.enqueue(bob.p, fmt.Sprint("alice ", i))
		alice.send()
		carol.enqueue(bob.p, fmt.Sprint("carol ", i))
		carol.send()
		if n := bob.receive(); n != 1 {
			t.Fatalf("%s: %d of carol's arrived", code, n)
		}
		bob.restart()
		if n := bob.receive(); n != 0 {
			t.Fatalf("%s: %d arrived", code, n)
		}
		refusal = nil
		if n := bob.receive(); n != 1 {
			t.Fatalf("%s: %d arrived once it had passed", code, n)
		}
		want = append(want, fmt.Sprint("carol ", i), fmt.Sprint("alice ", i))
	}
	alice.enqueue(bob.p, "never")
	alice.send()
	refusal = Never(fault.New(fault.Conflict, "another one under this id"))
	bob.receive()
	if list, err := bob.Asides(); err != nil || len(list) != 1 || list[0].Code != fault.Conflict {
		t.Errorf("%+v, %v", list, err)
	}
	if got := bob.p.texts(); !slices.Equal(got, want) {
		t.Errorf("bob has %q, want %q", got, want)
	}
	if left, _, err := bob.remote.Remote.Inbox(t.Context(), 0); err != nil || len(left) > 0 {
		t.Error("left in the mailbox:", len(left), err)
	}
}

// A body that an agent opened and did not get to the application is of the identity key that it came under, whatever is pinned when it is
// taken; and its sender is judged when it is taken.
func TestLeftOverBodyIsJudgedAgain(t *testing.T) {
	_, alice, bob := pair(t)
	now := fault.New(fault.Busy, "not now")
	var got []Received
	bob.config.Handlers["text"] = func(_ context.Context, r *Received) error {
		if now != nil {
			return now
		}
		got = append(got, *r)
		return nil
	}
	bob.restart()
	alice.enqueue(bob.p, "one")
	alice.send()
	bob.receive()
	key := alice.p.local.Identity.Public()
	now, bob.p.pins[alice.p.id] = nil, [32]byte{5} // the person accepted another key
	bob.p.gate[alice.p.id] = Hold
	for range 2 {
		if n := bob.receive(); n != 0 {
			t.Fatal("taken although its sender is held")
		}
		bob.Rescan()
	}
	delete(bob.p.gate, alice.p.id)
	bob.p.wrong[alice.p.id] = fault.KeyChanged
	if n := bob.receive(); n != 0 || bob.events[len(bob.events)-1] != (Event{Held, alice.p.id, fault.KeyChanged}) {
		t.Fatal(n, bob.events)
	}
	delete(bob.p.wrong, alice.p.id)
	second := bob.p.device()
	second.config.Handlers = bob.config.Handlers
	second.restart()
	if n := second.receive(); n != 1 || len(got) != 1 || got[0].Identity != key {
		t.Fatalf("%d arrived: %+v", n, got)
	}
	delete(bob.p.pins, alice.p.id)
	now = fault.New(fault.Busy, "not now")
	alice.enqueue(bob.p, "two")
	alice.send()
	bob.Rescan()
	bob.receive()
	now, bob.p.gate[alice.p.id] = nil, Drop
	if n := bob.receive(); n != 0 || len(got) != 1 {
		t.Error("taken although its sender was refused")
	}
	list, err := bob.remote.List(t.Context(), receivedPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if left, err := bob.readReceived(t.Context(), b.Name); err != nil || left != nil {
			t.Error("what was dropped is left at the coordinator", err)
		}
	}
}

// A handler that did not ask for the removal is called, marked, and the body removed.
func TestHandlerWithoutRemoval(t *testing.T) {
	_, alice, bob := pair(t)
	calls := 0
	bob.config.Handlers["text"] = func(context.Context, *Received) error { calls++; return nil }
	bob.restart()
	alice.enqueue(bob.p, "one")
	alice.send()
	for range 2 {
		bob.receive()
		bob.restart()
	}
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
	list, err := bob.remote.List(t.Context(), receivedPrefix)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if b, err := bob.readReceived(t.Context(), list[0].Name); err != nil || b != nil {
		t.Error("the body is left", err)
	}
}

// Messages of a stranger wait in the mailbox, a few and no more, until somebody decides.
func TestStrangersAreHeld(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	bob.p.gate[alice.p.id] = Hold
	for i := range maxHeld + 4 {
		alice.enqueue(bob.p, fmt.Sprint(i))
	}
	alice.send()
	carol.enqueue(bob.p, "from a friend")
	carol.send()
	for range 2 {
		bob.receive()
	}
	if got := bob.p.texts(); !slices.Equal(got, []string{"from a friend"}) {
		t.Errorf("bob has %q", got)
	}
	if list, _, err := bob.remote.Remote.Inbox(t.Context(), 0); err != nil || len(list) != maxHeld {
		t.Errorf("%d wait, want %d; %v", len(list), maxHeld, err)
	}
	bob.p.gate[alice.p.id] = Accept
	bob.Rescan()
	if n := bob.receive(); n != maxHeld {
		t.Errorf("%d arrived after consent", n)
	}
	bob.p.gate[alice.p.id] = Drop
	alice.enqueue(bob.p, "unwanted")
	alice.send()
	if bob.receive() != 0 || len(bob.p.texts()) != maxHeld+1 {
		t.Error("what is dropped arrived")
	}
}

// Only so many messages are kept that could not be read, and so many bytes of them; the oldest goes, of the sender who has too many.
func TestAsidesAreBounded(t *testing.T) {
	w, alice, bob := pair(t)
	sequence := uint64(0)
	flood := func(sender string, n, size int) {
		t.Helper()
		bob.remote.inbox = func(uint64) (list []Envelope, _ bool, _ error) {
			for range n {
				sequence++
				rubbish := append(fmt.Appendf([]byte{2, 0x44}, "rubbish %d", sequence), make([]byte, size)...)
				list = append(list, Envelope{sequence, ID{}.String(), sender, rubbish})
			}
			return list, false, nil
		}
		bob.receive()
	}
	bodies := func() (n, bytes int) {
		t.Helper()
		list, err := bob.Asides()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			n, bytes = n+1, bytes+a.Size
		}
		if countOf(t, bob, asideBodies) != n || countOf(t, bob, asideSenders) != n || countOf(t, bob, asideNames) != n {
			t.Error("what was dropped is left in part")
		}
		return n, bytes
	}
	carol := w.person()
	flood(carol.id, 3, 0)
	flood(alice.p.id, 300, 0)
	list, err := bob.Asides()
	if err != nil || len(list) != 3+MaxAside/asideShare || list[0].Sender != carol.id || list[3].Number != 3+300-MaxAside/asideShare+1 {
		t.Fatalf("%d, %v", len(list), err)
	}
	flood(alice.p.id, 30, 250<<10)
	if n, bytes := bodies(); n != 3+16 || bytes > MaxAsideBytes/asideShare+1000 {
		t.Errorf("%d with %d bytes", n, bytes)
	}
	for range 5 {
		flood(w.person().id, 20, 250<<10)
	}
	if n, bytes := bodies(); bytes > MaxAsideBytes || n < 60 {
		t.Errorf("%d with %d bytes", n, bytes)
	}
	for range 5 {
		flood(w.person().id, MaxAside/asideShare, 0)
	}
	if n, _ := bodies(); n != MaxAside {
		t.Errorf("%d are kept, want %d", n, MaxAside)
	}
	bob.remote.inbox = nil
	bob.restart()
	say(t, alice, bob, "and on")
}

// What was not sent can be taken back, and what is wrong is refused at once.
func TestOutbox(t *testing.T) {
	_, alice, bob := pair(t)
	id := alice.enqueue(bob.p, "taken back")
	alice.enqueue(bob.p, "sent")
	if out, err := alice.Outbox(); err != nil || len(out) != 2 || out[0].ID != id || out[0].State != Queued || out[0].Kind != "text" {
		t.Fatal(out, err)
	}
	if left, err := alice.Cancel(id); err != nil || left {
		t.Fatal(left, err)
	}
	if left, err := alice.Cancel(id); err != nil || !left {
		t.Error("again:", left, err)
	}
	alice.send()
	bob.receive()
	if got := bob.p.texts(); !slices.Equal(got, []string{"sent"}) {
		t.Error(got)
	}
	_, err := alice.Enqueue(alice.p.id, "text", nil)
	wantCode(t, "to oneself", err, fault.InvalidRequest)
	_, err = alice.Enqueue("bob", "text", nil)
	wantCode(t, "to no user", err, fault.InvalidRequest)
	_, err = alice.Enqueue(bob.p.id, "Text", nil)
	wantCode(t, "a kind", err, fault.InvalidRequest)
	_, err = alice.Enqueue(bob.p.id, "text", make([]byte, MaxPayload+1))
	wantCode(t, "too large", err, fault.TooLarge)
	if _, err = alice.Enqueue(bob.p.id, "text", make([]byte, MaxPayload)); err != nil {
		t.Fatal(err)
	}
	alice.send()
	if bob.receive() != 1 {
		t.Error("the largest payload did not arrive")
	}
	alice.enqueue(&person{id: "00000000-0000-4000-8000-00000000ffff"}, "to nobody")
	alice.send()
	wantWaiting(t, alice, &person{id: "00000000-0000-4000-8000-00000000ffff"}, Queued, fault.NotFound)
}

// A receiver who takes nothing uses up a share of the outbox and no more, and messages for an account that is no more lapse: they are still
// seen, until they are cancelled.
func TestOutboxIsShared(t *testing.T) {
	w, alice, bob := pair(t)
	gone := &person{id: "00000000-0000-4000-8000-00000000ffff"}
	if err := alice.db.Update(func(tx *kv.Tx) error {
		for range maxQueuedOf {
			if _, err := alice.EnqueueIn(tx, gone.id, "text", nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := alice.Enqueue(gone.id, "text", nil)
		wantCode(t, "one too many", err, fault.StorageFull)
		alice.restart()
	}
	say(t, alice, bob, "somebody else")
	list, err := alice.Outbox()
	if err != nil || len(list) != maxQueuedOf {
		t.Fatal(len(list), err)
	}
	if err := alice.db.Update(func(tx *kv.Tx) error {
		for _, o := range list[3:] {
			key := ""
			if err := tx.Keys(outPrefix, func(k string) error {
				if strings.HasSuffix(k, hex.EncodeToString(o.ID[:])) {
					key = k
				}
				return nil
			}); err != nil {
				return err
			}
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	alice.enqueue(gone, "there is room again")
	if _, err := alice.Enqueue(gone.id, KindHeads, nil); err != nil {
		t.Fatal(err)
	}
	wantDelay := func(code fault.Code) {
		t.Helper()
		why, err := alice.Delays()
		if err != nil || why[gone.id] != code {
			t.Errorf("%v, %v", why, err)
		}
	}
	alice.send()
	wantWaiting(t, alice, gone, Queued, fault.NotFound)
	wantDelay(fault.NotFound)
	w.later(lapseAfter)
	for range 6 {
		if err := alice.p.client.Login(t.Context(), login(alice.p)); err != nil {
			t.Fatal(err)
		}
		alice.send()
		w.later(2 * personLimit)
	}
	list, err = alice.Outbox()
	if err != nil || len(list) != 4 {
		t.Fatalf("%d, %v", len(list), err)
	}
	wantDelay(fault.NotFound)
	for _, o := range list {
		waits, err := alice.Waits(o.ID)
		if o.State != Lapsed || o.Code != fault.NotFound || err != nil || !waits {
			t.Errorf("%+v, %v", o, err)
		}
		if left, err := alice.Cancel(o.ID); err != nil || left {
			t.Error(left, err)
		}
	}
	if list, err = alice.Outbox(); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
	wantDelay("")
}

// Nothing is made or posted for whom a person said no to, be it while the message was made; what waits is known by its id.
func TestMaySendIsAskedBeforeEachMessage(t *testing.T) {
	w, alice, bob := pair(t)
	var allowed int
	alice.config.MaySend = func(_ context.Context, peer string) error {
		if allowed--; allowed < 0 && peer == bob.p.id {
			return fault.New(fault.Forbidden, "no")
		}
		return nil
	}
	alice.restart()
	id := alice.enqueue(bob.p, "one")
	for n, state := range []Sending{Queued, Encrypted} {
		allowed = n
		if err := alice.Hurry(bob.p.id); err != nil {
			t.Fatal(err)
		}
		alice.send()
		wantWaiting(t, alice, bob.p, state, fault.Forbidden)
		if waits, err := alice.Waits(id); err != nil || !waits || bob.receive() > 0 {
			t.Error("it left", err)
		}
	}
	allowed = 2
	w.later(2 * personLimit)
	alice.send()
	if waits, err := alice.Waits(id); err != nil || waits || bob.receive() != 1 {
		t.Error("it did not leave", err)
	}
}

// Nothing is done, and nothing lost, while keys are locked.
func TestLocked(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	alice.enqueue(bob.p, "two")
	key := bob.p.keys[1].Clone()
	alice.p.keys[1].Wipe()
	_, err := alice.Send(t.Context())
	wantCode(t, "Send", err, fault.Locked)
	bob.p.keys[1].Wipe()
	bob.Wipe()
	alice.p.keys[1] = key // nothing that it sealed opens under this one
	if _, err = alice.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWaiting(t, alice, bob.p, Queued, fault.NotAuthentic)
}

func login(p *person) coordinator.Login {
	return coordinator.Login{User: &p.id, Proof: proofOf(p.id)}
}
