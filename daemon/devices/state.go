package devices

import (
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// StateKey is a state key and its epoch.
type StateKey struct {
	Epoch uint64
	Key   secret.Key
}

// newStateKey returns a new key: always this agent's own randomness, never a derived or received one (THREATS E09).
func newStateKey(epoch uint64) StateKey { return StateKey{Epoch: epoch, Key: secret.Random()} }

// commitment returns the hash that only this key has, for this user and epoch.
func (k StateKey) commitment(user UserID) Hash {
	sub := k.Key.Derive("devices/state-key/commitment", user[:], binary.BigEndian.AppendUint64(nil, k.Epoch))
	defer sub.Wipe()
	return Hash(sub.Bytes())
}

// Ring holds the present state key and, until all that it sealed was sealed again, the former one.
type Ring struct {
	current StateKey
	former  StateKey // no key: there is none
}

// NewRing returns a ring with the present state key, which it takes over.
func NewRing(present StateKey) *Ring {
	if present.Key.IsZero() {
		panic("devices: no state key")
	}
	return &Ring{current: present}
}

// Current returns the key that everything new is sealed under. It stays the ring's. After Wipe it is fault.Locked.
func (r *Ring) Current() (StateKey, error) {
	if r.current.Key.IsZero() {
		return StateKey{}, fault.New(fault.Locked, "the state key was wiped from memory")
	}
	return r.current, nil
}

// Open returns the key of an epoch, which stays the ring's: fault.Stale for an epoch whose key was erased here, or never held;
// fault.Incomplete for one to come: the device list has links that were not followed yet.
func (r *Ring) Open(epoch uint64) (secret.Key, error) {
	if _, err := r.Current(); err != nil {
		return secret.Key{}, err
	}
	switch {
	case epoch == r.current.Epoch:
		return r.current.Key, nil
	case epoch > r.current.Epoch:
		return secret.Key{}, fault.New(fault.Incomplete, "state key %d is newer than %d, which is known", epoch, r.current.Epoch)
	case epoch == r.former.Epoch && !r.former.Key.IsZero():
		return r.former.Key, nil
	}
	return secret.Key{}, fault.New(fault.Stale, "state key %d was erased", epoch)
}

// Advance takes over a newer state key; the present one is the former now. The present one again changes nothing. While a former one is
// held it is fault.Conflict: seal again what it sealed, then EraseFormer.
func (r *Ring) Advance(next StateKey) error {
	current, err := r.Current()
	switch {
	case err != nil:
		return err
	case next.Key.IsZero():
		return fault.New(fault.Locked, "the new state key was wiped from memory")
	case next.Epoch == current.Epoch && next.Key.Equal(current.Key):
		return nil
	case next.Epoch <= current.Epoch:
		return fault.New(fault.RolledBack, "state key %d, where %d is known", next.Epoch, current.Epoch)
	case r.Former():
		return fault.New(fault.Conflict, "the former state key is still held")
	}
	r.former, r.current = current, next
	return nil
}

// Hold gives the ring the former key again, after a restart in the middle of sealing again; the ring takes it over. See List.Former.
func (r *Ring) Hold(former StateKey) error {
	current, err := r.Current()
	switch {
	case err != nil:
		return err
	case r.Former() || former.Key.IsZero() || former.Epoch >= current.Epoch:
		return fault.New(fault.Conflict, "this is not the former state key")
	}
	r.former = former
	return nil
}

// Former reports whether a former key is held.
func (r *Ring) Former() bool { return !r.former.Key.IsZero() }

// EraseFormer erases the former key, once nothing is sealed under it any more.
func (r *Ring) EraseFormer() { r.former.Key.Wipe() }

// Wipe zeroes both keys.
func (r *Ring) Wipe() {
	r.former.Key.Wipe()
	r.current.Key.Wipe()
}
