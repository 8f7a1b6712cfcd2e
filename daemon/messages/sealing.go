package messages

import (
	"context"
	"encoding/binary"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
)

// The purposes of what is sealed: under the state key, and under the key of this device.
const (
	purposeRecord   = "ratchet/record"
	purposeReceived = "messages/received"
	purposeLocal    = "messages/local"
)

func isUnavailable(err error) bool { return errors.Is(err, fault.Unavailable) }

// KeyID is the id of the state key of an epoch: 8 zeroes ‖ BE64(epoch).
func KeyID(epoch uint64) (id seal.KeyID) {
	binary.BigEndian.PutUint64(id[8:], epoch)
	return id
}

// EpochOf returns the epoch that a sealed value says it is of.
func EpochOf(sealed []byte) (uint64, error) {
	id, err := seal.IDOf(sealed)
	if err != nil {
		return 0, err
	}
	if binary.BigEndian.Uint64(id[:8]) != 0 {
		return 0, fault.New(fault.NotAuthentic, "not sealed under a state key")
	}
	return binary.BigEndian.Uint64(id[8:]), nil
}

// seal seals under the newest state key, and returns its epoch.
func (m *Messages) seal(ctx context.Context, purpose string, c seal.Context, plaintext []byte) ([]byte, uint64, error) {
	epoch, key, err := m.config.StateKeys.Current(ctx)
	if err != nil {
		return nil, 0, err
	}
	own := key.Clone() // nobody wipes it meanwhile
	defer own.Wipe()
	if own.IsZero() {
		return nil, 0, fault.New(fault.Locked, "there is no state key")
	}
	return seal.Seal(own, KeyID(epoch), purpose, c, plaintext), epoch, nil
}

// open opens what was sealed under the state key of any epoch that is still there.
func (m *Messages) open(ctx context.Context, purpose string, c seal.Context, sealed []byte) ([]byte, error) {
	epoch, err := EpochOf(sealed)
	if err != nil {
		return nil, err
	}
	key, err := m.config.StateKeys.At(ctx, epoch)
	if err != nil {
		return nil, err
	}
	own := key.Clone() // nobody wipes it meanwhile
	defer own.Wipe()
	return seal.Open(own, purpose, c, sealed)
}

// partContext is where a part of a record belongs.
func (m *Messages) partContext(base string, part string, version uint64) seal.Context {
	return seal.Context{Owner: m.user, Type: "ratchet", ID: base, Field: part, Version: version}
}

// sealLocal seals what stays on this device.
func (m *Messages) sealLocal(key string, plaintext []byte) ([]byte, error) {
	own := m.config.LocalKey.Clone()
	defer own.Wipe()
	if own.IsZero() {
		return nil, fault.New(fault.Locked, "the key of this device is not there")
	}
	return seal.Seal(own, m.config.LocalID, purposeLocal, m.localContext(key), plaintext), nil
}

func (m *Messages) openLocal(key string, sealed []byte) ([]byte, error) {
	own := m.config.LocalKey.Clone()
	defer own.Wipe()
	return seal.Open(own, purposeLocal, m.localContext(key), sealed)
}

func (m *Messages) localContext(key string) seal.Context {
	return seal.Context{Owner: m.user, Type: "messages", ID: key}
}
