package daemon

import (
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
)

// What contacts were told is judged by one at a time: no round that looked before a person said that all is well notes afterwards that it is not.
func TestForksAreJudgedInTurn(t *testing.T) {
	f := newFirstMachine(t, coordinatortest.New(t, coordinatortest.Options{}), testMail)
	y := f.session.sync
	done := make(chan error, 3)
	y.forks.Lock()
	for _, judge := range []func() error{
		func() error { _, err := y.checkForks(nil); return err }, y.acceptForks, y.liftFork,
	} {
		go func() { done <- judge() }()
	}
	select {
	case err := <-done:
		t.Errorf("judged out of turn: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	y.forks.Unlock()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
