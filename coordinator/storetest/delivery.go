package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// preKeysWithdrawn: with the proof of the login all that was uploaded goes, under whatever sequence, and the next upload may have any.
func preKeysWithdrawn(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	me := state.Caller{User: UserN(0)}
	put := func(sequence uint64, oneTime ...string) (int, error) {
		u := state.Upload{Sequence: sequence, Bundle: []byte("bundle")}
		for _, k := range oneTime {
			u.OneTime = append(u.OneTime, []byte(k))
		}
		return b.PutPreKeys(ctx, UserN(0), u)
	}
	if n, err := put(math.MaxInt64, "a", "b", "c"); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	if _, err := put(2); !errors.Is(err, fault.Conflict) {
		t.Error("a lower sequence:", err)
	}
	if err := b.WithdrawPreKeys(ctx, me, bytes32(99)); !errors.Is(err, fault.Forbidden) {
		t.Error("another proof:", err)
	}
	if st, err := b.PreKeyStatus(ctx, UserN(0)); err != nil || st.OneTime != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	for range 2 { // the answer was lost
		if err := b.WithdrawPreKeys(ctx, me, bytes32(0)); err != nil {
			t.Fatal(err)
		}
		b.restart()
	}
	if _, err := b.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(1)); !errors.Is(err, fault.NotFound) {
		t.Error("there are still prekeys:", err)
	}
	if st, err := b.PreKeyStatus(ctx, UserN(0)); err != nil || st.Sequence != 0 || st.OneTime != 0 || st.BundleHash != nil {
		t.Errorf("%+v, %v", st, err)
	}
	if n, err := put(2, "d"); err != nil || n != 1 {
		t.Error(n, err)
	}
	if p, err := b.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(2)); err != nil || string(p.OneTime) != "d" {
		t.Errorf("%+v, %v", p, err)
	}
}

// poppedOnce: 32 goroutines fetch 150 one-time prekeys, some asking twice, with a restart in the middle: each key goes to one request.
func poppedOnce(t *testing.T, b *stateBench) {
	ctx := context.Background()
	const keys = 150
	upload := state.Upload{Sequence: 1, Bundle: []byte("bundle")}
	for i := range keys {
		upload.OneTime = append(upload.OneTime, fmt.Appendf(nil, "key %d", i))
	}
	b.user(0)
	for range 2 { // the answer was lost
		if n, err := b.PutPreKeys(ctx, UserN(0), upload); err != nil || n != keys {
			t.Fatal(n, err)
		}
	}
	for i := range 32 {
		b.user(i + 1)
	}
	var mu sync.Mutex
	popped := map[string]string{}
	fetch := func(caller, n int) {
		var answers [2]string
		for i := range answers {
			p, err := b.FetchPreKeys(ctx, UserN(caller), UserN(0), requestN(n))
			if err != nil || string(p.Bundle) != "bundle" {
				t.Error(p, err)
			}
			answers[i] = string(p.OneTime)
		}
		if answers[0] != answers[1] {
			t.Errorf("one request, two answers: %q", answers)
		}
		mu.Lock()
		defer mu.Unlock()
		request := fmt.Sprint(caller, "/", n)
		if other, ok := popped[answers[0]]; ok && answers[0] != "" && other != request {
			t.Errorf("%s went to %s and %s", answers[0], other, request)
		}
		popped[answers[0]] = request
	}
	for half := range 2 {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for n := range 3 {
					fetch(i+1, half*2+n) // request 2 in both halves
				}
			})
		}
		wg.Wait()
		b.restart()
	}
	delete(popped, "")
	if left, err := b.PreKeyStatus(ctx, UserN(0)); len(popped) != keys || left.OneTime != 0 || err != nil {
		t.Errorf("%d of %d keys were handed out, %d are left (%v)", len(popped), keys, left.OneTime, err)
	}
	low := 0
	list, err := b.Events(ctx, UserN(0), b.Epoch(), 0)
	for _, e := range list {
		if e.Type == state.PreKeysEvent {
			low++
		}
	}
	if low != 2 || err != nil {
		t.Errorf("%d notices to refill (%v)", low, err)
	}
}

// mailOnce: senders that send each message up to three times, a receiver that acknowledges some twice, restarts: each arrives once, those of one
// sender in their order.
func mailOnce(t *testing.T, b *stateBench) {
	ctx := context.Background()
	const senders, messages = 8, 60
	for i := range senders + 1 {
		b.user(i)
	}
	got := map[string]int{}
	last := map[state.UserID]int{}
	for part := range 3 {
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for n := part * messages / 3; n < (part+1)*messages/3; n++ {
					var first uint64
					for try := range n%3 + 1 {
						at, err := b.Send(ctx, UserN(i+1), UserN(0), requestN(n), fmt.Appendf(nil, "%d", n))
						if err != nil || try > 0 && at != first {
							t.Errorf("message %d of %d, try %d: %d, %v", n, i, try, at, err)
						}
						first = at
					}
				}
			})
		}
		wg.Go(func() { receive(t, b, got, last, senders*messages/6) })
		wg.Wait()
		b.restart()
	}
	receive(t, b, got, last, senders*messages)
	for m, n := range got {
		if n != 1 {
			t.Errorf("%s arrived %d times", m, n)
		}
	}
	if len(got) != senders*messages {
		t.Errorf("%d messages arrived, %d were sent", len(got), senders*messages)
	}
	if u, err := b.Usage(ctx, UserN(0)); err != nil || u.Used != (state.Quota{}) {
		t.Errorf("left in the empty mailbox: %+v, %v", u.Used, err)
	}
}

// receive takes messages until it has a number of them or none is there.
func receive(t testing.TB, b *stateBench, got map[string]int, last map[state.UserID]int, until int) {
	ctx := context.Background()
	for len(got) < until {
		list, _, err := b.Inbox(ctx, UserN(0), 0, 7)
		if err != nil {
			t.Error(err)
			return
		}
		var acks []state.Acknowledgement
		for _, m := range list {
			var n int
			fmt.Sscan(string(m.Body), &n)
			if before, ok := last[m.Sender]; ok && n <= before {
				t.Errorf("%d of %s came after %d", n, m.Sender, before)
			}
			last[m.Sender] = n
			got[string(m.Sender)+"/"+m.ID]++
			acks = append(acks, state.Acknowledgement{Sequence: m.Sequence, ID: m.ID})
		}
		if n, err := b.Acknowledge(ctx, UserN(0), acks); err != nil || n != len(acks) {
			t.Errorf("%d of %d acknowledged: %v", n, len(acks), err)
		}
		if n, err := b.Acknowledge(ctx, UserN(0), acks); err != nil || n != 0 {
			t.Errorf("acknowledged again: %d, %v", n, err)
		}
		if len(list) == 0 && until >= 480 {
			return
		}
	}
}

// mailPages: messages that wait are read in their order, in pages of even and odd length.
func mailPages(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	var sent []uint64
	for n := range 5 {
		at, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, at)
	}
	for limit := 1; limit <= len(sent); limit++ {
		list, more, err := b.Inbox(ctx, UserN(0), 0, limit)
		var got []uint64
		for _, m := range list {
			got = append(got, m.Sequence)
		}
		if err != nil || !slices.Equal(got, sent[:limit]) || more != (limit < len(sent)) {
			t.Errorf("a page of %d: %v, more %v, %v", limit, got, more, err)
		}
	}
}

func eventsResume(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	woken, cancel := b.Watch(UserN(0))
	defer cancel()
	send := func(n int) {
		if _, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		send(i)
	}
	select {
	case <-woken:
	default:
		t.Error("nobody was woken")
	}
	for _, c := range []struct {
		epoch string
		after uint64
		first state.Event
		n     int
	}{
		{b.Epoch(), 299, state.Event{ID: 300, Type: state.MessageEvent, Number: 300}, 1},
		{b.Epoch(), 100, state.Event{ID: 101, Type: state.MessageEvent, Number: 101}, 200},
		{b.Epoch(), 44, state.Event{ID: 45, Type: state.MessageEvent, Number: 45}, 256},
		{b.Epoch(), 43, state.Event{ID: 300, Type: state.ResyncEvent}, 1},
		{b.Epoch(), 301, state.Event{ID: 300, Type: state.ResyncEvent}, 1},
		{"another", 299, state.Event{ID: 300, Type: state.ResyncEvent}, 1},
		{b.Epoch(), 300, state.Event{}, 0},
	} {
		list, err := b.Events(ctx, UserN(0), c.epoch, c.after)
		if err != nil || len(list) != c.n || c.n > 0 && list[0] != c.first {
			t.Errorf("after %d: %d events, %v", c.after, len(list), err)
		}
	}
	b.restart()
	send(300)
	if list, err := b.Events(ctx, UserN(0), b.Epoch(), 299); len(list) != 2 || err != nil {
		t.Errorf("after a restart: %v, %v", list, err)
	}
}
