package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
	"coldframe/ratchet"
)

const canarySecret = "canary of a secret"

// newPersonAt is newPerson at a coordinator that lies. The clock is the agent's; nil is that of the machine.
func newPersonAt(t *testing.T, c *coordinatortest.Coordinator, mail string, clock *fakeClock) *running {
	t.Helper()
	a := startAgent(t, t.TempDir(), func(cfg *Config, o *Options) {
		local(cfg, o)
		if cfg.Lock.IdleMinutes = 0; clock != nil {
			o.Clock = clock
		}
	})
	if _, err := a.Register(t.Context(), RegisterRequest{Email: mail, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{URL: c.URL, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	a.settled()
	return a
}

// impostor returns the answer of a coordinator that hands out what publishedByImpostor returns.
func impostor(t *testing.T, user string, now time.Time) *coordinatortest.Answer {
	t.Helper()
	u := publishedByImpostor(t, user, now)
	return coordinatortest.JSON(http.StatusOK, coordinator.PreKeys{Bundle: u.Bundle, OneTime: &u.OneTime[0], Sequence: 1})
}

// publishedByImpostor returns what a user would publish whose id is taken and whose keys are others: all of it is signed as it must be.
func publishedByImpostor(t *testing.T, user string, now time.Time) contacts.Upload {
	t.Helper()
	dir := t.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // of a test
	vault := keystore.New(db, keystore.Options{Dir: dir, Profile: cheap, Clock: func() time.Time { return now }})
	kit, err := vault.Register(t.Context(), keystore.Registration{Email: "mallory@example.org", Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	kit.Wipe()
	keys := contacts.Keys{User: user, Identity: ratchet.NewIdentity(), Signing: secret.Random()}
	book, err := contacts.New(contacts.Options{
		Own:   contacts.Own{User: user, Identity: keys.Identity.Public(), Signing: signed.Signer{Key: keys.Signing}.Public()},
		Vault: vault, EmailHash: keystore.EmailHash, Clock: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	own := localOf(user, keys.Identity)
	prekeys := ratchet.NewPreKeys(&own, 0)
	bundles := func(o ratchet.BundleOptions) []ratchet.Bundle {
		list, err := prekeys.Bundles(1, o, now, func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	u, err := book.Publish(t.Context(), keys, bundles(ratchet.BundleOptions{LastResort: true})[0], bundles(ratchet.BundleOptions{OneTime: true}))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// handsOut answers every question for a user's prekeys with something else.
func handsOut(c *coordinatortest.Coordinator, user string, answer *coordinatortest.Answer) {
	c.Hook(coordinatortest.Nth("fetchPreKeys", 0, func(e *coordinatortest.Exchange) {
		if strings.Contains(e.Path, user) {
			e.Answer = answer.Clone()
		}
	}))
}

// requests counts what an agent asked of the coordinator in an operation, with a path that contains a text.
func (r *running) requests(c *coordinatortest.Coordinator, operation, path string) (n int) {
	for _, rec := range c.Records(operation) {
		if rec.Caller == r.vault.UserID() && strings.Contains(rec.Path, path) {
			n++
		}
	}
	return n
}

// rounds lets the agent make whole rounds: the second begins after the first poke, and has ended when the third is on its way.
func (r *running) rounds(c *coordinatortest.Coordinator) {
	r.t.Helper()
	for range 3 {
		before := r.requests(c, "getPreKeyStatus", "")
		r.session.sync.poke(allTasks)
		eventually(r.t, "a round", func() bool { return r.requests(c, "getPreKeyStatus", "") > before })
	}
}

func (r *running) add(other *running) SafetyNumbers {
	r.t.Helper()
	if _, err := r.AddContact(r.t.Context(), AddContactRequest{User: other.vault.UserID()}); err != nil {
		r.t.Fatal(err)
	}
	return r.numbers(other)
}

func (r *running) numbers(other *running) SafetyNumbers {
	r.t.Helper()
	n, err := r.SafetyNumbers(r.t.Context(), other.vault.UserID())
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// tell sends a secret; unverified is a person's word that the number need not have been compared.
func (r *running) tell(other *running, unverified bool) error {
	_, _, err := r.SendSecret(r.t.Context(), SendSecretRequest{
		To: other.vault.UserID(), Title: canarySecret, Body: []byte(canarySecret), Unverified: unverified,
	})
	return err
}

func (r *running) mustTell(other *running) {
	r.t.Helper()
	had := other.secretCount()
	if err := r.tell(other, true); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "a secret", func() bool { return other.secretCount() > had })
}

// secretCount counts the secrets that the agent received and shows.
func (r *running) secretCount() (n int) {
	list, err := r.Secrets(r.t.Context())
	if err != nil {
		r.t.Error(err)
	}
	for _, s := range list {
		if s.State == "received" {
			n++
		}
	}
	return n
}

// found reports whether the agent's sync findings have a code for an object.
func (r *running) found(object string, code fault.Code) bool {
	for _, f := range r.session.sync.status().Findings {
		if f.Object == object && f.Code == code {
			return true
		}
	}
	return false
}

// TestK01_OwnKeyForANewContact has the coordinator hand out keys of its own for somebody new. Nothing leaves before a number was compared,
// and the number that the other one shows is not that of these keys.
func TestK01_OwnKeyForANewContact(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, grace := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil)
	id := grace.vault.UserID()
	handsOut(c, id, impostor(t, id, time.Now()))
	here, there := ada.add(grace), grace.add(ada)
	wantCode(t, "to keys that nobody compared", ada.tell(grace, false), fault.UntrustedKey)
	wantCode(t, "the true number", second(ada.VerifyContact(t.Context(), id, Comparison{Number: there.Digits})), fault.KeyChanged)
	wantCode(t, "after the number was another", ada.tell(grace, false), fault.UntrustedKey)
	ada.rounds(c)
	if n := ada.requests(c, "sendMessage", id); n != 0 {
		t.Errorf("%d messages to keys that nobody compared", n)
	}
	if st := ada.session.sync.status(); st.Outbox != 0 {
		t.Errorf("%d messages wait for them", st.Outbox)
	}
	// Who says that the number of these keys was compared is sent to: it was the number that stood against it.
	if _, err := ada.VerifyContact(t.Context(), id, Comparison{Number: here.Digits}); err != nil {
		t.Fatal(err)
	}
	if err := ada.tell(grace, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message", func() bool { return ada.requests(c, "sendMessage", id) > 0 })
}

// TestK02_KeyOfAContactChanges has the coordinator hand out other keys for somebody whose keys were compared, when the first message is
// about to go.
func TestK02_KeyOfAContactChanges(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, grace := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil)
	id := grace.vault.UserID()
	pinned, there := ada.add(grace), grace.add(ada)
	if _, err := ada.VerifyContact(t.Context(), id, Comparison{Number: there.Digits}); err != nil {
		t.Fatal(err)
	}
	handsOut(c, id, impostor(t, id, time.Now()))
	if err := ada.tell(grace, false); err != nil {
		t.Fatal(err)
	}
	changed := func() bool {
		got, err := ada.Contact(t.Context(), id)
		return err == nil && got.State == ContactChanged && got.Changed.Reason == fault.KeyChanged && !got.Verified.IsZero()
	}
	eventually(t, "changed", changed)
	ada.awaitEvents(EventContactChanged, 1)
	wantCode(t, "another secret", ada.tell(grace, false), fault.KeyChanged)
	wantCode(t, "another secret, by a person's word", ada.tell(grace, true), fault.KeyChanged)
	c.Hook(nil) // that the true keys are back heals nothing
	ada.rounds(c)
	wantCode(t, "another secret", ada.tell(grace, false), fault.KeyChanged)
	if n := ada.requests(c, "sendMessage", id); n != 0 || !changed() {
		t.Errorf("%d messages left, still changed: %v", n, changed())
	}
	if now := ada.numbers(grace); now.Digits != pinned.Digits || now.New == nil || now.New.Digits == pinned.Digits {
		t.Errorf("the pin is not what it was: %+v", now)
	}
	if _, err := ada.ResolveContact(t.Context(), id, ResolveRequest{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what waited comes to whom it was for", func() bool { return grace.secretCount() == 1 })
}

// TestK03_OtherKeysUnderTheOwnID has the coordinator hand out other keys under the user's own id, when the agent opens and while it runs, also
// while it says all the time that it has no prekeys of the user, or few.
func TestK03_OtherKeysUnderTheOwnID(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	ada := newPersonAt(t, c, "ada@example.org", clock)
	id := ada.vault.UserID()
	item := func() string {
		it, err := ada.vault.Get("prekey-bundle")
		if err != nil {
			t.Fatal(err)
		}
		return string(it.Body)
	}
	running := func() {
		clock.pass(25*time.Hour, 0)
		ada.session.sync.poke(taskPreKeys)
	}
	opening := func() {
		if err := ada.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		ada.unlock()
	}
	none, few := &coordinator.PreKeyStatus{}, &coordinator.PreKeyStatus{Sequence: 1}
	for name, try := range map[string]struct {
		begin func()
		says  *coordinator.PreKeyStatus
	}{
		"while it runs": {running, nil}, "as it opens": {opening, nil}, "running, none": {running, none}, "opening, none": {opening, none},
		"running, few": {running, few}, "opening, few": {opening, few},
	} {
		ada.settled()
		identity, before, uploads := ada.session.identity, item(), ada.requests(c, "putPreKeys", "")
		events := ada.countEvents(EventOwnKeyChanged)
		handsOutSaying(c, id, impostor(t, id, clock.Now()), try.says)
		try.begin()
		ada.awaitEvents(EventOwnKeyChanged, events+1)
		eventually(t, "a failure of its own "+name, func() bool {
			for _, f := range ada.session.sync.status().Failures {
				if f.Task == "prekeys" && f.Code == fault.KeyChanged {
					return true
				}
			}
			return false
		})
		if ada.session.identity != identity || item() != before || ada.requests(c, "putPreKeys", "") != uploads {
			t.Errorf("%s: something was overwritten", name)
		}
		c.Hook(nil)
		clock.pass(3*time.Hour, 0)
		ada.session.sync.poke(taskPreKeys)
		ada.settled() // the true ones are back: only the event is left
	}
}

// TestC12_PreKeysOfAThief has somebody with a stolen token publish prekeys under the highest number there is. With the password, which the thief has not, the
// owner has them removed, and the agent's own are in their place at once.
func TestC12_PreKeysOfAThief(t *testing.T) {
	const highest = 1<<53 - 1
	for name, bundle := range map[string]func(t *testing.T, ada *running) []byte{
		"nobody's":       func(*testing.T, *running) []byte { return []byte("not a bundle") },
		"the user's own": ownBundle,
		"under other keys": func(t *testing.T, ada *running) []byte {
			return publishedByImpostor(t, ada.vault.UserID(), ada.clock.Now()).Bundle
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
			ada := newPersonAt(t, c, "ada@example.org", clock)
			client, err := ada.session.sync.client()
			if err != nil {
				t.Fatal(err)
			}
			all := true
			_, err = client.PutPreKeys(t.Context(), coordinator.PreKeyUpload{
				Sequence: highest, Bundle: bundle(t, ada), OneTime: slices.Repeat([][]byte{[]byte("of nobody")}, 150), Replace: &all,
			})
			if err != nil {
				t.Fatal(err)
			}
			if clock.pass(checkOwnEvery+time.Second, 0); name == "under other keys" {
				ada.session.sync.poke(taskPreKeys)
				ada.failsWith("prekeys", fault.KeyChanged)
			}
			if err := client.WithdrawPreKeys(t.Context(), make([]byte, 32)); !errors.Is(err, fault.Forbidden) {
				t.Errorf("without the password: %v", err)
			}
			wantCode(t, "another password", ada.RestartSession(t.Context(), "", []byte("not this one")), fault.NotAuthentic)
			if err := ada.RestartSession(t.Context(), "", []byte(testPassword)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the agent's own", func() bool {
				st, err := ada.session.sync.directory.Status(t.Context())
				return err == nil && st.Left <= oneTimes && st.Left >= oneTimes-2 && st.Sequence > 0 && st.Sequence < highest
			})
			ada.settled()
			grace := newPersonAt(t, c, "grace@example.org", clock)
			grace.add(ada)
			if err := grace.tell(ada, true); err != nil {
				t.Fatal(err)
			}
			ada.awaitEvents(EventContactAsked, 1)
		})
	}
}

// ownBundle returns the bundle that the coordinator hands out for the user.
func ownBundle(t *testing.T, ada *running) []byte {
	t.Helper()
	p, err := ada.session.sync.directory.FetchOwn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.Bundle
}

// TestUploadsThatFail has the coordinator refuse uploads of prekeys, or lose its answers to them, while it says all the time that few are left. What was refused
// is tried again after two hours: each time a hundred others are made. What may have been taken is uploaded again as it was, also once nothing else asks for it.
func TestUploadsThatFail(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	ada := newPersonAt(t, c, "ada@example.org", clock)
	var mu sync.Mutex
	var offered []string
	few := func(fail func(e *coordinatortest.Exchange)) func(*coordinatortest.Exchange) {
		return func(e *coordinatortest.Exchange) {
			switch e.Operation {
			case "getPreKeyStatus":
				e.Answer = coordinatortest.JSON(http.StatusOK, coordinator.PreKeyStatus{OneTimeLeft: 1, Sequence: 1})
			case "putPreKeys":
				mu.Lock()
				offered = append(offered, string(e.Body))
				mu.Unlock()
				fail(e)
			}
		}
	}
	tries := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(offered)
	}
	c.Hook(few(func(e *coordinatortest.Exchange) {
		e.Answer = coordinatortest.Problem(http.StatusConflict, string(fault.Conflict))
	}))
	for n := range 2 {
		clock.pass(checkOwnAgain+time.Second, 0)
		ada.session.sync.poke(taskPreKeys)
		ada.failsWith("prekeys", fault.Conflict)
		ada.rounds(c)
		if got := tries(); len(got) != n+1 {
			t.Fatalf("%d uploads were tried, want %d", len(got), n+1)
		}
	}
	clock.pass(checkOwnAgain+time.Second, 0)
	c.Hook(few(func(e *coordinatortest.Exchange) { e.Drop() }))
	eventually(t, "uploads whose answers are lost", func() bool {
		ada.session.sync.poke(taskPreKeys) // the pauses between rounds are long by now
		return len(tries()) >= 5
	})
	c.Hook(nil)
	ada.session.sync.poke(taskPreKeys)
	got := tries()
	if got[0] == got[1] || got[1] == got[2] || slices.ContainsFunc(got[2:], func(s string) bool { return s != got[2] }) {
		t.Error("what was refused was uploaded again, or what was lost was not")
	}
	var last coordinator.PreKeyUpload
	if err := json.Unmarshal([]byte(got[2]), &last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was lost is there", func() bool {
		st, err := ada.session.sync.directory.Status(t.Context())
		return err == nil && st.Sequence == uint64(last.Sequence)
	})
	ada.settled()
}

// TestNoPreKeysAllTheTime has the coordinator say in every round that the user has published nothing: prekeys are made every ten minutes at most.
func TestNoPreKeysAllTheTime(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	ada := newPersonAt(t, c, "ada@example.org", clock)
	uploads := ada.requests(c, "putPreKeys", "")
	handsOutSaying(c, "nobody", nil, &coordinator.PreKeyStatus{})
	ada.rounds(c)
	if n := ada.requests(c, "putPreKeys", ""); n != uploads {
		t.Errorf("%d uploads at once", n-uploads)
	}
	clock.pass(refillEvery, 0)
	ada.rounds(c)
	if n := ada.requests(c, "putPreKeys", ""); n != uploads+1 {
		t.Errorf("%d uploads in ten minutes", n-uploads)
	}
}

// handsOutSaying is handsOut for a coordinator that says something else of the user's prekeys, if that is not nil.
func handsOutSaying(c *coordinatortest.Coordinator, user string, answer *coordinatortest.Answer, says *coordinator.PreKeyStatus) {
	c.Hook(func(e *coordinatortest.Exchange) {
		switch {
		case e.Operation == "fetchPreKeys" && strings.Contains(e.Path, user):
			e.Answer = answer.Clone()
		case e.Operation == "getPreKeyStatus" && says != nil:
			e.Answer = coordinatortest.JSON(http.StatusOK, *says)
		}
	})
}

// TestK06_StrangersSecretWaits has somebody whom the user does not know send a secret that is in order.
func TestK06_StrangersSecretWaits(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, stranger := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "stranger@example.org", nil)
	id := stranger.vault.UserID()
	stranger.add(ada)
	if err := stranger.tell(ada, true); err != nil {
		t.Fatal(err)
	}
	ada.awaitEvents(EventContactAsked, 1)
	ada.rounds(c)
	if got, err := ada.Contact(t.Context(), id); err != nil || got.State != ContactAsked {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := ada.Secrets(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed: %v, %v", list, err)
	}
	wantCode(t, "an answer", ada.tell(stranger, true), fault.Forbidden)
	for _, op := range []string{"lookup", "fetchPreKeys", "sendMessage"} {
		path := id
		if op == "lookup" {
			path = ""
		}
		if n := ada.requests(c, op, path); n != 0 {
			t.Errorf("%d times %s before consent", n, op)
		}
	}
	if _, err := ada.AcceptContact(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the secret", func() bool { return ada.secretCount() == 1 })
}

// TestE05_FrozenMailbox keeps from an agent whatever others send: after a day its view is stale, and no more once it hears of them again.
func TestE05_FrozenMailbox(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	ada, grace := newPersonAt(t, c, "ada@example.org", clock), newPersonAt(t, c, "grace@example.org", clock)
	ada.add(grace)
	grace.add(ada)
	ada.mustTell(grace)
	grace.rounds(c)
	grace.mustTell(ada)
	ada.rounds(c)
	var frozen atomic.Pointer[coordinatortest.Answer]
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Operation == "listMessages" && e.Caller == ada.vault.UserID() {
			frozen.CompareAndSwap(nil, e.Forward().Clone())
			e.Answer = frozen.Load().Clone()
		}
	})
	ada.rounds(c)
	if frozen.Load() == nil {
		t.Fatal("no view to freeze")
	}
	for i := range 3 { // heads are told every 12 hours, on both sides
		if i < 2 && ada.found(headVault, fault.Stale) {
			t.Error("stale within a day")
		}
		clock.pass(tellEvery+time.Minute, 0)
		for _, a := range []*running{ada, grace} {
			a.session.sync.poke(taskHeads)
			a.rounds(c)
		}
	}
	eventually(t, "stale", func() bool { return ada.found(headVault, fault.Stale) && ada.found(headDevices, fault.Stale) })
	if n := ada.countEvents(EventHeads); n == 0 {
		t.Error("no event")
	}
	if grace.found(headVault, fault.Stale) {
		t.Error("who hears of others is stale too")
	}
	c.Hook(nil)
	ada.rounds(c)
	eventually(t, "fresh again", func() bool { return !ada.found(headVault, fault.Stale) })
}
