package ratchet

import (
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Limits of sessions (spec section 10).
const (
	maxArchived = 40

	// MaxUnacknowledged is how long a session is used for sending before the peer's first answer.
	MaxUnacknowledged = 30 * 24 * time.Hour

	// MaxPlaintext is the size of the largest message body, in bytes.
	MaxPlaintext = MaxMessageSize - 8<<10

	lastCounter = 1<<32 - 1
)

// Local is the party that we are: one for a user, whatever devices act for it.
type Local struct {
	Identity       Identity
	Address        Address
	RegistrationID uint32 // random, 14 bits, chosen when the identity is made

	// Random is where all randomness comes from; nil is crypto/rand. Anything else is for known answers: a repeated stream repeats keys.
	Random io.Reader
}

func (l *Local) random() io.Reader {
	if l.Random != nil {
		return l.Random
	}
	return rand.Reader
}

// private returns a copy of the identity's scalar, to be wiped. Without one, as when the vault was locked meanwhile, it is fault.Locked.
func (l *Local) private() (k [32]byte, err error) {
	if !l.Identity.private.Use(func(b []byte) { copy(k[:], b) }) {
		return k, fault.New(fault.Locked, "the identity key is not there")
	}
	return k, nil
}

func (l *Local) sign(message []byte) ([SignatureSize]byte, error) {
	return l.Identity.sign(l.random(), message)
}

// MessageType tells the two kinds of message apart; the transport carries it (spec section 8).
type MessageType uint8

// The kinds of message, by their numbers in the reference.
const (
	TypeMessage MessageType = 2 // SignalMessage
	TypePreKey  MessageType = 3 // PreKeySignalMessage: a SignalMessage and what the receiver needs to make the session
)

// Message is a message as it travels.
type Message struct {
	Type MessageType
	Body []byte
}

// Save stores a change durably, all of it or nothing, before it returns nil. The bytes in it are overwritten after that, but those of Body. It
// must refuse, with fault.Conflict, a change whose Counter is not one more than the highest there was for this peer, and one with prekeys
// whose PreKeysCounter is not one more than theirs: another agent of the same user was faster. Both are compared in the transaction that
// stores them.
type Save func(Change) error

// Session is what we share with one peer: the current session, and archived ones that messages may still come for. It is made by
// NewSession or OpenSession. It is not safe for concurrent use; two of the same record exclude one another through the counter.
//
// What it holds is the record that is stored, so a message key is not used twice as long as Save keeps its word: nothing is handed out
// before Save has returned, and after an error of Save, when nobody knows what is stored, every method fails with fault.Conflict until the
// session is opened again, and the prekeys with it.
type Session struct{ in *session }

// session is behind a pointer so that no format verb reaches its keys.
type session struct {
	local  *Local
	remote Address
	pinned [32]byte // identity key of the peer; zero: none yet

	current  *state   // nil: none
	archived []*state // newest first; never written to; one too many after Start, until the record is stored
	fresh    bool     // current or archived are not those of the record: write everything

	counter uint64       // of the record; before there is one, the highest that was seen
	begins  bool         // there is no record yet
	stored  []storedPart // the parts of the record, but the head, by id; replaced, never written to
	boundTo []byte       // the record's binding
	scratch []byte
	broken  bool
}

// Format prints nothing of the session.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[session]") }

// NewSession returns a session with a peer that there is no record of, or whose record is given up. seen is the highest counter of any
// record there ever was for this peer, 0 if there was none: the new one goes on from it, so that an old one cannot pass for it.
func NewSession(l *Local, remote Address, seen uint64) *Session {
	return &Session{&session{local: l, remote: remote, counter: seen, begins: true, fresh: true}}
}

// Pin sets the identity key that the peer is known by. A session or message of another one is fault.KeyChanged. Without it the first
// handshake pins. Another key than the one pinned before is fault.KeyChanged: sessions with it begin in a new record.
func (s *Session) Pin(identity [32]byte) error {
	if err := s.in.trust(&identity); err != nil {
		return err
	}
	s.in.pinned = identity
	return nil
}

func (in *session) trust(identity *[32]byte) error {
	switch {
	case *identity == in.local.Identity.Public():
		return fault.New(fault.Policy, "a session with oneself")
	case in.pinned != [32]byte{} && in.pinned != *identity:
		return fault.New(fault.KeyChanged, "the peer has another identity key than before")
	}
	return nil
}

// Start begins a session as the initiator. The current one is archived. The handshake becomes part of the record, and reaches the peer,
// with the first message; until then it is in memory only, and gives way to a session that a message of the peer comes for. Errors: those
// of Bundle.Verify; fault.KeyChanged; fault.Policy for our own bundle; fault.InvalidRequest for the bundle of another address;
// fault.Locked.
func (s *Session) Start(b *Bundle, now time.Time) error {
	in := s.in
	if b.Address != in.remote {
		return fault.New(fault.InvalidRequest, "the bundle is that of another address")
	}
	if err := in.usable(); err != nil {
		return err
	}
	if err := in.trust(&b.IdentityKey); err != nil {
		return err
	}
	if err := b.Verify(now); err != nil {
		return err
	}
	next, err := initiate(in.local, in.local.random(), b, now)
	if err != nil {
		return err
	}
	archived := in.archive(nil)
	if c := in.current; c != nil && c.unsent() {
		c.wipe(&state{})
	}
	next.slot = freeSlot(limited(archived))
	in.pinned, in.archived, in.current, in.fresh = b.IdentityKey, archived, next, true
	return nil
}

// Encrypt makes a message of plaintext, which may be empty, and returns it once save has stored the record that goes with it. Errors:
// fault.NotFound if there is no session; fault.Stale if the peer has not answered for MaxUnacknowledged: start again with a new bundle;
// fault.TooLarge; fault.Conflict after an error of save; that error.
func (s *Session) Encrypt(plaintext []byte, now time.Time, save Save) (Message, error) {
	in := s.in
	if err := in.mayEncrypt(len(plaintext), now); err != nil {
		return Message{}, err
	}
	next := *in.current
	m := Message{Type: TypeMessage}
	if next.pending != nil {
		m.Type = TypePreKey
	}
	m.Body = next.encrypt(in.local, in.remote, in.local.random(), plaintext)
	if err := in.commit(&next, in.archived, nil, nil, save); err != nil {
		return Message{}, err
	}
	return m, nil
}

func (in *session) mayEncrypt(size int, now time.Time) error {
	if err := in.usable(); err != nil {
		return err
	}
	switch c := in.current; {
	case c == nil:
		return fault.New(fault.NotFound, "there is no session with this peer")
	case c.pending != nil && now.Sub(c.pending.made) > MaxUnacknowledged:
		return fault.New(fault.Stale, "the peer has not answered for 30 days; a new bundle is needed")
	case c.sending.index == lastCounter:
		return fault.New(fault.Stale, "the sending chain is used up; a new bundle is needed")
	case size > MaxPlaintext:
		return fault.New(fault.TooLarge, "a message holds at most %d bytes", MaxPlaintext)
	}
	return nil
}

func (in *session) usable() error {
	if in.broken {
		return fault.New(fault.Conflict, "the session could not be saved; it must be opened again")
	}
	return in.remote.check()
}

// archive returns the archived states with the current one put in front, without what goes with unacknowledged messages, and without
// the state given. There may be one too many: it goes when the record is stored, for until then the current state may give way.
func (in *session) archive(without *state) []*state {
	list := make([]*state, 0, len(in.archived)+1)
	if c := in.current; c != nil && c != without && !c.unsent() {
		old := *c
		old.pending, old.stored = nil, false
		list = append(list, &old)
	}
	for _, a := range in.archived {
		if a != without {
			list = append(list, a)
		}
	}
	return list
}

// limited returns the archived states that are kept.
func limited(archived []*state) []*state { return archived[:min(len(archived), maxArchived)] }

// unsent reports whether the peer cannot know of the session: it was started, and no message was made with it.
func (s *state) unsent() bool { return s.pending != nil && s.sending.index == 0 }

// weak reports whether the handshake had no one-time prekey, and the peer has not answered yet.
func (s *state) weak() bool { return s.pending != nil && !s.pending.hasPreKey }

// freeSlot returns a slot that none of the states has.
func freeSlot(archived []*state) uint8 {
	var slot uint8
	for slices.ContainsFunc(archived, func(a *state) bool { return a.slot == slot }) {
		slot++
	}
	return slot
}

// SessionInfo says where a session stands.
type SessionInfo struct {
	Exists               bool
	Unacknowledged       bool     // the peer has not answered yet
	Weak                 bool     // and the handshake had no one-time prekey: whoever gets at the peer's identity and other prekeys can read what was sent
	Epoch                uint64   // of the post-quantum ratchet, from 1
	Archived             int      // sessions
	RemoteIdentity       [32]byte // that is pinned; zero: none, and the next handshake pins
	RemoteRegistrationID uint32
	Counter              uint64 // of the record; before there is one, what NewSession was told
}

// Info returns where the session stands.
func (s *Session) Info() SessionInfo {
	in := s.in
	info := SessionInfo{Archived: len(limited(in.archived)), RemoteIdentity: in.pinned, Counter: in.counter}
	if c := in.current; c != nil {
		info.Exists, info.Epoch, info.RemoteRegistrationID = true, c.pq.Epoch(), c.registrationID
		info.Unacknowledged = c.pending != nil
		info.Weak = c.weak()
	}
	return info
}

// Wipe overwrites the keys in memory. The session cannot be used any more.
func (s *Session) Wipe() {
	in := s.in
	for _, a := range in.archived {
		a.wipe(&state{})
	}
	if in.current != nil {
		in.current.wipe(&state{})
	}
	secret.Wipe(in.scratch[:cap(in.scratch)]) // the last head
	in.current, in.archived, in.broken = nil, nil, true
}
