package daemon

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// MaxEvents is how many events the log keeps; the oldest go first.
const MaxEvents = 10_000

const (
	eventPrefix = "event/"
	eventHead   = "meta/event-head"
)

// eventRecord is an event as it lies in the local store. The id is in its key.
type eventRecord struct {
	Time    int64  `cbor:"1,keyasint"` // Unix milliseconds
	Type    string `cbor:"2,keyasint"`
	Dataset string `cbor:"3,keyasint,omitempty"`
	Version uint64 `cbor:"4,keyasint,omitempty"`
	App     string `cbor:"5,keyasint,omitempty"`
	Code    string `cbor:"6,keyasint,omitempty"`
	Count   int64  `cbor:"7,keyasint,omitempty"`
	Contact string `cbor:"8,keyasint,omitempty"`
}

func eventKey(id uint64) string { return fmt.Sprintf("%s%020d", eventPrefix, id) }

// eventLog is the bounded log in the local store and the fan-out to subscribers. Ids are given inside the transaction that writes an
// event, so an event can commit with what it tells of; publish then reads what is new from the store, in order.
type eventLog struct {
	db    *kv.DB
	clock Clock

	mu        sync.Mutex
	published uint64 // highest id that subscribers were given
	subs      map[*Subscription]struct{}
	closed    bool
}

func openEventLog(db *kv.DB, c Clock) (*eventLog, error) {
	l := &eventLog{db: db, clock: c, subs: map[*Subscription]struct{}{}}
	err := db.View(func(tx *kv.Tx) (err error) {
		l.published, err = readCounter(tx, eventHead)
		return err
	})
	return l, err
}

// stage writes e into tx. The caller publishes after the commit.
func (l *eventLog) stage(tx *kv.Tx, e Event) error {
	head, err := readCounter(tx, eventHead)
	if err != nil {
		return err
	}
	head++
	b, err := signed.Marshal(eventRecord{
		Time: l.clock.Now().UnixMilli(), Type: e.Type, Dataset: e.Dataset, Version: e.Version,
		App: e.App, Code: string(e.Code), Count: e.Count, Contact: e.Contact,
	})
	if err != nil {
		return err
	}
	if err := tx.Set(eventKey(head), b); err != nil {
		return err
	}
	if head > MaxEvents {
		if err := tx.Delete(eventKey(head - MaxEvents)); err != nil {
			return err
		}
	}
	return writeCounter(tx, eventHead, head)
}

// stageWith writes e in the transaction in which a change of the vault becomes durable on this machine. What a change writes itself may come
// later than its function ran (keystore.Tx.KV), and the number of an event is taken by then.
func (l *eventLog) stageWith(tx *keystore.Tx, e Event) {
	tx.OnCommit(func(k *kv.Tx) error { return l.stage(k, e) })
}

// add logs e by itself. A store that takes no writes must not fail the operation that the event tells of: subscribers then get it
// unlogged, and the error goes to the caller's log.
func (l *eventLog) add(e Event) error {
	err := l.db.Update(func(tx *kv.Tx) error { return l.stage(tx, e) })
	if err != nil {
		l.broadcast(e)
		return err
	}
	return l.publish()
}

// publish hands every logged event that has not been handed out to the subscribers.
func (l *eventLog) publish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh, err := l.after(l.published)
	if err != nil {
		return err
	}
	for _, e := range fresh {
		for s := range l.subs {
			s.offer(e)
		}
		l.published = e.ID
	}
	return nil
}

// after reads the logged events with an id above id, in order.
func (l *eventLog) after(id uint64) ([]Event, error) {
	var out []Event
	err := l.db.View(func(tx *kv.Tx) error {
		head, err := readCounter(tx, eventHead)
		if err != nil {
			return err
		}
		if head > MaxEvents && id < head-MaxEvents {
			id = head - MaxEvents
		}
		for id < head {
			id++
			e, err := readEvent(tx, id)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

func readEvent(tx *kv.Tx, id uint64) (Event, error) {
	b, err := tx.Get(eventKey(id))
	if err != nil {
		return Event{}, fault.Wrap(fault.Incomplete, err, "an event is missing from the log")
	}
	var r eventRecord
	if err := signed.Unmarshal(b, &r); err != nil {
		return Event{}, err
	}
	return Event{
		ID: id, Time: time.UnixMilli(r.Time).UTC(), Type: r.Type, Dataset: r.Dataset, Version: r.Version,
		App: r.App, Code: fault.Code(r.Code), Count: r.Count, Contact: r.Contact,
	}, nil
}

// broadcast gives subscribers an event that is not logged. A slow subscriber misses it.
func (l *eventLog) broadcast(e Event) {
	e.Time = l.clock.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subs {
		s.hint(e)
	}
}

func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for s := range l.subs {
		s.end()
	}
}

func readCounter(tx *kv.Tx, key string) (uint64, error) {
	b, err := tx.Get(key)
	if errors.Is(err, fault.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var n uint64
	return n, signed.Unmarshal(b, &n)
}

func writeCounter(tx *kv.Tx, key string, n uint64) error {
	b, err := signed.Marshal(n)
	if err != nil {
		return err
	}
	return tx.Set(key, b)
}
