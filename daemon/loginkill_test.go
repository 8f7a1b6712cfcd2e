package daemon

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/coordinatortest"
)

// TestF01_KilledWhileLoggingIn kills the process at each request in turn, before the coordinator does what is asked and after. Then there is
// no account, or the whole one, and the same again gets it; none ever opens with a password that nobody knows.
func TestF01_KilledWhileLoggingIn(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []LoginRequest{f.with(c, testPassword), {URL: c.URL, Kit: f.kit, NewPassword: []byte(otherPassword)}} { // in this order
		t.Run(fmt.Sprintf("new password %t", r.NewPassword != nil), func(t *testing.T) {
			without, kills := 0, 0
			for _, acted := range []bool{false, true} {
				for n := 1; ; n++ {
					dir := t.TempDir()
					if !killedAt(t, c, order{Dir: dir, Login: &r}, n, acted) {
						break
					}
					kills++
					again := startAgent(t, dir, local)
					if again.state() == StateUnregistered {
						without++
						retry := LoginRequest{URL: r.URL, Kit: bytes.Clone(r.Kit), Password: bytes.Clone(r.Password), NewPassword: bytes.Clone(r.NewPassword)}
						if err := again.Login(t.Context(), retry); err != nil {
							t.Fatalf("again, after a kill at request %d: %v", n, err)
						}
					} else if err := again.tryUnlock(string(slices.Concat(r.Password, r.NewPassword))); err != nil {
						t.Fatalf("a kill at request %d: %v", n, err)
					}
					again.isOf(f)
					if err := again.stop(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if kills < 8 || without < 6 {
				t.Errorf("only %d kills, %d of which left no account", kills, without)
			}
			t.Logf("%d kills, %d left no account", kills, without)
		})
	}
}

// killedAt runs a child that logs in and kills it at its n-th request, before or after the coordinator acted. It reports whether that came
// before the login was done.
func killedAt(t *testing.T, c *coordinatortest.Coordinator, o order, n int, acted bool) bool {
	t.Helper()
	var p *process
	started := make(chan struct{})
	var count atomic.Int64
	c.Hook(func(e *coordinatortest.Exchange) {
		if count.Add(1) != int64(n) {
			return
		}
		if acted {
			e.Forward()
		}
		<-started
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		e.Drop()
	})
	defer c.Hook(nil)
	p = startProcess(t, o)
	close(started)
	done := false
	for p.lines.Scan() {
		if done = p.lines.Text() == "done"; done {
			break
		}
		if p.lines.Text() != "ready" {
			t.Fatal(p.lines.Text())
		}
	}
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // it was killed
	return !done
}
