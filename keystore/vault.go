package keystore

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// The files beside the database.
const (
	accountFileName = "account.key"
	anchorFileName  = "vault.anchor"
)

// State is what a vault can do at the moment.
type State string

// The states.
const (
	None     State = "none"      // nobody registered here
	Locked   State = "locked"    // the keys are not in memory
	Unlocked State = "unlocked"  // everything works
	ReadOnly State = "read-only" // opened over a rollback: reads work, changes are fault.RolledBack
)

// The events that Notify gets.
const (
	EventUnlocked          = "vault.unlocked"
	EventLocked            = "vault.locked"            // also by itself: half of a change is in the database, or the password is another one since
	EventWrongPassword     = "vault.wrong_password"    // or kit
	EventThrottled         = "vault.throttled"         // a wait began, or a try came during one
	EventClockWentBack     = "vault.clock_went_back"   // seen while a wait was measured
	EventRolledBack        = "vault.rolled_back"       // an older vault was refused
	EventRollbackAccepted  = "vault.rollback_accepted" // and was opened for reading all the same
	EventForked            = "vault.forked"
	EventDamaged           = "vault.damaged" // records are missing or not authentic
	EventAnchorBehind      = "vault.anchor_behind"
	EventPasswordChanged   = "vault.password_changed"
	EventRecovered         = "vault.recovered"
	EventSynced            = "vault.synced"         // a change of another device was taken over
	EventUnconfirmed       = "vault.unconfirmed"    // the vault is now Fresh
	EventChangeDropped     = "vault.change_dropped" // a change whose answer was lost was not made: another device was faster
	EventChangeMade        = "vault.change_made"    // a change whose answer was lost was made, or is now
	EventRecordsKept       = "vault.records_kept"   // but not to records of the agent that were written meanwhile
	EventLeft              = "vault.left"           // the vault is a local one again
	EventPasswordElsewhere = "vault.password_changed_elsewhere"
)

// Options of a vault.
type Options struct {
	Dir     string             // of the account key file and the anchor; 0700, outside the database
	Profile Profile            // policy for argon2id; default Production
	Clock   func() time.Time   // default time.Now
	Logger  *slog.Logger       // default none
	Files   atomicfile.Layer   // default the system's
	Notify  func(event string) // called with an event; must return soon and not call the vault, which may be held. See EventLocked
}

// Vault is a user's vault in a database. Its methods may be called by several goroutines.
type Vault struct {
	db *kv.DB
	o  Options

	attempts chan struct{} // holds one token: one password, kit or restore is judged at a time
	throttle throttle      // guarded by attempts

	unsettled atomic.Bool // a decided change is not applied yet: nothing opens before it is

	writing mutex    // held over a change, from reading the contents to moving the anchor
	awaited *awaited // of the pending change, if this process made it; guarded by writing

	mu       sync.RWMutex
	c        *contents       // nil while locked
	readOnly bool            // opened over a rollback
	replica  Replica         // nil: not connected
	life     context.Context // ends at the next Lock
	end      context.CancelFunc
	pending  map[string]*entry // of a change that is being committed: the database may already show it
}

// mutex is a lock whose wait ends with a context. It is made with room for one.
type mutex chan struct{}

func (m mutex) Lock()   { m <- struct{}{} }
func (m mutex) Unlock() { <-m }

// LockContext is Lock, or returns why ctx ended.
func (m mutex) LockContext(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// New returns the vault of a database. There may be one Vault for a database at a time.
// What an interrupted Restore or Fetch left is removed, and files of Options.Dir that a process which died had not finished.
func New(db *kv.DB, o Options) *Vault {
	if o.Profile == (Profile{}) {
		o.Profile = Production()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Files == nil {
		o.Files = atomicfile.OS
	}
	v := &Vault{db: db, o: o, attempts: make(chan struct{}, 1), writing: make(mutex, 1)}
	v.life, v.end = context.WithCancel(context.Background())
	if err := v.undoRestore(); err != nil {
		o.Logger.Error("an interrupted restore was not removed", "code", string(fault.CodeOf(err)))
	}
	if err := v.settle(); err != nil {
		v.unsettled.Store(true)
		o.Logger.Error("an interrupted change was not finished yet", "code", string(fault.CodeOf(err)))
	}
	if err := atomicfile.RemoveUnfinished(o.Files, o.Dir); err != nil && !errors.Is(err, fault.NotFound) {
		o.Logger.Error("unfinished files were not removed", "code", string(fault.CodeOf(err)))
	}
	return v
}

func (v *Vault) path(name string) string { return filepath.Join(v.o.Dir, name) }

func (v *Vault) notify(event string) {
	if v.o.Notify != nil {
		v.o.Notify(event)
	}
}

// State returns what the vault can do now.
func (v *Vault) State() State {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch {
	case v.c != nil && v.readOnly:
		return ReadOnly
	case v.c != nil:
		return Unlocked
	}
	if _, err := v.readHeader(); errors.Is(err, fault.NotFound) {
		return None
	}
	return Locked
}

// UserID returns the user's UUID; "" before registration. While the vault is locked it is what the header says, unverified.
func (v *Vault) UserID() string {
	if h := v.anyHeader(); h != nil {
		return h.user.String()
	}
	return ""
}

// Unattended reports whether a credential of this machine opens the vault. While the vault is locked it is what the header says, unverified.
func (v *Vault) Unattended() bool {
	h := v.anyHeader()
	if h == nil || h.unattended == nil {
		return false
	}
	own := false
	err := v.db.View(func(tx *kv.Tx) (err error) {
		own, err = ownSlot(tx, h)
		return err
	})
	return err == nil && own
}

// Email returns the normal form of the user's address; "" while the vault is locked.
func (v *Vault) Email() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return ""
	}
	return v.c.email
}

// anyHeader returns the authentic header of an open vault, or the stored one; nil if there is none.
func (v *Vault) anyHeader() *header {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c != nil {
		return v.c.header
	}
	h, err := v.readHeader()
	if err != nil {
		return nil
	}
	return h
}

// readHeader reads the stored header; fault.NotFound if nobody registered.
func (v *Vault) readHeader() (*header, error) {
	var raw []byte
	err := v.db.View(func(tx *kv.Tx) (err error) {
		raw, err = tx.Get(recordHeader)
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "nobody is registered here")
	}
	if err != nil {
		return nil, err
	}
	return parseHeader(raw)
}

// Lock wipes the keys. It waits for a change that is being committed; whatever waits for the replica is broken off.
func (v *Vault) Lock() {
	v.mu.RLock()
	v.end()
	v.mu.RUnlock()
	v.writing.Lock()
	defer v.writing.Unlock()
	v.mu.Lock()
	v.life, v.end = context.WithCancel(context.Background())
	v.mu.Unlock()
	if v.leave() {
		v.notify(EventLocked)
	}
}

// lockAgain is Lock that breaks nothing off: for a call that opened the vault and failed.
func (v *Vault) lockAgain() {
	v.writing.Lock()
	defer v.writing.Unlock()
	if v.leave() {
		v.notify(EventLocked)
	}
}

// leave wipes the keys and reports whether there were any. The caller holds writing.
func (v *Vault) leave() bool {
	v.mu.Lock()
	was := v.c
	v.c, v.readOnly, v.pending = nil, false, nil
	if was != nil {
		was.keys.wipe()
	}
	v.mu.Unlock()
	if was == nil {
		return false
	}
	debug.FreeOSMemory() // what ciphers left on the heap, and stacks of goroutines that ended, go with it;
	debug.FreeOSMemory() // the collector is done with the latter at its second round
	return true
}

// enter makes the vault open under a vault key that a wrap of h gave; it takes the key. An open vault stays as it is.
func (v *Vault) enter(ctx context.Context, h *header, vaultKey secret.Key, acceptRollback bool) error {
	if err := v.writing.LockContext(ctx); err != nil {
		vaultKey.Wipe()
		return err
	}
	defer v.writing.Unlock()
	if open, err := v.isOpen(acceptRollback); open || err != nil {
		vaultKey.Wipe()
		return err
	}
	var c *contents
	err := v.db.View(func(tx *kv.Tx) (err error) {
		c, err = load(tx, h, vaultKey)
		return err
	})
	if err != nil {
		return v.refused(err)
	}
	behind, err := v.checkAnchor(c)
	readOnly := acceptRollback && errors.Is(err, fault.RolledBack)
	if err != nil && !readOnly {
		c.keys.wipe()
		return v.refused(err)
	}
	if behind {
		v.moveAnchor(c)
	}
	v.become(c, readOnly)
	return nil
}

func (v *Vault) isOpen(acceptRollback bool) (bool, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c != nil && v.readOnly && !acceptRollback {
		return true, errReadOnly
	}
	return v.c != nil, nil
}

// become publishes the contents of a vault that was opened.
func (v *Vault) become(c *contents, readOnly bool) {
	v.mu.Lock()
	v.c, v.readOnly, v.pending = c, readOnly, nil
	v.mu.Unlock()
	if readOnly {
		v.o.Logger.Warn("an older vault was opened for reading, as the user asked", "counter", c.counter)
		v.notify(EventRollbackAccepted)
	}
	v.notify(EventUnlocked)
}

var errReadOnly = fault.New(fault.RolledBack, "the vault is an older one and was opened for reading only")

// refused tells the event of a vault that was not opened.
func (v *Vault) refused(err error) error {
	switch fault.CodeOf(err) {
	case fault.RolledBack:
		v.notify(EventRolledBack)
	case fault.Forked:
		v.notify(EventForked)
	case fault.NotAuthentic, fault.Incomplete:
		v.notify(EventDamaged)
	}
	v.o.Logger.Warn("the vault was not opened", "code", string(fault.CodeOf(err)))
	return err
}

// turn waits until no other password is judged, and returns the function that ends the turn.
func (v *Vault) turn(ctx context.Context) (func(), error) {
	select {
	case v.attempts <- struct{}{}:
		if v.unsettled.Load() {
			if err := v.settleAgain(); err != nil {
				<-v.attempts
				return nil, err
			}
		}
		return func() { <-v.attempts }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (v *Vault) settleAgain() error {
	v.writing.Lock()
	defer v.writing.Unlock()
	err := v.settle()
	v.unsettled.Store(err != nil)
	return err
}
