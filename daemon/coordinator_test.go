package daemon

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// An account joins, is online while it is unlocked and leaves again; doing it twice is doing it once.
func TestJoinCoordinator(t *testing.T) {
	c := newCoordinator(t, state.Open)
	dir := t.TempDir()
	a := startAgent(t, dir, local)
	a.register()
	a.connect(c)
	a.becomes("online")
	hash, err := keystore.EmailHash(testMail)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := c.state.Lookup(t.Context(), hash[:]); err != nil || string(id) != a.vault.UserID() {
		t.Fatalf("the coordinator knows %q, %v", id, err)
	}
	before := runtime.NumGoroutine()
	begin := time.Now()
	if err := a.Lock(t.Context()); err != nil || time.Since(begin) > time.Second {
		t.Errorf("locking took %v, %v", time.Since(begin), err)
	}
	eventually(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before })
	if st, err := a.Status(t.Context()); err != nil || st.Coordinator != nil {
		t.Errorf("a locked agent tells its coordinator: %+v, %v", st.Coordinator, err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, dir, local)
	a.unlock()
	a.becomes("online")
	a.connect(c) // again
	a.becomes("online")
	if err := a.DisconnectCoordinator(t.Context(), []byte("another password")); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("left with a wrong password: %v", err)
	}
	if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Coordinator(t.Context()); !errors.Is(err, fault.NotFound) {
		t.Errorf("after leaving: %v", err)
	}
	if n := countPrefix(t, a, linkPrefix); n != 0 {
		t.Errorf("%d records of the link are left", n)
	}
	a.awaitEvents(EventCoordinatorOnline, 2)
	a.awaitEvents(EventCoordinatorChanged, 2)
}

// TestProofsOfTwoCoordinators has a coordinator that tries at another what it was shown: it is nobody there.
func TestProofsOfTwoCoordinators(t *testing.T) {
	thief, c := newCoordinator(t, state.Open), newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(thief)
	hash, err := keystore.EmailHash(testMail)
	if err != nil {
		t.Fatal(err)
	}
	at, err := coordinator.New(c.url(), coordinator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	reg := coordinator.Registration{User: a.vault.UserID(), EmailHash: hash[:], Proof: a.proofFor(c, testPassword)}
	if err := at.Register(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	shown, own := a.proofFor(thief, testPassword), a.proofFor(c, testPassword)
	if err := thief.login(a.vault.UserID(), shown); err != nil {
		t.Fatalf("this shows nothing: %v", err)
	}
	if err := c.login(a.vault.UserID(), shown); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("what the one was shown logs in at the other: %v", err)
	}
	if err := c.login(a.vault.UserID(), own); err != nil {
		t.Error(err)
	}
}

// TestL23_Coordinator has a caller without the password.
func TestL23_Coordinator(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{URL: c.url()}); !errors.Is(err, fault.Forbidden) {
		t.Errorf("connected: %v", err)
	}
	a.connect(c)
	if err := a.DisconnectCoordinator(t.Context(), nil); !errors.Is(err, fault.Forbidden) {
		t.Errorf("disconnected: %v", err)
	}
}

// TestL14_CoordinatorAddresses has addresses that no configuration allows; nothing is dialled.
func TestL14_CoordinatorAddresses(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	for _, url := range []string{
		c.url(), "https://" + c.address, "http://1.1.1.1", "ftp://h", "https://u:p@h", "https://h/path", "", "https://169.254.169.254",
	} {
		_, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{Password: []byte(testPassword), URL: url})
		if !errors.Is(err, fault.Policy) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if n, _ := c.traffic(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestV11_WrongPasswordMakesNoTraffic tries 20 wrong passwords in a locked agent, and in an open one for another coordinator.
func TestV11_WrongPasswordMakesNoTraffic(t *testing.T) {
	c, other, clock := newCoordinator(t, state.Open), newCoordinator(t, state.Open), newFakeClock()
	a := startAgent(t, t.TempDir(), func(cfg *Config, o *Options) {
		local(cfg, o)
		cfg.Lock.IdleMinutes = 0
		o.Clock = clock
	})
	a.register()
	a.connect(c)
	a.becomes("online")
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	conns, size := c.traffic()
	for range 20 {
		clock.pass(time.Hour, 0)
		if err := a.tryUnlock(testPassword + "x"); !errors.Is(err, fault.NotAuthentic) {
			t.Fatal(err)
		}
	}
	if n, s := c.traffic(); n != conns || s != size {
		t.Errorf("wrong passwords made %d connections and %d bytes", n-conns, s-size)
	}
	clock.pass(time.Hour, 0)
	a.unlock()
	a.becomes("online")
	if n, _ := c.traffic(); n == conns {
		t.Error("the right password made no traffic either: this shows nothing")
	}
	for range 5 {
		clock.pass(time.Hour, 0)
		_, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{Password: []byte(testPassword + "x"), URL: other.url()})
		if !errors.Is(err, fault.NotAuthentic) {
			t.Fatal(err)
		}
	}
	if n, s := other.traffic(); n != 0 || s != 0 {
		t.Errorf("wrong passwords made %d connections and %d bytes to a new coordinator", n, s)
	}
}

// A coordinator that refuses, or is not there, is none of the account's; it may let it in later.
func TestRefusedByTheCoordinator(t *testing.T) {
	c := newCoordinator(t, state.Invitation)
	invitation, err := c.state.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, t.TempDir(), local)
	a.register()
	if err := a.tryConnect(c.url(), testPassword); !errors.Is(err, fault.Forbidden) {
		t.Fatal(err)
	}
	if _, err := a.Coordinator(t.Context()); !errors.Is(err, fault.NotFound) {
		t.Errorf("a coordinator is set: %v", err)
	}
	c.down()
	connect := func() error {
		_, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{Password: []byte(testPassword), URL: c.url(), Invitation: invitation})
		return err
	}
	if err := connect(); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a coordinator that is not there: %v", err)
	}
	c.up()
	if err := connect(); err != nil {
		t.Fatal(err)
	}
	a.becomes("online")
}

// An account that left is let in again where nobody may register: its invitation is used up, and the door closed.
func TestConnectAgain(t *testing.T) {
	c := newCoordinator(t, state.Invitation)
	invitation, err := c.state.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, t.TempDir(), local)
	a.register()
	r := CoordinatorRequest{Password: []byte(testPassword), URL: c.url(), Invitation: invitation}
	if _, err := a.ConnectCoordinator(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	a.becomes("online")
	for _, who := range []state.Registration{state.Invitation, state.Closed} {
		c.down()
		c.o.Registration = who
		c.up()
		if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
			t.Fatal(err)
		}
		a.connect(c)
		a.becomes("online")
	}
}

// The coordinator ends and comes back; the link does, too, and both are events.
func TestCoordinatorRestarts(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.becomes("online")
	c.down()
	a.becomes("offline")
	st, err := a.Status(t.Context())
	if err != nil || st.Coordinator.Error != fault.Unavailable {
		t.Errorf("%+v, %v", st.Coordinator, err)
	}
	c.up()
	a.becomes("online")
	if on, off := a.awaitEvents(EventCoordinatorOnline, 2), a.awaitEvents(EventCoordinatorOffline, 1); on != 2 {
		t.Errorf("%d events of online, %d of offline", on, off)
	}
}

// TestC12_SessionEnds has sessions that ended while the agent was away: it logs in with the password of the next unlock, and says that it needs
// one where it was opened without and was given no credential, as by an older version of this program.
func TestC12_SessionEnds(t *testing.T) {
	c := newCoordinator(t, state.Open)
	dir := t.TempDir()
	a := startAgent(t, dir, local)
	a.register()
	a.connect(c)
	a.becomes("online")
	credential, err := a.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	a.trusted(c, true)
	if err := (linkStore{a.Agent, a.session, c.url()}).forgetCredential(); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	c.clock.pass(49*time.Hour, 0)
	a = startAgent(t, dir, withCredential(credential))
	a.becomes("login_needed")
	if n := a.awaitEvents(EventCoordinatorLogin, 1); n != 1 {
		t.Errorf("%d events", n)
	}
	a.unlock()
	a.becomes("online")
	if err := errors.Join(a.DisableUnattended(t.Context(), []byte(testPassword)), a.Lock(t.Context())); err != nil {
		t.Fatal(err)
	}
	c.clock.pass(49*time.Hour, 0)
	a.unlock()
	a.becomes("online")
}

// A password is changed, twice, while the coordinator is away. It learns the new login proof when it is back, and no other opens the account.
func TestPasswordChangeReachesTheCoordinator(t *testing.T) {
	c := newCoordinator(t, state.Open)
	dir := t.TempDir()
	a := startAgent(t, dir, local)
	a.register()
	a.connect(c)
	a.becomes("online")
	c.down()
	passwords := []string{testPassword, testPassword + " two", testPassword + " three"}
	for i := range 2 {
		if err := a.ChangePassword(t.Context(), []byte(passwords[i]), []byte(passwords[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	c.clock.pass(49*time.Hour, 0) // no tokens either
	c.up()
	a = startAgent(t, dir, local)
	if err := a.tryUnlock(passwords[2]); err != nil {
		t.Fatal(err)
	}
	a.becomes("online")
	eventually(t, "no proofs that wait", func() bool { return countPrefix(t, a, linkPrefix) == 1 })
	proof := a.proofFor(c, passwords[2])
	if err := c.login(a.vault.UserID(), proof); err != nil {
		t.Errorf("the newest proof: %v", err)
	}
	if err := a.ChangePassword(t.Context(), []byte(passwords[2]), []byte(testPassword)); err != nil { // while online
		t.Fatal(err)
	}
	eventually(t, "no proofs that wait", func() bool { return countPrefix(t, a, linkPrefix) == 1 })
	if err := c.login(a.vault.UserID(), proof); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("a former proof: %v", err)
	}
}

// TestF27_LinkAfterSleep has a machine that slept and an agent that stays open: one new connection, at once.
func TestF27_LinkAfterSleep(t *testing.T) {
	c, clock := newCoordinator(t, state.Open), newFakeClock()
	a := startAgent(t, t.TempDir(), func(cfg *Config, o *Options) {
		local(cfg, o)
		cfg.Lock = Lock{}
		o.Clock = clock
	})
	a.register()
	a.connect(c)
	a.becomes("online")
	before, _ := c.traffic()
	clock.pass(5*time.Hour, 5*time.Hour)
	eventually(t, "another connection", func() bool { n, _ := c.traffic(); return n > before })
	a.becomes("online")
	if after, _ := c.traffic(); after > before+3 {
		t.Errorf("a burst of %d connections", after-before)
	}
}

// Records of the link that were changed on the disk are as good as none: the agent logs in with the next password, and the password can be changed.
func TestChangedLinkRecords(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.becomes("online")
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := a.db.Update(func(tx *kv.Tx) error {
		b, err := tx.Get(linkKey(c.url(), "tokens"))
		if err != nil {
			return err
		}
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		return errors.Join(tx.Set(linkKey(c.url(), "tokens"), b), tx.Set(linkKey(c.url(), "proofs"), b))
	})
	if err != nil {
		t.Fatal(err)
	}
	before := a.countEvents(EventRefused)
	a.unlock()
	a.becomes("online")
	a.awaitEvents(EventRefused, before+2)
	for range 3 { // connections look at the records again
		conns, _ := c.traffic()
		a.wakeLink()
		eventually(t, "another connection", func() bool { n, _ := c.traffic(); return n > conns })
		a.becomes("online")
	}
	if n := a.countEvents(EventRefused); n != before+2 {
		t.Errorf("%d events of two damaged records", n-before)
	}
	if err := a.ChangePassword(t.Context(), []byte(testPassword), []byte(testPassword+" two")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no proofs that wait", func() bool { return countPrefix(t, a, linkPrefix) == 1 })
}

// The log of a coordinator that comes and goes: a few events at once, then one in ten, and in the end the present state.
func TestLinkEventsAreFew(t *testing.T) {
	var l linkLog
	now, logged := time.Hour, 0
	on, off := Event{Type: EventCoordinatorOnline}, Event{Type: EventCoordinatorOffline}
	for range 1000 {
		for _, e := range []Event{on, off} {
			if _, due := l.take(e, now); due {
				logged++
			}
		}
	}
	if logged != linkBurst {
		t.Errorf("%d events at once", logged)
	}
	if _, due := l.take(on, now); due {
		t.Error("one more")
	}
	if _, due := l.held(now + linkEvery - 1); due {
		t.Error("too early")
	}
	if e, due := l.held(now + linkEvery); !due || e != on {
		t.Errorf("%+v, %v", e, due)
	}
	if _, due := l.held(now + time.Hour); due {
		t.Error("twice")
	}
	if e, due := l.take(off, now+24*time.Hour); !due || e != off {
		t.Error("a day later there is no budget")
	}
}
