package daemon

import (
	"context"

	"coldframe/internal/fault"
)

const (
	maxSubscribers   = 64
	subscriberBuffer = 512
)

// Subscription hands out events in order on C until Close, the end of its context, the end of its token, or the agent's stop; then C is closed. A subscriber
// that reads too slowly is dropped: C is closed, and it may come back with the last id that it saw.
type Subscription struct {
	C <-chan Event

	log    *eventLog
	caller Caller
	queue  chan Event // under log.mu
	ended  bool       // under log.mu; the queue is closed
	stop   func() bool
}

// Subscribe returns the logged events with an id above after, then new ones and progress. Tokens of applications without the admin
// scope see the events of their datasets only, and with the scope share those about contacts. If after lies before the log's oldest event, the first event is EventSubscriberReset.
func (a *Agent) Subscribe(ctx context.Context, c Caller, after uint64) (*Subscription, error) {
	done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	return a.events.subscribe(ctx, c, after)
}

func (l *eventLog) subscribe(ctx context.Context, c Caller, after uint64) (*Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fault.New(fault.Unavailable, "the agent is stopping")
	}
	if len(l.subs) >= maxSubscribers {
		return nil, fault.New(fault.Busy, "at most %d subscribers", maxSubscribers)
	}
	s := &Subscription{log: l, caller: c}
	backlog, err := s.backlog(after)
	if err != nil {
		return nil, err
	}
	s.queue = make(chan Event, len(backlog)+subscriberBuffer)
	s.C = s.queue
	for _, e := range backlog {
		s.offer(e)
	}
	l.subs[s] = struct{}{}
	s.stop = context.AfterFunc(ctx, s.Close)
	return s, nil
}

// backlog reads what a subscriber has missed, up to what the others were given.
func (s *Subscription) backlog(after uint64) ([]Event, error) {
	if after >= s.log.published {
		return nil, nil
	}
	events, err := s.log.after(after)
	if err != nil {
		return nil, err
	}
	for len(events) > 0 && events[len(events)-1].ID > s.log.published {
		events = events[:len(events)-1]
	}
	if len(events) > 0 && events[0].ID > after+1 {
		events = append([]Event{{Time: events[0].Time, Type: EventSubscriberReset}}, events...)
	}
	return events, nil
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.end()
}

// end closes the queue. The log is locked.
func (s *Subscription) end() {
	if s.ended {
		return
	}
	s.ended = true
	delete(s.log.subs, s)
	close(s.queue)
	if s.stop != nil {
		s.stop()
	}
}

// drop ends the subscriptions of a token that was revoked.
func (l *eventLog) drop(tokenID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subs {
		if s.caller.ID == tokenID {
			s.end()
		}
	}
}

func (s *Subscription) sees(e Event) bool {
	if s.caller.IsUser() || (s.caller.Has(ScopeAdmin) && s.caller.Datasets == nil) {
		return true
	}
	if e.Contact != "" && s.caller.May(ScopeShare, "") == nil {
		return true
	}
	return e.Type == EventSubscriberReset || (e.Dataset != "" && s.caller.Sees(e.Dataset))
}

// offer queues a logged event; a full queue ends the subscription, so that no logged event is ever skipped. The log is locked.
func (s *Subscription) offer(e Event) {
	if s.ended || !s.sees(e) {
		return
	}
	select {
	case s.queue <- e:
	default:
		s.end()
	}
}

// hint queues an event that may be lost, leaving half of the room to logged ones. The log is locked.
func (s *Subscription) hint(e Event) {
	if s.ended || !s.sees(e) || cap(s.queue)-len(s.queue) < subscriberBuffer/2 {
		return
	}
	s.queue <- e
}
