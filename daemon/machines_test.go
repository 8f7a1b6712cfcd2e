package daemon

import (
	"bytes"
	"errors"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// secondMachine is an agent that logged in beside the first one.
func (f *firstMachine) secondMachine(c *coordinatortest.Coordinator) *running {
	f.t.Helper()
	b := startAgent(f.t, f.t.TempDir(), local)
	if err := b.Login(f.t.Context(), f.with(c, testPassword)); err != nil {
		f.t.Fatal(err)
	}
	b.becomes("online")
	b.isDevice(DeviceUnlisted)
	return b
}

// isDevice waits until an agent has a place.
func (r *running) isDevice(want DeviceState) {
	r.t.Helper()
	eventually(r.t, "device "+string(want), func() bool {
		st, err := r.Status(r.t.Context())
		return err == nil && st.Device != nil && st.Device.State == want
	})
}

func (r *running) ask(name string) []byte {
	r.t.Helper()
	code, err := r.AskToJoin(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return code
}

// admit has another machine log in with the kit of the account and join, and waits until both are settled.
func (r *running) admit(machine *running, url string, kit []byte) {
	r.t.Helper()
	if err := machine.Login(r.t.Context(), LoginRequest{URL: url, Kit: bytes.Clone(kit), Password: []byte(testPassword)}); err != nil {
		r.t.Fatal(err)
	}
	code := machine.ask("laptop")
	if err := r.ApproveDevice(r.t.Context(), machine.keyFileID(), code, []byte(testPassword)); err != nil {
		r.t.Fatal(err)
	}
	machine.settled()
	r.settled()
}

func (r *running) deviceList() DeviceList {
	r.t.Helper()
	list, err := r.Devices(r.t.Context())
	if err != nil || list.Error != "" {
		r.t.Fatal(list.Error, err)
	}
	return list
}

// A second machine asks, is approved with the code, and removed; it comes back as another device. It may not be approved with a wrong code
// or password.
func TestDevicesOfAUser(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := f.secondMachine(c)
	if err := b.session.writable(); !errors.Is(err, fault.Stale) {
		t.Errorf("a new machine may change the account: %v", err)
	}
	first := b.ask("attic")
	code := b.ask("cellar") // again: another code
	if bytes.Equal(first, code) {
		t.Error("the same code")
	}
	b.isDevice(DeviceAsking)
	asks, err := f.DeviceRequests(t.Context())
	if err != nil || len(asks) != 1 || asks[0].Device != b.keyFileID() || asks[0].Name != "cellar" {
		t.Fatalf("%+v, %v", asks, err)
	}
	id := asks[0].Device
	for name, try := range map[string]struct {
		id       string
		code     []byte
		password string
		want     fault.Code
	}{
		"no password":      {id, code, "", fault.Forbidden},
		"a wrong password": {id, code, "another", fault.NotAuthentic},
		"a former code":    {id, first, testPassword, fault.UntrustedKey},
		"no code":          {id, []byte("12345"), testPassword, fault.InvalidRequest},
		"nobody":           {"00000000-0000-4000-8000-000000000001", code, testPassword, fault.NotFound},
		"no id":            {"x", code, testPassword, fault.InvalidRequest},
	} {
		if err := f.ApproveDevice(t.Context(), try.id, bytes.Clone(try.code), []byte(try.password)); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %s", name, err, try.want)
		}
	}
	if err := b.ApproveDevice(t.Context(), id, bytes.Clone(code), []byte(testPassword)); err == nil {
		t.Error("a machine approved itself")
	}
	typed, password := bytes.Clone(code), []byte(testPassword)
	if err := f.ApproveDevice(t.Context(), id, typed, password); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(typed, "0123456789") || password[0] != 0 {
		t.Error("code and password are not wiped")
	}
	b.isDevice(DeviceListed)
	b.settled()
	if err := b.session.writable(); err != nil {
		t.Errorf("an approved machine: %v", err)
	}
	if err := b.RenameDevice(t.Context(), id, "workshop"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new name", func() bool {
		list, err := f.Devices(t.Context())
		return err == nil && len(list.Devices) == 2 && (list.Devices[0].Name == "workshop" || list.Devices[1].Name == "workshop")
	})
	for _, d := range f.deviceList().Devices {
		if d.This != (d.ID == f.keyFileID()) || d.Added.IsZero() {
			t.Errorf("%+v", d)
		}
	}
	if err := f.RemoveDevice(t.Context(), id, nil); !errors.Is(err, fault.Forbidden) {
		t.Errorf("L23: removed without a password: %v", err)
	}
	f.settled()
	if err := f.RemoveDevice(t.Context(), id, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if list := f.deviceList(); len(list.Devices) != 1 || loggedIn(t, f.client, id) {
		t.Errorf("%+v, or its session goes on", list)
	}
	f.awaitEvents(EventDeviceApproved, 1)
	f.awaitEvents(EventDeviceRemoved, 1)
}

// A machine that was removed finds that out when it logs in again, and is another device after a reset.
func TestDeviceComesBack(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := f.secondMachine(c)
	former := b.keyFileID()
	if err := f.ApproveDevice(t.Context(), former, b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	b.settled()
	if err := b.ResetDevice(t.Context(), []byte(testPassword)); !errors.Is(err, fault.Conflict) {
		t.Errorf("a listed machine was reset: %v", err)
	}
	b.becomes("online")
	f.settled()
	if err := f.RemoveDevice(t.Context(), former, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.unlock()
	b.isDevice(DeviceRemoved)
	b.becomes("online")
	if _, err := b.AskToJoin(t.Context(), "cellar"); !errors.Is(err, fault.Revoked) {
		t.Errorf("a removed machine asks: %v", err)
	}
	if err := b.ResetDevice(t.Context(), nil); !errors.Is(err, fault.Forbidden) {
		t.Errorf("L23: %v", err)
	}
	if err := b.ResetDevice(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.becomes("online")
	id := b.keyFileID()
	if id == former {
		t.Fatal("the same device")
	}
	if err := f.ApproveDevice(t.Context(), id, b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	if !loggedIn(t, f.client, id) || loggedIn(t, f.client, former) {
		t.Error("the session is not that of the new device")
	}
}

// All devices are lost: a new machine begins the list again, and may write. One that turns up again stops until its user said that it was
// they, and is no device then.
func TestRecoverDevices(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	b := f.secondMachine(c)
	if err := b.RecoverDevices(t.Context(), "new", nil); !errors.Is(err, fault.Forbidden) {
		t.Errorf("L23: %v", err)
	}
	if err := b.RecoverDevices(t.Context(), "new", []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	b.settled()
	if err := b.session.writable(); err != nil {
		t.Errorf("after the recovery: %v", err)
	}
	if list := b.deviceList(); len(list.Devices) != 1 || list.Devices[0].Name != "new" {
		t.Errorf("%+v", list)
	}
	f.running = startAgent(t, f.dir, local)
	f.unlock()
	f.isDevice(DeviceRecovered)
	if list, err := f.Devices(t.Context()); err != nil || list.Error != fault.UntrustedKey {
		t.Errorf("%+v, %v", list, err)
	}
	if err := f.AcceptRecovery(t.Context(), nil); !errors.Is(err, fault.Forbidden) {
		t.Errorf("L23: %v", err)
	}
	if err := f.AcceptRecovery(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	f.isDevice(DeviceRemoved)
}

// Without a coordinator, and while it is away, everything about devices says so.
func TestDevicesWithoutACoordinator(t *testing.T) {
	a := startAgent(t, t.TempDir(), local)
	if _, err := a.Devices(t.Context()); !errors.Is(err, fault.Locked) {
		t.Errorf("before there is an account: %v", err)
	}
	a.register()
	list, err := a.Devices(t.Context())
	if err != nil || list.State != DeviceUnknown || list.Devices != nil || list.Error != fault.Unavailable {
		t.Errorf("%+v, %v", list, err)
	}
	if st, err := a.Status(t.Context()); err != nil || st.Device != nil {
		t.Errorf("%+v, %v", st.Device, err)
	}
	if _, err := a.AskToJoin(t.Context(), "x"); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if _, err := a.DeviceRequests(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

// A machine that was removed, and logs in again as its user knows the password, changes nothing of the account, nor does it as another machine before that is
// approved. It may leave the coordinator, and has an account of its own then.
func TestRemovedMachineChangesNothing(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	desk := newFirstMachine(t, c, testMail)
	grace := newPersonAt(t, c, "grace@example.org", nil)
	desk.add(grace)
	laptop := desk.secondMachine(c)
	if err := desk.ApproveDevice(t.Context(), laptop.keyFileID(), laptop.ask("laptop"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.settled()
	id, contact := laptop.create("of the laptop"), grace.vault.UserID()
	desk.settled()
	if err := desk.RemoveDevice(t.Context(), laptop.keyFileID(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.becomes("login_needed")
	if err := laptop.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	laptop.unlock()
	laptop.isDevice(DeviceRemoved)
	refuses := func(want fault.Code) {
		t.Helper()
		for what, err := range map[string]error{
			"contact":    second(laptop.RenameContact(t.Context(), contact, "Mallory")),
			"removal":    laptop.RemoveContact(t.Context(), contact),
			"dataset":    laptop.DeleteDataset(t.Context(), user, id),
			"table":      second(laptop.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "another"})),
			"secret":     laptop.tell(grace, true),
			"kit":        second(laptop.DraftKit(t.Context(), DraftKitRequest{Password: []byte(testPassword)})),
			"account":    laptop.deleteAccount(c.URL, testPassword),
			"prekeys":    laptop.RestartSession(t.Context(), "", []byte(testPassword)),
			"unattended": laptop.DisableUnattended(t.Context(), []byte(testPassword)),
			"password":   laptop.ChangePassword(t.Context(), []byte(testPassword), []byte(nextPassword)),
		} {
			wantCode(t, what, err, want)
		}
	}
	refuses(fault.Revoked)
	if err := laptop.ResetDevice(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.isDevice(DeviceUnlisted)
	refuses(fault.Stale)
	desk.settled()
	if got, err := desk.Contact(t.Context(), contact); err != nil || got.Name != "" || !desk.hasDataset(id) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := laptop.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.create("of its own")
}
