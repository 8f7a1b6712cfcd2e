package messages

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// putBack has a device give back what it knows, and wants so many records put back and others left.
func (d *device) putBack(records int, left map[string]fault.Code) {
	t := d.p.w.t
	t.Helper()
	done, err := d.PutBack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.Records != records || len(done.Wrong) != len(left) {
		t.Errorf("put back %+v, want %d records, and left %v", done, records, left)
	}
	for peer, code := range left {
		if done.Wrong[peer] != code {
			t.Errorf("%q is left for %s, want %s", peer, done.Wrong[peer], code)
		}
	}
}

// faultless fails if something is wrong with a record, or was set aside.
func (d *device) faultless() {
	t := d.p.w.t
	t.Helper()
	faults, err := d.Faults()
	asides, also := d.Asides()
	if err := errors.Join(err, also); err != nil || len(faults) > 0 || len(asides) > 0 {
		t.Errorf("faults %v, set aside %v, %v", faults, asides, err)
	}
}

// lostTexts are those of a list that a person's vault does not have, or has more than once.
func lostTexts(p *person, want []string) (wrong []string) {
	got := p.texts()
	for _, text := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != text })); n != 1 {
			wrong = append(wrong, text)
		}
	}
	return wrong
}

// A coordinator goes back, with its epoch and all: records are rolled_back until a person has them put back; what was posted comes, once; no key is used
// twice; a second device takes the records over, in which the first one retired the sessions.
func TestPutBack(t *testing.T) {
	w, alice, bob := pair(t)
	second := alice.p.device()
	say(t, alice, bob, "a0")
	say(t, bob, second, "b0")
	say(t, second, bob, "a1")
	for i := range 3 {
		backup := w.backup()
		for range 2 {
			bob.enqueue(alice.p, "taken "+strconv.Itoa(i))
			bob.send()
			alice.receive()
			alice.enqueue(bob.p, "of alice")
			alice.send()
		}
		w.back(backup)
		alice.vault, bob.vault, second.vault = nil, nil, nil
		alice.enqueue(bob.p, "after it")
		if _, err := alice.Send(t.Context()); err != nil && !errors.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
		alice.putBack(1, nil)
		bob.putBack(1, nil)
		for range 2 {
			for _, d := range []*device{alice, bob, second} {
				d.Rescan()
				if err := d.Hurry(bob.p.id); err != nil {
					t.Fatal(err)
				}
				d.send()
				d.receive()
			}
		}
		say(t, second, bob, "by the second device")
		say(t, bob, alice, "answered")
		say(t, alice, bob, "and again")
	}
	for _, d := range []*device{alice, bob, second} {
		d.faultless()
	}
	if w.reuse > 0 {
		t.Errorf("%d message keys twice", w.reuse)
	}
}

// A record of which this device has no copy, or one that is none of its own past, stays as the coordinator has it.
func TestPutBackOverwritesNoFork(t *testing.T) {
	w, alice, bob := pair(t)
	w.lies = true
	say(t, alice, bob, "a")
	say(t, bob, alice, "b")
	backup := w.backup()
	say(t, alice, bob, "c")
	say(t, bob, alice, "d")
	here := w.backup()
	w.back(backup)
	other := bob.p.device() // it knows nothing of what came since
	other.enqueue(alice.p, "of another past")
	other.send()
	bob.vault = nil
	bob.putBack(0, map[string]fault.Code{alice.p.id: fault.Forked})
	bob.putBack(0, map[string]fault.Code{alice.p.id: fault.Forked})

	w.back(backup)
	err := alice.db.Update(func(tx *kv.Tx) error { return dropCopies(tx, sessionBase(bob.p.id)) })
	if err != nil {
		t.Fatal(err)
	}
	alice.putBack(0, map[string]fault.Code{bob.p.id: fault.RolledBack})
	w.back(here) // it was another backup that the operator meant
	if err := alice.Restart(bob.p.id); err != nil {
		t.Fatal(err)
	}
	alice.send()
}

// A body that was opened and not taken in, at a coordinator that forgot it and never had its message again, is taken in all the same.
func TestPutBackOfABody(t *testing.T) {
	w, alice, bob := pair(t)
	say(t, alice, bob, "a")
	backup := w.backup()
	busy := bob.failing(fault.New(fault.Busy, "not now"))
	alice.enqueue(bob.p, "opened")
	alice.send()
	if n := bob.receive(); n != 0 {
		t.Fatal("taken in")
	}
	w.back(backup)
	*busy = nil
	done, err := bob.PutBack(t.Context())
	if err != nil || done.Bodies != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	bob.receive()
	alice.putBack(1, nil)
	alice.send() // once more: it was in no mailbox
	bob.receive()
	if wrong := lostTexts(bob.p, []string{"opened"}); len(wrong) > 0 {
		t.Errorf("%q of %q", wrong, bob.p.texts())
	}
	bob.faultless()
	if list, err := bob.bodies(); err != nil || len(list) > 0 {
		t.Errorf("copies left: %d, %v", len(list), err)
	}
}

// What the coordinator took is kept for two days, within bounds, and posted again when the epoch is another one.
func TestEpoch(t *testing.T) {
	w, alice, bob := pair(t)
	ahead := time.Duration(0)
	alice.config.Now = func() time.Time { return w.clock().Add(ahead) }
	alice.restart()
	for _, epoch := range []string{"one", "one"} {
		if changed, err := alice.Epoch(epoch); err != nil || changed {
			t.Fatal(changed, err)
		}
	}
	say(t, alice, bob, "old")
	say(t, bob, alice, "b")
	ahead = keepPosted + time.Second
	say(t, alice, bob, "young")
	posts := 0
	alice.remote.post = func(receiver, id string, body []byte) error {
		posts++
		return alice.remote.Remote.Post(t.Context(), receiver, id, body)
	}
	for _, epoch := range []string{"", string(make([]byte, maxEpoch+1))} {
		_, err := alice.Epoch(epoch)
		if !errors.Is(err, fault.InvalidRequest) {
			t.Error(err)
		}
	}
	if changed, err := alice.Epoch("two"); err != nil || !changed {
		t.Fatal(changed, err)
	}
	alice.remote.post = func(string, string, []byte) error { return fault.New(fault.Busy, "slowly") }
	if _, err := alice.Send(t.Context()); !errors.Is(err, fault.Busy) {
		t.Fatal(err)
	}
	alice.restart() // it goes on with the next start
	alice.remote.post = func(receiver, id string, body []byte) error {
		posts++
		return alice.remote.Remote.Post(t.Context(), receiver, id, body)
	}
	alice.send()
	if posts != 1 {
		t.Errorf("%d posts, want the young one", posts)
	}
	before := alice.sessionsBegun(bob)
	say(t, alice, bob, "in a new session")
	if after := alice.sessionsBegun(bob); after != before+1 {
		t.Errorf("%d sessions after %d", after, before)
	}
	say(t, alice, bob, "in the same")
	if again := alice.sessionsBegun(bob); again != before+1 {
		t.Errorf("%d sessions after %d", again, before)
	}
	alice.remote.post = nil
}

// sessionsBegun is how many sessions with somebody a device has.
func (d *device) sessionsBegun(with *device) int {
	d.p.w.t.Helper()
	d.lock()
	defer d.mu.Unlock()
	s, err := d.session(d.p.w.t.Context(), with.p.id, false)
	if err != nil {
		d.p.w.t.Fatal(err)
	}
	return s.Info().Archived + 1
}

// What is kept of posted messages has bounds.
func TestPostedIsBounded(t *testing.T) {
	m := &Messages{config: Config{Now: time.Now}}
	id := newID()
	for i := range maxPosted - 1 {
		m.posted = append(m.posted, postedKey(time.Now().UnixNano()+int64(i), 10, id))
	}
	if old := m.tooOld(10); len(old) != 0 {
		t.Errorf("%d go of %d", len(old), len(m.posted))
	}
	m.posted = append(m.posted, postedKey(time.Now().UnixNano(), 10, id))
	if old := m.tooOld(10); len(old) != 1 || old[0] != m.posted[0] {
		t.Errorf("%d go of %d", len(old), len(m.posted))
	}
	m.posted = []string{postedKey(time.Now().UnixNano(), maxPostedBytes/2, id), postedKey(time.Now().UnixNano(), maxPostedBytes/2, id)}
	if old := m.tooOld(1); len(old) != 1 {
		t.Errorf("%d go of too many bytes", len(old))
	}
	m.posted = []string{postedKey(time.Now().Add(-keepPosted).UnixNano(), 1, id), postedKey(time.Now().UnixNano(), 1, id)}
	if old := m.tooOld(1); len(old) != 1 {
		t.Errorf("%d go of those that are old", len(old))
	}
}

// The device that knows less puts its record back first: the other one puts its newer one on top, as nobody changed it since. Once it is changed,
// the other one takes it over.
func TestPutBackByTwoDevices(t *testing.T) {
	w, alice, bob := pair(t)
	second := alice.p.device()
	say(t, alice, bob, "a")
	say(t, bob, second, "b")
	say(t, second, bob, "c")
	say(t, bob, alice, "d")
	devices := []*device{alice, bob, second}
	fresh := func() {
		for _, d := range devices {
			d.vault = nil
		}
	}
	for i, changed := range []bool{false, true} {
		backup := w.backup()
		say(t, alice, bob, "newer")
		fresh()
		say(t, second, bob, "newer still")
		say(t, bob, second, "and answered")
		w.back(backup)
		fresh()
		bob.putBack(1, nil)
		alice.putBack(1, nil)
		if changed {
			say(t, alice, bob, "changed")
			second.putBack(0, nil)
		} else {
			second.putBack(1, nil)
		}
		for _, d := range devices { // what was lost is posted again
			d.send()
		}
		for _, d := range devices {
			fresh()
			d.receive()
		}
		for _, from := range []*device{alice, second} {
			fresh()
			say(t, from, bob, "of one of them "+strconv.Itoa(i))
			say(t, bob, from, "to them")
		}
	}
	if w.reuse > 0 {
		t.Errorf("%d message keys twice", w.reuse)
	}
}

// The backup is from before the state key was replaced, and the old key was erased since: no key opens what the coordinator has again, and it is an earlier one all the
// same. What says that it has a later version stays.
func TestPutBackOverAnErasedKey(t *testing.T) {
	w, alice, bob := pair(t)
	say(t, alice, bob, "a")
	say(t, bob, alice, "b")
	say(t, alice, bob, "c")
	backup := w.backup()
	alice.p.nextEpoch()
	if err := alice.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.p.erase()
	say(t, bob, alice, "d")
	w.back(backup)
	alice.vault, bob.vault = nil, nil
	alice.putBack(2, nil) // with the prekeys
	bob.putBack(1, nil)
	alice.offer(5)
	for range 2 {
		for _, d := range []*device{alice, bob} {
			d.Rescan()
			d.send()
			d.receive()
		}
	}
	say(t, alice, bob, "goes on")
	say(t, bob, alice, "so do I")
	alice.faultless()
	if wrong := lostTexts(alice.p, []string{"b", "so do I"}); len(wrong) > 0 || w.reuse > 0 {
		t.Errorf("%q of %q; %d message keys twice", wrong, alice.p.texts(), w.reuse)
	}

	mine, err := alice.known(t.Context(), sessionBase(bob.p.id))
	if err != nil {
		t.Fatal(err)
	}
	mine.at.version = 1
	w.back(backup)
	_, err = alice.unreadable(t.Context(), sessionBase(bob.p.id), mine, fault.NotFound)
	wantCode(t, "a later version under a key that is not here", err, fault.NotFound)
}

// A receiver whose mailbox is full holds nobody else's messages up, and gets them once there is room.
func TestRepostToAFullMailbox(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	carol.offer(5)
	say(t, alice, bob, "a")
	say(t, alice, bob, "b")
	say(t, alice, carol, "c")
	say(t, alice, bob, "d")
	if err := alice.Restored(); err != nil {
		t.Fatal(err)
	}
	posts, isFull := map[string]int{}, true
	alice.remote.post = func(receiver, _ string, _ []byte) error {
		posts[receiver]++
		if isFull && receiver == bob.p.id {
			return fault.New(fault.StorageFull, "full")
		}
		return nil
	}
	next, err := alice.Send(t.Context())
	if err != nil || next.Before(w.clock()) || next.After(w.clock().Add(retryLimit)) {
		t.Fatal(next, err)
	}
	if err := alice.Repost(t.Context()); err != nil {
		t.Fatal(err)
	}
	if posts[carol.p.id] != 1 || posts[bob.p.id] != 2 {
		t.Errorf("%v posts while a mailbox is full", posts)
	}
	isFull = false
	for range 2 {
		if next, err := alice.Send(t.Context()); err != nil || !next.IsZero() {
			t.Fatal(next, err)
		}
	}
	if posts[carol.p.id] != 1 || posts[bob.p.id] != 5 {
		t.Errorf("%v posts in all", posts)
	}
}

// What is for a contact whose key changed, or who is forked, waits until a person has looked; what is for one to whom nothing may be sent any more is left out.
// A kept message that is damaged holds up no other.
func TestRepostToWhomAPersonHasToLookAt(t *testing.T) {
	for code, want := range map[fault.Code]int{fault.KeyChanged: 2, fault.Forked: 2, fault.Forbidden: 0, fault.NotFound: 0} {
		_, alice, bob := pair(t)
		say(t, alice, bob, "a")
		say(t, alice, bob, "b")
		say(t, alice, bob, "c")
		if n := len(alice.posted); n != 3 {
			t.Fatal(n)
		}
		if err := alice.db.Update(func(tx *kv.Tx) error { return tx.Set(alice.posted[1], []byte("damaged")) }); err != nil {
			t.Fatal(err)
		}
		if err := alice.Restored(); err != nil {
			t.Fatal(err)
		}
		posts := 0
		alice.remote.post = func(string, string, []byte) error { posts++; return nil }
		alice.Messages.config.MaySend = func(context.Context, string) error { return fault.New(code, "not now") }
		next, err := alice.Send(t.Context())
		if err != nil || next.IsZero() != (want == 0) || posts > 0 {
			t.Fatal(code, next, err, posts)
		}
		alice.Messages.config.MaySend = func(context.Context, string) error { return nil }
		if next, err := alice.Send(t.Context()); err != nil || !next.IsZero() || posts != want {
			t.Error(code, next, err, posts)
		}
	}
}

// After a restore the device that is on first has never seen the record, so that nothing told it to retire: it begins a new session all the same, as another device
// may have used the keys of the one there. What it sends after that is in the same one.
func TestFirstLookBeginsASession(t *testing.T) {
	w, alice, bob := pair(t)
	second := alice.p.device()
	say(t, alice, bob, "a")
	say(t, bob, alice, "b")
	say(t, alice, bob, "c")
	backup := w.backup()
	say(t, alice, bob, "d")
	say(t, alice, bob, "e")
	w.back(backup)
	alice.vault, bob.vault = nil, nil
	for _, text := range []string{"of the second device", "once more"} {
		second.enqueue(bob.p, text)
		second.send()
	}
	if w.reuse > 0 {
		t.Errorf("%d message keys twice", w.reuse)
	}
	if n := second.sessionsBegun(bob); n != 2 {
		t.Errorf("%d sessions, want one new", n)
	}
}

// A second restore while what the coordinator took is posted again, because of a first one, has all of it posted once more.
func TestRestoredWhileReposting(t *testing.T) {
	_, alice, bob := pair(t)
	for _, text := range []string{"a", "b", "c"} {
		say(t, alice, bob, text)
	}
	again := func() {
		t.Helper()
		if err := alice.Restored(); err != nil {
			t.Fatal(err)
		}
	}
	posts := []string{}
	alice.remote.post = func(_, id string, _ []byte) error {
		posts = append(posts, id)
		if len(posts) == 2 || len(posts) == 5 {
			again()
		}
		if len(posts) == 2 {
			return fault.New(fault.Unavailable, "gone")
		}
		return nil
	}
	again()
	if err := alice.Repost(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	for range 3 {
		if err := alice.Repost(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(posts) != 8 || posts[2] != posts[0] || posts[5] != posts[0] {
		t.Errorf("%d posts, want two, and all three for each restore since: %q", len(posts), posts)
	}
}

// A version that is read again and again pushes no other one out of the trail.
func TestTrailHasEachVersionOnce(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "a")
	say(t, bob, alice, "b")
	base := sessionBase(bob.p.id)
	trail := func() string {
		t.Helper()
		mine, err := alice.known(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		return string(mine.trail)
	}
	before := trail()
	for range maxTrail + 1 {
		if _, _, err := alice.load(t.Context(), base, true); err != nil {
			t.Fatal(err)
		}
	}
	if after := trail(); after != before || len(after) < 2*(8+hashSize) {
		t.Errorf("%d bytes of trail, then %d others", len(before), len(after))
	}
}

// The copy of a body that waits is sealed anew with it: it replaces what a backup has, which no key opens any more.
func TestPutBackOfABodyOverAnErasedKey(t *testing.T) {
	w, alice, bob := pair(t)
	busy := bob.failing(fault.New(fault.Busy, "not now"))
	alice.enqueue(bob.p, "opened")
	alice.send()
	bob.receive()
	backup := w.backup()
	bob.p.nextEpoch()
	if err := bob.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob.p.erase()
	if list, err := bob.bodies(); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	} else if epoch, err := EpochOf(list[0].sealed); err != nil || epoch != 2 {
		t.Errorf("the copy is sealed under epoch %d, %v", epoch, err)
	}
	w.back(backup)
	done, err := bob.PutBack(t.Context())
	if err != nil || done.Bodies != 1 || len(done.Wrong) > 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	*busy = nil
	bob.receive()
	if wrong := lostTexts(bob.p, []string{"opened"}); len(wrong) > 0 || countOf(t, bob, bodyPrefix) > 0 {
		t.Errorf("%q of %q, copies %d", wrong, bob.p.texts(), countOf(t, bob, bodyPrefix))
	}
}

// The copy of a body goes when another device took that, and after two days, as what was posted does, also where nothing else comes.
func TestCopiesAreForgotten(t *testing.T) {
	w, alice, bob := pair(t)
	second := bob.p.device()
	bob.config.Handlers = map[string]Handler{"text": func(context.Context, *Received) error { return fault.New(fault.Busy, "not now") }}
	ahead := time.Duration(0)
	for _, d := range []*device{alice, bob} {
		d.config.Now = func() time.Time { return w.clock().Add(ahead) }
		d.restart()
	}
	for _, taken := range []bool{true, false} {
		alice.enqueue(bob.p, "opened")
		alice.send()
		bob.receive()
		if n := countOf(t, bob, bodyPrefix); n != 1 {
			t.Fatalf("%d copies", n)
		}
		if taken {
			second.receive()
		} else {
			ahead = keepPosted + time.Second
		}
		bob.receive()
		bob.send()
		alice.send()
		if n := countOf(t, bob, bodyPrefix); n != 0 {
			t.Errorf("%d copies are left; taken: %v", n, taken)
		}
	}
	if n := countOf(t, alice, postedPrefix); n != 0 {
		t.Errorf("%d messages are kept", n)
	}
}
