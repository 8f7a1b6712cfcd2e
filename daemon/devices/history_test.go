package devices

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

// history is a random life of a list: machines that come, go, replace keys, lose to one another and recover; and branches that lost.
type history struct {
	*world
	t      *rapid.T
	active []*machine
	gone   []*machine
	forks  map[uint64][][]byte // links that lost, by number
}

// Over random histories: a newcomer and every device accept exactly the honest chain; every listed device and no other gets the state key;
// a chain with any link dropped, doubled out of place, swapped or replaced by one that lost is refused.
func TestE06_RandomHistories(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{world: newWorld(rt, dir), t: rt, forks: map[uint64][][]byte{}}
		h.active = append(h.active, h.begin("first"))
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(-48, 48).Draw(rt, "hours")) * time.Hour)
			h.step()
			h.invariants()
		}
		h.hostile()
	})
}

func (h *history) pick(name string) *machine {
	m := rapid.SampledFrom(h.active).Draw(h.t, name)
	m.follow()
	return m
}

func (h *history) step() {
	m := h.pick("who")
	switch rapid.SampledFrom([]string{"add", "add", "remove", "rotate", "rekey", "rename", "race", "restore", "recover"}).Draw(h.t, "what") {
	case "add":
		h.active = append(h.active, m.add("another"))
	case "remove":
		other := h.pick("whom")
		if other == m {
			return
		}
		m.follow()
		m.must(m.sign(Changes{Remove: []DeviceID{other.d.ID}}))
		h.leave(other)
	case "rotate":
		m.must(m.sign(Changes{Rotate: true}))
	case "rekey":
		h.stage(m)
		m.must(m.sign(Changes{NewKey: true, Rotate: rapid.Bool().Draw(h.t, "rotate")}))
	case "rename":
		m.must(m.sign(Changes{Rename: map[DeviceID]string{h.active[0].d.ID: "renamed"}}))
	case "race":
		h.race(m)
	case "restore":
		from := rapid.IntRange(0, len(h.links)-1).Draw(h.t, "from")
		l, err := RestoreList(h.owner(), m.list.Head(), h.links[from:])
		if err != nil {
			h.Fatal(err)
		}
		m.list = l
	case "recover":
		h.recover(m)
	}
}

func (h *history) stage(m *machine) {
	if err := m.d.Stage(h.now); err != nil {
		h.Fatal(err)
	}
}

func (h *history) leave(m *machine) {
	h.active = slices.DeleteFunc(h.active, func(o *machine) bool { return o == m })
	h.gone = append(h.gone, m)
}

// race has two devices sign at once: the second loses and keeps its staged key.
func (h *history) race(m *machine) {
	other := h.pick("other")
	h.stage(other)
	lost, err := other.sign(Changes{NewKey: true, Rotate: rapid.Bool().Draw(h.t, "rotate")})
	if err != nil {
		h.Fatal(err)
	}
	m.follow()
	m.must(m.sign(Changes{Rotate: true}))
	isCode(h.t, "the loser", h.publish(lost), fault.Conflict)
	h.forks[lost.List.Sequence] = append(h.forks[lost.List.Sequence], lost.Link)
	lost.Drop()
}

func (h *history) recover(m *machine) {
	if rapid.IntRange(0, 3).Draw(h.t, "rarely") > 0 {
		return
	}
	n := h.machine()
	l, err := OpenList(h.owner(), m.list.Head(), h.links)
	if err != nil {
		h.Fatal(err)
	}
	n.must(l.Recover(n.author(), "again"))
	h.gone = nil // a recovery begins the removed ids anew, with those that it removes
	for _, old := range slices.Clone(h.active) {
		old.follow0()
		h.leave(old)
	}
	h.active = append(h.active, n)
}

// follow0 goes up to a recovery, which is the newest link, and refuses it.
func (m *machine) follow0() {
	links := m.w.links[m.list.Sequence:]
	l, err := m.list.Extend(links[:len(links)-1])
	if err != nil {
		m.w.Fatal(err)
	}
	isCode(m.w, "a recovery", second(l.Next(links[len(links)-1])), fault.UntrustedKey)
	if m.list, err = l.Recovered(links[len(links)-1]); err != nil {
		m.w.Fatal(err)
	}
}

func (h *history) invariants() {
	l, err := OpenList(h.owner(), Head{}, h.links)
	if err != nil {
		h.Fatal(err)
	}
	if len(l.Devices) != len(h.active) || len(l.Removed) != len(h.gone) {
		h.Fatalf("%d devices and %d removed, want %d and %d", len(l.Devices), len(l.Removed), len(h.active), len(h.gone))
	}
	r, err := OpenRecord(l, h.sealer, h.records[l.WrapsName()])
	if err != nil {
		h.Fatal(err)
	}
	for _, m := range h.active {
		m.follow()
		if m.list.Head() != l.Head() {
			h.Fatal("a device is at another link")
		}
		sameKey(h.t, "devices", h.active[0].ring, m.ring)
	}
	for _, m := range h.gone {
		isCode(h.t, "a removed device", second(r.Unwrap(m.d)), fault.Revoked)
	}
	if former, ok := l.Former(); ok {
		if _, err := OpenRecord(former, h.sealer, h.records[former.WrapsName()]); err != nil && !l.Recovery {
			h.Fatal("the record of the former epoch is gone:", err)
		}
	}
}

// hostile is the coordinator: it serves every chain that it can make of what it has.
func (h *history) hostile() {
	n := len(h.links)
	at := rapid.IntRange(0, n-1).Draw(h.t, "at")
	head := h.active[0].list.Head()
	refused := func(what string, links [][]byte) {
		if l, err := OpenList(h.owner(), head, links); err == nil {
			h.Fatalf("%s at %d of %d: accepted up to %d", what, at, n, l.Sequence)
		}
	}
	refused("cut", h.links[:at])
	if at < n-1 {
		refused("dropped", slices.Delete(slices.Clone(h.links), at, at+1))
		swapped := slices.Clone(h.links)
		swapped[at], swapped[at+1] = swapped[at+1], swapped[at]
		refused("swapped", swapped)
		refused("an old one at the end", append(slices.Clone(h.links), h.links[at]))
	}
	for number, links := range h.forks {
		for _, lost := range links {
			replaced := slices.Clone(h.links)
			replaced[number-1] = lost
			refused("a branch", replaced)
			refused("a branch at the end", append(slices.Clone(h.links[:number-1]), lost))
		}
	}
	edited := slices.Clone(h.links)
	edited[at] = slices.Clone(edited[at])
	edited[at][rapid.IntRange(0, len(edited[at])-1).Draw(h.t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(h.t, "bit")
	refused("one bit", edited)
}
