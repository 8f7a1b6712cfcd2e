package daemon

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/devices"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// withClock starts the agent again, with a clock.
func (r *running) withClock(clock *fakeClock) *running {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	b := startAgent(r.t, filepath.Dir(r.Config().Folders.Data), func(cfg *Config, o *Options) {
		local(cfg, o)
		if cfg.Lock.IdleMinutes = 0; clock != nil {
			o.Clock = clock
		}
	})
	b.unlock()
	b.becomes("online")
	return b
}

// listedPair is two machines of one user, and a backup that the second made when they were listed.
func listedPair(t *testing.T, c *coordinatortest.Coordinator, clock *fakeClock) (a, b *running, backup []byte) {
	t.Helper()
	f := newFirstMachine(t, c, testMail)
	b = f.secondMachine(c)
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	b.settled()
	var out bytes.Buffer
	if err := b.Backup(t.Context(), []byte(testPassword), &out); err != nil {
		t.Fatal(err)
	}
	a, b = f.withClock(clock), b.withClock(clock)
	a.settled()
	b.settled()
	return a, b, out.Bytes()
}

// restored is the same machine, with the vault of a backup and nothing else of what its database had.
func (r *running) restored(backup []byte, clock *fakeClock) *running {
	r.t.Helper()
	id := r.keyFileID()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	data := r.Config().Folders.Data
	if err := os.RemoveAll(filepath.Join(data, "kv")); err != nil {
		r.t.Fatal(err)
	}
	b := startAgent(r.t, filepath.Dir(data), func(cfg *Config, o *Options) {
		local(cfg, o)
		if cfg.Lock.IdleMinutes = 0; clock != nil {
			o.Clock = clock
		}
	})
	if err := b.Restore(r.t.Context(), RestoreRequest{Password: []byte(testPassword)}, bytes.NewReader(backup)); err != nil {
		r.t.Fatal(err)
	}
	if err := b.Lock(r.t.Context()); err != nil { // the login needs the password
		r.t.Fatal(err)
	}
	b.unlock()
	b.becomes("online")
	if b.keyFileID() != id {
		r.t.Fatal("another device")
	}
	return b
}

// failsWith waits until a task failed with a code.
func (r *running) failsWith(task string, code fault.Code) {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			st, err := r.session.sync.member.State()
			r.t.Logf("%+v; %s, %v", r.session.sync.status(), st, err)
		}
	}()
	eventually(r.t, task+" "+string(code), func() bool {
		for _, f := range r.session.sync.status().Failures {
			if f.Task == task && f.Code == code {
				return true
			}
		}
		return false
	})
}

// asked waits until the machine's question is at the coordinator, and nothing is signed meanwhile.
func (r *running) asked() {
	r.t.Helper()
	r.isDevice(DeviceListed)
	r.failsWith("devices", fault.Stale)
	wantCode(r.t, "a change", r.session.writable(), fault.Stale)
	if b, err := r.session.sync.records.Read(r.t.Context(), freshPrefix+r.keyFileID()); err != nil || b == nil {
		r.t.Fatalf("no question: %v", err)
	}
}

// trusts waits until the machine may write again, and asks no more.
func (r *running) trusts() {
	r.t.Helper()
	eventually(r.t, "the vault is known to be the newest", func() bool { return r.session.writable() == nil })
	r.settled()
	eventually(r.t, "no question is left", func() bool {
		b, err := r.session.sync.records.Read(r.t.Context(), freshPrefix+r.keyFileID())
		return err == nil && b == nil
	})
}

// A listed machine on which a backup was restored asks, whichever of the others comes next answers, and an answer of before is none.
func TestFreshVaultIsAnswered(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	a, b, backup := listedPair(t, c, nil)
	id := b.keyFileID()
	var mu sync.Mutex
	var answers []*coordinatortest.Answer // to b, with the answer of a
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(e *coordinatortest.Exchange) {
		if got := e.Forward(); strings.Contains(string(e.Body), vaultHeadPrefix+id) && strings.Contains(string(got.Body), `"body":"`) {
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, got.Clone())
		}
	}))
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = b.restored(backup, nil)
	b.asked()
	a = a.withClock(nil)
	b.trusts()
	a.settled()
	b.create("after")

	// Once more. The coordinator has kept the answer, and nobody else is there.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = b.restored(backup, nil)
	mu.Lock()
	old := answers[len(answers)-1]
	mu.Unlock()
	replayed := make(chan struct{}, 64)
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(e *coordinatortest.Exchange) {
		if strings.Contains(string(e.Body), vaultHeadPrefix+id) {
			e.Answer = old.Clone()
			select {
			case replayed <- struct{}{}:
			default:
			}
		}
	}))
	b.asked()
	<-replayed
	b.session.sync.poke(allTasks)
	<-replayed
	b.asked()
	c.Hook(nil)
	a = a.withClock(nil)
	b.session.sync.poke(allTasks)
	b.trusts()
	a.settled()
}

// The coordinator gives a restored machine the vault of a former day, and lets another one answer: the answer says that there is a newer one.
func TestFreshVaultOfAFormerDay(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	a, b, backup := listedPair(t, c, nil)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var former *coordinatortest.Answer
	others := map[string]bool{} // tokens of a
	root := func(e *coordinatortest.Exchange) bool {
		return e.Operation == "readBlobs" && strings.Contains(string(e.Body), `"v-root"`)
	}
	c.Hook(func(e *coordinatortest.Exchange) {
		if mu.Lock(); root(e) {
			former = e.Forward().Clone()
		}
		mu.Unlock()
	})
	b = b.restored(backup, nil)
	b.asked()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	c.Hook(func(e *coordinatortest.Exchange) {
		mu.Lock()
		others[e.Header.Get("Authorization")] = true
		mu.Unlock()
	})
	a = a.withClock(nil)
	a.create("newer")
	a.settled()
	c.Hook(func(e *coordinatortest.Exchange) {
		if mu.Lock(); root(e) && !others[e.Header.Get("Authorization")] {
			e.Answer = former.Clone()
		}
		mu.Unlock()
	})
	b = startAgent(t, filepath.Dir(b.Config().Folders.Data), local)
	b.unlock()
	b.failsWith("devices", fault.RolledBack)
	wantCode(t, "a change", b.session.writable(), fault.Stale)
	c.Hook(nil)
	b.session.sync.poke(allTasks)
	b.trusts()
}

// A question is answered under each state key anew, so that who asked and who answers need not meet. One that was approved, and got nothing
// with that, asks as well.
func TestFreshVaultOfTwoWhoNeverMeet(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	a, b, backup := listedPair(t, c, clock)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = b.restored(backup, clock)
	b.asked()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	a = a.withClock(clock)
	a.settled()
	first, _, err := a.session.sync.member.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock.pass(25*time.Hour, 0)
		before, _, err := a.session.sync.member.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a.session.sync.poke(allTasks)
		eventually(t, "another state key", func() bool {
			now, _, err := a.session.sync.member.Current(t.Context())
			return err == nil && now > before
		})
		a.settled()
	}
	if now, _, err := a.session.sync.member.Current(t.Context()); err != nil || now < first+3 {
		t.Fatalf("epoch %d after %d, %v", now, first, err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = startAgent(t, filepath.Dir(b.Config().Folders.Data), func(cfg *Config, o *Options) { local(cfg, o); o.Clock = clock })
	b.unlock()
	b.trusts()
}

// What the approver said is lost: the new machine asks until somebody answers.
func TestFreshVaultWhoseFirstAnswerIsLost(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := f.secondMachine(c)
	id := b.keyFileID()
	c.Hook(coordinatortest.Nth("swapBlobs", 0, func(e *coordinatortest.Exchange) {
		if strings.Contains(string(e.Body), vaultHeadPrefix+id) {
			e.Answer = coordinatortest.Problem(503, "unavailable")
		}
	}))
	if err := f.ApproveDevice(t.Context(), id, b.ask("cellar"), []byte(testPassword)); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("approved, without a word on the vault: %v", err)
	}
	b.asked()
	c.Hook(nil)
	f.session.sync.poke(taskDevices)
	b.trusts()
	f.settled()
}

// The other machines are away, and not lost: the user's word does.
func TestTrustVault(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	a, b, backup := listedPair(t, c, nil)
	wantCode(t, "with nothing to decide", b.TrustVault(t.Context(), []byte(testPassword)), fault.Conflict)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = b.restored(backup, nil)
	b.asked()
	wantCode(t, "L23: no password", b.TrustVault(t.Context(), nil), fault.Forbidden)
	wantCode(t, "a wrong password", b.TrustVault(t.Context(), []byte("another")), fault.NotAuthentic)
	wantCode(t, "a change", b.session.writable(), fault.Stale)
	wantCode(t, "another name", b.RenameDevice(t.Context(), b.keyFileID(), "attic"), fault.Stale)
	password := []byte(testPassword)
	if err := b.TrustVault(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	if password[0] != 0 {
		t.Error("the password is not wiped")
	}
	b.trusts()
	b.create("mine")
	b.awaitEvents(EventVaultTrusted, 1)
	if list := b.deviceList(); len(list.Devices) != 2 {
		t.Errorf("%+v", list)
	}
	a = a.withClock(nil)
	a.settled()
}

// Nobody is answered who is not listed, and what is no question stops nothing.
func TestWhoIsAnswered(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := f.secondMachine(c)
	b.failsWith("devices", fault.Forbidden)
	y, stranger := f.session.sync, b.session.sync.member.DeviceID()
	if got, err := y.challengeOf(t.Context(), stranger); err != nil || got == nil {
		t.Fatalf("who asks to be listed does not ask for the vault: %v", err)
	}
	if err := y.vouchForAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if head, _, err := y.answerOf(t.Context(), stranger); head != nil || err != nil {
		t.Errorf("a machine that is not listed was answered: %v", err)
	}
	if y.member.Lists(stranger) || y.member.Lists(devices.DeviceID{}) || !y.member.Lists(y.member.DeviceID()) {
		t.Error("listed")
	}
	if err := errors.Join(y.records.Write(t.Context(), freshPrefix+"x", []byte("x")), y.records.Write(t.Context(), freshPrefix+stranger.String(), []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(y.vouchForAll(t.Context()), y.vouch(t.Context(), stranger)); err != nil {
		t.Error(err)
	}
}

// The answer is sealed under a former state key, which a machine has that was removed since, and this one as well for a while: it is none.
func TestFreshVaultAnsweredUnderAFormerKey(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	a, b, backup := listedPair(t, c, clock)
	y := a.session.sync
	epoch, key, err := y.member.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	former := key.Clone()
	defer former.Wipe()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b = b.restored(backup, clock)
	b.asked()
	name := vaultHeadPrefix + b.keyFileID()
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(e *coordinatortest.Exchange) {
		if strings.Contains(string(e.Body), name) {
			e.Answer = coordinatortest.Problem(503, "unavailable") // nobody answers meanwhile
		}
	}))
	clock.pass(25*time.Hour, 0)
	a = a.withClock(clock)
	for _, r := range []*running{a, b} {
		eventually(t, "another state key", func() bool {
			r.session.sync.poke(taskDevices)
			now, _, err := r.session.sync.member.Current(t.Context())
			return err == nil && now == epoch+1
		})
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	reads := make(chan struct{}, 64)
	c.Hook(nil)
	y = b.session.sync
	ch, err := y.challenge()
	if err != nil {
		t.Fatal(err)
	}
	counter, hash, err := b.vault.Head()
	if err != nil {
		t.Fatal(err)
	}
	body, err := signed.Marshal(vaultHead{counter, hash[:], ch[:]})
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal.Seal(former, messages.KeyID(epoch), purposeVaultHead, b.session.vaultHeadContext(y.member.DeviceID(), epoch), body)
	if err := y.records.Write(t.Context(), name, sealed); err != nil {
		t.Fatal(err)
	}
	if got, under, err := y.answerOf(t.Context(), y.member.DeviceID()); err != nil || got == nil || under != epoch || !got.answers(ch) {
		t.Fatalf("the answer cannot be read: %v, %d, %v", got, under, err)
	}
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(e *coordinatortest.Exchange) {
		if strings.Contains(string(e.Body), name) {
			e.Forward()
			reads <- struct{}{}
		}
	}))
	for range 2 {
		y.poke(allTasks)
		<-reads
	}
	b.asked()
	c.Hook(nil)
	a = a.withClock(clock)
	y.poke(allTasks)
	b.trusts()
	a.settled()
}

// The vault becomes fresh while the account is open, as where a machine was away for more changes than the vault remembers: nothing is written from
// that moment on, and the others are asked at once.
func TestVaultBecomesFreshInASession(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	a, b, _ := listedPair(t, c, nil)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Update(func(tx *kv.Tx) error { return tx.Set("vault/replica", []byte{3}) }); err != nil {
		t.Fatal(err)
	}
	if fresh, err := b.vault.Fresh(); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	b.vaultEvent(keystore.EventUnconfirmed)
	wantCode(t, "a change", b.session.writable(), fault.Stale)
	b.asked()
	a = a.withClock(nil)
	b.trusts()
	a.settled()
}
