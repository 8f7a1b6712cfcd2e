package state

import (
	"context"
	"sync"
)

// EventType says what an event is about.
type EventType string

// The types. An event is a hint: what it tells of is fetched, and an agent that missed one loses time, nothing else.
const (
	MessageEvent EventType = "message"     // Number is its sequence number
	BlobsEvent   EventType = "blobs"       // a swap; Number is that of the change, Name that of the blob if it was one
	PreKeysEvent EventType = "prekeys_low" // Number is how many one-time prekeys are left
	DevicesEvent EventType = "devices"     // Number is the sequence of the new link
	ResyncEvent  EventType = "resync"      // events are missing before this one: look at everything
)

// Event tells one user's agents of a change. IDs of a user count from 1.
type Event struct {
	ID     uint64    `cbor:"-"`
	Type   EventType `cbor:"1,keyasint"`
	Name   string    `cbor:"2,keyasint,omitempty"`
	Number uint64    `cbor:"3,keyasint,omitempty"`
}

// emit records an event for a user's agents; the oldest goes.
func (t *tx) emit(user UserID, e Event) error {
	c, err := t.of(user)
	if err != nil {
		return err
	}
	c.EventLast++
	if c.EventLast > maxEvents {
		if err := t.Delete(key("event", string(user), number(c.EventLast-maxEvents))); err != nil {
			return err
		}
	}
	t.woken = append(t.woken, user)
	return save(t, key("event", string(user), number(c.EventLast)), e)
}

// Events returns the events of a user after the one with the id after, which was given under an epoch. Where some are missing, because they are too
// old or of another epoch, the first is a ResyncEvent whose id is that of the newest event.
func (s *State) Events(ctx context.Context, user UserID, epoch string, after uint64) (list []Event, err error) {
	err = s.view(ctx, func(t *tx) error {
		c, err := t.of(user)
		if err != nil {
			return err
		}
		if epoch != s.epoch || after > c.EventLast || c.EventLast-after > maxEvents {
			list = []Event{{ID: c.EventLast, Type: ResyncEvent}}
			return nil
		}
		if after == c.EventLast {
			return nil
		}
		_, err = scan(t, key("event", string(user), ""), key("event", string(user), number(after+1)), maxEvents, func(_ string, v []byte) error {
			after++
			e := Event{ID: after}
			list = append(list, e)
			return decode(v, &list[len(list)-1])
		})
		return err
	})
	return list, err
}

// Watch returns a channel that gets a value after each event of a user, and when sessions of theirs end, several in one if nobody listens; cancel ends it.
func (s *State) Watch(user UserID) (woken <-chan struct{}, cancel func()) { return s.hub.watch(user) }

// hub wakes readers of events in this process.
type hub struct {
	mu      sync.Mutex
	readers map[UserID]map[chan struct{}]struct{}
}

func newHub() *hub { return &hub{readers: map[UserID]map[chan struct{}]struct{}{}} }

func (h *hub) watch(user UserID) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers[user] == nil {
		h.readers[user] = map[chan struct{}]struct{}{}
	}
	h.readers[user][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if delete(h.readers[user], c); len(h.readers[user]) == 0 {
			delete(h.readers, user)
		}
	}
}

func (h *hub) wake(users []UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, user := range users {
		for c := range h.readers[user] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
