package daemon

import (
	"encoding/hex"
	"slices"

	"coldframe/daemon/devices"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

const (
	forkedKey    = "meta/forked"  // there are two of the vault or the device list, and no person has looked
	acceptedPath = "meta/echoed/" // ‖ type ‖ "/" ‖ SHA-256 in hexadecimal: versions that contradict what is here, by a person's word to be passed over
)

// contradictions returns what contacts were told of this account's vault and device list and of which a comparison with what is here says one of codes. fault.Forked:
// it is not what led to those that are here, and there are two histories (THREATS E04). What a person has looked at is left out.
func (y *syncer) contradictions(codes ...fault.Code) (list []messages.Echo, err error) {
	if y.memberErr != nil {
		return nil, y.memberErr
	}
	for typ, check := range map[string]func(messages.Head) error{
		headVault: func(h messages.Head) error { return y.a.vault.CheckHead(h.Sequence, h.Hash) },
		headDevices: func(h messages.Head) error {
			return y.member.CheckHead(devices.Head{Sequence: h.Sequence, Hash: h.Hash})
		},
	} {
		echoes, err := y.mail.Echoed(typ, y.s.user)
		if err != nil {
			return nil, err
		}
		for _, e := range echoes {
			if err := check(e.Head); err == nil || !slices.Contains(codes, fault.CodeOf(err)) {
				continue
			}
			known, err := y.a.db.Has(acceptedKey(e.Type, e.Hash))
			if err != nil {
				return nil, err
			}
			if !known {
				list = append(list, e)
			}
		}
	}
	return list, nil
}

func acceptedKey(typ string, hash [32]byte) string {
	return acceptedPath + typ + "/" + hex.EncodeToString(hash[:])
}

// checkForks adds contradictions to what was found, and takes out what a person has looked at. From the first one on of a contact whose safety
// number was compared nothing is written or sent, until a person has looked. Others may be the coordinator itself: what they say is shown.
func (y *syncer) checkForks(found []messages.Finding) ([]messages.Finding, error) {
	y.forks.Lock()
	defer y.forks.Unlock()
	list, err := y.contradictions(fault.Forked)
	if err != nil {
		return found, err
	}
	found = slices.DeleteFunc(found, func(f messages.Finding) bool {
		known := false
		if err == nil && f.Code == fault.Forked {
			known, err = y.a.db.Has(acceptedKey(f.Type, f.Hash))
		}
		return known
	})
	if err != nil {
		return found, err
	}
	for _, e := range list {
		f := messages.Finding{Type: e.Type, ID: e.ID, Code: fault.Forked, Peer: e.Peer, Sequence: e.Sequence, Hash: e.Hash}
		if !hasFinding(found, f) {
			found = append(found, f)
		}
	}
	if !y.stops(list) {
		return found, nil
	}
	err = y.a.db.Update(func(tx *kv.Tx) error { return tx.Set(forkedKey, []byte{1}) })
	y.s.forked.Store(true)
	return found, err
}

// stops reports whether one of the contradictions is of a contact whose safety number was compared.
func (y *syncer) stops(list []messages.Echo) bool {
	return slices.ContainsFunc(list, func(e messages.Echo) bool { return y.verified(e.Peer) })
}

// loadForked finds out at the opening whether this account was found to be forked.
func (y *syncer) loadForked() error {
	forked, err := y.a.db.Has(forkedKey)
	y.s.forked.Store(forked)
	return err
}

// acceptForks passes over the contradictions that there are, on a person's word that what is here is right. So it does with what was heard of versions
// that are not reached here yet: what comes under their numbers may be another version.
func (y *syncer) acceptForks() error {
	y.forks.Lock()
	defer y.forks.Unlock()
	list, err := y.contradictions(fault.Forked, fault.RolledBack, fault.Incomplete) // of a vault and of a device list to come
	if err != nil {
		return err
	}
	return y.endFork(list)
}

// endFork takes back that nothing is written, and has versions passed over. The caller holds forks.
func (y *syncer) endFork(accepted []messages.Echo) error {
	err := y.a.db.Update(func(tx *kv.Tx) error {
		for _, e := range accepted {
			if err := tx.Set(acceptedKey(e.Type, e.Hash), []byte{1}); err != nil {
				return err
			}
		}
		return tx.Delete(forkedKey)
	})
	if err == nil {
		y.s.forked.Store(false)
	}
	return err
}

// liftFork ends that, where nobody who is believed contradicts what is here any more, as a person has had it forgotten.
func (y *syncer) liftFork() error {
	y.forks.Lock()
	defer y.forks.Unlock()
	list, err := y.contradictions(fault.Forked)
	if err != nil || y.stops(list) {
		return err
	}
	return y.endFork(nil)
}

func errForked() error {
	return fault.New(fault.Forked, "contacts were told of another vault or device list of this account: a person has to look, and say whether this one is right")
}
