package messages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// The coordinator goes back to the record of before: nothing is sent to that peer or opened from them, also after a restart, and others are
// not held up. A person who has looked begins a new session, in a record that goes on from the highest one.
func TestS01_RecordRolledBack(t *testing.T) {
	t.Run("whole", func(t *testing.T) { recordRolledBack(t, false) })
	t.Run("the head alone", func(t *testing.T) { recordRolledBack(t, true) })
}

func recordRolledBack(t *testing.T, headOnly bool) { //nolint:thelper // its lines are what failed
	w, alice, bob := pair(t)
	carol := w.person().device()
	carol.offer(5)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	old := map[string]Blob{}
	list, err := alice.remote.List(t.Context(), sessionBase(bob.p.id))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if headOnly && b.Name != headName(sessionBase(bob.p.id)) {
			continue
		}
		got, err := alice.remote.Remote.Read(t.Context(), []string{b.Name})
		if err != nil {
			t.Fatal(err)
		}
		old[b.Name] = got[0]
	}
	say(t, alice, bob, "three")
	for range 3 { // other parts than those that the older head names
		say(t, bob, alice, "another key of his")
		say(t, alice, bob, "and of hers")
	}
	alice.remote.read = func(ctx context.Context, names []string) (out []Blob, err error) {
		for _, n := range names {
			if b, there := old[n]; there {
				out = append(out, b)
			} else if got, err := alice.remote.Remote.Read(ctx, []string{n}); err == nil {
				out = append(out, got...)
			}
		}
		return out, nil
	}
	alice.remote.swap = func(ctx context.Context, changes []BlobChange) error {
		for _, c := range changes {
			if _, there := old[c.Name]; there {
				return fault.New(fault.Conflict, "it went back")
			}
		}
		return alice.remote.Remote.Swap(ctx, changes)
	}
	alice.enqueue(bob.p, "four")
	alice.enqueue(carol.p, "to carol")
	for range 2 {
		alice.send()
		wantWaiting(t, alice, bob.p, Queued, fault.RolledBack)
		alice.restart()
		w.later(2 * time.Hour)
	}
	if n := carol.receive(); n != 1 {
		t.Errorf("carol got %d texts", n)
	}
	if list, err := alice.Faults(); err != nil || len(list) != 1 || list[bob.p.id] != fault.RolledBack {
		t.Error(list, err)
	}
	bob.enqueue(alice.p, "five")
	bob.send()
	if n := alice.receive(); n != 0 {
		t.Errorf("%d were opened with a record that went back", n)
	}
	alice.remote.read, alice.remote.swap = nil, nil
	alice.send()
	wantWaiting(t, alice, bob.p, Queued, fault.RolledBack) // what is right now does not heal it

	if err := alice.Restart(bob.p.id); err != nil {
		t.Fatal(err)
	}
	alice.restart()
	w.later(2 * time.Hour)
	alice.send()
	if n := bob.receive(); n != 1 || !slices.Contains(bob.p.texts(), "four") {
		t.Errorf("%d came after the restart: %q", n, bob.p.texts())
	}
	say(t, bob, alice, "six")
	again := alice.p.device()
	again.enqueue(bob.p, "from another device")
	again.send()
	if n := bob.receive(); n != 1 {
		t.Error("another device does not go on from there", n)
	}
	if list, err := alice.Faults(); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
}

// A record that was found to be wrong on two devices is given up once: the other device takes over the session that begins, whether or not
// somebody gave it up there as well.
func TestRestartOnTwoDevices(t *testing.T) {
	for _, both := range []bool{false, true} {
		_, alice, bob := pair(t)
		say(t, alice, bob, "one")
		say(t, bob, alice, "two")
		second := alice.p.device()
		second.enqueue(bob.p, "three")
		second.send()
		bob.receive()
		for _, d := range []*device{alice, second} {
			d.Wipe()
			if err := d.condemn(sessionBase(bob.p.id), fault.Forked, ""); !errors.Is(err, fault.Forked) {
				t.Fatal(err)
			}
		}
		if err := alice.Restart(bob.p.id); err != nil {
			t.Fatal(err)
		}
		alice.send() // with nothing to say
		if both {
			if err := second.Restart(bob.p.id); err != nil {
				t.Fatal(err)
			}
		}
		r, _, err := alice.load(t.Context(), sessionBase(bob.p.id), true)
		if err != nil || r.begun < 2 {
			t.Fatal("no session began", r.begun, err)
		}
		bob.receive()
		second.enqueue(bob.p, "four")
		second.send()
		if n := bob.receive(); n != 1 {
			t.Errorf("both %t: %d texts of the other device arrived; %v", both, n, second.events)
		}
		if now, _, err := second.load(t.Context(), sessionBase(bob.p.id), true); err != nil || now.begun != r.begun {
			t.Errorf("both %t: the session began in %d and again in %d, %v", both, r.begun, now.begun, err)
		}
		if list, err := second.Faults(); err != nil || len(list) > 0 {
			t.Error(list, err)
		}
		say(t, alice, bob, "five")
	}
}

// A coordinator that grants one swap twice, and shows the other branch only when it is longer, is found out: a record has to descend from
// the one that was seen last. Of one that is further on than the coordinator tells of, the user learns that nobody can say.
func TestForkIsFoundHoweverLongTheOtherBranch(t *testing.T) {
	for _, ahead := range []int{1, 2, 3, 8, 9, 10} {
		_, alice, bob := pair(t)
		say(t, alice, bob, "one")
		second := alice.p.device()
		second.enqueue(bob.p, "two")
		second.send()
		honest := alice.p.device()
		if _, _, err := honest.load(t.Context(), sessionBase(bob.p.id), true); err != nil {
			t.Fatal(err)
		}
		if _, _, err := alice.load(t.Context(), sessionBase(bob.p.id), true); err != nil {
			t.Fatal(err)
		}
		alice.Wipe()
		alice.p.w.lies = true
		alice.remote.swap = func(context.Context, []BlobChange) error { return nil } // yes, and nothing is done
		alice.remote.post = func(_, _ string, _ []byte) error { return nil }
		alice.enqueue(bob.p, "on a branch of its own")
		alice.send()
		alice.remote.swap, alice.remote.post = nil, nil
		for i := range ahead + 1 {
			second.enqueue(bob.p, fmt.Sprint(i))
			second.send()
		}
		_, _, err := alice.load(t.Context(), sessionBase(bob.p.id), true)
		_, _, also := honest.load(t.Context(), sessionBase(bob.p.id), true)
		unproven := func(d *device) bool { return slices.Contains(d.events, Event{Unproven, bob.p.id, ""}) }
		if forked := errors.Is(err, fault.Forked); forked != (ahead <= 9) || unproven(alice) != (ahead > 9) {
			t.Errorf("%d ahead: %v, events %v", ahead, err, alice.events)
		}
		if also != nil || unproven(honest) != (ahead+1 > 9) {
			t.Errorf("%d ahead, of the right branch: %v, events %v", ahead+1, also, honest.events)
		}
	}
}

func wantWaiting(t *testing.T, d *device, to *person, state Sending, code fault.Code) {
	t.Helper()
	list, err := d.Outbox()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if o.Receiver == to.id {
			if o.State != state || o.Code != code || !o.Next.After(d.p.w.clock()) {
				t.Errorf("%+v, want %s with %s", o, state, code)
			}
			return
		}
	}
	t.Errorf("nothing waits for %s", to.id)
}

// A record of one peer handed out as that of another, or as another part, is not authentic.
func TestS02_RecordOfAnotherPeer(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	carol.offer(5)
	say(t, alice, bob, "one")
	say(t, alice, carol, "two")
	for range 3 {
		say(t, bob, alice, "to alice")
		say(t, alice, bob, "to bob")
	}
	fresh := alice.p.device()
	swapped := func(from, to string) {
		t.Helper()
		fresh.remote.read = func(ctx context.Context, names []string) ([]Blob, error) {
			list, err := alice.remote.Remote.Read(ctx, names)
			other, also := alice.remote.Remote.Read(ctx, []string{from})
			for i := range list {
				if list[i].Name == to {
					list[i].Body = other[0].Body
				}
			}
			return list, errors.Join(err, also)
		}
		fresh.Wipe()
		_, _, err := fresh.load(t.Context(), sessionBase(bob.p.id), true)
		wantCode(t, from+" for "+to, err, fault.NotAuthentic)
	}
	base, other := sessionBase(bob.p.id), sessionBase(carol.p.id)
	swapped(headName(other), headName(base))
	swapped(preKeysBase, headName(base))
	r, _, err := alice.load(t.Context(), base, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.present()) < 2 {
		t.Fatal("too few parts")
	}
	for _, id := range r.present() {
		swapped(headName(base), partName(base, id))
		for _, from := range r.present() {
			if from != id {
				swapped(partName(base, from), partName(base, id))
			}
		}
	}
	fresh.remote.read = nil
	fresh.Wipe()
	fresh.enqueue(bob.p, "all is well")
	fresh.send()
	if bob.receive() != 1 {
		t.Error("the right record does not open")
	}
}

// A record of which any byte is another one, or that is cut or longer, is not authentic; nothing panics, and the right one opens
// afterwards.
func TestS03_DamagedRecord(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	fresh := alice.p.device()
	base := sessionBase(bob.p.id)
	r, _, err := alice.load(t.Context(), base, true)
	if err != nil {
		t.Fatal(err)
	}
	right, err := alice.remote.Remote.Read(t.Context(), r.names())
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	try := func(which int, body []byte) {
		t.Helper()
		fresh.remote.read = func(context.Context, []string) ([]Blob, error) {
			list := slices.Clone(right)
			list[which].Body = body
			return list, nil
		}
		tried++
		_, _, err := fresh.load(t.Context(), base, true)
		if err == nil || fault.CodeOf(err) != fault.NotAuthentic && fault.CodeOf(err) != fault.Policy && fault.CodeOf(err) != fault.NotFound {
			t.Fatalf("blob %d of %d bytes, try %d: %v", which, len(body), tried, err)
		}
	}
	for which, b := range right {
		for at := range b.Body {
			body := bytes.Clone(b.Body)
			body[at] ^= 1 << (at % 8)
			try(which, body)
		}
		for _, n := range []int{1, 7, 8, 9, 60, len(b.Body) - 1} {
			try(which, b.Body[:n])
		}
		try(which, append(bytes.Clone(b.Body), 0))
	}
	t.Logf("%d damaged records", tried)
	fresh.remote.read = nil
	fresh.enqueue(bob.p, "all is well")
	fresh.send()
	if bob.receive() != 1 {
		t.Error("the right record does not open")
	}
}

// An older copy of the local store is put back after five texts: what follows uses no key twice, brings every text once, and does not
// repeat what the old outbox still had.
func TestS04_LocalStoreRestored(t *testing.T) { restoredStore(t) }

// As S04: the backup that is restored is of the local store alone.
func TestF24_OlderLocalStore(t *testing.T) { restoredStore(t) }

func restoredStore(t *testing.T) {
	w, alice, bob := pair(t)
	say(t, alice, bob, "hello")
	say(t, bob, alice, "hello you")
	alice.enqueue(bob.p, "was waiting when the copy was made")
	copied := copyOf(t, alice)
	for i := range 5 {
		alice.enqueue(bob.p, fmt.Sprintf("before %d", i))
	}
	alice.send()
	bob.receive()
	if err := alice.db.Close(); err != nil {
		t.Fatal(err)
	}
	alice.dir = copied
	alice.openDB()
	t.Cleanup(func() { _ = alice.db.Close() }) // before its folder goes
	alice.restart()
	for i := range 5 {
		alice.enqueue(bob.p, fmt.Sprintf("after %d", i))
	}
	alice.send()
	bob.receive()
	want := []string{"hello", "was waiting when the copy was made"}
	for _, when := range []string{"before", "after"} {
		for i := range 5 {
			want = append(want, fmt.Sprintf("%s %d", when, i))
		}
	}
	if got := bob.p.texts(); !slices.Equal(got, want) {
		t.Errorf("bob has %q, want %q", got, want)
	}
	if list, err := bob.Asides(); err != nil || len(list) > 0 || w.reuse > 0 {
		t.Error(list, err, w.reuse)
	}
	say(t, bob, alice, "and on")
}

// copyOf closes the store of a device, copies its folder and opens it again.
func copyOf(t *testing.T, d *device) string {
	t.Helper()
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	d.openDB()
	d.restart()
	return dir
}

// A coordinator that grants one swap to two agents makes them use one key twice: the two messages have no block in common, although they
// say the same, and the agent that is left out sees that the record is forked.
func TestS05_CoordinatorGrantsTwice(t *testing.T) {
	w, alice, bob := pair(t)
	second := alice.p.device()
	say(t, alice, bob, "one")
	say(t, second, bob, "it has seen the record")
	alice.vault = nil
	say(t, bob, alice, "two")
	second.restart()
	if _, _, err := second.load(t.Context(), sessionBase(bob.p.id), true); err != nil {
		t.Fatal(err)
	}
	w.lies = true
	var posted [][]byte
	for i, d := range []*device{alice, second} {
		d.remote.post = func(_, _ string, body []byte) error { posted = append(posted, signalOf(t, body)); return nil }
		if i == 0 {
			d.remote.swap = func(context.Context, []BlobChange) error { return nil } // yes, and nothing is done
		}
		d.enqueue(bob.p, "the same text in both")
		d.send()
		d.remote.post, d.remote.swap = nil, nil
	}
	if w.reuse != 1 {
		t.Fatalf("%d keys were used twice, want the one", w.reuse)
	}
	one, other := fieldOf(t, posted[0][1:len(posted[0])-8], 4), fieldOf(t, posted[1][1:len(posted[1])-8], 4)
	if len(one) != len(other) || len(one) < 64 {
		t.Fatal(len(one), len(other))
	}
	for at := 0; at < len(one); at += 16 {
		if bytes.Equal(one[at:at+16], other[at:at+16]) {
			t.Errorf("block %d is the same in both", at/16)
		}
	}
	alice.enqueue(bob.p, "next")
	alice.send()
	wantWaiting(t, alice, bob.p, Queued, fault.Forked)
}
