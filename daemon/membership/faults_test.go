package membership

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// story is something that a user does, on one of the machines, and how one sees afterwards that it was done.
type story struct {
	prepare func(w *world) *tale
	done    func(s *tale) bool
}

// tale is a story under way.
type tale struct {
	w      *world
	actor  *machine
	others []*machine
	whom   *machine
	code   []byte
	do     func() error // may be done again until it is nil
}

func (s *tale) all() []*machine { return append([]*machine{s.actor}, s.others...) }

// stories are all changes that a machine makes.
var stories = map[string]story{
	"begin": {func(w *world) *tale {
		s := &tale{w: w, actor: w.machine("desk")}
		s.do = func() error { _, err := s.actor.Sync(w.Context()); return err }
		return s
	}, func(s *tale) bool { return s.actor.names() == "desk" }},

	"ask": {func(w *world) *tale {
		s := &tale{w: w, others: []*machine{w.begin()}, actor: w.machine("laptop")}
		s.do = func() error {
			code, err := s.actor.Ask(w.Context(), "laptop")
			if err == nil {
				s.code = code
			}
			return err
		}
		return s
	}, func(s *tale) bool {
		if err := s.others[0].Approve(s.w.Context(), s.actor.DeviceID(), s.code); err != nil {
			s.w.Errorf("%v", err)
		}
		return s.others[0].names() == "desk laptop"
	}},

	"approve": {func(w *world) *tale {
		s := &tale{w: w, actor: w.begin(), whom: w.machine("laptop")}
		s.code, s.others = s.whom.ask(), []*machine{s.whom}
		s.do = func() error { return s.actor.Approve(w.Context(), s.whom.DeviceID(), s.code) }
		return s
	}, func(s *tale) bool { return s.actor.names() == "desk laptop" }},

	"confirm": {func(w *world) *tale {
		desk := w.begin()
		s := &tale{w: w, actor: w.machine("laptop"), others: []*machine{desk}}
		if err := desk.Approve(w.Context(), s.actor.DeviceID(), s.actor.ask()); err != nil {
			w.Fatal(err)
		}
		s.do = func() error { _, err := s.actor.Sync(w.Context()); return err }
		return s
	}, func(s *tale) bool { return s.actor.names() == "desk laptop" }},

	"remove": {func(w *world) *tale {
		s := &tale{w: w, actor: w.begin()}
		s.others, s.whom = []*machine{s.actor.join("laptop")}, s.actor.join("phone")
		s.do = func() error { return s.actor.Remove(w.Context(), s.whom.DeviceID()) }
		return s
	}, func(s *tale) bool {
		state, _ := s.whom.Sync(s.w.Context())
		return s.actor.names() == "desk laptop" && state == Removed
	}},

	"rename": {func(w *world) *tale {
		s := &tale{w: w, actor: w.begin()}
		s.others = []*machine{s.actor.join("laptop")}
		s.do = func() error { return s.actor.Rename(w.Context(), s.actor.DeviceID(), "attic") }
		return s
	}, func(s *tale) bool { return s.actor.names() == "attic laptop" }},

	"rotate": {func(w *world) *tale {
		s := &tale{w: w, actor: w.begin()}
		s.others = []*machine{s.actor.join("laptop")}
		w.later(25 * time.Hour)
		s.do = func() error {
			err := s.actor.Rotate(w.Context())
			if errors.Is(err, fault.Conflict) { // the state key was, before it died; its own key is not, until all is sealed again
				s.actor.reseal()
			}
			return err
		}
		return s
	}, func(s *tale) bool {
		epoch, _, err := s.actor.Current(s.w.Context())
		return err == nil && epoch == 2
	}},

	"resealed": {func(w *world) *tale {
		s := &tale{w: w, actor: w.begin()}
		s.others = []*machine{s.actor.join("laptop")}
		w.later(25 * time.Hour)
		if err := s.actor.Rotate(w.Context()); err != nil {
			w.Fatal(err)
		}
		s.do = func() error {
			if _, err := s.actor.Sync(w.Context()); err != nil {
				return err
			}
			if epoch, needed := s.actor.NeedsReseal(); needed {
				return s.actor.Resealed(w.Context(), epoch)
			}
			return nil
		}
		return s
	}, func(s *tale) bool {
		_, err := s.actor.At(s.w.Context(), 1)
		w := s.w
		w.later(25 * time.Hour)
		if rotated := s.actor.Rotate(w.Context()); rotated != nil {
			w.Errorf("another day: %v", rotated)
		}
		return errors.Is(err, fault.NotFound)
	}},

	"recover": {func(w *world) *tale {
		desk := w.begin()
		desk.join("laptop")
		s := &tale{w: w, actor: w.machine("new")}
		s.actor.ask() // before the user found that nothing is left to type the code into
		s.do = func() error {
			if err := s.actor.Recover(w.Context(), "new"); !errors.Is(err, fault.Conflict) {
				return err
			}
			s.actor.sync(Listed) // it was done before
			return nil
		}
		return s
	}, func(s *tale) bool { return s.actor.names() == "new" }},
}

// Each story is cut at every durable step, before it and after it: the machine dies, starts again and does it again; all is as if nothing
// had happened.
func TestCrashAtEveryStep(t *testing.T) {
	for name, st := range stories {
		t.Run(name, func(t *testing.T) {
			at := 1 + rand.IntN(slower)
			for ; ; at += slower {
				w := setup(t)
				s := st.prepare(w)
				w.dieAt(at)
				var err error
				step := w.dies(func() { err = s.do() })
				if step == "" {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				s.actor.start()
				s.finish(t, step)
				s.check(t, st, fmt.Sprintf("killed at %d, %s", at, step))
			}
			if at < 3 {
				t.Errorf("only %d steps", at)
			}
		})
	}
}

// finish does it again, as a user does.
func (s *tale) finish(t *testing.T, after string) {
	t.Helper()
	var err error
	for range 3 {
		if err = s.do(); err == nil {
			return
		}
	}
	t.Fatalf("after %s: %v", after, err)
}

func (s *tale) check(t *testing.T, st story, what string) {
	t.Helper()
	if !st.done(s) {
		t.Fatalf("%s: it was not done; %s", what, s.actor.names())
	}
	for _, m := range s.all() {
		m.sync(Listed)
	}
	s.w.same(s.all()...)
	for name := range s.w.records {
		if s.whom != nil && name == devices.RequestName(s.whom.DeviceID()) {
			if list, err := s.actor.Requests(t.Context()); err != nil || len(list) != 0 { // what an approver left is no request
				t.Fatalf("%s: %v, %v", what, list, err)
			}
		}
	}
}

// Each story, and each call in it fails once: before it did its work, and after it did, with the answer lost. The user tries again.
func TestEveryCallFails(t *testing.T) {
	for name, st := range stories {
		for _, code := range []fault.Code{fault.Unavailable, fault.Internal, fault.StorageFull} {
			for _, lost := range []bool{false, true} {
				if lost && code != fault.Unavailable && code != fault.Internal {
					continue // these say that nothing was done
				}
				t.Run(fmt.Sprint(name, " ", code, " ", lost), func(t *testing.T) { failEach(t, st, code, lost) })
			}
		}
	}
}

func failEach(t *testing.T, st story, code fault.Code, lost bool) {
	for at := 1 + rand.IntN(slower); ; at += slower {
		w := setup(t)
		s := st.prepare(w)
		n, failed := at, ""
		fail := func(what string) error {
			if n--; n == 0 {
				failed = what
				return fault.New(code, "call %d", at)
			}
			return nil
		}
		if lost {
			w.answer = fail
		} else {
			w.refuse = fail
		}
		_ = s.do() //nolint:errcheck // it may fail, or have found its way around
		if failed == "" {
			return
		}
		w.calm()
		if strings.HasPrefix(failed, "key file") || failed == "save" {
			s.actor.start() // what a disk says no to is as good as a crash
		}
		s.finish(t, failed)
		s.check(t, st, fmt.Sprintf("call %d, %s", at, failed))
	}
}

// A link that is on its way arrives after its machine gave up, and after another's: it is taken, or lost, and no record is written over
// that the list names.
func TestLateLink(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		w := setup(t)
		desk := w.begin()
		laptop := desk.join("laptop")
		desk.sync(Listed)
		var late []byte
		delay := &slow{Links: w, late: &late}
		desk.o.Links = delay
		isCode(t, "slow", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.Unavailable)
		if arrives {
			w.links = append(w.links, late)
		} else if err := laptop.Rename(t.Context(), laptop.DeviceID(), "kitchen"); err != nil {
			t.Fatal(err)
		}
		desk.o.Links = w
		if err := desk.Remove(t.Context(), laptop.DeviceID()); err != nil {
			t.Fatal(err)
		}
		want := "desk"
		if arrives {
			want = "attic"
		}
		if desk.names() != want {
			t.Error(desk.names())
		}
		w.same(desk)
	}
}

// slow is a network in which links are on their way for long.
type slow struct {
	Links
	late *[]byte
}

func (s *slow) Add(_ context.Context, link []byte, _ uint64) error {
	*s.late = slices.Clone(link)
	return fault.New(fault.Unavailable, "no answer")
}

// Two devices change the list at the same time, at every step of one another: both changes are made.
func TestConflictAtEveryStep(t *testing.T) {
	for at := 1; ; at++ {
		w := setup(t)
		desk := w.begin()
		laptop := desk.join("laptop")
		n, met := at, ""
		w.step = func(step string) {
			if n--; n == 0 {
				met, w.step = step, func(string) {}
				if err := laptop.Rename(t.Context(), laptop.DeviceID(), "kitchen"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := desk.Rename(t.Context(), desk.DeviceID(), "attic"); err != nil {
			t.Fatalf("meeting at %s: %v", met, err)
		}
		if met == "" {
			if at < 8 {
				t.Errorf("only %d steps", at)
			}
			return
		}
		laptop.sync(Listed)
		desk.sync(Listed)
		w.same(desk, laptop)
		if desk.names() != "attic kitchen" {
			t.Fatalf("meeting at %s: %s", met, desk.names())
		}
	}
}

// Two machines of a new user begin at the same time: one does, the other finds its list.
func TestTwoBegin(t *testing.T) {
	for at := 1; ; at++ {
		w := setup(t)
		desk, laptop := w.machine("desk"), w.machine("laptop")
		n, met := at, false
		w.step = func(string) {
			if n--; n == 0 {
				met, w.step = true, func(string) {}
				if _, err := laptop.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := desk.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !met {
			return
		}
		a, _ := desk.State()
		b, _ := laptop.State()
		if a == b || a != Listed && b != Listed || a != Unlisted && b != Unlisted {
			t.Fatal(a, b)
		}
	}
}

// Somebody is always faster: three tries, and then it is said.
func TestThreeTries(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	busy, tries := false, 0
	w.step = func(step string) {
		if step == "add" && !busy {
			busy = true
			tries++
			if err := laptop.Rename(t.Context(), laptop.DeviceID(), fmt.Sprint("name ", tries)); err != nil {
				t.Fatal(err)
			}
			busy = false
		}
	}
	isCode(t, "always later", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.Conflict)
	if tries != maxTries {
		t.Error(tries)
	}
	w.calm()
	desk.sync(Listed)
	w.same(desk, laptop)
}

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
