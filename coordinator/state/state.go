// Package state is what the coordinator knows and does, above a store and below HTTP: accounts and their sessions, prekeys, mailboxes, sealed blobs,
// device lists, events. Bytes that users deposit are opaque here; nothing in this package can open them.
//
// Every change carries an id that its caller chose, or names the state before it, so that a caller who got no answer asks again: the change is
// made once. All of a change is in one transaction of the store, with the event that tells of it.
package state

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"coldframe/coordinator"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// UserID is a user's UUID in its usual lower-case form. The user's agent chose it.
type UserID string

// Valid reports whether it is one.
func (u UserID) Valid() bool { return coordinator.IsUUID(string(u)) }

// Limits are what one user may have, and how long things stay.
type Limits struct {
	Quota          Quota         // of users without one of their own
	AccessTTL      time.Duration // of an access token
	RefreshTTL     time.Duration // of a refresh token
	MailTTL        time.Duration // of a message that nobody fetched, and of the memory that its id was used
	CredentialTTL  time.Duration // of a device's credential that is not used
	MailPerSender  int           // messages of one sender that wait in one mailbox, at most
	BytesPerSender int64         // of those
	Sent           int           // messages of one sender that are remembered; the oldest go
	Sessions       int           // devices of one user; of more the one used longest ago goes
	WriteBurst     int64         // bytes that one user may write at once
	WriteRate      int64         // and then in a second; 0: as many as they like
}

// Quota is what one user may leave with the coordinator. A zero is the default of that field.
type Quota struct {
	Blobs     int64 `cbor:"1,keyasint,omitempty" json:"blobs"`      // names
	Bytes     int64 `cbor:"2,keyasint,omitempty" json:"bytes"`      // of blobs with their histories, and of device lists
	Mail      int64 `cbor:"3,keyasint,omitempty" json:"mail"`       // messages that wait
	MailBytes int64 `cbor:"4,keyasint,omitempty" json:"mail_bytes"` // of those
}

// DefaultLimits are in force unless configured otherwise. The times of tokens are bounds of the threat model (C12).
var DefaultLimits = Limits{
	Quota:     Quota{Blobs: 10_000, Bytes: 1 << 30, Mail: 20_000, MailBytes: 256 << 20},
	AccessTTL: 15 * time.Minute, RefreshTTL: 48 * time.Hour, MailTTL: 30 * 24 * time.Hour,
	CredentialTTL: 90 * 24 * time.Hour, MailPerSender: 2_000, BytesPerSender: 25 << 20, Sent: 10_000, Sessions: 32,
	WriteBurst: 256 << 20, WriteRate: 256 << 10,
}

// Sizes of what users deposit, in bytes, and counts.
const (
	MaxSwap       = 4 << 20    // all blobs of a swap
	MaxSwaps      = 64         // blobs in one swap
	MaxHistory    = 8          // versions of a blob before the current one
	MaxDeleted    = 1_024      // blobs of a user that were deleted and are known
	MaxAhead      = 1 << 20    // how far above the floor a new blob may begin
	MaxRead       = 256        // blobs in one answer
	MaxReadBytes  = 4500 << 10 // of their bodies, and 2,250 for each: in JSON less than 6 MiB
	MaxMessage    = 192 << 10
	MaxMailbox    = 1 << 20 // messages in one answer
	MaxBundle     = 8 << 10
	MaxOneTime    = 4 << 10 // one one-time prekey
	MaxOneTimes   = 200     // one-time prekeys of a user
	LowOneTimes   = 20      // fewer: an event
	MaxDeviceLink = 16 << 10
	MaxLinks      = 65_536
	maxEvents     = 256 // the newest, of each user
)

// Options of a State. Limits and Cost are DefaultLimits and DefaultCost where they are zero.
type Options struct {
	Registration Registration
	Limits       Limits
	Cost         Cost
	Now          func() time.Time     // the machine's clock
	Elapsed      func() time.Duration // real time that went by; default: by Now if that is given, else by the system
}

func (o Options) withDefaults() Options {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		start := o.Now()
		o.Elapsed = func() time.Duration { return o.Now().Sub(start) } // time.Now has a reading that nobody sets
	}
	return o
}

// State is the coordinator's knowledge. Its methods may be called by several goroutines.
type State struct {
	store  store.Store
	o      Options
	proofs *proofs
	hub    *hub
	clock  *clock
	pace   *pace
	epoch  string
}

// New returns the state that s holds.
func New(ctx context.Context, s store.Store, o Options) (*State, error) {
	o = o.withDefaults()
	st := &State{store: s, o: o, proofs: newProofs(o.Cost), hub: newHub(), clock: newClock(o), pace: newPace(o)}
	err := st.update(ctx, func(t *tx) error {
		if err := t.loadClock(); err != nil {
			return err
		}
		b, err := t.Get(epochKey)
		if errors.Is(err, fault.NotFound) {
			b = []byte(rand.Text())
			err = t.Set(epochKey, b)
		}
		st.epoch = string(b)
		return err
	})
	return st, err
}

// Check returns why the store cannot be read, if it cannot.
func (s *State) Check(ctx context.Context) error {
	return s.view(ctx, func(t *tx) error {
		_, err := t.Get(epochKey)
		return err
	})
}

// Epoch is random and names this state's history of events and sequence numbers. A restored backup has another one.
func (s *State) Epoch() string { return s.epoch }

// The keys of records. User ids, names and hashes hold no slash; numbers are 16 hexadecimal digits, so that they sort.
const epochKey = "meta/epoch"

func key(kind string, parts ...string) string { return kind + "/" + strings.Join(parts, "/") }

func number(n uint64) string { return fmt.Sprintf("%016x", n) }

// tx is a transaction with the counters that it changes.
type tx struct {
	store.Tx
	s        *State
	now      time.Time
	counters map[UserID]*counters
	loaded   map[UserID]counters // what they were
	woken    []UserID
}

// update runs fn in a transaction, then wakes the readers of events of those whom it concerned.
func (s *State) update(ctx context.Context, fn func(t *tx) error) error {
	var t *tx
	err := s.store.Update(ctx, func(raw store.Tx) error {
		t = s.newTx(raw)
		if err := fn(t); err != nil {
			return err
		}
		return t.saveCounters()
	})
	if err == nil {
		s.hub.wake(t.woken)
	}
	return err
}

// urgent is update for what has to go on when the disk is full: sessions, what the operator says, and what gives room back.
func (s *State) urgent(ctx context.Context, fn func(t *tx) error) error {
	return s.update(store.Urgent(ctx), fn)
}

func (s *State) view(ctx context.Context, fn func(t *tx) error) error {
	return s.store.View(ctx, func(raw store.Tx) error {
		return fn(s.newTx(raw))
	})
}

func (s *State) newTx(raw store.Tx) *tx {
	return &tx{Tx: raw, s: s, now: s.clock.now(), counters: map[UserID]*counters{}, loaded: map[UserID]counters{}}
}

var (
	encoding = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, Time: cbor.TimeUnix, TimeTag: cbor.EncTagNone}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// load reads a record, or returns fault.NotFound.
func load[T any](t store.Tx, key string) (T, error) {
	var v T
	b, err := t.Get(key)
	if err != nil {
		return v, err
	}
	return v, decode(b, &v)
}

// loadOr is load, with the zero value for a record that is not there.
func loadOr[T any](t store.Tx, key string) (v T, there bool, err error) {
	v, err = load[T](t, key)
	if errors.Is(err, fault.NotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func decode(b []byte, v any) error {
	if err := decoding.Unmarshal(b, v); err != nil {
		return fault.Wrap(fault.Unavailable, err, "a record of the coordinator cannot be read")
	}
	return nil
}

func save(t store.Tx, key string, v any) error {
	b, err := encoding.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "a record cannot be written")
	}
	return t.Set(key, b)
}

var errEnough = errors.New("enough")

// scan calls fn with up to limit records below prefix and returns whether there are more.
func scan(t store.Tx, prefix, from string, limit int, fn func(key string, value []byte) error) (more bool, err error) {
	n := 0
	err = t.ScanFrom(prefix, from, func(k string, v []byte) error {
		if n == limit {
			return errEnough
		}
		n++
		return fn(k, v)
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

// Registration says who may register.
func (s *State) Registration() Registration { return s.o.Registration }
