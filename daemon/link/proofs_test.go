package link

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// knows reports whether a proof logs in.
func knows(t *testing.T, c *state.State, n byte) bool {
	t.Helper()
	_, err := c.Login(t.Context(), state.Login{
		User: testUser, Device: "00000000-0000-4000-8000-0000000000aa", Proof: proofOf(n).Bytes(),
	})
	if err != nil && !errors.Is(err, fault.Unauthorized) {
		t.Fatal(err)
	}
	return err == nil
}

func eventually(t *testing.T, what string, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !fn(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// The password was changed while the coordinator was away: whichever of the proofs it knows, with a session or without, it learns the last.
func TestChangedProofs(t *testing.T) {
	for known := byte(7); known <= 10; known++ {
		for _, session := range []bool{true, false} {
			settings, c := real(t, nil)
			m := joined(t, settings)
			if known != 7 {
				m.change(7, known)
				first := newRig(t, settings, m, nil)
				first.run()
				eventually(t, "the change", func() bool { return m.waiting() == 0 })
				first.stop()
			}
			m.change(7, 8)
			m.change(8, 9)
			m.change(9, 10)
			l := newRig(t, settings, m, nil)
			if !session {
				if err := m.SaveTokens(nil); err != nil {
					t.Fatal(err)
				}
				l.Give(proofOf(10))
			}
			l.run()
			l.becomes(Online, "")
			if m.waiting() != 0 || !knows(t, c, 10) || known != 10 && knows(t, c, known) {
				t.Errorf("from %d, session %v: %d proofs wait", known, session, m.waiting())
			}
			l.stop()
		}
	}
}

// A coordinator that knows none of the proofs: they stay, the link works with its session, and says no without.
func TestUnknownProofs(t *testing.T) {
	settings, c := real(t, nil)
	m := joined(t, settings)
	m.change(1, 2)
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(Online, "")
	if m.waiting() != 2 || !knows(t, c, 7) {
		t.Error("the coordinator learned a proof by one that it did not know")
	}
	l.stop()
	if err := m.SaveTokens(nil); err != nil {
		t.Fatal(err)
	}
	l = newRig(t, settings, m, nil)
	l.Give(proofOf(2))
	l.run()
	l.becomes(Refused, fault.Unauthorized)
	if m.waiting() != 2 {
		t.Error("the proofs are gone")
	}
}

// The password is changed again while the coordinator is told of the change before: that one waits, and is told next.
func TestChangeWhileSettling(t *testing.T) {
	var m *memory
	var once atomic.Bool
	settings, c := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/account/proof" && once.CompareAndSwap(false, true) {
				m.change(8, 9)
			}
			next.ServeHTTP(w, r)
		})
	})
	m = joined(t, settings)
	m.change(7, 8)
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(Online, "")
	if m.waiting() != 3 || !knows(t, c, 8) {
		t.Errorf("%d proofs wait", m.waiting())
	}
	l.Wake()
	eventually(t, "the second change", func() bool { return m.waiting() == 0 })
	if !knows(t, c, 9) {
		t.Error("the coordinator does not know the last")
	}
}
