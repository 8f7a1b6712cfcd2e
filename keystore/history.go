package keystore

import (
	"bytes"

	"coldframe/internal/fault"
)

// maxHistory is how many former root records a replicated vault remembers: a device that was away for fewer changes sees that what it
// finds came of what it knew. One that was away longer cannot tell; see Fresh.
const maxHistory = 256

// withHistory returns a history with one more root record.
func withHistory(history []byte, hash [32]byte) []byte {
	if len(history) >= 32*maxHistory {
		history = history[len(history)-32*(maxHistory-1):]
	}
	return append(bytes.Clone(history), hash[:]...)
}

// checkHistory reports whether a history can be that of a root record with that predecessor and counter.
func checkHistory(history, previous []byte, counter uint64) bool {
	if len(history) == 0 {
		return true
	}
	n := len(history) / 32
	return len(history)%32 == 0 && n <= maxHistory && uint64(n) < counter && bytes.Equal(history[len(history)-32:], previous)
}

// follows judges the vault by a former state of it: fault.RolledBack if that is newer, fault.Forked if the vault did not come of it. Where
// that cannot be told, as the former state is too old, known is false.
func (c *contents) follows(counter uint64, rootHash [32]byte) (known bool, err error) {
	if c.counter < counter {
		return true, fault.New(fault.RolledBack, "the vault is at change %d and was at %d before", c.counter, counter)
	}
	var there []byte
	switch back := c.counter - counter; {
	case back == 0:
		there = c.rootHash[:]
	case back == 1:
		there = c.previous[:]
	case back <= uint64(len(c.history)/32):
		at := len(c.history) - 32*int(back)
		there = c.history[at : at+32]
	default:
		return false, nil
	}
	if !bytes.Equal(there, rootHash[:]) {
		return true, fault.New(fault.Forked, "the vault at change %d is not the one seen before", counter)
	}
	return true, nil
}

// cameOf is follows for a vault that is to take the place of the one whose header is here, authentic or this machine's own: its keyring must also
// hold the vault key of that. Whoever knows hashes alone, or a former vault key and the slot keys, as a machine that was removed, makes none of
// which that is true.
func (c *contents) cameOf(h *header, counter uint64, rootHash [32]byte) (known bool, err error) {
	if known, err = c.follows(counter, rootHash); err != nil {
		return known, err
	}
	key := c.keys.find(h.keyID)
	if key.IsZero() || h.authenticate(key) != nil {
		return true, fault.New(fault.NotAuthentic, "the vault on the replica was made by somebody without the vault key of the one here")
	}
	return known, nil
}

// Head returns the number of changes of the vault and the hash of its state, which other devices and contacts keep and echo.
func (v *Vault) Head() (counter uint64, hash [32]byte, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return 0, hash, errLocked
	}
	return v.c.counter, v.c.rootHash, nil
}

// CheckHead compares the vault with a head that somebody echoed. fault.RolledBack: there is a newer vault than this one, so Sync, and if
// the answer stays the replica holds it back; fault.Forked: there are two vaults; fault.Stale: the head is too old to compare.
func (v *Vault) CheckHead(counter uint64, hash [32]byte) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return errLocked
	}
	known, err := v.c.follows(counter, hash)
	if !known {
		return fault.New(fault.Stale, "the head is from more than %d changes ago", maxHistory)
	}
	return err
}
