package membership

import (
	"context"
	"errors"
	"sync"
	"time"

	"coldframe/daemon/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Links is the list as the coordinator keeps it.
type Links interface {
	// Add appends a link as number sequence. fault.Conflict: another link is there, or this one already. fault.Unavailable,
	// fault.Internal: it may have been added. Any other failure: it was not.
	Add(ctx context.Context, link []byte, sequence uint64) error
	// After returns all links above sequence, in order.
	After(ctx context.Context, sequence uint64) ([][]byte, error)
}

// Records are the blobs beside the list: wraps records and requests.
type Records interface {
	Read(ctx context.Context, name string) ([]byte, error) // nil: none
	Write(ctx context.Context, name string, body []byte) error
	Remove(ctx context.Context, name string) error // of one that is not there: nil
	List(ctx context.Context, prefix string) ([]string, error)
}

// Memory is one durable value of this machine, which the caller seals. It must outlive everything but the account.
type Memory interface {
	Load() (kept []byte, err error) // nil: none
	Save(kept []byte) error         // durable when it returns nil
}

// Options are what a Member needs. What they hold must not call the Member.
type Options struct {
	User   devices.UserID
	Signer signed.Signer  // the user's signing key, of which the Member keeps a copy
	Sealer devices.Sealer // of the vault, for devices.Purpose; to be there until Close returned

	Files   atomicfile.Layer
	KeyFile string // path of the device key file
	Name    string // of this machine, for when it begins the list

	Links   Links
	Records Records
	Memory  Memory
	History Memory // for PutBack; nil: it has nothing

	// Remembered returns the head that the user's devices noted in the vault, as it was at the last synchronisation; zero: none.
	Remembered func() (devices.Head, error)
	// Note puts a head into the vault, unless a higher one is there.
	Note func(ctx context.Context, h devices.Head) error
	// MayBegin refuses to begin the list where the user may have one that is hidden. It is asked after the coordinator said that there is none, before
	// the first link is signed, or sent again. nil: it may.
	MayBegin func(ctx context.Context) error

	Now func() time.Time // nil: time.Now
}

// State is this machine's place.
type State string

// The states.
const (
	Unknown   State = "unknown"   // the list was not seen yet
	Unlisted  State = "unlisted"  // there is a list, and this machine is not on it and did not ask
	Asking    State = "asking"    // its request waits for a listed device
	Listed    State = "listed"    // it is one of the user's devices
	Removed   State = "removed"   // it was: only Reset, and asking anew, brings it back
	Recovered State = "recovered" // somebody began the list again without any listed device; a person must say whether that was the user
)

// Member is this machine among the user's devices. Its methods may be called by several goroutines.
type Member struct {
	o     Options
	owner devices.Owner

	life context.Context //nolint:containedctx // ends with Close, and all operations with it
	end  context.CancelFunc
	turn chan struct{} // holds something while an operation runs: one at a time talks to the coordinator

	device   *devices.Device // with the turn
	record   *devices.Record // of the newest link, once it was read; with the turn
	recovery devices.Hash    // of the link that is a recovery and was not followed; with the turn
	accepted devices.Hash    // of the one that a person accepted; with the turn
	asked    bool            // the request is at the coordinator, as far as this machine knows; with the turn
	minor    error           // what went wrong beside the list, and stops nothing; with the turn

	mu      sync.Mutex // below: written with the turn and mu, read with either
	id      devices.DeviceID
	list    *devices.List // nil: none
	links   [][]byte      // its newest links, those that are kept
	pending *pending
	forked  bool
	ring    *devices.Ring // nil: no state key
	state   State
	err     error // of the last time the list was followed; nil if all is well
	halted  bool  // err is about the list itself
}

// New opens this machine's device key, or makes one if it has none yet, and restores what it remembers of the list. Failures are those of
// devices.OpenDevice, save incomplete, and not_authentic for a memory that is not this user's, or damaged.
func New(o Options) (*Member, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Signer.Key = o.Signer.Key.Clone()
	if o.Signer.Key.IsZero() {
		return nil, fault.New(fault.Locked, "the user's signing key is not there")
	}
	life, end := context.WithCancel(context.Background())
	m := &Member{
		o: o, owner: devices.Owner{User: o.User, Key: o.Signer.Public()}, life: life, end: end,
		turn: make(chan struct{}, 1), state: Unknown,
	}
	err := m.restore()
	if err == nil {
		err = m.openDevice()
	}
	if err != nil {
		end()
		o.Signer.Key.Wipe()
		return nil, err
	}
	m.conclude(nil)
	return m, nil
}

// openDevice opens the device key. A machine that has none is a new device, whatever it remembers: its id was lost with the key.
func (m *Member) openDevice() error {
	d, err := devices.OpenDevice(m.o.Files, m.o.KeyFile, m.o.User)
	if errors.Is(err, fault.Incomplete) {
		d, err = devices.CreateDevice(m.o.Files, m.o.KeyFile, m.o.User, m.o.Now())
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.device, m.id, m.asked = d, d.ID, true
	return nil
}

// Close ends what is under way and wipes all keys. Afterwards everything is fault.Locked.
func (m *Member) Close() {
	m.end()
	m.turn <- struct{}{} // no operation has it any more
	defer func() { <-m.turn }()
	m.device.Wipe()
	m.o.Signer.Key.Wipe()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropRing()
}

// dropRing wipes the state keys. The caller holds turn and mu.
func (m *Member) dropRing() {
	if m.ring != nil {
		m.ring.Wipe()
		m.ring = nil
	}
}

// enter waits for the turn. The context it returns ends with the Member; leave gives the turn back.
func (m *Member) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.life, cancel)
	select {
	case m.turn <- struct{}{}:
		if ctx.Err() == nil && m.life.Err() == nil {
			return ctx, func() { stop(); cancel(); <-m.turn }, nil
		}
		<-m.turn
	case <-ctx.Done():
	}
	stop()
	cancel()
	if m.life.Err() != nil {
		return nil, nil, errClosed
	}
	return nil, nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the device list was busy until the caller gave up")
}

var errClosed = fault.New(fault.Locked, "the devices are locked")

// DeviceID returns the id of this machine: from New on, and until Reset.
func (m *Member) DeviceID() devices.DeviceID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

// State returns this machine's place, and what is wrong, as Sync found it.
func (m *Member) State() (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.err
}

// Head returns the newest link of the list that this device is on; zero if it is on none.
func (m *Member) Head() devices.Head {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil || m.state != Listed {
		return devices.Head{}
	}
	return m.list.Head()
}

// CheckHead judges what somebody else says is a head of this list, as of a contact's message: fault.Forked for another link than the one
// that is known under its number, fault.Incomplete for one to come, of which a Sync knows more. Others may lie: it is to be reported, and
// changes nothing here. Of links before those that are kept, nothing is known.
func (m *Member) CheckHead(h devices.Head) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch known, ok := m.hashAt(h.Sequence); {
	case m.list == nil || h.Sequence > m.list.Sequence:
		return fault.New(fault.Incomplete, "device list %d is newer than the one known", h.Sequence)
	case ok && known != h.Hash:
		return fault.New(fault.Forked, "two device lists with number %d", h.Sequence)
	}
	return nil
}

// Follows reports whether this machine is on a list that has a link. Of links before those that are kept, nothing is known: false.
func (m *Member) Follows(h devices.Head) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.hashAt(h.Sequence)
	return ok && known == h.Hash && m.state == Listed
}

// hashAt returns the hash of a link that is kept. The caller holds turn or mu.
func (m *Member) hashAt(sequence uint64) (devices.Hash, bool) {
	if m.list == nil || sequence > m.list.Sequence || m.list.Sequence-sequence >= uint64(len(m.links)) {
		return devices.Hash{}, false
	}
	return signed.Hash(m.links[uint64(len(m.links))-1-(m.list.Sequence-sequence)]), true
}

// conclude notes how following the list ended, and where this machine stands. The caller holds the turn.
func (m *Member) conclude(err error) {
	state := m.place()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.err, m.halted = state, err, err != nil && !transient(err)
	if err == nil {
		m.err = m.minor
	}
	if state == Removed || state == Unlisted {
		m.dropRing()
	}
}

// place returns where this machine stands. The caller holds the turn.
func (m *Member) place() State {
	if m.list == nil {
		return Unknown
	}
	if !m.recovery.IsZero() {
		return Recovered
	}
	switch _, err := m.list.Find(m.device.ID); {
	case errors.Is(err, fault.Revoked):
		return Removed
	case err == nil && m.device.Joined():
		return Listed
	case m.asked && m.asks():
		return Asking
	}
	return Unlisted
}

// asks reports whether the device key is that of a machine that waits for approval.
func (m *Member) asks() bool {
	code, err := m.device.Code()
	code.Wipe()
	return err == nil
}

// author is this device as the maker of a link.
func (m *Member) author() devices.Author {
	return devices.Author{Signing: m.o.Signer, Sealer: m.o.Sealer, Device: m.device, Now: m.o.Now()}
}
