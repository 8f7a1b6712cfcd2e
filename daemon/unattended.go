package daemon

import (
	"bytes"
	"context"
	"errors"

	"coldframe/coordinator"
	"coldframe/daemon/devices"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

const (
	kindUnattended = "unattended"
	itemUnattended = "unattended" // which of the user's machines opens the vault without a person
)

// unattendedItem is the body of that item. It counts for the slot that it names alone: with another credential it is out of date.
type unattendedItem struct {
	Device string `cbor:"1,keyasint"`
	Slot   []byte `cbor:"2,keyasint"` // keystore's UnattendedSlot
}

func (i unattendedItem) put(tx *keystore.Tx) error {
	body, err := signed.Marshal(i)
	if err != nil {
		return err
	}
	return tx.Put(keystore.Item{ID: itemUnattended, Kind: kindUnattended, Body: body})
}

// newUnattended makes a credential that opens the vault on this machine, and notes in one change that it is this one.
func (a *Agent) newUnattended(ctx context.Context, s *session, password []byte) (secret.Key, error) {
	device, err := a.deviceID(s.user)
	if err != nil {
		return secret.Key{}, err
	}
	return a.vault.EnableUnattendedWith(ctx, password, func(tx *keystore.Tx, slot [32]byte) error {
		return errors.Join(tx.KV().Set(handingKey, slot[:]), unattendedItem{device, slot[:]}.put(tx))
	})
}

// handingKey has the slot of a credential that was not handed out yet: the change that makes the slot writes it. Where the answer is lost, or the
// process ends in between, nobody has the credential, and the record stays.
const handingKey = "meta/unattended-handing"

// noteHanded notes that somebody has the credential.
func (a *Agent) noteHanded() error {
	return a.db.Update(func(tx *kv.Tx) error { return tx.Delete(handingKey) })
}

// lostCredential reports whether the vault has a slot of which nobody has the credential.
func (a *Agent) lostCredential() bool {
	slot, ok := a.vault.UnattendedSlot()
	lost := false
	err := a.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(handingKey)
		lost = err == nil && ok && bytes.Equal(b, slot[:])
		return err
	})
	return lost || err != nil && !errors.Is(err, fault.NotFound)
}

// opensUnattended reports whether a credential that somebody has opens the vault on this machine.
func (a *Agent) opensUnattended() bool { return a.vault.Unattended() && !a.lostCredential() }

// dropLost removes the slot of a credential that nobody has. What fails is done in the next round, or at the next opening.
func (a *Agent) dropLost(ctx context.Context) {
	if !a.vault.Unattended() || !a.lostCredential() {
		return
	}
	err := a.vault.DisableUnattended(ctx)
	if err == nil {
		err = a.noteHanded()
	}
	if err != nil {
		a.log.Warn("a slot whose credential was lost is still there", failure(err)...)
		return
	}
	a.log.Info("the credential of unattended opening was lost: it is off")
}

// unattendedDevice returns the machine that opens the vault without a person; "" if there is none, or none that is known.
func (a *Agent) unattendedDevice() string {
	slot, ok := a.vault.UnattendedSlot()
	if !ok {
		return ""
	}
	it, err := a.vault.Get(itemUnattended)
	if err != nil {
		return ""
	}
	var item unattendedItem
	if signed.Unmarshal(it.Body, &item) != nil || string(item.Slot) != string(slot[:]) || !coordinator.IsUUID(item.Device) {
		return ""
	}
	return item.Device
}

// noteUnattended notes that it is this machine, for those that change the password or remove it, where that is not noted yet: the credential is of an
// older version of this program, or this machine is another device now. What fails is done in the next round.
func (y *syncer) noteUnattended(ctx context.Context) {
	a := y.a
	if !a.handing.TryLock() { // a credential is being made
		return
	}
	defer a.handing.Unlock()
	turnedOff := a.turnedOff(y.s)
	if y.s.writable() != nil {
		return
	}
	err := a.inTime(ctx, func(ctx context.Context) error { // EnableUnattended waits for it
		if a.dropLost(ctx); turnedOff || !a.opensUnattended() {
			return nil
		}
		device, err := a.deviceID(y.s.user)
		if err != nil || a.unattendedDevice() == device {
			return err
		}
		return a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
			slot, _ := a.vault.UnattendedSlot()
			return unattendedItem{device, slot[:]}.put(tx)
		})
	})
	if err != nil {
		a.log.Warn("it is not noted which machine opens the vault without a person", failure(err)...)
	}
}

// turnedOff reports whether this machine's opening without a person has ended, by another machine or as its new credential was lost, and takes the consequences.
func (a *Agent) turnedOff(s *session) bool {
	a.mu.Lock()
	was := s.unattended
	a.mu.Unlock()
	if !was || a.opensUnattended() {
		return false
	}
	if l := s.currentLink(); l.Link != nil {
		if err := (linkStore{a, s, l.url}).forgetCredential(); err != nil {
			a.log.Warn("the credential for the coordinator is not removed yet", failure(err)...)
		}
	}
	a.setUnattended(s, secret.Key{})
	a.log.Info("unattended opening was turned off elsewhere, or its new credential was lost")
	go a.closeAttended()
	return true
}

// closeAttended closes a session that is behind a locked API although only a person opens it now.
func (a *Agent) closeAttended() {
	done, err := a.changing()
	if err != nil {
		return
	}
	defer done()
	a.mu.Lock()
	due := a.session != nil && a.gate == nil && !a.session.unattended
	a.mu.Unlock()
	if due {
		a.closeSession(errLocked())
	}
}

// dropSlot takes the slot of the vault away from a machine that was removed: every device that changes the password would fill it again. The note of
// whose it is may be that machine's own word, so any slot goes that is not this machine's, unless the note names a device that is listed.
func (y *syncer) dropSlot(ctx context.Context) error {
	a := y.a
	if err := a.vault.Sync(ctx); err != nil { // it may be unattended since a moment ago
		return err
	}
	if _, there := a.vault.UnattendedSlot(); !there || a.vault.Unattended() {
		return nil
	}
	if id, err := devices.ParseDeviceID(a.unattendedDevice()); err == nil && y.member.Lists(id) {
		return nil
	}
	if err := y.s.writable(); err != nil {
		return err
	}
	return a.vault.DisableUnattended(ctx)
}

// dropOtherSlot takes the slot of the vault away from any other machine: all are removed.
func (a *Agent) dropOtherSlot(ctx context.Context) error {
	if _, any := a.vault.UnattendedSlot(); !any || a.vault.Unattended() {
		return nil
	}
	return a.vault.DisableUnattended(ctx)
}

// replica is the vault at the coordinator. The session there of the machine that opens the vault without a person outlives a new password: nobody
// would log it in again.
func (a *Agent) replica(c remote.Client) *remote.Replica {
	return remote.NewReplicaKeeping(c, func() []coordinator.DeviceID {
		if device := a.unattendedDevice(); device != "" {
			return []coordinator.DeviceID{device}
		}
		return nil
	})
}

// takeOver takes over what other devices changed in the vault: a new password, too, where this process has the credential that opens it.
func (y *syncer) takeOver(ctx context.Context) error {
	a := y.a
	err := a.vault.Sync(ctx)
	if !errors.Is(err, fault.Locked) || y.s.readOnly {
		return err
	}
	a.mu.Lock()
	credential := y.s.credential.Clone()
	a.mu.Unlock()
	if credential.IsZero() {
		return err
	}
	defer credential.Wipe()
	if err := a.vault.FollowUnattended(ctx, a.replica(y.s.awaitClient), credential); err != nil {
		return err
	}
	a.log.Info("the password that another machine set is in force here")
	a.event(Event{Type: EventPassword})
	return nil
}

// openUnattendedSession opens the vault with a credential, which it takes, and with api lets callers in. a.change is held.
func (a *Agent) openUnattendedSession(ctx context.Context, credential secret.Key, api bool) error {
	if err := a.vault.UnlockUnattended(ctx, credential); err != nil {
		credential.Wipe()
		return err
	}
	return a.openHolding(api, keystore.Proof{}, credential)
}

// reopenUnattended opens the vault again where this process has the credential for it, which it takes. a.change is held.
func (a *Agent) reopenUnattended(credential secret.Key, api bool) {
	if credential.IsZero() {
		return
	}
	if err := a.openUnattendedSession(a.life, credential, api); err != nil {
		a.log.Warn("unattended opening failed", failure(err)...)
	}
}

// openBehindGate reports whether the API is locked and the vault is open: that of an unattended machine.
func (a *Agent) openBehindGate() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session != nil && a.gate == nil
}

// closeUnattended locks the vault behind a locked API, for a person who logs in, and returns what opens it again if they do not. a.change is held.
func (a *Agent) closeUnattended() (reopen func()) {
	a.mu.Lock()
	credential := a.session.credential.Clone()
	a.mu.Unlock()
	a.closeSession(errLocked())
	return func() {
		if a.hasSession() {
			a.mu.Lock()
			if a.session.unattended {
				a.session.credential, credential = credential, secret.Key{}
			}
			a.mu.Unlock()
			credential.Wipe()
			return
		}
		a.reopenUnattended(credential, false)
	}
}
