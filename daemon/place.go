package daemon

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

const (
	kindDevices = "devices"
	itemDevices = "devices" // the newest head of the device list that any device of the user followed

	membershipKey = "meta/membership"         // what this machine remembers of the device list, sealed under the local key
	historyKey    = "meta/membership-history" // what it remembers of older links, sealed so
)

// deviceMemory implements membership.Memory: one record, sealed as one field.
type deviceMemory struct {
	a          *Agent
	s          *session
	key, field string
}

// Load implements membership.Memory.
func (m deviceMemory) Load() (kept []byte, err error) {
	err = m.a.db.View(func(tx *kv.Tx) error {
		sealed, err := tx.Get(m.key)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		kept, err = seal.Open(m.s.local.key, purposeLocal, m.s.context("membership", m.s.user, m.field), sealed)
		return err
	})
	return kept, err
}

// Save implements membership.Memory.
func (m deviceMemory) Save(kept []byte) error {
	return m.a.db.Update(func(tx *kv.Tx) error {
		return tx.Set(m.key, m.s.sealLocal("membership", m.s.user, m.field, kept))
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

// noteDevices puts a head of the device list into the vault, unless a higher one is there. A vault that is fresh may be an old one, and is
// left as it is: the next round after that notes it.
func (a *Agent) noteDevices(ctx context.Context, h devices.Head) error {
	if fresh, err := a.vault.Fresh(); err != nil || fresh {
		return err
	}
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
