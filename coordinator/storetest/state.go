package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// CheapCost is a cost of login proofs for tests.
var CheapCost = state.Cost{Time: 1, MemoryKiB: 64, Threads: 1}

// Day is when tests begin.
var Day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// RunState tests what coordinator/state makes of a store: under goroutines, with a restart between any two steps, and out of a backup.
func RunState(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, *stateBench){
		"S05_OneWinnerForEachCounter": oneWinner,
		"F16_SwapsOfManyAgents":       swapsOfManyAgents,
		"OneTimeKeysPoppedOnce":       poppedOnce,
		"F15_MailOnceAndInOrder":      mailOnce,
		"QuotasUnderConcurrency":      quotas,
		"RefreshTokensUsedOnce":       refreshOnce,
		"InvitationsUsedOnce":         invitationsOnce,
		"EventsResume":                eventsResume,
		"Expiry":                      expiry,
		"F14_RestoredFromABackup":     restored,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStateBench(t, open, state.Options{Registration: state.Open})) })
	}
}

// stateBench is a state over a store under test.
type stateBench struct {
	*bench
	*state.State
	o   state.Options
	now time.Time
}

func newStateBench(t testing.TB, open Open, o state.Options) *stateBench {
	b := &stateBench{bench: newBench(t, open), o: o, now: Day}
	b.o.Cost = CheapCost
	b.o.Now = func() time.Time { return b.now }
	b.start()
	return b
}

func (b *stateBench) start() {
	b.t.Helper()
	s, err := state.New(context.Background(), b.Store, b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.State = s
}

// restart closes and opens the store. It may not run beside anything else.
func (b *stateBench) restart() {
	b.t.Helper()
	b.reopen()
	b.start()
}

// user registers somebody and returns the tokens.
func (b *stateBench) user(n int) state.Tokens {
	b.t.Helper()
	tokens, err := b.Register(context.Background(), state.NewAccount{User: UserN(n), Email: bytes32(n), Proof: bytes32(n)})
	if err != nil {
		b.t.Fatal(err)
	}
	return tokens
}

// UserN is the id of the nth user of a test.
func UserN(n int) state.UserID {
	return state.UserID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
}

func bytes32(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

func requestN(n int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012x", n) }

// agent is one of several of a user that change one blob: it reads, then swaps, and the loser reads again.
type agent struct {
	user   state.UserID
	random *rand.Rand
	have   *state.Body // read, and not yet used
	won    map[uint64]string
}

// step does the next thing and reports whether it won a swap.
func (a *agent) step(t testing.TB, s *state.State) bool {
	ctx := context.Background()
	if a.have == nil {
		b, err := s.Blob(ctx, a.user, "ratchet", 0)
		if err != nil && !errors.Is(err, fault.NotFound) {
			t.Error(err)
		}
		a.have = &b
		return false
	}
	sw := state.Swap{Name: "ratchet", Counter: a.have.Counter + 1, Body: []byte("the same of both"), Keep: a.random.IntN(state.MaxHistory + 1)}
	copy(sw.Previous[:], a.have.Hash)
	for i := range sw.Nonce {
		sw.Nonce[i] = byte(a.random.Uint32())
	}
	a.have = nil
	_, err := s.Swap(ctx, a.user, []state.Swap{sw})
	if errors.Is(err, fault.Conflict) {
		return false
	}
	if err != nil {
		t.Error(err)
		return false
	}
	if _, err := s.Swap(ctx, a.user, []state.Swap{sw}); err != nil && a.random.IntN(2) == 0 && !errors.Is(err, fault.Conflict) {
		t.Error("the answer was lost and the swap made again:", err)
	}
	a.won[sw.Counter] = string(sw.Nonce[:])
	return true
}

// oneWinner: two agents on one blob, 2,000 schedules of their steps, restarts between them: no counter has two winners, and each has one.
func oneWinner(t *testing.T, b *stateBench) {
	const users, schedules = 20, 100
	for i := range users {
		b.user(i)
	}
	for part := range 4 {
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(part), uint64(i)))
				for range schedules / 4 {
					a := [2]agent{{user: UserN(i), random: r, won: map[uint64]string{}}, {user: UserN(i), random: r, won: map[uint64]string{}}}
					before, _ := b.Blob(context.Background(), UserN(i), "ratchet", 0)
					wins := 0
					for range 12 {
						if a[r.IntN(2)].step(t, b.State) {
							wins++
						}
					}
					checkWinners(t, b.State, UserN(i), a[:], before.Counter, wins)
				}
			})
		}
		wg.Wait()
		b.restart()
	}
}

// checkWinners wants each counter since before to have been won once, and the newest to hold what its winner put there.
func checkWinners(t testing.TB, s *state.State, user state.UserID, agents []agent, before uint64, wins int) {
	t.Helper()
	now, err := s.Blob(context.Background(), user, "ratchet", 0)
	if errors.Is(err, fault.NotFound) && wins == 0 {
		return
	}
	if err != nil || now.Counter != before+uint64(wins) {
		t.Errorf("%d swaps were won from %d on, and the blob is at %d (%v)", wins, before, now.Counter, err)
		return
	}
	for c := before + 1; c <= now.Counter; c++ {
		winners := 0
		for _, a := range agents {
			if nonce, ok := a.won[c]; ok {
				winners++
				if c == now.Counter && nonce != string(now.Nonce) {
					t.Errorf("%d holds what its winner did not put there", c)
				}
			}
		}
		if winners != 1 {
			t.Errorf("counter %d was won by %d", c, winners)
		}
	}
}

// swapsOfManyAgents: 8 agents at once, each until it won 10 times.
func swapsOfManyAgents(t *testing.T, b *stateBench) {
	b.user(1)
	agents := make([]agent, 8)
	var wg sync.WaitGroup
	for i := range agents {
		agents[i] = agent{user: UserN(1), random: rand.New(rand.NewPCG(7, uint64(i))), won: map[uint64]string{}}
		wg.Go(func() {
			for len(agents[i].won) < 10 && !t.Failed() {
				agents[i].step(t, b.State)
			}
		})
	}
	wg.Wait()
	b.restart()
	checkWinners(t, b.State, UserN(1), agents, 0, 80)
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
	if _, left, err := b.CountPreKeys(ctx, UserN(0)); len(popped) != keys || left != 0 || err != nil {
		t.Errorf("%d of %d keys were handed out, %d are left (%v)", len(popped), keys, left, err)
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

// quotas: many at once never get beyond a quota, and what was refused left nothing behind.
func quotas(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	if err := b.SetQuota(ctx, UserN(0), state.Quota{Blobs: 10, Bytes: 1000, Mail: 5, MailBytes: 100}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			_, err := b.Swap(ctx, UserN(0), []state.Swap{{Name: fmt.Sprintf("b%d", i), Counter: 1, Body: make([]byte, 150)}})
			if err != nil && !errors.Is(err, fault.StorageFull) {
				t.Error(err)
			}
			_, err = b.Send(ctx, UserN(1), UserN(0), requestN(i), make([]byte, 30))
			if err != nil && !errors.Is(err, fault.StorageFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.restart()
	u, err := b.Usage(ctx, UserN(0))
	if err != nil || u.Used != (state.Quota{Blobs: 6, Bytes: 900, Mail: 3, MailBytes: 90}) {
		t.Fatalf("%+v, %v", u.Used, err)
	}
	if list, _, err := b.Blobs(ctx, UserN(0), "", 100); len(list) != 6 || err != nil {
		t.Errorf("%d blobs, %v", len(list), err)
	}
}

// refreshOnce: of 32 that exchange one refresh token under their own ids at most one gets tokens that are good, and reuse ends the session.
func refreshOnce(t *testing.T, b *stateBench) {
	ctx := context.Background()
	tokens := b.user(0)
	other, err := b.Login(ctx, state.Login{User: UserN(0), Proof: bytes32(0)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var got []state.Tokens
	for i := range 32 {
		wg.Go(func() {
			k, err := b.Refresh(ctx, tokens.Refresh, requestN(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got = append(got, k)
			} else if !errors.Is(err, fault.Unauthorized) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("%d exchanges of one token", len(got))
	}
	b.restart()
	for _, access := range []string{tokens.Access, got[0].Access} {
		if _, err := b.Authenticate(ctx, access); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("after reuse: %v", err)
		}
	}
	if c, err := b.Authenticate(ctx, other.Access); err != nil || c.User != UserN(0) {
		t.Errorf("the other session: %v", err)
	}
}

func invitationsOnce(t *testing.T, b *stateBench) {
	b.o.Registration = state.Invitation
	b.restart()
	ctx := context.Background()
	invitation, err := b.Invite(ctx, 3, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	registered := 0
	for i := range 12 {
		wg.Go(func() {
			for range 2 { // the answer was lost
				_, err := b.Register(ctx, state.NewAccount{User: UserN(i), Email: bytes32(i), Proof: bytes32(i), Invitation: invitation})
				mu.Lock()
				if err == nil {
					registered++
				} else if !errors.Is(err, fault.Forbidden) {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if registered != 6 {
		t.Errorf("%d registrations went through, twice each, with an invitation for 3", registered)
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

// expiry: what has a time goes after it, and nothing else; a message that goes frees its room, and its id.
func expiry(t *testing.T, b *stateBench) {
	ctx := context.Background()
	for i := range 3 {
		b.user(i)
	}
	_, inviteErr := b.Invite(ctx, 5, time.Hour)
	_, putErr := b.PutPreKeys(ctx, UserN(0), state.Upload{Sequence: 1, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("a"), []byte("b")}})
	_, fetchErr := b.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(0))
	_, swapErr := b.Swap(ctx, UserN(0), []state.Swap{{Name: "vault", Counter: 1, Body: []byte("vault")}})
	linkErr := b.AddLink(ctx, UserN(0), state.Link{Sequence: 1, Body: []byte("link")})
	if err := errors.Join(inviteErr, putErr, fetchErr, swapErr, linkErr); err != nil {
		t.Fatal(err)
	}
	send := func(n int) {
		if _, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 120 {
		send(i)
	}
	b.now = b.now.Add(29 * 24 * time.Hour)
	send(120)
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if u, err := b.Usage(ctx, UserN(0)); err != nil || u.Used.Mail != 121 {
		t.Errorf("after 29 days: %+v, %v", u.Used, err)
	}
	b.now = b.now.Add(2 * 24 * time.Hour)
	b.restart()
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if list, _, err := b.Inbox(ctx, UserN(0), 0, 64); err != nil || len(list) != 1 || list[0].Sequence != 121 {
		t.Errorf("after 31 days: %v, %v", list, err)
	}
	b.now = b.now.Add(60 * 24 * time.Hour)
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for k := range all(t, b) {
		kind, _, _ := strings.Cut(k, "/")
		kinds[kind]++
	}
	delete(kinds, "event")
	want := map[string]int{"meta": 1, "account": 3, "email": 3, "counters": 1, "blob": 1, "body": 1, "link": 1, "prekeys": 1, "onetime": 1}
	if !maps.Equal(kinds, want) {
		t.Errorf("what stays: %v, want %v", kinds, want)
	}
	send(0)
	if list, _, err := b.Inbox(ctx, UserN(0), 0, 64); err != nil || len(list) != 1 || list[0].Sequence != 122 {
		t.Errorf("an id that was used long ago: %v, %v", list, err)
	}
}

// restored: an old backup brings back blobs, mail and accounts, but no session and no one-time prekey, and says that it is another history.
func restored(t *testing.T, b *stateBench) {
	ctx := context.Background()
	tokens := b.user(0)
	b.user(1)
	upload := state.Upload{Sequence: 1, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("a"), []byte("b")}}
	_, err := b.PutPreKeys(ctx, UserN(0), upload)
	_, sendErr := b.Send(ctx, UserN(1), UserN(0), requestN(0), []byte("first"))
	_, swapErr := b.Swap(ctx, UserN(0), []state.Swap{{Name: "vault", Counter: 1, Body: []byte("vault")}})
	var file bytes.Buffer
	if err := errors.Join(err, sendErr, swapErr, b.Backup(ctx, &file)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Send(ctx, UserN(1), UserN(0), requestN(1), []byte("lost")); err != nil {
		t.Fatal(err)
	}
	epoch := b.Epoch()
	other := newBench(t, b.open)
	if err := state.Restore(ctx, other, &file); err != nil {
		t.Fatal(err)
	}
	r := &stateBench{bench: other, o: b.o, now: b.now}
	r.start()
	if _, err := r.Authenticate(ctx, tokens.Access); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("access token: %v", err)
	}
	if _, err := r.Refresh(ctx, tokens.Refresh, requestN(0)); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("refresh token: %v", err)
	}
	if _, err := r.Login(ctx, state.Login{Email: bytes32(0), Proof: bytes32(0)}); err != nil {
		t.Errorf("login: %v", err)
	}
	if p, err := r.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(0)); err != nil || string(p.Bundle) != "bundle" || len(p.OneTime) > 0 {
		t.Errorf("prekeys: %v, %v", p, err)
	}
	upload.Sequence = 2
	if n, err := r.PutPreKeys(ctx, UserN(0), upload); n != 2 || err != nil {
		t.Errorf("a refill: %d, %v", n, err)
	}
	if v, err := r.Blob(ctx, UserN(0), "vault", 0); err != nil || string(v.Body) != "vault" {
		t.Errorf("blob: %v", err)
	}
	if n, err := r.Send(ctx, UserN(1), UserN(0), requestN(2), []byte("new")); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	// An acknowledgement of the second message of the lost history must not remove the second of this one.
	if n, err := r.Acknowledge(ctx, UserN(0), []state.Acknowledgement{{Sequence: 2, ID: requestN(1)}}); n != 0 || err != nil {
		t.Errorf("an acknowledgement from before: %d, %v", n, err)
	}
	if list, err := r.Events(ctx, UserN(0), epoch, 1); err != nil || len(list) != 1 || list[0].Type != state.ResyncEvent {
		t.Errorf("events: %v, %v", list, err)
	}
}

var _ store.Store = (*bench)(nil)
