package daemon

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
)

// joinedOnce is an agent in a folder that joined a coordinator and has stopped.
func joinedOnce(t *testing.T, c *coordinatortest.Coordinator) (dir, device string, client *coordinator.Client) {
	t.Helper()
	f := newFirstMachine(t, c, testMail)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	return f.dir, f.keyFileID(), f.client
}

// loggedIn reports whether a device has a session.
func loggedIn(t *testing.T, client *coordinator.Client, device string) bool {
	t.Helper()
	list, err := client.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(s coordinator.DeviceSession) bool { return s.Device == device })
}

// A machine that logged in before there were device keys gets one under the id that it has at the coordinator, and its session goes on.
func TestDeviceOfBefore(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	dir, _, client := joinedOnce(t, c)
	former := uuid.NewString()
	a := startAgent(t, dir, local)
	if err := os.Remove(a.deviceFile()); err != nil {
		t.Fatal(err)
	}
	err := a.db.Update(func(tx *kv.Tx) error {
		return errors.Join(tx.Delete(loginDeviceKey), tx.Set(formerDeviceKey, []byte(former)))
	})
	if err != nil {
		t.Fatal(err)
	}
	before := len(c.Records("login"))
	a.unlock()
	a.becomes("online")
	if n := len(c.Records("login")); n != before {
		t.Errorf("%d logins: the session did not go on", n-before)
	}
	if id := a.keyFileID(); id != former {
		t.Errorf("the device key is of %s, the session of %s", id, former)
	}
	if err := a.db.View(func(tx *kv.Tx) error { _, err := tx.Get(formerDeviceKey); return err }); !errors.Is(err, fault.NotFound) {
		t.Error("the former record stays:", err)
	}
	if !loggedIn(t, client, client.Device()) {
		t.Error("another session was ended")
	}
}

// A machine that lost its device key file is a new device: it logs in under a new id, and never under the lost one.
func TestDeviceFileLost(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	dir, lost, client := joinedOnce(t, c)
	a := startAgent(t, dir, local)
	if err := os.Remove(a.deviceFile()); err != nil {
		t.Fatal(err)
	}
	a.unlock()
	a.becomes("online")
	id := a.keyFileID()
	if id == lost || !loggedIn(t, client, id) {
		t.Errorf("the device is %s, the lost one was %s", id, lost)
	}
}

// TestR10_DeviceFileDamaged has a device key file that cannot be read: nothing is put in its place, and nobody logs in under its id.
func TestR10_DeviceFileDamaged(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	dir, _, _ := joinedOnce(t, c)
	a := startAgent(t, dir, local)
	damaged, err := os.ReadFile(a.deviceFile())
	if err != nil {
		t.Fatal(err)
	}
	damaged[50] ^= 1
	if err := os.WriteFile(a.deviceFile(), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	before := len(c.Records())
	a.unlock() // which it must not prevent
	a.becomes("refused")
	if list, err := a.Devices(t.Context()); !errors.Is(err, fault.Incomplete) || len(c.Records()) != before {
		t.Errorf("%+v, %v, %d requests", list, err, len(c.Records())-before)
	}
	y := a.session.sync
	_, checked := y.checkForks(nil)
	for what, err := range map[string]error{
		"what contacts were told": y.findOwn(t.Context()), "checked": checked, "accepted": y.acceptForks(), "lifted": y.liftFork(),
	} {
		wantCode(t, what, err, fault.Incomplete)
	}
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(a.deviceFile()); err != nil || !slices.Equal(now, damaged) {
		t.Error("the file was changed", err)
	}
	if err := os.Remove(a.deviceFile()); err != nil {
		t.Fatal(err)
	}
	a.unlock()
	a.becomes("online")
}

// A key file that another user's login left here goes if it was never used, and stays if it was.
func TestDeviceOfAnotherUser(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	for _, used := range []bool{false, true} {
		b := startAgent(t, t.TempDir(), local)
		d, err := devices.CreateDevice(atomicfile.OS, b.deviceFile(), devices.UserID(uuid.New()), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if used {
			if _, _, err := d.Ask(unsealed{}, "a machine", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		err = b.Login(t.Context(), f.with(c, testPassword))
		if used {
			if !errors.Is(err, fault.Incomplete) || b.keyFileID() != d.ID.String() {
				t.Errorf("a device that asks: %v, %s", err, b.keyFileID())
			}
			b.mustBeEmpty()
			continue
		}
		if err != nil || b.keyFileID() == d.ID.String() {
			t.Errorf("a device that was never used: %v", err)
		}
	}
}

// unsealed is for a request that goes nowhere.
type unsealed struct{}

func (unsealed) Seal(_ seal.Context, plaintext []byte) []byte       { return plaintext }
func (unsealed) Open(_ seal.Context, sealed []byte) ([]byte, error) { return sealed, nil }
