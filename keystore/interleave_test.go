package keystore_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// pair is two devices of one user on one replica, and what became of their changes.
type pair struct {
	t      *testing.T
	remote *keystoretest.Replica
	rigs   [2]*rig
	n      int // names changes

	acknowledged, open map[string]bool
	by                 map[string]int // whose change
}

// tally is what was met over all pairs.
type tally struct{ runs, acknowledged, conflicts, open, restarts int }

func newPair(t *testing.T) *pair {
	a, remote, kit := joinedRig(t)
	return &pair{t: t, remote: remote, rigs: [2]*rig{a, fetched(t, remote, kit)}, acknowledged: map[string]bool{}, open: map[string]bool{}, by: map[string]int{}}
}

// add adds a token to a list in an item, as a change that reads and writes does, an item of its own, and a record beside the vault.
func (p *pair) add(rt *rapid.T, total *tally, who int) {
	p.n++
	token := fmt.Sprintf("t%d", p.n)
	p.by[token] = who
	err := p.rigs[who].vault.Update(func(tx *keystore.Tx) error {
		it, err := tx.Get("list")
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		body := append(it.Body, token+" "...)
		return errors.Join(tx.Put(keystore.Item{ID: "list", Kind: "list", Body: body}),
			tx.Put(keystore.Item{ID: "item/" + token, Kind: "metadata", Body: []byte(token)}), tx.KV().Set("own/"+token, []byte(token)))
	})
	switch {
	case err == nil:
		p.acknowledged[token] = true
		total.acknowledged++
	case errors.Is(err, fault.Unavailable):
		p.open[token] = true
		total.open++
	case errors.Is(err, fault.Conflict):
		total.conflicts++
	default:
		rt.Fatal(err)
	}
}

var errReset = errors.New("connection reset")

// disturb sets the replica's hooks for the next change of one device, and returns what the other does afterwards.
func (p *pair) disturb(rt *rapid.T, total *tally, who int) (after func()) {
	silence := func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
	other := func() { p.add(rt, total, 1-who) }
	switch rapid.SampledFrom([]string{"nothing", "race", "race", "request lost", "answer lost", "silence", "silence"}).Draw(rt, "fault") {
	case "race":
		p.race(rapid.IntRange(1, 4).Draw(rt, "rivals"), other)
	case "request lost":
		p.remote.OnSwap = func(keystore.Swap) error { p.remote.OnSwap = nil; return errReset }
	case "answer lost":
		p.remote.AfterSwap = func(keystore.Swap) error { p.remote.AfterSwap = nil; return errReset }
	case "silence":
		hook := func(keystore.Swap) error { p.remote.OnRead = silence; return errReset }
		if rapid.Bool().Draw(rt, "made") {
			p.remote.AfterSwap = hook
		} else {
			p.remote.OnSwap = hook
		}
		if rapid.Bool().Draw(rt, "then the other") {
			return other
		}
	}
	return func() {}
}

// race has the other device be faster that many times.
func (p *pair) race(times int, other func()) {
	hook := func(keystore.Swap) error { return nil }
	hook = func(keystore.Swap) error {
		p.remote.OnSwap = nil
		if times--; times >= 0 {
			other()
			p.remote.OnSwap = hook
		}
		return nil
	}
	p.remote.OnSwap = hook
}

// settle syncs both and compares them with what was acknowledged.
func (p *pair) settle(rt *rapid.T) {
	for range 2 {
		p.rigs[0].sync()
		p.rigs[1].sync()
	}
	sameVault(p.t, p.rigs[0], p.rigs[1])
	it, err := p.rigs[0].vault.Get("list")
	if err != nil && !errors.Is(err, fault.NotFound) {
		rt.Fatal(err)
	}
	count := map[string]int{}
	for token := range strings.FieldsSeq(string(it.Body)) {
		count[token]++
		p.rigs[1].wants("item/"+token, token)
	}
	for token := range p.acknowledged {
		if count[token] != 1 {
			rt.Errorf("%s was acknowledged and is there %d times", token, count[token])
		}
	}
	for token, times := range count {
		if times != 1 || !p.acknowledged[token] && !p.open[token] {
			rt.Errorf("%s is there %d times", token, times)
		}
	}
	for token, who := range p.by {
		for i, r := range p.rigs {
			if there := r.own("own/"+token) != ""; there != (i == who && count[token] == 1) {
				rt.Errorf("%s of device %d: the record beside it is on device %d: %v", token, who, i, there)
			}
		}
	}
	if ids, err := p.rigs[0].vault.List("metadata"); err != nil || len(ids) != len(count)+1 {
		rt.Errorf("%d items of %d changes, %v", len(ids), len(count), err)
	}
}

// Two devices on one replica, with lost requests, lost answers, races and restarts wherever they can be: each acknowledged change is there
// once, one whose outcome was open at most once, the records beside it are where it was made if it is there, and both devices end with the same records. 2,000 interleavings.
func TestInterleavings(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String() // another test of this package lowers it
	if err := flag.Set("rapid.checks", "100"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = flag.Set("rapid.checks", before) }()
	var total tally
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(t)
		for range 20 {
			total.runs++
			who := rapid.IntRange(0, 1).Draw(rt, "device")
			after := p.disturb(rt, &total, who)
			p.add(rt, &total, who)
			p.remote.OnSwap, p.remote.AfterSwap, p.remote.OnRead = nil, nil, nil
			after()
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				total.restarts++
				p.rigs[who].reopen(p.remote)
			}
		}
		p.settle(rt)
		for _, r := range p.rigs {
			r.vault.Lock()
			if err := r.db.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
	if total.runs < 2000 || total.conflicts == 0 || total.open == 0 || total.restarts == 0 {
		t.Fatalf("%+v", total)
	}
	t.Logf("%+v", total)
}
