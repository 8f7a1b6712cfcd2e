package keystore

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// A change of a replicated vault is first written here, durably, beside the records that it will change:
//
//	vault/pending/set/KEY      version of the record before (8, big-endian; Tx.Version) ‖ value
//	vault/pending/delete/KEY   version of the record before
//	vault/pending/head         CBOR of pendingHead, written last
//
// Without a head it is unfinished and goes at the next start, or before the next change is written. Proposed, it waits for the replica's answer: applied if the replica has it,
// dropped if the replica has another. Decided, it is applied, also by the next start, in as many transactions as it takes. What is
// taken over from the replica begins as decided. There is at most one.
const (
	prefixPending = "vault/pending/"
	pendingSet    = prefixPending + "set/"
	pendingDelete = prefixPending + "delete/"
	recordPending = prefixPending + "head"
)

const (
	proposed = 1
	decided  = 2
)

// pendingHead is what a pending change is besides its records.
type pendingHead struct {
	State    int             `cbor:"1,keyasint"`
	Root     []byte          `cbor:"2,keyasint"`           // hash of the root record that it makes
	Attached []pendingAttach `cbor:"3,keyasint,omitempty"` // further remote records that change with it
	Proofs   []byte          `cbor:"4,keyasint,omitempty"` // keys of old ‖ new ‖ recovery proof ‖ hash of the address, sealed; zeros for none
}

type pendingAttach struct {
	_       struct{} `cbor:",toarray"`
	Name    string
	Counter uint64
	Hash    []byte
	Body    []byte
}

func parsePendingHead(in []byte) (*pendingHead, error) {
	var h pendingHead
	if err := decode(in, &h); err != nil {
		return nil, err
	}
	ok := (h.State == proposed || h.State == decided) && len(h.Root) == 32 && len(h.Attached) < MaxSwapRecords
	for _, a := range h.Attached {
		ok = ok && len(a.Hash) == 32 && checkRemoteName(a.Name) == nil
	}
	if !ok {
		return nil, fault.New(fault.Incomplete, "the record of a pending change is damaged")
	}
	return &h, nil
}

func (h *pendingHead) attach(list []RemoteChange) {
	for _, a := range list {
		h.Attached = append(h.Attached, pendingAttach{Name: a.Name, Counter: a.Before.Counter, Hash: a.Before.Hash[:], Body: a.Body})
	}
}

func (h *pendingHead) attached() []RemoteChange {
	list := make([]RemoteChange, 0, len(h.Attached))
	for _, a := range h.Attached {
		list = append(list, RemoteChange{Name: a.Name, Before: Mark{a.Counter, [32]byte(a.Hash)}, Body: a.Body})
	}
	return list
}

func proofsContext(user uuid.UUID) seal.Context {
	return seal.Context{Owner: user.String(), Type: "pending", ID: "proofs"}
}

const proofsSize = 3*secret.KeySize + EmailHashSize

func sealProofs(user uuid.UUID, keys *keyring, c *Credentials) []byte {
	if c == nil {
		return nil
	}
	plain := make([]byte, proofsSize)
	defer secret.Wipe(plain)
	copy(plain, c.Old.key.Bytes())
	copy(plain[secret.KeySize:], c.New.key.Bytes())
	copy(plain[2*secret.KeySize:], c.Recovery.key.Bytes())
	copy(plain[3*secret.KeySize:], c.EmailHash[:])
	return seal.Seal(keys.current, keys.id, "vault/pending", proofsContext(user), plain)
}

// credentials opens the login proofs of a pending change; nil if it has none.
func (h *pendingHead) credentials(user uuid.UUID, keys *keyring) (*Credentials, error) {
	if len(h.Proofs) == 0 {
		return nil, nil
	}
	plain, err := seal.Open(keys.current, "vault/pending", proofsContext(user), h.Proofs)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	if len(plain) != proofsSize {
		return nil, fault.New(fault.NotAuthentic, "the login proofs of a pending change are damaged")
	}
	c := &Credentials{EmailHash: [EmailHashSize]byte(plain[3*secret.KeySize:])}
	for i, to := range []*Proof{&c.Old, &c.New, &c.Recovery} {
		if b := plain[i*secret.KeySize:][:secret.KeySize]; !allZero(b) {
			to.key, _ = secret.FromBytes(b)
		}
	}
	return c, nil
}

// PendingProof returns the login proof that a change of password whose outcome is open would set, or fault.NotFound. Where the coordinator
// refuses the present one, it has the change already, and this one logs in. The vault must be open. The caller wipes the proof.
func (v *Vault) PendingProof() (Proof, error) {
	c, err := v.writable()
	if err != nil {
		return Proof{}, err
	}
	h, err := readPending(v.db)
	if err != nil {
		return Proof{}, err
	}
	none := fault.New(fault.NotFound, "no change of the login proof is pending")
	if h == nil {
		return Proof{}, none
	}
	cred, err := h.credentials(c.header.user, c.keys)
	if err != nil {
		return Proof{}, err
	}
	if cred == nil {
		return Proof{}, none
	}
	cred.Old.Wipe()
	cred.Recovery.Wipe()
	return cred.New, nil
}

// pendingEntry is one record of a pending change.
func pendingEntry(w kv.Write) (key string, value []byte) {
	before := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(w.Value)), w.Before)
	if w.Deleted {
		return pendingDelete + w.Key, before
	}
	return pendingSet + w.Key, append(before, w.Value...)
}

func parsePendingEntry(key string, value []byte) (w kv.Write, err error) {
	if len(value) < 8 {
		return w, fault.New(fault.Incomplete, "a record of a pending change is damaged")
	}
	w.Before = binary.BigEndian.Uint64(value)
	var set bool
	if w.Key, set = strings.CutPrefix(key, pendingSet); set {
		w.Value = value[8:]
		return w, nil
	}
	w.Key, w.Deleted = strings.TrimPrefix(key, pendingDelete), true
	return w, nil
}

// stage writes a proposed change in one transaction, in a place where nothing of a former one is left.
func stage(db *kv.DB, writes []kv.Write, h *pendingHead) error {
	if err := removeAll(db, prefixPending); err != nil {
		return err
	}
	return db.Update(func(tx *kv.Tx) error {
		for _, w := range writes {
			key, value := pendingEntry(w)
			if err := tx.Set(key, value); err != nil {
				return err
			}
		}
		return setPendingHead(tx, h)
	})
}

func setPendingHead(tx *kv.Tx, h *pendingHead) error {
	raw, err := signed.Marshal(h)
	if err != nil {
		return err
	}
	return tx.Set(recordPending, raw)
}

// readPending returns the head of the pending change; nil if there is none.
func readPending(db *kv.DB) (h *pendingHead, err error) {
	err = db.View(func(tx *kv.Tx) error {
		raw, err := tx.Get(recordPending)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			h, err = parsePendingHead(raw)
		}
		return err
	})
	return h, err
}

// PendingWrites reports whether a pending change sets or deletes a record of the agent. Until it is decided nobody knows what the record
// will be; an agent that removes something for what the record says asks in the same transaction.
func PendingWrites(tx *kv.Tx, key string) (bool, error) {
	if head, err := tx.Has(recordPending); err != nil || !head {
		return false, err // without a head nothing will ever be applied
	}
	set, err := tx.Has(pendingSet + key)
	if err != nil || set {
		return set, err
	}
	return tx.Has(pendingDelete + key)
}

// dropPending removes a pending change that is not to be: its head, and then the rest, which without a head is nothing and goes at the latest
// before the next change is written. The caller holds writing.
func (v *Vault) dropPending() error {
	h, err := readPending(v.db)
	if err != nil {
		return err
	}
	if h != nil {
		if err := v.db.Update(func(tx *kv.Tx) error { return tx.Delete(recordPending) }); err != nil {
			return err
		}
	}
	v.awaited = nil
	if err := removeAll(v.db, prefixPending); err != nil {
		v.o.Logger.Warn("what is left of a dropped change of the vault was not removed yet", "code", string(fault.CodeOf(err)))
	}
	return nil
}

// applyPending makes a pending change, with what its OnCommit functions write: in one transaction, or in several after it is durably decided.
// It returns how many records of the agent stay as another transaction left them. The caller holds writing.
func (v *Vault) applyPending() (kept int, err error) {
	for {
		more, now := false, 0
		err := v.db.Update(func(tx *kv.Tx) (err error) {
			raw, err := tx.Get(recordPending)
			if errors.Is(err, fault.NotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			h, err := parsePendingHead(raw)
			if err != nil {
				return err
			}
			now, more, err = applySome(tx, h, v.awaited.of(h))
			return err
		})
		switch {
		case err != nil && v.awaited.gaveUp():
			v.o.Logger.Error("what comes with a change of the vault was not written", "code", string(fault.CodeOf(err)))
			continue
		case err != nil:
			return kept, err
		}
		if kept += now; !more {
			v.awaited = nil
			return kept, nil
		}
	}
}

// applySome applies what one transaction takes, and reports whether something is left. A change that takes several is decided first.
func applySome(tx *kv.Tx, h *pendingHead, last func(tx *kv.Tx) error) (kept int, more bool, err error) {
	keys, writes, more, err := somePending(tx)
	if err != nil {
		return 0, false, err
	}
	if more && h.State != decided {
		h.State = decided
		return 0, true, setPendingHead(tx, h)
	}
	for i, w := range writes {
		stays, err := applyWrite(tx, w)
		if err := errors.Join(err, tx.Delete(keys[i])); err != nil {
			return 0, false, err
		}
		if stays {
			kept++
		}
	}
	if more {
		return kept, true, nil
	}
	return kept, false, errors.Join(last(tx), tx.Delete(recordPending))
}

// awaited is what a change, whose answer of the replica is awaited, does besides its records. It lives as long as the process: that the
// answer is lost does not end it.
type awaited struct {
	root   [32]byte
	fns    []func(tx *kv.Tx) error // of OnCommit
	failed bool
}

// of returns what comes with a pending change.
func (a *awaited) of(h *pendingHead) func(tx *kv.Tx) error {
	if a == nil || a.root != [32]byte(h.Root) {
		return func(*kv.Tx) error { return nil }
	}
	return func(tx *kv.Tx) error {
		for _, fn := range a.fns {
			if err := fn(tx); err != nil {
				a.failed = true
				return err
			}
		}
		return nil
	}
}

// gaveUp reports, once, whether a function failed; the change, which the replica has, is then made without them.
func (a *awaited) gaveUp() bool {
	if a == nil || !a.failed {
		return false
	}
	a.fns, a.failed = nil, false
	return true
}

// keptRecords tells of records that a change, when it was made at last, left as others had written them meanwhile.
func (v *Vault) keptRecords(n int) {
	if n > 0 {
		v.o.Logger.Warn("records that were written meanwhile stay as they are beside a change of the vault", "count", n)
		v.notify(EventRecordsKept)
	}
}

// somePending reads entries of the pending change up to what one transaction takes.
func somePending(tx *kv.Tx) (keys []string, writes []kv.Write, more bool, err error) {
	size := 0
	err = tx.Scan(prefixPending, func(key string, value []byte) error {
		if key == recordPending {
			return nil
		}
		if len(keys) == batchRecords || size+len(value) > batchBytes && len(keys) > 0 {
			more = true
			return errEnough
		}
		w, err := parsePendingEntry(key, value)
		keys, writes, size = append(keys, key), append(writes, w), size+len(value)
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return keys, writes, more, err
}

// applyWrite makes one write. A record of the agent that somebody else changed meanwhile stays as it is.
func applyWrite(tx *kv.Tx, w kv.Write) (stays bool, err error) {
	if !strings.HasPrefix(w.Key, prefixVault) {
		now, err := tx.Version(w.Key)
		if err != nil || now != w.Before {
			return err == nil, err
		}
	}
	if w.Deleted {
		return false, tx.Delete(w.Key)
	}
	return false, tx.Set(w.Key, w.Value)
}

// journal writes what is taken over from a replica as a pending change, in transactions of a bearable size.
type journal struct {
	db     *kv.DB
	writes []kv.Write
	size   int
}

func (j *journal) add(w kv.Write) error {
	if len(j.writes) == batchRecords || j.size+len(w.Value) > batchBytes && len(j.writes) > 0 {
		if err := j.flush(); err != nil {
			return err
		}
	}
	j.writes, j.size = append(j.writes, w), j.size+len(w.Key)+len(w.Value)
	return nil
}

func (j *journal) flush() error {
	err := j.db.Update(func(tx *kv.Tx) error {
		for _, w := range j.writes {
			key, value := pendingEntry(w)
			if err := tx.Set(key, value); err != nil {
				return err
			}
		}
		return nil
	})
	j.writes, j.size = nil, 0
	return err
}

// decide ends the journal: from here on it will be applied.
func (j *journal) decide(hash [32]byte) error {
	if err := j.flush(); err != nil {
		return err
	}
	return j.db.Update(func(tx *kv.Tx) error { return setPendingHead(tx, &pendingHead{State: decided, Root: hash[:]}) })
}

// settle finishes what the process before left, or a full disk: a decided change is applied, an unfinished one goes, a proposed one waits.
// The caller holds writing.
func (v *Vault) settle() error {
	h, err := readPending(v.db)
	switch {
	case err != nil:
		return err
	case h == nil:
		return removeAll(v.db, prefixPending)
	case h.State == decided:
		kept, err := v.applyPending()
		v.keptRecords(kept)
		return err
	}
	return nil
}
