package daemon

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

const (
	kindDevices = "devices"
	itemDevices = "devices" // the newest head of the device list that any device of the user followed

	membershipKey = "meta/membership" // what this machine remembers of the device list, sealed under the local key

	purposeVaultHead = "daemon/vault-head"
	vaultHeadPrefix  = "d-vault-" // ‖ id of a device, for which its approver noted the head of the vault
)

// deviceMemory implements membership.Memory.
type deviceMemory struct {
	a *Agent
	s *session
}

// Load implements membership.Memory.
func (m deviceMemory) Load() (kept []byte, err error) {
	err = m.a.db.View(func(tx *kv.Tx) error {
		sealed, err := tx.Get(membershipKey)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		kept, err = seal.Open(m.s.local.key, purposeLocal, m.s.context("membership", m.s.user, "kept"), sealed)
		return err
	})
	return kept, err
}

// Save implements membership.Memory.
func (m deviceMemory) Save(kept []byte) error {
	return m.a.db.Update(func(tx *kv.Tx) error {
		return tx.Set(membershipKey, m.s.sealLocal("membership", m.s.user, "kept", kept))
	})
}

// devicesItem is the body of the vault's item about the device list.
type devicesItem struct {
	Sequence uint64 `cbor:"1,keyasint"`
	Hash     []byte `cbor:"2,keyasint"`
}

func (i devicesItem) head() (devices.Head, error) {
	if len(i.Hash) != len(devices.Hash{}) {
		return devices.Head{}, fault.New(fault.NotAuthentic, "the vault's note of the device list is damaged")
	}
	return devices.Head{Sequence: i.Sequence, Hash: devices.Hash(i.Hash)}, nil
}

func notedHead(get func(string) (keystore.Item, error)) (devices.Head, error) {
	it, err := get(itemDevices)
	if errors.Is(err, fault.NotFound) {
		return devices.Head{}, nil
	}
	var item devicesItem
	if err == nil {
		err = signed.Unmarshal(it.Body, &item)
	}
	if err != nil {
		return devices.Head{}, err
	}
	return item.head()
}

// notedDevices returns the head of the device list that is in the vault.
func (a *Agent) notedDevices() (devices.Head, error) { return notedHead(a.vault.Get) }

// noteDevices puts a head of the device list into the vault, unless a higher one is there.
func (a *Agent) noteDevices(ctx context.Context, h devices.Head) error {
	body, err := signed.Marshal(devicesItem{h.Sequence, h.Hash[:]})
	if err != nil {
		return err
	}
	return a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		noted, err := notedHead(tx.Get)
		if err != nil || noted.Sequence >= h.Sequence {
			return err
		}
		return tx.Put(keystore.Item{ID: itemDevices, Kind: kindDevices, Body: body})
	})
}

// vaultHeadContext is where the head of the vault that an approver noted for a new device is sealed, under the state key of an epoch.
func (s *session) vaultHeadContext(device devices.DeviceID, epoch uint64) seal.Context {
	return seal.Context{Owner: s.user, Type: "vault-head", ID: device.String(), Version: epoch}
}

// vouch notes the vault's head for a device that was just approved: that device knows nothing but what the coordinator gives it, and the
// note, under the state key, is newer than the device.
func (y *syncer) vouch(ctx context.Context, device devices.DeviceID) error {
	counter, hash, err := y.a.vault.Head()
	if err != nil {
		return err
	}
	body, err := signed.Marshal(devicesItem{counter, hash[:]})
	if err != nil {
		return err
	}
	epoch, key, err := y.member.Current(ctx)
	if err != nil {
		return err
	}
	key = key.Clone()
	defer key.Wipe()
	if key.IsZero() {
		return errLocked()
	}
	sealed := seal.Seal(key, messages.KeyID(epoch), purposeVaultHead, y.s.vaultHeadContext(device, epoch), body)
	return y.records.Write(ctx, vaultHeadPrefix+device.String(), sealed)
}

// confirm ends that a vault is fresh, once a device that approved this one vouched for it. Until then nobody but the coordinator says that
// it is the newest, and nothing is signed or sent: fault.Stale.
func (y *syncer) confirm(ctx context.Context) error {
	fresh, err := y.a.vault.Fresh()
	if err != nil {
		return err
	}
	if y.s.fresh.Store(fresh); !fresh {
		return nil
	}
	head, err := y.vouched(ctx)
	if err != nil {
		return err
	}
	if head == nil {
		return errFresh()
	}
	switch err := y.a.vault.CheckHead(head.Sequence, head.Hash); {
	case errors.Is(err, fault.RolledBack):
		return err // the vault that was given is older than the one that the other device has
	case err != nil && !errors.Is(err, fault.Stale): // stale: many changes came since
		return err
	}
	if err := y.a.vault.Confirm(); err != nil {
		return err
	}
	y.s.fresh.Store(false)
	return y.records.Remove(ctx, vaultHeadPrefix+y.member.DeviceID().String())
}

// vouched returns the head that the approver of this machine noted; nil if there is none.
func (y *syncer) vouched(ctx context.Context) (*devices.Head, error) {
	sealed, err := y.records.Read(ctx, vaultHeadPrefix+y.member.DeviceID().String())
	if err != nil || sealed == nil {
		return nil, err
	}
	epoch, err := messages.EpochOf(sealed)
	if err != nil {
		return nil, err
	}
	key, err := y.member.At(ctx, epoch)
	if err != nil {
		return nil, err
	}
	key = key.Clone()
	defer key.Wipe()
	body, err := seal.Open(key, purposeVaultHead, y.s.vaultHeadContext(y.member.DeviceID(), epoch), sealed)
	if err != nil {
		return nil, err
	}
	var item devicesItem
	if err := signed.Unmarshal(body, &item); err != nil {
		return nil, err
	}
	head, err := item.head()
	return &head, err
}

func errFresh() error {
	return fault.New(fault.Stale, "nobody but the coordinator says that this vault is the newest: approve this machine on another device, or recover")
}
