package messages

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// StateKeys are the keys that records are sealed under: one for each epoch, of which older ones are erased once nothing needs them.
type StateKeys interface {
	// Current returns the newest epoch and its key. fault.Locked: there is none now.
	Current(ctx context.Context) (epoch uint64, key secret.Key, err error)
	// At returns the key of an epoch; fault.NotFound, fault.Stale: it was erased, or never reached this device; fault.Incomplete: it may come
	// yet.
	At(ctx context.Context, epoch uint64) (secret.Key, error)
}

// Bundles gets what sessions begin with.
type Bundles interface {
	// Bundle returns a bundle of the peer that was verified against whatever vouches for the peer. fault.KeyChanged and fault.UntrustedKey
	// make everything to that peer wait.
	Bundle(ctx context.Context, peer string) (*ratchet.Bundle, error)
}

// Contacts is what the application knows of people.
type Contacts interface {
	// Identity returns the identity key that a peer is pinned to, zeroes if to none yet. fault.KeyChanged, fault.UntrustedKey, fault.Revoked:
	// nothing goes to them or is opened from them until a person has looked.
	Identity(ctx context.Context, peer string) ([32]byte, error)
}

// Verdict is what happens to a sender's messages.
type Verdict int

// The verdicts. What is held stays in the mailbox, a few of each sender.
const (
	Accept Verdict = iota
	Hold
	Drop
)

// Gate decides whose messages are opened.
type Gate interface {
	Admit(ctx context.Context, sender string) (Verdict, error)
}

// Handler takes a received body into the application. It makes its effect and r.Removal() one swap at the coordinator; then the body is
// taken once, on whichever device. A handler must bear being called again with the same body.
//
// Its failures: what Never made sets the body aside, whatever its code. fault.Unavailable, Locked and Unauthorized stop everything, as
// does ctx; fault.Conflict, Busy, StorageFull and Incomplete leave this body for the next Receive, which goes on with the others; any
// other one sets it aside.
type Handler func(ctx context.Context, r *Received) error

// Never returns a handler's failure that no other try mends, with the code of err: the body is set aside. A rejection of the application's
// has to become one, also if its code would leave the body for another try otherwise.
func Never(err error) error {
	if err != nil {
		err = never{err}
	}
	return err
}

type never struct{ error }

func (n never) Unwrap() error { return n.error }

// Event is something that a person or the application may want to know.
type Event struct {
	What EventType
	Peer string
	Code fault.Code // why; "" if there is nothing wrong
}

// EventType is the kind of an event.
type EventType string

// The events.
const (
	SetAside    EventType = "set_aside"    // a message could not be read, or is of an unknown kind
	Dropped     EventType = "dropped"      // one was dropped: replayed, our own, of a sender who is refused, or more than a stranger may have
	Held        EventType = "held"         // a message waits for consent, or for somebody to look at a changed key
	RecordFault EventType = "record_fault" // the record of a session, or that of the prekeys, is not what it was
	Unproven    EventType = "unproven"     // a record is so far ahead that nobody can say whether it follows the one that was seen last
	PassedOver  EventType = "passed_over"  // Reseal left a record, or a body if there is no peer, that no state key opens
	HeadFault   EventType = "head_fault"   // heads that cannot both be right
	GivenUp     EventType = "given_up"     // the session with a stranger who asks for nothing made room for another one's
)

// Config is what Messages needs.
type Config struct {
	Local     *ratchet.Local // Address.Name is the user's UUID
	DB        *kv.DB
	LocalKey  secret.Key // seals what waits on this device
	LocalID   seal.KeyID
	StateKeys StateKeys
	Blobs     Blobs
	Mailbox   Mailbox
	Bundles   Bundles
	Contacts  Contacts
	Gate      Gate
	Handlers  map[string]Handler // by kind

	// MaySend is asked right before a message is made for a peer, and before it is posted; its failure lets what is for them wait. nil: it
	// always may.
	MaySend func(ctx context.Context, peer string) error

	Heads func(ctx context.Context, peer string) ([]Head, error) // to tell a peer, MaxHeads of them at a time; nil: none
	// Standing says what a peer is to the user: what is kept of them, and whether their word on heads counts. nil: everybody is a contact.
	// It is asked outside transactions.
	Standing func(peer string) (Standing, error)

	// MaySpeak reports whether a peer's word on an object counts: a lie about it makes the object forked for everybody here. nil: each peer
	// may speak of what has the peer's own id.
	MaySpeak func(peer, typ, id string) bool

	Event func(Event)      // nil: nobody is told; it must not call Messages
	Now   func() time.Time // nil: time.Now
}

// Messages is one agent's end of all sessions. Its methods may be called by several goroutines, but what Config holds must not call back,
// save that a handler may enqueue, and ask for anything but Receive, Rescan and Reseal.
type Messages struct {
	config Config
	user   string
	step   func(string) // called around each durable step; tests end the world in it

	lastPlace atomic.Int64  // of the newest entry of the outbox
	hurries   atomic.Uint64 // how often somebody asked for what waits
	queued    queued
	sending   sync.Mutex      // one Send at a time, and what is posted below it
	posted    []string        // keys of what the coordinator took lately, oldest first; nil: not read yet
	reposted  map[string]bool // those of them that were posted again
	swept     time.Time       // when what is old was forgotten
	repostFor string          // the restore that this was for
	turns     map[string]int  // number of the next head to tell each peer, of those that do not fit into one message
	receiving sync.Mutex      // one Receive at a time, and what is below it
	after     uint64          // the mailbox was read up to here
	rescan    atomic.Bool     // it is to be read from its beginning
	epoch     uint64          // the newest when it was last read
	lookAgain time.Time       // when it is to be read from its beginning for what a record fault left there; zero: nothing is
	listed    bool            // bodies that are left over were listed
	stored    []string        // those of them that were not looked at yet
	held      map[string]int
	postponed map[string]Acknowledgement // bodies that wait for the next Receive, by name; with the message that each came in, if it is known
	changed   map[string]int             // messages of each sender, left in the mailbox, that say they come under another key
	unknown   map[string]int             // bodies of unknown kinds of each sender that are left at the coordinator

	life   sync.Mutex
	opened context.Context         // what is under way ends with it
	wipe   context.CancelCauseFunc // ends it

	givenUp  sync.Map   // peers whose open session, "" for the prekeys, Restart gave up: they go before the next use
	mu       sync.Mutex // sessions and prekeys
	sessions map[string]*session
	preKeys  *preKeys
}

// New returns the messages of a user. Nothing is read before it is asked for something.
func New(c Config) *Messages {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaySend == nil {
		c.MaySend = func(context.Context, string) error { return nil }
	}
	if c.Standing == nil {
		c.Standing = func(string) (Standing, error) { return StandingContact, nil }
	}
	if c.MaySpeak == nil {
		c.MaySpeak = func(peer, _, id string) bool { return id == peer }
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	m := &Messages{
		config: c, user: c.Local.Address.Name, step: func(string) {}, held: map[string]int{}, sessions: map[string]*session{},
		postponed: map[string]Acknowledgement{}, turns: map[string]int{}, reposted: map[string]bool{},
		changed: map[string]int{}, unknown: map[string]int{},
	}
	m.renew()
	return m
}

// errWiped is why calls end that were under way when keys were wiped.
var errWiped = fault.New(fault.Locked, "locked meanwhile")

// Wipe forgets all keys in memory. What is under way ends with fault.Locked, without waiting for the coordinator; what comes after opens
// the records again.
func (m *Messages) Wipe() {
	m.renew()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
}

// renew ends what is under way.
func (m *Messages) renew() {
	m.life.Lock()
	defer m.life.Unlock()
	if m.wipe != nil {
		m.wipe(errWiped)
	}
	m.opened, m.wipe = context.WithCancelCause(context.Background())
}

// until calls fn with a context that ends with ctx, and when keys are wiped.
func (m *Messages) until(ctx context.Context, fn func(ctx context.Context) error) error {
	m.life.Lock()
	opened := m.opened
	m.life.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(opened, func() { cancel(errWiped) })
	defer stop()
	err := fn(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errWiped) {
		return errWiped
	}
	return err
}

// forget drops all open records. The caller holds mu.
func (m *Messages) forget() {
	for peer := range m.sessions {
		m.drop(peer)
	}
	m.dropPreKeys()
}

// stops reports whether a handler's failure is one of everything, and not of the one body.
func stops(ctx context.Context, err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.Locked, fault.Unauthorized:
		return true
	}
	return ctx.Err() != nil
}

// backoff returns how long to wait after so many failures, with full jitter and at least a tenth of it.
func backoff(tries int, limit time.Duration) time.Duration {
	d := limit
	if tries < 20 {
		d = min(limit, time.Second<<tries)
	}
	return d/10 + rand.N(d-d/10) //nolint:gosec // jitter is no secret
}
