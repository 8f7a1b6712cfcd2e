package keystore

import (
	"context"
	"errors"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Replica keeps sealed records for one user: the coordinator, as the vault sees it. Nothing that it answers is believed.
//
// Failures are codes. fault.Unavailable, and any error without a code, leave open whether a swap was made; after every other code it was not.
type Replica interface {
	// Read returns named records as they are at one moment, in the order of the names: at least one, and fewer than asked for where an
	// answer does not hold more. A record that is not there has no body.
	Read(ctx context.Context, names []string) ([]Remote, error)

	// Marks is Read without bodies, and says of each record whether it has one. All names are answered.
	Marks(ctx context.Context, names []string) ([]Presence, error)

	// List returns names that begin with prefix and come after another, in order, with their marks and without bodies, and whether
	// there are more.
	List(ctx context.Context, prefix, after string) (list []Remote, more bool, err error)

	// Swap makes all changes or none. fault.Conflict: a record is not the one that its change names.
	Swap(ctx context.Context, s Swap) error
}

// Limits of one swap and of one record, in bytes of bodies.
const (
	MaxSwapRecords = 64
	MaxSwapBytes   = 4 << 20 // of all records together
	MaxRemote      = 4 << 20

	// MaxAttachedBytes is how many bytes a change may attach: they share its swap with the root blob.
	MaxAttachedBytes = MaxSwapBytes - maxRootBlob
)

// Mark names one version of a remote record. The zero value: there never was one.
type Mark struct {
	Counter uint64
	Hash    [32]byte
}

// Remote is a record of a replica. One that was deleted has no body and may have a mark.
type Remote struct {
	Name string // 1 to 64 characters a-z, 0-9 and -
	Mark Mark
	Body []byte
}

// Presence is a version of a record, and whether that has a body: one that was deleted has none.
type Presence struct {
	Name  string
	Mark  Mark
	There bool
}

// RemoteChange puts a body in the place of a version, or deletes that version.
type RemoteChange struct {
	Name   string
	Before Mark
	Body   []byte // nil: deleted
}

// Swap is what changes together.
type Swap struct {
	Changes []RemoteChange

	// Credentials, if not nil, change in the same transaction.
	Credentials *Credentials
}

// Credentials are what proves the user to the coordinator, before and after a change of password, address or recovery kit.
type Credentials struct {
	Old       Proof               // login proof; where the recovery kit opened the vault, its proof
	New       Proof               // login proof; as Old if only the kit changes
	Recovery  Proof               // of the new recovery kit; none: it stays
	EmailHash [EmailHashSize]byte // of the new address; zeros: it stays
}

func (c *Credentials) wipe() {
	if c != nil {
		c.Old.Wipe()
		c.New.Wipe()
		c.Recovery.Wipe()
	}
}

// membership is how the vault stands to a replica: one byte in the record vault/replica, which is absent while it is alone.
type membership byte

const (
	alone   membership = 0 // changes are local
	joining membership = 1 // the first upload began
	joined  membership = 2 // the replica is the truth; changes go through it
	fresh   membership = 3 // joined, and nobody confirmed yet that what it gave is the newest
)

func (m membership) replicated() bool { return m == joined || m == fresh }

func readMembership(tx *kv.Tx) (membership, error) {
	raw, err := tx.Get(recordReplica)
	switch {
	case errors.Is(err, fault.NotFound):
		return alone, nil
	case err != nil:
		return alone, err
	case len(raw) != 1 || raw[0] < byte(joining) || raw[0] > byte(fresh):
		return alone, fault.New(fault.Incomplete, "the record of the replica is damaged")
	}
	return membership(raw[0]), nil
}

func (v *Vault) membership() (m membership, err error) {
	err = v.db.View(func(tx *kv.Tx) (err error) {
		m, err = readMembership(tx)
		return err
	})
	return m, err
}

func (v *Vault) setMembership(m membership) error {
	return v.db.Update(func(tx *kv.Tx) error {
		if m == alone {
			return tx.Delete(recordReplica)
		}
		return tx.Set(recordReplica, []byte{byte(m)})
	})
}

// Connect says where the vault is replicated to from now on; nil: it cannot be reached.
func (v *Vault) Connect(r Replica) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.replica = r
}

// connection returns the replica and the context of work with it, see working. The caller ends it.
func (v *Vault) connection(ctx context.Context) (Replica, context.Context, func(), error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.replica == nil {
		return nil, nil, nil, errNoReplica
	}
	ctx, end := working(ctx, v.life)
	return v.replica, ctx, end, nil
}

// working returns a context that ends with ctx and, with the cause errLocked, when the vault is being locked. The caller ends it.
func working(ctx, life context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(errLocked) })
	return ctx, func() { stop(); cancel(nil) }
}

// untilLocked is connection for a replica that the caller names.
func (v *Vault) untilLocked(ctx context.Context) (context.Context, func()) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return working(ctx, v.life)
}

// orLocked gives a failure of work with a replica that Lock broke off its code. What is undecided stays so.
func orLocked(ctx context.Context, err error) error {
	if err != nil && !Undecided(err) && errors.Is(context.Cause(ctx), error(errLocked)) {
		return errLocked
	}
	return err
}

var errNoReplica = fault.New(fault.Unavailable, "the coordinator that keeps the vault cannot be reached")

// Joined reports whether a replica keeps the vault. Changes then need it.
func (v *Vault) Joined() (bool, error) {
	m, err := v.membership()
	return m.replicated(), err
}

// Shared reports whether a replica keeps the open vault, or did so once: then other devices may have changed it.
func (v *Vault) Shared() (bool, error) {
	joined, err := v.Joined()
	if err != nil || joined {
		return joined, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return false, errLocked
	}
	left, err := v.db.Has(recordLeft)
	return left || len(v.c.history) > 0, err
}

// Fresh reports whether this machine took the vault from the replica without anything to compare it with: nobody but the replica says
// that it is the newest. It stays so until Confirm.
func (v *Vault) Fresh() (bool, error) {
	m, err := v.membership()
	return m == fresh, err
}

// Confirm ends Fresh: another device or a contact named this vault's head, or the user decided.
func (v *Vault) Confirm() error {
	v.writing.Lock()
	defer v.writing.Unlock()
	m, err := v.membership()
	if err != nil || m != fresh {
		return err
	}
	return v.setMembership(joined)
}

// one reads one record.
func one(ctx context.Context, r Replica, name string) (Remote, error) {
	list, err := r.Read(ctx, []string{name})
	if err != nil {
		return Remote{}, remoteFault(err)
	}
	if err := checkRemote(list, []string{name}); err != nil {
		return Remote{}, err
	}
	return list[0], nil
}

// checkRemote refuses an answer that is not to the question: the first of the names, each no larger than a record may be.
func checkRemote(list []Remote, names []string) error {
	if len(list) < 1 || len(list) > len(names) {
		return fault.New(fault.NotAuthentic, "the replica answers with another number of records")
	}
	for i, name := range names[:len(list)] {
		rec := list[i]
		if rec.Name != name {
			return fault.New(fault.NotAuthentic, "the replica answers with another record")
		}
		if len(rec.Body) > MaxRemote {
			return fault.New(fault.TooLarge, "a record of the replica is larger than %d MiB", MaxRemote>>20)
		}
	}
	return nil
}

// remoteFault gives a failure of a replica that has no code one. A context that ended keeps its cause.
func remoteFault(err error) error {
	if err == nil || fault.CodeOf(err) != fault.Internal || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "the coordinator that keeps the vault did not answer")
}

func checkRemoteName(name string) error {
	ok := len(name) >= 1 && len(name) <= 64 && name != remoteRoot && !strings.HasPrefix(name, remotePrefix)
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fault.New(fault.InvalidRequest, "a remote record's name has 1 to 64 characters a-z, 0-9 and -, and is none of the vault's")
	}
	return nil
}
