package daemon

import (
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// closesForGood expects an agent that wipes its keys when it locks, and that nothing opens but a person.
func (r *running) closesForGood() {
	r.t.Helper()
	if st, err := r.Status(r.t.Context()); err != nil || st.Unattended {
		r.t.Errorf("still unattended: %+v, %v", st, err)
	}
	if err := r.Lock(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if r.hasSession() {
		r.t.Error("locking left the keys there, for a credential that nobody has")
	}
}

// diesHanding makes a credential, and ends before anybody has it.
func (r *running) diesHanding() {
	r.t.Helper()
	credential, err := r.newUnattended(r.t.Context(), r.session, []byte(testPassword))
	if err != nil {
		r.t.Fatal(err)
	}
	credential.Wipe()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

// A process ends before the credential that it made reached anybody: the next one is not unattended, with a coordinator or without.
func TestCredentialLostWithTheProcess(t *testing.T) {
	for name, joined := range map[string]bool{"local": false, "joined": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := startAgent(t, dir, local)
			a.register()
			if joined {
				a.connect(newCoordinator(t, state.Open))
				a.settled()
			}
			a.diesHanding()
			a = startAgent(t, dir, local)
			a.unlock()
			eventually(t, "the slot goes", func() bool { return !a.vault.Unattended() })
			a.closesForGood()
			a.unlock()
			if joined {
				a.settled()
			}
			if _, err := a.EnableUnattended(t.Context(), []byte(testPassword)); err != nil {
				t.Fatal(err)
			}
			if err := a.Lock(t.Context()); err != nil || !a.hasSession() {
				t.Errorf("one that was handed out: %v", err)
			}
		})
	}
}

// The answer to the change is lost, and the coordinator made it: the next round of this session learns of it, and takes it back.
func TestCredentialLostWithTheAnswer(t *testing.T) {
	a, remote := replicated(t)
	mend := loseAnswer(remote, true)
	_, err := a.EnableUnattended(t.Context(), []byte(testPassword))
	wantCode(t, "enable", err, fault.Unavailable)
	mend()
	a.learns()
	a.closesForGood()

	a.unlock()
	a.vault.Connect(remote)
	credential, err := a.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	clear(credential)
	mend = loseAnswer(remote, true)
	_, err = a.EnableUnattended(t.Context(), []byte(testPassword))
	wantCode(t, "another credential", err, fault.Unavailable)
	mend()
	a.learns()
	a.closesForGood()
}

// learns does what a round does with the vault.
func (r *running) learns() {
	r.t.Helper()
	if err := r.vault.Sync(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if !r.vault.Unattended() {
		r.t.Fatal("the change was not made")
	}
	r.session.sync.noteUnattended(r.t.Context())
	if r.vault.Unattended() {
		r.t.Error("the slot is still there")
	}
}
