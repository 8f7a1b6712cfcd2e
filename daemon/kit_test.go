package daemon

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

const newMail = "ada.canary@example.net"

func (r *running) draft(email string) []byte {
	r.t.Helper()
	kit, err := r.DraftKit(r.t.Context(), DraftKitRequest{Password: []byte(testPassword), Email: email})
	if err != nil {
		r.t.Fatal(err)
	}
	return kit
}

func (r *running) replaceKit(kit []byte) error {
	return r.ReplaceKit(r.t.Context(), KitRequest{Password: []byte(testPassword), Kit: bytes.Clone(kit)})
}

func (r *running) changeEmail(kit []byte) error {
	return r.ChangeEmail(r.t.Context(), KitRequest{Password: []byte(testPassword), Kit: bytes.Clone(kit)})
}

// kitLogsIn reports whether the coordinator takes what a kit proves.
func (f *firstMachine) kitLogsIn(c *coordinatortest.Coordinator, text []byte) bool {
	f.t.Helper()
	kit, err := keystore.ParseRecoveryKit(text)
	if err != nil {
		f.t.Fatal(err)
	}
	proof := kit.Proof().For(c.URL)
	_, err = c.Main.State().Login(f.t.Context(), state.Login{
		User: state.UserID(f.user), Device: "00000000-0000-4000-8000-0000000000ab", Kind: state.RecoveryLogin, Proof: proof.Bytes(),
	})
	if err != nil && !errors.Is(err, fault.Unauthorized) {
		f.t.Fatal(err)
	}
	return err == nil
}

// approvedMachine is a second one that is on the device list.
func (f *firstMachine) approvedMachine(c *coordinatortest.Coordinator) *running {
	f.t.Helper()
	b := f.secondMachine(c)
	code := b.ask("attic")
	if err := f.ApproveDevice(f.t.Context(), b.keyFileID(), code, []byte(testPassword)); err != nil {
		f.t.Fatal(err)
	}
	b.settled()
	return b
}

// lookup is whose address the coordinator says that it is.
func lookup(t *testing.T, c *coordinatortest.Coordinator, email string) string {
	t.Helper()
	hash, err := keystore.EmailHash(email)
	if err != nil {
		t.Fatal(err)
	}
	asks := c.Register(coordinatortest.UserN(77), coordinator.Options{})
	user, err := asks.Lookup(t.Context(), hash[:])
	if errors.Is(err, fault.NotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// A new kit is in the user's hands before it is the valid one: until then the former one logs in, and from then on the new one alone, here and
// at the coordinator. The same again is no second change.
func TestNewRecoveryKit(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	kit := f.draft("")
	if !f.kitLogsIn(c, f.kit) || f.kitLogsIn(c, kit) {
		t.Fatal("a kit that is only drafted")
	}
	for range 2 {
		if err := f.replaceKit(kit); err != nil {
			t.Fatal(err)
		}
	}
	if f.kitLogsIn(c, f.kit) || !f.kitLogsIn(c, kit) || f.countEvents(EventKit) != 1 {
		t.Fatal("the former kit logs in, or the new one does not;", f.countEvents(EventKit), "events")
	}
	wantCode(t, "check the former", f.CheckKit(t.Context(), f.kitText()), fault.NotAuthentic)
	if err := f.CheckKit(t.Context(), bytes.Clone(kit)); err != nil {
		t.Fatal(err)
	}
	f.settled()
	b := startAgent(t, t.TempDir(), local)
	r := LoginRequest{URL: c.URL, Kit: f.kitText(), NewPassword: []byte(otherPassword)}
	wantCode(t, "the former kit", b.Login(t.Context(), r), fault.Forbidden)
	if err := b.Login(t.Context(), LoginRequest{URL: c.URL, Kit: kit, NewPassword: []byte(otherPassword)}); err != nil {
		t.Fatal(err)
	}
	b.isOf(f)
}

// The answer of the coordinator is lost, wherever it can be, and the change was made or not: both kits are known, and the same again makes the
// new one the valid one.
func TestNewRecoveryKitWithLostAnswer(t *testing.T) {
	for _, email := range []string{"", newMail} {
		for _, made := range []bool{true, false} {
			c := coordinatortest.New(t, coordinatortest.Options{})
			f := newFirstMachine(t, c, testMail)
			kit := f.draft(email)
			var lost atomic.Bool
			c.Hook(func(e *coordinatortest.Exchange) {
				first := e.Operation == "changeProof" && lost.CompareAndSwap(false, true)
				if first && made {
					e.Forward()
				}
				if lost.Load() {
					e.Drop()
				}
			})
			use := f.replaceKit
			if email != "" {
				use = f.changeEmail
			}
			wantCode(t, "lost", use(kit), fault.Unavailable)
			if f.kitLogsIn(c, kit) != made || f.kitLogsIn(c, f.kit) == made {
				t.Error(email, made, "the coordinator has another kit")
			}
			c.Hook(nil)
			eventually(t, "the same again", func() bool { return use(kit) == nil })
			f.settled()
			if !f.kitLogsIn(c, kit) || f.kitLogsIn(c, f.kit) || f.CheckKit(t.Context(), bytes.Clone(kit)) != nil {
				t.Error(email, made, "not the new kit alone")
			}
			if n := f.countEvents(kitEvent(email != "").Type); n != 1 {
				t.Error(email, made, n, "events")
			}
		}
	}
}

// Without the coordinator that keeps the account there is no kit that could be taken for a valid one; a wrong password, or another one's kit, changes nothing.
func TestNewRecoveryKitRefused(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, other := newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	ctx := t.Context()
	kit := f.draft("")
	wantCode(t, "another's kit", f.replaceKit(other.kit), fault.InvalidRequest)
	wantCode(t, "no kit", f.replaceKit([]byte("COLDFRAME")), fault.InvalidRequest)
	wantCode(t, "no password", f.ReplaceKit(ctx, KitRequest{Kit: bytes.Clone(kit)}), fault.Forbidden)
	wantCode(t, "a wrong password", f.ReplaceKit(ctx, KitRequest{Kit: bytes.Clone(kit), Password: []byte(otherPassword)}), fault.NotAuthentic)
	_, err := f.DraftKit(ctx, DraftKitRequest{Password: []byte(otherPassword)})
	wantCode(t, "a wrong password", err, fault.NotAuthentic)
	_, err = f.DraftKit(ctx, DraftKitRequest{Password: []byte(testPassword), Email: "Canary.Two@example.org"})
	wantCode(t, "another's address", err, fault.Conflict)
	theirs := f.draft(newMail)
	if err := other.changeEmail(other.draft(newMail)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "another's address since", f.changeEmail(theirs), fault.Conflict)
	f.settled()
	c.Hook(func(e *coordinatortest.Exchange) { e.Drop() })
	c.Cut()
	eventually(t, "offline", func() bool { _, err := f.session.client(); return err != nil })
	_, err = f.DraftKit(ctx, DraftKitRequest{Password: []byte(testPassword)})
	wantCode(t, "offline", err, fault.Unavailable)
	wantCode(t, "offline", f.replaceKit(kit), fault.Unavailable)
	c.Hook(nil)
	f.becomes("online")
	if !f.kitLogsIn(c, f.kit) || f.kitLogsIn(c, kit) || f.vault.Email() != testMail {
		t.Error("something changed")
	}
}

// The address changes at the coordinator with the vault. Contacts have the user by id; the user's other machine, whose session goes on, follows by
// itself, and one that was away follows with the new kit.
func TestChangeOfAddress(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	ctx := t.Context()
	if _, err := grace.AddContact(ctx, AddContactRequest{Email: testMail, Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.AddContact(ctx, AddContactRequest{User: grace.user}); err != nil {
		t.Fatal(err)
	}
	laptop, away := f.approvedMachine(c), f.approvedMachine(c)
	if err := away.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Main.State().EndSession(ctx, state.UserID(f.user), state.DeviceID(away.keyFileID())); err != nil {
		t.Fatal(err)
	}
	kit := f.draft("Ada.Canary@EXAMPLE.net")
	if err := f.changeEmail(kit); err != nil {
		t.Fatal(err)
	}
	if at, before := lookup(t, c, newMail), lookup(t, c, testMail); at != f.user || before != "" {
		t.Errorf("the addresses are those of %q and %q", at, before)
	}
	if f.kitLogsIn(c, f.kit) || !f.kitLogsIn(c, kit) || f.countEvents(EventEmail) != 1 {
		t.Error("the kit did not change with the address")
	}
	eventually(t, "the laptop follows", func() bool { return laptop.vault.Email() == newMail })
	for _, a := range []*running{f.running, laptop} { // the password opens by the new salt
		if err := a.Lock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := a.tryUnlock(testPassword); err != nil {
			t.Fatal(err)
		}
		a.settled()
	}
	if _, _, err := grace.SendSecret(ctx, SendSecretRequest{To: f.user, Title: "t", Body: []byte("x"), Unverified: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "received", func() bool { list, err := laptop.Secrets(ctx); return err == nil && len(list) == 1 })

	if err := away.tryUnlock(testPassword); err != nil {
		t.Fatal(err)
	}
	away.becomes("refused")
	if err := away.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "without the kit", away.Login(ctx, LoginRequest{URL: c.URL, Password: []byte(testPassword)}), fault.Forbidden)
	if err := away.Login(ctx, LoginRequest{URL: c.URL, Password: []byte(testPassword), Kit: bytes.Clone(kit)}); err != nil {
		t.Fatal(err)
	}
	away.settled()
	if away.vault.Email() != newMail {
		t.Error(away.vault.Email())
	}
}

// Kit and address change while no coordinator is used: the one that knows the account learns of both when it is joined again, and not without
// the present kit.
func TestKitAndAddressChangedWhileAway(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	ctx := t.Context()
	if err := f.DisconnectCoordinator(ctx, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	kit := f.draft(newMail)
	if err := f.changeEmail(kit); err != nil {
		t.Fatal(err)
	}
	connect := func(kit []byte) error {
		_, err := f.ConnectCoordinator(ctx, CoordinatorRequest{URL: c.URL, Password: []byte(testPassword), Kit: bytes.Clone(kit)})
		return err
	}
	wantCode(t, "without the kit", connect(nil), fault.InvalidRequest)
	wantCode(t, "the former kit", connect(f.kit), fault.NotAuthentic)
	if err := connect(kit); err != nil {
		t.Fatal(err)
	}
	f.settled()
	if at, before := lookup(t, c, newMail), lookup(t, c, testMail); at != f.user || before != "" {
		t.Errorf("the addresses are those of %q and %q", at, before)
	}
	if f.kitLogsIn(c, f.kit) || !f.kitLogsIn(c, kit) {
		t.Error("the coordinator knows the former kit")
	}
	if err := f.DisconnectCoordinator(ctx, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if err := connect(nil); err != nil {
		t.Fatal("it knows the kit:", err)
	}
}

// Another machine has replaced the kit: an open vault asks the coordinator before it says a word on one, and says none where that is not there; a locked
// one answers for what this machine has.
func TestCheckKitOfAnotherMachine(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	laptop := f.approvedMachine(c)
	f.session.currentLink().stop()
	kit := laptop.draft("")
	if err := laptop.replaceKit(kit); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{f.kit, kit} {
		wantCode(t, "offline", f.CheckKit(t.Context(), bytes.Clone(text)), fault.Unavailable)
	}
	if err := f.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckKit(t.Context(), f.kitText()); err != nil {
		t.Fatal("this machine's copy:", err)
	}
	if err := f.tryUnlock(testPassword); err != nil {
		t.Fatal(err)
	}
	f.becomes("online")
	wantCode(t, "replaced", f.CheckKit(t.Context(), f.kitText()), fault.NotAuthentic)
	if err := f.CheckKit(t.Context(), bytes.Clone(kit)); err != nil {
		t.Fatal(err)
	}
}
