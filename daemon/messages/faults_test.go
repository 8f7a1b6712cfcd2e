package messages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// Answers of the coordinator are lost, of whatever was asked, after it did it or before: nothing is lost or comes twice, and no key is used
// twice.
func TestF11_LostAnswers(t *testing.T) {
	w, alice, bob := pair(t)
	random := rand.New(rand.NewPCG(11, 11)) //nolint:gosec // a schedule
	lost := 0
	drop := func(do func() error) error {
		when := random.IntN(6)
		if when == 0 {
			lost++
			return fault.New(fault.Unavailable, "reset before")
		}
		err := do()
		if when == 1 {
			lost++
			return fault.New(fault.Unavailable, "reset after")
		}
		return err
	}
	for _, d := range []*device{alice, bob} {
		r := d.remote
		r.swap = func(ctx context.Context, c []BlobChange) error {
			return drop(func() error { return r.Remote.Swap(ctx, c) })
		}
		r.post = func(to, id string, b []byte) error {
			return drop(func() error { return r.Remote.Post(t.Context(), to, id, b) })
		}
		r.read = func(ctx context.Context, names []string) (out []Blob, err error) {
			err = drop(func() (err error) { out, err = r.Remote.Read(ctx, names); return err })
			return out, err
		}
	}
	repeat := func(do func() error) {
		t.Helper()
		for range 50 {
			err := do()
			if err == nil {
				return
			}
			if !fault.Transient(err) {
				t.Fatal(err)
			}
			w.later(10 * time.Minute)
		}
		t.Fatal("does not end")
	}
	var want [2][]string
	for i := range 60 {
		for n, d := range []*device{alice, bob} {
			text, to := fmt.Sprintf("%d", i), []*device{bob, alice}[n]
			want[n] = append(want[n], text)
			d.enqueue(to.p, text)
			repeat(func() error {
				next, err := d.Send(t.Context())
				if err == nil && !next.IsZero() {
					err = fault.Unavailable
				}
				return err
			})
			repeat(func() error { _, err := to.Receive(t.Context()); return err })
		}
	}
	if got := bob.p.texts(); !slices.Equal(got, want[0]) {
		t.Errorf("bob has %q", got)
	}
	if got := alice.p.texts(); !slices.Equal(got, want[1]) {
		t.Errorf("alice has %q", got)
	}
	if lost < 100 || w.reuse > 0 {
		t.Errorf("%d answers lost, %d keys used twice", lost, w.reuse)
	}
	t.Logf("%d answers lost", lost)
}

// The disk of either is full at any write: nothing is lost or comes twice, and no key is used twice.
func TestFullDisk(t *testing.T) {
	w, alice, bob := pair(t)
	random, refused := rand.New(rand.NewPCG(6, 6)), 0 //nolint:gosec // a schedule
	for _, d := range []*device{alice, bob} {
		d.full = func() bool {
			full := random.IntN(4) == 0
			if full {
				refused++
			}
			return full
		}
	}
	repeat := func(do func() error) {
		t.Helper()
		for range 50 {
			err := do()
			if err == nil {
				return
			}
			if !errors.Is(err, fault.StorageFull) {
				t.Fatal(err)
			}
			w.later(10 * time.Minute)
		}
		t.Fatal("does not end")
	}
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprint(i))
		for _, d := range [][2]*device{{alice, bob}, {bob, alice}} {
			repeat(func() error { _, err := d[0].Enqueue(d[1].p.id, "text", []byte(want[i])); return err })
			repeat(func() error {
				next, err := d[0].Send(t.Context())
				if err == nil && !next.IsZero() {
					err = fault.StorageFull
				}
				return err
			})
			repeat(func() error { _, err := d[1].Receive(t.Context()); return err })
		}
	}
	for _, d := range []*device{alice, bob} {
		d.full = nil
		if got := d.p.texts(); !slices.Equal(got, want) {
			t.Errorf("has %q", got)
		}
	}
	if refused < 40 || w.reuse > 0 {
		t.Errorf("%d writes refused, %d keys used twice", refused, w.reuse)
	}
	t.Logf("%d writes refused", refused)
}

// Messages that a record left in the mailbox because it was not right, or the state key not there yet, arrive once it is, without
// a restart.
func TestMessagesAreTakenAfterAPassingFault(t *testing.T) {
	w, alice, bob := pair(t)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	text := func(s string) {
		t.Helper()
		alice.enqueue(bob.p, s)
		alice.send()
		if n := bob.receive(); n != 0 {
			t.Fatal("it was opened")
		}
		if e := bob.events[len(bob.events)-1]; e.What != RecordFault {
			t.Fatal(bob.events)
		}
	}
	bob.remote.read = func(ctx context.Context, names []string) ([]Blob, error) {
		list, err := bob.remote.Remote.Read(ctx, names)
		for i := range list {
			list[i].Hash[0] ^= 1
		}
		return list, err
	}
	bob.Wipe()
	if err := bob.db.Update(func(tx *kv.Tx) error { return dropCopies(tx, sessionBase(alice.p.id)) }); err != nil {
		t.Fatal(err)
	}
	text("a wrong record")
	bob.remote.read = nil
	w.later(lookAgainAfter)
	if n := bob.receive(); n != 1 {
		t.Errorf("%d arrived once the record was right", n)
	}

	late := &lateKeys{person: bob.p}
	bob.config.StateKeys = late
	bob.p.nextEpoch()
	sealed := bob.p.device()
	if err := sealed.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	late.behind = true
	bob.restart()
	text("sealed under the next key")
	bob.receive()
	late.behind = false
	if n := bob.receive(); n != 1 {
		t.Errorf("%d arrived with the new key", n)
	}
}

// lateKeys is a person's state keys on a device that has not heard of the newest, while it is behind.
type lateKeys struct {
	*person
	behind bool
}

func (k *lateKeys) Current(ctx context.Context) (uint64, secret.Key, error) {
	epoch, key, err := k.person.Current(ctx)
	if k.behind {
		epoch--
		key, err = k.person.At(ctx, epoch)
	}
	return epoch, key, err
}

func (k *lateKeys) At(ctx context.Context, epoch uint64) (secret.Key, error) {
	if newest, _, _ := k.person.Current(ctx); k.behind && epoch == newest {
		return secret.Key{}, fault.New(fault.Incomplete, "links to follow")
	}
	return k.person.At(ctx, epoch)
}

// A key that is wiped while something is opened with it is locked, and no panic.
func TestKeyWipedWhileItOpens(t *testing.T) {
	_, alice, _ := pair(t)
	sealed, epoch, err := alice.seal(t.Context(), purposeRecord, seal.Context{Owner: alice.p.id}, make([]byte, 1024))
	if err != nil {
		t.Fatal(err)
	}
	local, err := alice.sealLocal("key", make([]byte, 1024))
	if err != nil {
		t.Fatal(err)
	}
	key, own := alice.p.keys[epoch].Clone(), alice.Messages.config.LocalKey.Clone()
	locked := 0
	for i := range 2000 {
		alice.p.keys[epoch], alice.Messages.config.LocalKey = key.Clone(), own.Clone()
		wiped := make(chan struct{})
		go func(a, b secret.Key) { a.Wipe(); b.Wipe(); close(wiped) }(alice.p.keys[epoch], alice.Messages.config.LocalKey)
		if i == 0 {
			<-wiped
		}
		_, err := alice.open(t.Context(), purposeRecord, seal.Context{Owner: alice.p.id}, sealed)
		_, also := alice.openLocal("key", local)
		for _, err := range []error{err, also} {
			if errors.Is(err, fault.Locked) {
				locked++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		<-wiped
	}
	if locked < 2 {
		t.Error("what is sealed under a wiped key opens")
	}
}

// What an inbox of many left-over bodies costs to begin with: one request for eight of them, none for what was removed; and where the
// coordinator stopped answering the next try goes on.
func TestLeftOverBodiesAreReadTogether(t *testing.T) {
	_, alice, bob := pair(t)
	fails := fault.New(fault.Busy, "not now")
	bob.config.Handlers["text"] = func(context.Context, *Received) error {
		if fails != nil {
			return fails
		}
		return nil
	}
	bob.restart()
	for i := range 40 {
		alice.enqueue(bob.p, fmt.Sprint(i))
	}
	alice.send()
	bob.receive()
	reads, limit := 0, 3
	bob.remote.read = func(ctx context.Context, names []string) ([]Blob, error) {
		if reads++; reads > limit {
			return nil, fault.New(fault.Unavailable, "slow down")
		}
		return bob.remote.Remote.Read(ctx, names)
	}
	fails = nil
	bob.restart()
	if n, err := bob.Receive(t.Context()); !errors.Is(err, fault.Unavailable) || n != limit*maxBatch {
		t.Fatal(n, err)
	}
	reads, limit = 0, 1000
	if n := bob.receive(); n != 40-3*maxBatch || reads > 2+40 { // and one for each message that is still in the mailbox
		t.Errorf("%d more, with %d requests", n, reads)
	}
	bob.restart()
	if reads = 0; bob.receive() != 0 || reads > 0 {
		t.Errorf("%d requests for bodies that were removed", reads)
	}
	bob.p.nextEpoch()
	reads = 0
	if err := bob.Reseal(t.Context()); err != nil || reads > 3 {
		t.Errorf("%d requests to seal nothing but two records again, %v", reads, err)
	}
}

// Locking does not wait for the coordinator: what is under way ends, as locked, and goes on afterwards.
func TestWipeDoesNotWaitForTheNetwork(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	bob.enqueue(alice.p, "two")
	alice.enqueue(bob.p, "three")
	alice.send()
	for _, do := range []func() error{
		func() error { _, err := bob.Send(t.Context()); return err },
		func() error { _, err := bob.Receive(t.Context()); return err },
		func() error {
			_, err := bob.NewBundles(t.Context(), 1, ratchet.BundleOptions{OneTime: true})
			return err
		},
		func() error { return bob.Reseal(t.Context()) },
	} {
		entered := make(chan struct{})
		bob.remote.swap = func(ctx context.Context, _ []BlobChange) error {
			close(entered)
			<-ctx.Done()
			return fault.Wrap(fault.Unavailable, ctx.Err(), "no answer")
		}
		done := make(chan error)
		bob.p.nextEpoch()
		go func() { done <- do() }()
		<-entered
		bob.Wipe()
		wantCode(t, "what was under way", <-done, fault.Locked)
	}
	bob.remote.swap = nil
	bob.send()
	if bob.receive() != 1 || alice.receive() != 1 {
		t.Error("it does not go on")
	}
}
