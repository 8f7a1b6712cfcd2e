package messages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

func countOf(t *testing.T, d *device, prefix string) (n int) {
	t.Helper()
	if err := d.db.View(func(tx *kv.Tx) error {
		return tx.Scan(prefix, func(string, []byte) error { n++; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// nextEpoch makes a new state key.
func (p *person) nextEpoch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	p.keys[p.epoch] = secret.Random()
}

// erase erases all state keys but the newest.
func (p *person) erase() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for epoch, key := range p.keys {
		if epoch != p.epoch {
			key.Wipe()
			delete(p.keys, epoch)
		}
	}
}

// epochs returns the epochs that the person's blobs at the coordinator are sealed under.
func (p *person) epochs(t *testing.T) (list []uint64) {
	t.Helper()
	r := NewRemote(p.client)
	for _, prefix := range []string{"r-", receivedPrefix} {
		blobs, err := r.List(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			got, err := r.Read(t.Context(), []string{b.Name})
			if err != nil {
				t.Fatal(err)
			}
			body := got[0].Body
			if len(body) == 0 {
				continue
			}
			epoch, err := EpochOf(body)
			if err != nil {
				epoch, err = EpochOf(body[8:]) // a head
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(list, epoch) {
				list = append(list, epoch)
			}
		}
	}
	slices.Sort(list)
	return list
}

// The state key is replaced, with a kill at every step of sealing everything anew, one after the other; then the old one is erased. All
// goes on, on this device and on another one.
func TestResealKilledAtEveryStep(t *testing.T) {
	w, alice, bob := pair(t)
	carol := w.person().device()
	carol.offer(5)
	for i := range 4 {
		say(t, alice, bob, fmt.Sprint("to bob ", i))
		say(t, bob, alice, fmt.Sprint("to alice ", i))
	}
	say(t, alice, carol, "to carol")
	say(t, carol, alice, "from carol")
	bob.p.gate[alice.p.id] = Accept
	if _, err := bob.Enqueue(alice.p.id, "future", []byte("waits")); err != nil {
		t.Fatal(err)
	}
	bob.send()
	alice.receive()
	alice.enqueue(bob.p, "waits in the outbox")

	kills := 0
	for at := 1; ; at++ {
		alice.p.nextEpoch()
		count := 0
		w.step = func(step string) {
			if count++; count == at {
				panic(killed{step})
			}
		}
		var err error
		dead, _ := alive(func() { err = alice.Reseal(t.Context()) })
		w.step = nil
		if !dead && err != nil {
			t.Fatal(err)
		}
		if dead {
			kills++
			alice.restart()
			if err := alice.Reseal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		alice.p.erase()
		if got := alice.p.epochs(t); !slices.Equal(got, []uint64{alice.p.epoch}) {
			t.Fatalf("killed at step %d: sealed under %v, want %d alone", at, got, alice.p.epoch)
		}
		if !dead {
			break
		}
	}
	if kills < 8 {
		t.Errorf("only %d steps", kills)
	}
	t.Logf("%d kills", kills)
	alice.send()
	if bob.receive() != 1 {
		t.Error("what waited did not arrive")
	}
	say(t, bob, alice, "after all that")
	second := alice.p.device()
	second.config.Handlers["future"] = second.handle
	second.restart()
	if n := second.receive(); n != 1 {
		t.Errorf("%d bodies that waited were read", n)
	}
	second.enqueue(carol.p, "from the second")
	second.send()
	if carol.receive() != 1 {
		t.Error("the second device's text did not arrive")
	}
}

// While one agent seals anew another one sends: the loser reloads, and nothing is lost.
func TestResealWhileAnotherSends(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	second := alice.p.device()
	alice.p.nextEpoch()
	first := true
	alice.remote.swap = func(ctx context.Context, changes []BlobChange) error {
		if first {
			first = false
			second.enqueue(bob.p, "in between")
			second.send()
		}
		return alice.remote.Remote.Swap(ctx, changes)
	}
	if err := alice.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.remote.swap = nil
	alice.p.erase()
	if got := alice.p.epochs(t); !slices.Equal(got, []uint64{2}) {
		t.Errorf("sealed under %v", got)
	}
	if bob.receive() != 1 {
		t.Error("the text of the other device did not arrive")
	}
	second.enqueue(bob.p, "after")
	second.send()
	if bob.receive() != 1 {
		t.Error("the other device does not go on")
	}
}

// No device is left that has the state key: the records are given up, all of them, and new sessions begin.
func TestRestartAll(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	alice.p.nextEpoch()
	alice.p.erase()
	fresh := alice.p.device()
	fresh.enqueue(bob.p, "three")
	fresh.send()
	wantWaiting(t, fresh, bob.p, Queued, fault.NotFound)
	if err := fresh.RestartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh.offer(5)
	if err := fresh.Hurry(bob.p.id); err != nil {
		t.Fatal(err)
	}
	fresh.send()
	if bob.receive() != 1 {
		t.Error("a new session does not begin")
	}
	say(t, bob, fresh, "four")
}

// A record of more parts than one swap empties begins anew, after Restart or with another identity key, and opens.
func TestManyPartsAreGivenUp(t *testing.T) {
	_, alice, bob := pair(t)
	base := sessionBase(bob.p.id)
	step := func(e edit) (*record, *contents) {
		t.Helper()
		r, _, err := alice.load(t.Context(), base, true)
		if err != nil {
			t.Fatal(err)
		}
		p, err := alice.plan(t.Context(), r, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := alice.apply(t.Context(), []*plan{p}); err != nil {
			t.Fatal(err)
		}
		r, c, err := alice.p.device().load(t.Context(), base, true)
		if err != nil {
			t.Fatal(err)
		}
		return r, c
	}
	var parts []ratchet.Part
	for i := range 3 * maxEmptied {
		parts = append(parts, ratchet.Part{ID: ratchet.PartID(i + 1), Body: []byte{byte(i)}})
	}
	fill := func() (r *record) {
		t.Helper()
		for some := range slices.Chunk(parts, maxEmptied) {
			r, _ = step(edit{counter: 1, head: []byte("head"), put: some})
		}
		return r
	}
	anew := edit{counter: 2, begins: true, head: []byte("anew"), put: parts[:2]}
	for _, restart := range []bool{false, true} {
		if r := fill(); len(r.present()) != 3*maxEmptied {
			t.Fatal(r.present())
		}
		if restart {
			if err := alice.Restart(bob.p.id); err != nil {
				t.Fatal(err)
			}
		}
		r, c := step(anew)
		if got := r.present(); len(got) != 2 || len(c.parts) != 2 || string(c.head) != "anew" {
			t.Errorf("restart %t: %d parts", restart, len(got))
		}
		drop := edit{counter: 3, head: []byte("dropped")}
		if r = fill(); len(r.parts) != 3*maxEmptied {
			t.Errorf("the blobs of %d parts are known", len(r.parts))
		}
		for _, p := range parts {
			drop.drop = append(drop.drop, p.ID)
		}
		if r, _ := step(drop); len(r.present()) != 0 {
			t.Errorf("%d parts that were dropped are there", len(r.present()))
		}
	}
}

// Records and bodies that are wrong for good, or that no key opens, do not keep the former state key; what only fails for now does.
func TestResealPassesOverWhatIsLost(t *testing.T) {
	w, alice, bob := pair(t)
	say(t, bob, alice, "one")
	var others []*device
	for range 3 {
		other := w.person().device()
		other.offer(5)
		say(t, alice, other, "two")
		others = append(others, other)
	}
	for _, kind := range []string{"damaged", "waits"} {
		if _, err := bob.Enqueue(alice.p.id, kind, nil); err != nil {
			t.Fatal(err)
		}
	}
	bob.send()
	alice.receive()
	bodies, err := alice.remote.List(t.Context(), receivedPrefix)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]int{headName(sessionBase(others[0].p.id)): 60, headName(sessionBase(others[1].p.id)): 20}
	for _, b := range bodies {
		if blob, err := alice.readReceived(t.Context(), b.Name); err == nil && blob != nil {
			wrong[b.Name] = len(blob.Body) - 1
			break
		}
	}
	alice.remote.read = func(ctx context.Context, names []string) ([]Blob, error) {
		list, err := alice.remote.Remote.Read(ctx, names)
		for i := range list {
			if at, there := wrong[list[i].Name]; there {
				list[i].Body[at] ^= 1
			}
		}
		return list, err
	}
	if err := alice.condemn(sessionBase(bob.p.id), fault.Forked, ""); !errors.Is(err, fault.Forked) {
		t.Fatal(err)
	}
	fresh := alice.p.device() // has no copies
	fresh.remote.read = alice.remote.read
	if err := fresh.condemn(sessionBase(bob.p.id), fault.Forked, ""); !errors.Is(err, fault.Forked) {
		t.Fatal(err)
	}
	alice.p.nextEpoch()
	fresh.remote.swap = func(context.Context, []BlobChange) error { return fault.New(fault.StorageFull, "for now") }
	if err := fresh.Reseal(t.Context()); err == nil {
		t.Error("what failed for now counts as sealed again")
	}
	fresh.remote.swap, fresh.events = nil, nil
	if err := fresh.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	passed := map[string]int{}
	for _, e := range fresh.events {
		if e.What == PassedOver {
			passed[e.Peer]++
		}
	}
	want := map[string]int{bob.p.id: 1, others[0].p.id: 1, others[1].p.id: 1, "": 1}
	if !maps.Equal(passed, want) {
		t.Errorf("passed over: %v, want %v", passed, want)
	}
	fresh.remote.read = nil
	alice.p.erase()
	say(t, fresh, others[2], "with the new key alone")
}

// A record that is larger than what the coordinator answers with at once opens on every device, also while it changes.
func TestLargeRecordIsReadInPieces(t *testing.T) {
	_, alice, bob := pair(t)
	base := sessionBase(bob.p.id)
	var parts []ratchet.Part
	put := func(d *device) {
		t.Helper()
		for some := range slices.Chunk(parts, 12) {
			r, _, err := d.load(t.Context(), base, true)
			if err != nil {
				t.Fatal(err)
			}
			p, err := d.plan(t.Context(), r, edit{counter: r.counter + 1, head: []byte("head"), put: some})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.apply(t.Context(), []*plan{p}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 24 {
		parts = append(parts, ratchet.Part{ID: ratchet.PartID(i + 1), Body: make([]byte, 200<<10)})
	}
	put(alice)
	fresh := alice.p.device()
	reads, changes := 0, 0
	fresh.remote.read = func(ctx context.Context, names []string) ([]Blob, error) {
		list, err := fresh.remote.Remote.Read(ctx, names)
		if reads++; err == nil && len(names) > 1 && changes < 1 { // the first piece is there
			parts = parts[:4]
			put(alice)
			changes++
		}
		return list, err
	}
	r, c, err := fresh.load(t.Context(), base, true)
	if err != nil || len(c.parts) != 24 || changes != 1 || reads < 5 {
		t.Fatalf("%v, %d requests", err, reads)
	}
	if now, _, err := alice.load(t.Context(), base, false); err != nil || now.version != r.version {
		t.Errorf("version %d, want %d, %v", r.version, now.version, err)
	}
	alice.p.nextEpoch()
	if err := fresh.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.p.erase()
	if got := alice.p.epochs(t); !slices.Equal(got, []uint64{2}) {
		t.Errorf("sealed under %v", got)
	}
}
