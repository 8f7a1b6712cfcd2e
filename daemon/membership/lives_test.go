package membership

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// All methods at once, on two machines: nothing races, and both end with one list and one key.
func TestConcurrently(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	var group sync.WaitGroup
	for _, m := range []*machine{desk, laptop} {
		for i := range 3 {
			group.Go(func() {
				_, _ = m.Sync(t.Context())
				_, _, _ = m.Current(t.Context())
				_ = m.Rename(t.Context(), m.DeviceID(), fmt.Sprint(m.name, i))
				_, _ = m.At(t.Context(), uint64(i))
				_ = m.CheckHead(m.Head())
				_, _ = m.Requests(t.Context())
				_, _ = m.NeedsReseal()
				_, _ = m.Devices(t.Context())
				w.later(9 * time.Hour)
				_ = m.Rotate(t.Context())
				_, _ = m.State()
			})
		}
	}
	group.Wait()
	desk.sync(Listed)
	laptop.sync(Listed)
	desk.sync(Listed)
	w.same(desk, laptop)
}

// Random lives of up to four machines, with deaths and lost answers in between: whoever is listed has the one list and the one key, in the
// end, and nobody else has it.
func TestRandomLives(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, dir)
		machines := []*machine{w.machine("a"), w.machine("b"), w.machine("c"), w.machine("d")}
		codes := map[devices.DeviceID][]byte{}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			m := rapid.SampledFrom(machines).Draw(rt, "who")
			other := rapid.SampledFrom(machines).Draw(rt, "whom")
			w.faulty(rt)
			if w.dies(func() { live(rt, w, m, other, codes) }) != "" {
				m.start()
			}
		}
		w.settled(rt, machines)
	})
}

// faulty has one of the next steps end in a death or in an answer that is lost, or none.
func (w *world) faulty(t *rapid.T) {
	n := rapid.IntRange(1, 25).Draw(t, "when")
	switch rapid.SampledFrom([]string{"", "", "dies", "lost", "offline"}).Draw(t, "fault") {
	case "dies":
		w.dieAt(n)
	case "lost", "offline":
		fail := func(what string) error {
			if n--; n == 0 && what != "key file" && what != "save" {
				return fault.New(fault.Unavailable, "no answer")
			}
			return nil
		}
		if n%2 == 0 {
			w.answer = fail
		} else {
			w.refuse = fail
		}
	}
}

func live(t *rapid.T, w *world, m, other *machine, codes map[devices.DeviceID][]byte) {
	ctx := w.Context()
	switch rapid.SampledFrom([]string{"sync", "sync", "ask", "approve", "approve", "remove", "rotate", "reseal", "reset", "restart"}).Draw(t, "what") {
	case "sync":
		_, _ = m.Sync(ctx)
	case "ask":
		if code, err := m.Ask(ctx, m.name); err == nil {
			codes[m.DeviceID()] = code
		}
	case "approve":
		_ = m.Approve(ctx, other.DeviceID(), codes[other.DeviceID()])
	case "remove":
		_ = m.Remove(ctx, other.DeviceID())
	case "rotate":
		w.later(25 * time.Hour)
		_ = m.Rotate(ctx)
	case "reseal":
		if epoch, needed := m.NeedsReseal(); needed {
			_ = m.Resealed(ctx, epoch)
		}
	case "reset":
		if state, _ := m.State(); state == Removed {
			_ = m.Reset(ctx)
		}
	case "restart":
		m.Close()
		m.start()
	}
}

// settled is what must hold once the faults are over.
func (w *world) settled(t *rapid.T, machines []*machine) {
	var listed []*machine
	for range 2 { // the second time everybody has what the others resent
		listed = nil
		for _, m := range machines {
			state, err := m.Sync(w.Context())
			switch {
			case state == Listed && err == nil:
				listed = append(listed, m)
			case state == Listed, err != nil && !errors.Is(err, fault.Revoked):
				t.Fatalf("%s: %s, %v", m.name, state, err)
			default:
				isCode(t, m.name, third(m.Current(w.Context())), fault.Locked)
			}
		}
	}
	if len(listed) == 0 {
		return // the last one died for good: only a recovery is left
	}
	w.same(listed...)
	if n := len(strings.Fields(listed[0].names())); n != len(listed) {
		t.Fatalf("%d devices are on the list, %d machines are", n, len(listed))
	}
}
