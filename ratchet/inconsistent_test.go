package ratchet_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// An address that nobody can have.
func TestAddressesOfNobody(t *testing.T) {
	alice, bob := meet(t)
	m := send(t, bob, alice, "text")
	for _, a := range []ratchet.Address{
		{Name: "bob"}, {Name: "bob", Device: 128}, {Name: "bob", Device: 255}, {Device: 1}, {Name: strings.Repeat("b", 1_025), Device: 1},
	} {
		b := bob.Bundle(oneTime)
		b.Address = a
		s, never := ratchet.NewSession(alice.Local, a, 0), func(ratchet.Change) error { t.Error("saved"); return nil }
		wantFault(t, "Start", s.Start(b, ratchettest.Day), fault.InvalidRequest)
		_, err := s.Encrypt(nil, ratchettest.Day, never)
		wantFault(t, "Encrypt", err, fault.InvalidRequest)
		_, err = s.Decrypt(m, alice.PreKeys, never)
		wantFault(t, "Decrypt", err, fault.InvalidRequest)
	}
	longest := ratchettest.NewParty(strings.Repeat("b", 1_024))
	longest.Local.Address.Device = 127
	introduce(t, alice, longest)
}

// Where the fields of lines are (docs/ratchet.md, Lines), from their beginning.
const (
	identityAt = 1
	privateAt  = 1 + 32 + 32 + 4 + 32
	publicAt   = privateAt + 32
	chainsAt   = publicAt + 32 + 32 + 4 + 4 + 4
	chainSize  = 32 + 4 + 32 + 4
	serialAt   = 32      // in a chain
	indexAt    = 32 + 36 // in a chain
	seedSize   = 4 + 4 + 32
)

// record is the parts of a record, to be changed.
type record []ratchet.Part

func (r record) part(id ratchet.PartID) *ratchet.Part {
	return &r[slices.IndexFunc(r, func(p ratchet.Part) bool { return p.ID == id })]
}

// lines returns the lines of the current state, which are in the head.
func (r record) lines() []byte {
	const table = 1 + 8 + 16
	head := r.part(ratchet.HeadPart).Body
	return head[table+2+34*int(binary.BigEndian.Uint16(head[table:])):]
}

// Records whose hashes are right and which say what cannot be.
func TestInconsistentRecords(t *testing.T) {
	alice, bob := meet(t)
	introduce(t, alice, bob)
	carol := ratchettest.NewParty("carol")
	for range 2 { // seeds in the archived session and in the current one
		send(t, bob, alice, "does not come")
		send(t, bob, alice, "does not come either")
		say(t, bob, alice, "comes")
		if len(session(t, alice, bob).BaseKeys()) == 2 {
			introduce(t, alice, bob)
		}
	}
	whole := record(stored(t, alice, bob))
	current := ratchet.PartID(whole.lines()[0])
	archived := current - 1 // slot
	lines, seeds, ownSeeds := archived*8+1, archived*8+3, current*8+3
	if n := len(whole.part(seeds).Body); n != 2*seedSize {
		t.Fatalf("%d bytes of seeds", n)
	}
	if n := len(whole.part(ownSeeds).Body); n != 2*seedSize {
		t.Fatalf("%d bytes of seeds", n)
	}
	chains := int(whole.lines()[chainsAt])
	const firstChain = chainsAt + 1
	lastChain := firstChain + (chains-1)*chainSize
	self, other := alice.Local.Identity.Public(), carol.Local.Identity.Public()
	counter := func(n uint64) func(record) {
		return func(r record) { binary.BigEndian.PutUint64(r.part(ratchet.HeadPart).Body[1:], n) }
	}
	for name, edit := range map[string]func(record){
		"":                                       func(record) {},
		"counter 0":                              counter(0),
		"highest counter":                        counter(math.MaxUint64),
		"current session of another":             func(r record) { copy(r.lines()[identityAt:], other[:]) },
		"archived session of another":            func(r record) { copy(r.part(lines).Body[identityAt:], other[:]) },
		"current session with oneself":           func(r record) { copy(r.lines()[identityAt:], self[:]) },
		"archived session with oneself":          func(r record) { copy(r.part(lines).Body[identityAt:], self[:]) },
		"private ratchet key of another":         func(r record) { r.lines()[privateAt+7] ^= 1 },
		"public ratchet key of another":          func(r record) { r.lines()[publicAt+7] ^= 1 },
		"public ratchet key of another archived": func(r record) { r.part(lines).Body[publicAt+7] ^= 1 },
		"seed of a chain that is not there":      func(r record) { binary.BigEndian.PutUint32(r.part(ownSeeds).Body, 999) },
		"seed of no chain, archived":             func(r record) { binary.BigEndian.PutUint32(r.part(seeds).Body, 999) },
		"a seed twice":                           func(r record) { b := r.part(ownSeeds).Body; copy(b[seedSize:], b[:8]) },
		"a seed twice, archived":                 func(r record) { b := r.part(seeds).Body; copy(b[seedSize:], b[:8]) },
		"a seed of the chain's next message": func(r record) {
			copy(r.part(ownSeeds).Body[4:8], r.lines()[lastChain+indexAt:])
		},
		"a seed far ahead": func(r record) { binary.BigEndian.PutUint32(r.part(ownSeeds).Body[4:], math.MaxUint32) },
		"two chains of one number": func(r record) {
			l := r.lines()
			copy(l[firstChain+serialAt:][:4], l[lastChain+serialAt:]) // the seeds are of the last
		},
		"a chain of a number that comes": func(r record) {
			l := r.lines()
			copy(l[firstChain+serialAt:][:4], l[chainsAt-4:])
		},
	} {
		r := slices.Clone(whole)
		for i := range r {
			r[i].Body = bytes.Clone(r[i].Body)
		}
		edit(r)
		ratchet.Rehash(r)
		s, err := ratchet.OpenSession(alice.Local, bob.Address(), r, 0)
		if name == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantFault(t, name, err, fault.NotAuthentic)
		if s != nil {
			t.Errorf("%s: a session beside the error", name)
		}
	}
	if chains < 2 {
		t.Errorf("%d chains", chains)
	}
}

// The same for prekeys.
func TestInconsistentPreKeys(t *testing.T) {
	bob := ratchettest.NewParty("bob")
	bundles(t, bob, 2, oneTime, ratchettest.Day)
	bundles(t, bob, 2, oneTime, ratchettest.Day.Add(8*day))
	whole := bob.PreKeys.Record()
	const (
		counterAt    = 1
		nextAt       = 1 + 8 + 16
		signedAt     = nextAt + 4 + 2
		lastResortAt = signedAt + 2*108 + 2
		kemAt        = lastResortAt + 2*142 + 2
		oneTimeAt    = kemAt + 4*132 + 2
	)
	if n := oneTimeAt + 4*36; n != len(whole) {
		t.Fatalf("the record has %d bytes, not %d", len(whole), n)
	}
	ids := map[string]int{
		"signed": signedAt, "older signed": signedAt + 108, "last resort": lastResortAt, "older last resort": lastResortAt + 142,
		"KEM": kemAt, "another KEM": kemAt + 132, "one-time": oneTimeAt, "another one-time": oneTimeAt + 36,
	}
	open := func(edit func(b []byte)) error {
		b := bytes.Clone(whole)
		edit(b)
		_, err := ratchet.OpenPreKeys(bob.Local, b, 0)
		return err
	}
	for a, from := range ids {
		for b, to := range ids {
			if err := open(func(r []byte) { copy(r[to:to+4], whole[from:]) }); a == b {
				if err != nil {
					t.Error(err)
				}
			} else {
				wantFault(t, "one id for "+a+" and "+b, err, fault.NotAuthentic)
			}
		}
	}
	for _, n := range []uint64{0, math.MaxUint64} {
		wantFault(t, "a counter of no record", open(func(r []byte) { binary.BigEndian.PutUint64(r[counterAt:], n) }), fault.NotAuthentic)
	}
	for _, n := range []uint32{0, 1 << 24} {
		wantFault(t, "a next id of none", open(func(r []byte) { binary.BigEndian.PutUint32(r[nextAt:], n) }), fault.NotAuthentic)
	}
}
