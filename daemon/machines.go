package daemon

import (
	"context"
	"errors"
	"time"

	"coldframe/daemon/devices"
	"coldframe/daemon/membership"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// DeviceState is this machine's place among the user's devices; docs/devices.md has the table.
type DeviceState string

// The states.
const (
	DeviceUnknown   = DeviceState(membership.Unknown)
	DeviceUnlisted  = DeviceState(membership.Unlisted)
	DeviceAsking    = DeviceState(membership.Asking)
	DeviceListed    = DeviceState(membership.Listed)
	DeviceRemoved   = DeviceState(membership.Removed)
	DeviceRecovered = DeviceState(membership.Recovered)
)

// DeviceStatus is that place, and what is wrong with it.
type DeviceStatus struct {
	ID    string // of this machine
	State DeviceState
	Error fault.Code // empty: nothing
}

// DeviceList is what this machine knows of the user's devices. Devices is nil where the list or its record could not be had; Error says why.
type DeviceList struct {
	DeviceStatus
	Devices []MachineInfo // by id
}

// MachineInfo is one of the user's devices.
type MachineInfo struct {
	ID      string
	Name    string
	Added   time.Time // to the list
	KeyTime time.Time // of its present key
	This    bool      // this machine
}

// DeviceRequest is a machine that asks to be approved. Nothing of it is known to be true before its code was compared.
type DeviceRequest struct {
	Device string
	Name   string
	Time   time.Time
}

// Types of events about devices: what was done on this machine.
const (
	EventDeviceAsked    = "device.asked"
	EventDeviceApproved = "device.approved"
	EventDeviceRemoved  = "device.removed"
	EventDeviceAlone    = "device.recovered"         // the list began again with this machine
	EventDeviceAccepted = "device.recovery_accepted" // of another machine
	EventDeviceReset    = "device.reset"             // this machine is a new device
	EventVaultTrusted   = "vault.trusted"            // its user said that this machine's vault is the newest
)

// withMember runs one call about devices.
func (a *Agent) withMember(ctx context.Context, fn func(ctx context.Context, s *session, m *membership.Member) error) error {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	m, err := s.member()
	if err != nil {
		return err
	}
	return orLoggedOut(ended(ctx, fn(ctx, s, m)))
}

// changeDevices is withMember for what changes the list, refused while the account is read-only.
func (a *Agent) changeDevices(ctx context.Context, event string, fn func(ctx context.Context, s *session, m *membership.Member) error) error {
	return a.withMember(ctx, func(ctx context.Context, s *session, m *membership.Member) error {
		if s.readOnly {
			return s.writable()
		}
		if err := fn(ctx, s, m); err != nil {
			return err
		}
		s.sync.poke(allTasks)
		if event != "" {
			a.event(Event{Type: event})
		}
		return nil
	})
}

// Devices returns the user's devices and the place of this machine among them.
func (a *Agent) Devices(ctx context.Context) (DeviceList, error) {
	var out DeviceList
	err := a.withMember(ctx, func(ctx context.Context, _ *session, m *membership.Member) error {
		list, err := m.Devices(ctx)
		out.DeviceStatus = deviceStatus(m)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, fault.Locked) {
				return err
			}
			if out.Error == "" {
				out.Error = fault.CodeOf(err)
			}
			return nil
		}
		out.Devices = make([]MachineInfo, 0, len(list))
		for _, d := range list {
			out.Devices = append(out.Devices, MachineInfo{
				ID: d.ID.String(), Name: d.Name, Added: d.Added.UTC(), KeyTime: d.KeyTime.UTC(), This: d.This,
			})
		}
		return nil
	})
	return out, err
}

func deviceStatus(m *membership.Member) DeviceStatus {
	state, err := m.State()
	st := DeviceStatus{ID: m.DeviceID().String(), State: DeviceState(state)}
	if err != nil {
		st.Error = fault.CodeOf(err)
	}
	return st
}

// deviceStatus returns the place of this machine; nil without a coordinator.
func (s *session) deviceStatus() *DeviceStatus {
	s.mu.RLock()
	without := s.linkURL == ""
	s.mu.RUnlock()
	m, err := s.member()
	if err != nil || without {
		return nil
	}
	st := deviceStatus(m)
	return &st
}

// AskToJoin asks the user's devices to list this machine, under a name. The code in the answer is to be typed in on one of them; the caller
// wipes it. Asking again makes another code. fault.Conflict: it is listed; fault.Revoked: it was removed, see ResetDevice.
func (a *Agent) AskToJoin(ctx context.Context, name string) (code []byte, err error) {
	err = a.changeDevices(ctx, EventDeviceAsked, func(ctx context.Context, _ *session, m *membership.Member) error {
		code, err = m.Ask(ctx, name)
		return err
	})
	return code, err
}

// DeviceRequests lists the machines that ask.
func (a *Agent) DeviceRequests(ctx context.Context) ([]DeviceRequest, error) {
	var out []DeviceRequest
	err := a.withMember(ctx, func(ctx context.Context, _ *session, m *membership.Member) error {
		list, err := m.Requests(ctx)
		for _, r := range list {
			out = append(out, DeviceRequest{Device: r.Device.String(), Name: r.Name, Time: r.Time.UTC()})
		}
		return err
	})
	return out, err
}

// ApproveDevice lists a machine that asks, if its request was made with the code that the user read there, and vouches to it for the vault.
// It asks for the password again (L23). Code and password are wiped. After a failure the same again finishes it. fault.UntrustedKey: another
// code; fault.NotFound: it does not ask; fault.Revoked: it was removed once.
func (a *Agent) ApproveDevice(ctx context.Context, id string, code, password []byte) error {
	defer clear(code)
	return a.onDevice(ctx, id, password, EventDeviceApproved, func(ctx context.Context, s *session, m *membership.Member, id devices.DeviceID) error {
		if err := m.Approve(ctx, id, code); err != nil {
			return err
		}
		return s.sync.vouch(ctx, id)
	})
}

// RemoveDevice removes a device for ever, and has the state key replaced. What it could still log in with goes as well, in later rounds if not now. It asks for the password again (L23), and wipes it.
func (a *Agent) RemoveDevice(ctx context.Context, id string, password []byte) error {
	return a.onDevice(ctx, id, password, EventDeviceRemoved, func(ctx context.Context, s *session, m *membership.Member, id devices.DeviceID) error {
		if err := s.sync.removeDevice(ctx, m, id); err != nil {
			s.sync.poke(taskDevices | taskSessions) // it may be removed yet
			return err
		}
		if err := s.sync.forget(ctx, id); err != nil {
			a.log.Info("what a removed device asked is left", failure(err)...) // nobody answers it
		}
		if err := s.sync.endSessions(ctx); err != nil {
			a.log.Warn("a removed device has its slot of the vault, or its session at the coordinator, still", failure(err)...)
		}
		return nil
	})
}

// removeDevice removes a device from the list, and notes what is to be done of it.
func (y *syncer) removeDevice(ctx context.Context, m *membership.Member, id devices.DeviceID) error {
	y.removing.Lock()
	defer y.removing.Unlock()
	if err := y.a.noteEnding(id); err != nil {
		return err
	}
	return m.Remove(ctx, id)
}

// onDevice is changeDevices for one device, with the password again, which it wipes.
func (a *Agent) onDevice(
	ctx context.Context, id string, password []byte, event string,
	fn func(context.Context, *session, *membership.Member, devices.DeviceID) error,
) error {
	device, err := devices.ParseDeviceID(id)
	if err != nil {
		clear(password)
		return err
	}
	return a.changeDevicesAgain(ctx, password, event, func(ctx context.Context, s *session, m *membership.Member) error {
		if err := s.writable(); err != nil { // a vault that nobody vouched for vouches for none
			return err
		}
		return fn(ctx, s, m, device)
	})
}

// changeDevicesAgain is changeDevices with the password again, which it wipes.
func (a *Agent) changeDevicesAgain(
	ctx context.Context, password []byte, event string, fn func(context.Context, *session, *membership.Member) error,
) error {
	defer clear(password)
	return a.changeDevices(ctx, event, func(ctx context.Context, s *session, m *membership.Member) error {
		if err := a.passwordAgain(ctx, password); err != nil {
			return err
		}
		return fn(ctx, s, m)
	})
}

// RenameDevice gives a device another name.
func (a *Agent) RenameDevice(ctx context.Context, id, name string) error {
	device, err := devices.ParseDeviceID(id)
	if err != nil {
		return err
	}
	return a.changeDevices(ctx, "", func(ctx context.Context, s *session, m *membership.Member) error {
		if err := s.writable(); err != nil {
			return err
		}
		return m.Rename(ctx, device, name)
	})
}

// RecoverDevices begins the list again with this machine alone, for a user who has lost all others: they are removed, and sessions with
// contacts begin anew. The vault passes for the newest one from then on, as nobody is left who could say so. It asks for the password again
// (L23), and wipes it. fault.Conflict: it is listed, or was removed; then nothing is given up. After fault.Unavailable it may be done yet.
func (a *Agent) RecoverDevices(ctx context.Context, name string, password []byte) error {
	return a.changeDevicesAgain(ctx, password, "", func(ctx context.Context, s *session, m *membership.Member) error {
		if err := m.Recover(ctx, name, s.sync.intendRecovery); err != nil {
			return err
		}
		return s.sync.finishRecovery(ctx)
	})
}

// AcceptRecovery follows a list that began again on another machine, as the user says that it was they who did that. This machine is not on
// it. It asks for the password again (L23), and wipes it.
func (a *Agent) AcceptRecovery(ctx context.Context, password []byte) error {
	return a.changeDevicesAgain(ctx, password, EventDeviceAccepted, func(ctx context.Context, _ *session, m *membership.Member) error {
		return m.AcceptRecovery(ctx)
	})
}

// ResetDevice makes this machine a new device under a new id, which may ask to be listed: one that was removed, or that was shown a list
// which cannot be. What was sealed for it alone is lost. It logs in again, for which, too, the password is needed (L23), and wiped.
func (a *Agent) ResetDevice(ctx context.Context, password []byte) error {
	defer clear(password)
	if err := passwordGiven(password); err != nil {
		return err
	}
	return a.changeDevices(ctx, EventDeviceReset, func(ctx context.Context, s *session, m *membership.Member) error {
		s.joining.Lock()
		defer s.joining.Unlock()
		proof, err := a.vault.LoginProof(ctx, password)
		if err != nil {
			return err
		}
		defer proof.Wipe()
		item, err := a.coordinatorItem()
		if err != nil {
			return err
		}
		if err := m.Reset(ctx); err != nil {
			return err
		}
		return a.relink(ctx, s, item, proof)
	})
}

// relink ends the link of a former device, and has the present one log in. s.joining is held.
func (a *Agent) relink(ctx context.Context, s *session, item coordinatorItem, proof keystore.Proof) error {
	before := s.currentLink()
	if before.Link != nil {
		before.stop()
		a.logout(ctx, before)
	}
	if err := a.db.Update(func(tx *kv.Tx) error { return forgetTokens(tx, item.URL) }); err != nil { // those of another device
		return err
	}
	if _, err := a.deviceID(s.user); err != nil {
		return err
	}
	l, err := a.newLink(s, item.settings())
	if err != nil {
		return err
	}
	l.Give(proof.For(item.URL))
	a.runLink(s, l, item.URL)
	return nil
}
