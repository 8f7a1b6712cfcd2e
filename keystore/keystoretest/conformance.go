package keystoretest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
)

// newProof returns a proof that nobody else has.
func newProof() keystore.Proof {
	kit := keystore.RecoveryKit{RecoveryKey: secret.Random()}
	defer kit.Wipe()
	return kit.Proof()
}

// TestReplica holds a replica to what package keystore builds on. Open returns one without records, of a user whose login proof it is given.
func TestReplica(t *testing.T, open func(t *testing.T, login keystore.Proof) keystore.Replica) {
	for name, test := range map[string]func(c conformance){
		"marks": conformance.marks, "deletions": conformance.deletions, "forgotten deletions": conformance.forgotten, "all or none": conformance.allOrNone,
		"limits": conformance.limits, "credentials": conformance.credentials,
	} {
		t.Run(name, func(t *testing.T) {
			login := newProof()
			test(conformance{t, open(t, login), login})
		})
	}
}

type conformance struct {
	t     *testing.T
	r     keystore.Replica
	login keystore.Proof
}

func (c conformance) swap(list ...keystore.RemoteChange) error {
	return c.r.Swap(c.t.Context(), keystore.Swap{Changes: list})
}

func (c conformance) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c conformance) wants(what string, err error, code fault.Code) {
	c.t.Helper()
	if !errors.Is(err, code) {
		c.t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// one reads a record, and holds Marks to the same.
func (c conformance) one(name string) keystore.Remote {
	c.t.Helper()
	list, err := c.r.Read(c.t.Context(), []string{name})
	c.must(err)
	marks, err := c.r.Marks(c.t.Context(), []string{name})
	c.must(err)
	if len(list) != 1 || len(marks) != 1 || marks[0] != (keystore.Presence{Name: name, Mark: list[0].Mark, There: len(list[0].Body) > 0}) {
		c.t.Fatalf("read %v, marks %v", list, marks)
	}
	return list[0]
}

func set(name string, before keystore.Mark, body string) keystore.RemoteChange {
	return keystore.RemoteChange{Name: name, Before: before, Body: []byte(body)}
}

// marks: each version has another, counters go up by one, the same change again is another change, and what is not there has none.
func (c conformance) marks() {
	if rec := c.one("a"); rec.Mark != (keystore.Mark{}) || rec.Body != nil {
		c.t.Error("never there:", rec)
	}
	c.must(c.swap(set("a", keystore.Mark{}, "1"), set("b", keystore.Mark{}, "2")))
	first := c.one("a").Mark
	c.wants("the same again", c.swap(set("a", keystore.Mark{}, "1")), fault.Conflict)
	c.must(c.swap(set("a", first, "1")))
	if next := c.one("a").Mark; next.Counter != first.Counter+1 || next.Hash == first.Hash {
		c.t.Error(first, next)
	}
	other := first
	other.Counter++
	c.wants("a former version", c.swap(set("a", first, "3")), fault.Conflict)
	c.wants("another hash", c.swap(set("a", other, "3")), fault.Conflict)
	marks, err := c.r.Marks(c.t.Context(), []string{"b", "none", "a"})
	c.must(err)
	if len(marks) != 3 || !marks[0].There || marks[1] != (keystore.Presence{Name: "none"}) || marks[2].Mark != c.one("a").Mark {
		c.t.Error(marks)
	}
}

// deletions: a record that is gone has a mark, from which it goes on, and is in no list; what is not there is not deleted.
func (c conformance) deletions() {
	c.must(c.swap(set("p-1", keystore.Mark{}, "1"), set("p-2", keystore.Mark{}, "2")))
	there := c.one("p-1").Mark
	c.must(c.swap(keystore.RemoteChange{Name: "p-1", Before: there}))
	gone := c.one("p-1")
	if gone.Mark.Counter != there.Counter+1 || len(gone.Body) != 0 {
		c.t.Error(gone)
	}
	c.wants("deleted twice", c.swap(keystore.RemoteChange{Name: "p-1", Before: gone.Mark}), fault.Conflict)
	c.wants("never there", c.swap(keystore.RemoteChange{Name: "p-3"}), fault.Conflict)
	c.wants("as if it never was", c.swap(set("p-1", keystore.Mark{}, "x")), fault.Conflict)
	list, more, err := c.r.List(c.t.Context(), "p-", "")
	c.must(err)
	if more || len(list) != 1 || list[0].Name != "p-2" || list[0].Mark != c.one("p-2").Mark || list[0].Body != nil {
		c.t.Error(list, more)
	}
	c.must(c.swap(set("p-1", gone.Mark, "again")))
	if rec := c.one("p-1"); rec.Mark.Counter != gone.Mark.Counter+1 || string(rec.Body) != "again" {
		c.t.Error(rec)
	}
}

// forgotten: of many deletions the first are known no more, and such a name begins above the counter that it had.
func (c conformance) forgotten() {
	c.must(c.swap(set("first", keystore.Mark{}, "x")))
	c.must(c.swap(keystore.RemoteChange{Name: "first", Before: c.one("first").Mark}))
	last := c.one("first").Mark.Counter
	for i := range maxDeleted/keystore.MaxSwapRecords + 1 {
		var names []string
		var made, gone []keystore.RemoteChange
		for j := range keystore.MaxSwapRecords {
			names = append(names, fmt.Sprintf("n-%d-%d", i, j))
			made = append(made, set(names[j], keystore.Mark{}, "x"))
		}
		c.must(c.swap(made...))
		marks, err := c.r.Marks(c.t.Context(), names)
		c.must(err)
		for _, m := range marks {
			gone = append(gone, keystore.RemoteChange{Name: m.Name, Before: m.Mark})
		}
		c.must(c.swap(gone...))
	}
	if rec := c.one("first"); rec.Mark != (keystore.Mark{}) {
		c.t.Error("known after", maxDeleted, "others:", rec)
	}
	c.must(c.swap(set("first", keystore.Mark{}, "y")))
	if now := c.one("first").Mark.Counter; now <= last {
		c.t.Errorf("it was at %d and begins at %d", last, now)
	}
}

// allOrNone: a swap of which one change is refused makes none.
func (c conformance) allOrNone() {
	c.must(c.swap(set("a", keystore.Mark{}, "1")))
	c.wants("one is not there", c.swap(set("b", keystore.Mark{}, "2"), set("a", keystore.Mark{}, "3")), fault.Conflict)
	c.wants("one name twice", c.swap(set("b", keystore.Mark{}, "2"), set("b", keystore.Mark{}, "3")), fault.InvalidRequest)
	if b := c.one("b"); b.Mark != (keystore.Mark{}) || string(c.one("a").Body) != "1" {
		c.t.Error("half of a swap was made")
	}
}

// limits: of a swap.
func (c conformance) limits() {
	many := make([]keystore.RemoteChange, keystore.MaxSwapRecords+1)
	for i := range many {
		many[i] = set(fmt.Sprint("m-", i), keystore.Mark{}, "x")
	}
	c.wants("too many", c.swap(many...), fault.InvalidRequest)
	half := string(make([]byte, keystore.MaxSwapBytes/2))
	c.wants("too large", c.swap(set("a", keystore.Mark{}, half), set("b", keystore.Mark{}, half), set("c", keystore.Mark{}, "x")), fault.TooLarge)
	c.must(c.swap(set("a", keystore.Mark{}, half), set("b", keystore.Mark{}, half)))
	c.must(c.swap(slices.Clone(many[1:])...))
}

// credentials: they change with the records or not at all, for who shows the present login proof or the kit's; those that are in force already
// are no reason to refuse.
func (c conformance) credentials() {
	second, third, kit := newProof(), newProof(), newProof()
	with := func(name string, before keystore.Mark, k keystore.Credentials) error {
		return c.r.Swap(c.t.Context(), keystore.Swap{Changes: []keystore.RemoteChange{set(name, before, "x")}, Credentials: &k})
	}
	c.wants("a wrong proof", with("a", keystore.Mark{}, keystore.Credentials{Old: second, New: third}), fault.Forbidden)
	if a := c.one("a"); a.Mark != (keystore.Mark{}) {
		c.t.Error("the record changed without the proof")
	}
	c.must(with("a", keystore.Mark{}, keystore.Credentials{Old: c.login, New: second, Recovery: kit}))
	c.wants("the former proof", with("b", keystore.Mark{}, keystore.Credentials{Old: c.login, New: third}), fault.Forbidden)
	c.wants("a conflict", with("a", keystore.Mark{}, keystore.Credentials{Old: second, New: third}), fault.Conflict)
	c.must(with("b", keystore.Mark{}, keystore.Credentials{Old: second, New: second})) // the conflict left the proof as it was
	c.must(with("c", keystore.Mark{}, keystore.Credentials{Old: kit, New: third}))
	c.must(with("d", keystore.Mark{}, keystore.Credentials{Old: second, New: third})) // in force already
	c.wants("a proof from before the kit", with("e", keystore.Mark{}, keystore.Credentials{Old: second, New: c.login}), fault.Forbidden)
}
