package devices

import (
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Keys that the coordinator, or anybody who is not on the list, offers are never wrapped to; a state key comes from the agent itself.
func TestK05_E09_NothingIsWrappedToAStranger(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	escrow := w.machine()
	u, err := a.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRecord(u.List, w.sealer, u.Wraps)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a stranger", second(r.Unwrap(escrow.d)), fault.Forbidden)
	for _, m := range r.members {
		if _, err := hpke.Open(escrow.d.present.private(), kdf, aead, u.List.wrapInfo(m.ID, u.List.Devices[0].KeyHash), m.Wrap); err == nil {
			t.Error("a stranger opens a wrap")
		}
	}

	// A record with the stranger's key in the place of the listed one, or beside it, makes no next link.
	for what, edit := range map[string]func(m []member) []member{
		"another id":   func(m []member) []member { m[0].ID = escrow.d.ID; return m },
		"no name":      func(m []member) []member { m[0].Name = make([]byte, nameSize); return m },
		"a short wrap": func(m []member) []member { m[0].Wrap = m[0].Wrap[1:]; return m },
		"nobody":       func(m []member) []member { return m[:0] },
		"in its place": func(m []member) []member { m[0].Public = escrow.d.present.public; return m },
		"beside it": func(m []member) []member {
			return append(m, member{ID: escrow.d.ID, Name: m[0].Name, Public: escrow.d.present.public, Wrap: m[0].Wrap})
		},
	} {
		link := copyOf(u.List.Link)
		plain, err := signed.Marshal(edit(slices.Clone(r.members)))
		if err != nil {
			t.Fatal(err)
		}
		sealed := w.sealer.Seal(link.recordContext(), plain)
		isCode(t, what, second(OpenRecord(u.List, w.sealer, sealed)), fault.NotAuthentic)
		l := *u.List
		l.Wraps = sha256.Sum256(sealed)
		if _, err := OpenRecord(&l, w.sealer, sealed); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
			t.Errorf("%s, even if the link named it: %v", what, err)
		}
	}
	again, err := a.sign(Changes{Rotate: true})
	if err != nil || again.State.Key.Equal(u.State.Key) {
		t.Error("two rotations, one key", err)
	}
}

// A state key that somebody else made, wrapped correctly to the device, is refused: the link commits to the real one.
func TestV08_StateKeyOfTheServer(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	own := StateKey{Epoch: a.list.Epoch, Key: secret.Random()}
	r := a.record()
	forged := slices.Clone(r.members)
	if err := a.list.wrap(forged, own.Key); err != nil {
		t.Fatal(err)
	}
	plain, err := signed.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	sealed := w.sealer.Seal(a.list.recordContext(), plain)
	isCode(t, "another record", second(OpenRecord(a.list, w.sealer, sealed)), fault.NotAuthentic)
	swapped := &Record{list: a.list, members: forged}
	isCode(t, "another key in the record", second(swapped.Unwrap(a.d)), fault.NotAuthentic)

	other := *a.d
	other.User = NewUser()
	isCode(t, "the device of another user", second(r.Unwrap(&other)), fault.KeyChanged)

	// Nor does a wrap of another link, epoch or device open in this place.
	b := a.add("laptop")
	a.follow()
	old := r.members[0].Wrap
	now := a.record()
	for i := range now.members {
		moved := &Record{list: a.list, members: slices.Clone(now.members)}
		moved.members[i].Wrap = old
		if moved.members[i].ID == a.d.ID {
			isCode(t, "the wrap of the link before", second(moved.Unwrap(a.d)), fault.NotAuthentic)
		}
		moved.members[i].Wrap = now.members[1-i].Wrap
		for _, m := range []*machine{a, b} {
			if m.d.ID == moved.members[i].ID {
				isCode(t, "the wrap of another device", second(moved.Unwrap(m.d)), fault.NotAuthentic)
			}
		}
	}
}

// Whoever took the disk has the key file, and without the vault nothing else: the wraps record does not open.
func TestThiefOfTheKeyFile(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	a.d.Wipe()
	d, err := OpenDevice(a.d.files, a.path, w.id)
	if err != nil {
		t.Fatal(err)
	}
	guess := setup(t) // the thief's own vault key
	isCode(t, "without the vault", second(OpenRecord(a.list, guess.sealer, w.records[a.list.WrapsName()])), fault.NotAuthentic)
	thief := Author{Signing: guess.signing, Sealer: guess.sealer, Device: d, Now: w.now}
	_, err = a.list.Sign(thief, &Record{list: a.list, members: a.membersOf(a.list)}, a.ring, Changes{Rotate: true})
	isCode(t, "a link without the signing key", err, fault.NotAuthentic)
}
