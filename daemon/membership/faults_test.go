package membership

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

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
			if err := s.actor.Recover(w.Context(), "new", intendNothing); !errors.Is(err, fault.Conflict) {
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
