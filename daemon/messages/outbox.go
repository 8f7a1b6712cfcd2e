package messages

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

const (
	outPrefix    = "messages/out/"
	lapsedPrefix = "messages/lapsed/" // those of receivers who are no more

	maxQueued   = 10_000 // entries in all
	maxQueuedOf = 1_000  // for one receiver
	retryLimit  = 5 * time.Minute
	personLimit = time.Hour // between looks at what waits for a person

	lapseAfter      = 30 * 24 * time.Hour // in the outbox, if there is no such receiver
	lapseHeadsAfter = 2 * 24 * time.Hour  // of heads alone: others will tell more
)

// entry is an entry as it is stored, sealed.
type entry struct {
	_          struct{} `cbor:",toarray"`
	ID         []byte
	Receiver   string
	Kind       string
	Payload    []byte
	Queued     int64 // unix seconds
	Next       int64 // unix milliseconds
	Tries      int
	Code       string
	Ciphertext []byte // type ‖ message; empty: none yet
	PostID     []byte // under which it is posted: the entry's, or another one if the message was made again
	Identity   []byte // origin of the message
	Begun      uint64

	key string
}

// id returns the entry's id, zeroes if there is no entry.
func (e *entry) id() (id ID) {
	if e != nil {
		id = ID(e.ID)
	}
	return id
}

func (e *entry) wipe() { secret.Wipe(e.Payload) }

// Enqueue stores a message for a receiver, and returns its id. It leaves with the next Send.
func (m *Messages) Enqueue(receiver, kind string, payload []byte) (id ID, err error) {
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		id, err = m.EnqueueIn(tx, receiver, kind, payload)
		return err
	})
	return id, err
}

// EnqueueIn is Enqueue in a transaction of the caller's. One of KindHeads is the one that waits already, if its message was not made yet:
// it tells what is so then. Errors: fault.InvalidRequest, fault.TooLarge, fault.StorageFull if too many wait, in all or for
// the receiver.
func (m *Messages) EnqueueIn(tx *kv.Tx, receiver, kind string, payload []byte) (ID, error) {
	id := newID()
	if !validUser(receiver) || receiver == m.user {
		return id, fault.New(fault.InvalidRequest, "the receiver is not a user, or oneself")
	}
	fits, err := (&Body{ID: id, Kind: kind, Payload: payload}).encode([randomSize]byte{})
	if secret.Wipe(fits); err != nil {
		return id, err
	}
	if kind == KindHeads {
		if waiting, err := m.queuedHeads(tx, receiver); err != nil || waiting != nil {
			return waiting.id(), err
		}
	}
	if err := m.room(tx, receiver); err != nil {
		return id, err
	}
	if payload == nil {
		payload = []byte{}
	}
	return id, m.setEntry(tx, &entry{
		ID: id[:], Receiver: receiver, Kind: kind, Payload: payload, Queued: m.config.Now().Unix(), Ciphertext: []byte{},
		PostID: id[:], Identity: make([]byte, 32),
		key: fmt.Sprintf("%s%s/%016x-%x", outPrefix, receiver, m.place(), id[:]),
	})
}

// queuedHeads returns the entry of KindHeads for a receiver of which no message was made; nil: there is none.
func (m *Messages) queuedHeads(tx *kv.Tx, receiver string) (found *entry, err error) {
	err = tx.Scan(outPrefix+receiver+"/", func(key string, sealed []byte) error {
		e, err := m.openEntry(key, sealed)
		if err == nil && e.Kind == KindHeads && len(e.Ciphertext) == 0 {
			found = e
		} else if err == nil {
			e.wipe()
		}
		return err
	})
	return found, err
}

// place returns where a new entry stands in the order: the time in nanoseconds, and later than the one before. It is no record, nor is the
// number of entries: a transaction that a replica decides writes late, and a record that another one wrote meanwhile it leaves as it is.
func (m *Messages) place() int64 {
	for {
		last := m.lastPlace.Load()
		next := max(m.config.Now().UnixNano(), last+1)
		if m.lastPlace.CompareAndSwap(last, next) {
			return next
		}
	}
}

// queued is how many entries are in the outbox at most, in all and for each receiver.
type queued struct {
	mu  sync.Mutex
	all int
	of  map[string]int // nil: not counted yet
}

// room is fault.StorageFull if too many entries wait. They are counted when it may be so; between, each new one counts.
func (m *Messages) room(tx *kv.Tx, receiver string) error {
	q := &m.queued
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of == nil || q.full(receiver) {
		if err := m.countEntries(tx); err != nil {
			return fault.Wrap(fault.Internal, err, "the outbox cannot be counted")
		}
	}
	if q.full(receiver) {
		return fault.New(fault.StorageFull, "%d messages wait to be sent, or %d to one receiver", maxQueued, maxQueuedOf)
	}
	q.all++
	q.of[receiver]++
	return nil
}

func (q *queued) full(receiver string) bool {
	return q.all >= maxQueued || q.of[receiver] >= maxQueuedOf
}

// countEntries counts the entries. The caller holds the lock.
func (m *Messages) countEntries(tx *kv.Tx) error {
	q := &m.queued
	q.all, q.of = 0, map[string]int{}
	return tx.Keys(outPrefix, func(key string) error {
		receiver, name, _ := strings.Cut(strings.TrimPrefix(key, outPrefix), "/")
		q.all++
		q.of[receiver]++
		place, err := strconv.ParseInt(name[:min(16, len(name))], 16, 64)
		m.lastPlace.Store(max(m.lastPlace.Load(), place)) // of before the start; the clock may have been set back since
		return err
	})
}

// validUser reports whether s is a UUID in lower case.
func validUser(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return false
		}
	}
	return true
}

// count adds to a counter and returns it.
func count(tx *kv.Tx, key string, by int64) (int64, error) {
	var n int64
	b, err := tx.Get(key)
	if err == nil && len(b) == 8 {
		n = int64(binary.BigEndian.Uint64(b))
	} else if !errors.Is(err, fault.NotFound) {
		return 0, errors.Join(err, fault.New(fault.Internal, "a counter is damaged"))
	}
	return n + by, tx.Set(key, binary.BigEndian.AppendUint64(nil, uint64(n+by)))
}

func (m *Messages) setEntry(tx *kv.Tx, e *entry) error {
	b, err := signed.Marshal(e)
	if err != nil {
		return err
	}
	defer secret.Wipe(b)
	sealed, err := m.sealLocal(e.key, b)
	if err != nil {
		return err
	}
	return tx.Set(e.key, sealed)
}

func (m *Messages) openEntry(key string, sealed []byte) (*entry, error) {
	b, err := m.openLocal(key, sealed)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	e := &entry{key: key}
	if err := signed.Unmarshal(b, e); err != nil {
		return nil, err
	}
	if len(e.ID) != len(ID{}) || len(e.PostID) != len(ID{}) || len(e.Identity) != len(origin{}.identity) {
		return nil, fault.New(fault.NotAuthentic, "not an entry of the outbox")
	}
	return e, nil
}

// Waiting returns the ids of all entries, without opening them: what was enqueued and is not there was posted, or cancelled.
func (m *Messages) Waiting() (ids map[ID]bool, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		ids = map[ID]bool{}
		add := func(key string) error {
			id, err := hex.DecodeString(key[strings.LastIndex(key, "-")+1:])
			if err != nil || len(id) != len(ID{}) {
				return fault.New(fault.Internal, "the key of an entry of the outbox is not one")
			}
			ids[ID(id)] = true
			return nil
		}
		return errors.Join(tx.Keys(outPrefix, add), tx.Keys(lapsedPrefix, add))
	})
	return ids, err
}

// Delays returns for each receiver whose next message was tried, or lapsed, why it did not leave: what is behind it waits with it.
func (m *Messages) Delays() (why map[string]fault.Code, err error) {
	why = map[string]fault.Code{}
	for _, prefix := range []string{lapsedPrefix, outPrefix} {
		for from := prefix; ; {
			e, err := m.firstEntry(prefix, from)
			if err != nil {
				return nil, err
			}
			if e == nil {
				break
			}
			e.wipe()
			if e.Code != "" {
				why[e.Receiver] = fault.Code(e.Code)
			}
			from = prefix + e.Receiver + afterSlash
		}
	}
	return why, nil
}
