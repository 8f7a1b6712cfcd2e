package coordinatortest

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a coordinator with two users.
type world struct {
	*Coordinator
	t          *testing.T
	alice, bob *coordinator.Client
}

func newWorld(t *testing.T) *world {
	c := New(t, Options{})
	return &world{c, t, c.Register(UserN(1), coordinator.Options{}), c.Register(UserN(2), coordinator.Options{})}
}

// swap puts the next version of a blob in place.
func swap(c *coordinator.Client, name, body string) error {
	s := coordinator.Swap{Name: name, Counter: 1, Previous: make([]byte, coordinator.HashSize), Nonce: make([]byte, coordinator.NonceSize), Body: []byte(body)}
	if old, err := c.Blob(context.Background(), name, 0); err == nil {
		s.Counter, s.Previous = old.Counter+1, old.Hash
	} else if !errors.Is(err, fault.NotFound) {
		return err
	}
	_, err := c.Swap(context.Background(), s)
	return err
}

func (w *world) swap(c *coordinator.Client, name, body string) {
	w.t.Helper()
	if err := swap(c, name, body); err != nil {
		w.t.Fatal(err)
	}
}

// sees wants a blob to be as it is said.
func (w *world) sees(c *coordinator.Client, name, body string) {
	w.t.Helper()
	b, err := c.Blob(w.t.Context(), name, 0)
	if err != nil || string(b.Body) != body {
		w.t.Errorf("%q, %v; want %q", b.Body, err, body)
	}
}

func (w *world) send(id int, body string) error {
	return w.alice.Send(w.t.Context(), w.bob.User(), coordinator.OutgoingMessage{Id: UserN(id).ID, Body: []byte(body)})
}

// inbox returns the bodies in bob's mailbox.
func (w *world) inbox() (all []string) {
	w.t.Helper()
	i, err := w.bob.Inbox(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range i.Messages {
		all = append(all, string(m.Body))
	}
	return all
}

// A hook sees who calls what, also of those who log in.
func TestExchangesHaveNames(t *testing.T) {
	w := newWorld(t)
	u := UserN(1)
	if err := w.Client(coordinator.Options{}).Login(t.Context(), coordinator.Login{EmailHash: &u.EmailHash, Proof: u.Proof}); err != nil {
		t.Fatal(err)
	}
	stale := w.Register(u, coordinator.Options{Now: func() time.Time { return time.Unix(0, 0) }}) // refreshes
	if _, err := stale.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.swap(w.bob, "vault", "x")
	var got []string
	for _, r := range w.Records() {
		got = append(got, r.Operation+" "+strings.TrimLeft(r.Caller[len(r.Caller)-2:], "0"))
		if r.Status == 0 {
			t.Errorf("%s has no status", r.Operation)
		}
	}
	want := []string{"register 1", "register 2", "login 1", "register 1", "getAccount 1", "getBlob 2", "swapBlobs 2"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r := w.Records("swapBlobs"); len(r) != 1 || r[0].Number != 7 {
		t.Errorf("%+v", r)
	}
}

func TestChanges(t *testing.T) {
	w := newWorld(t)
	w.Hook(Nth("sendMessage", 1, func(e *Exchange) {
		e.Body = []byte(strings.Replace(string(e.Body), "Zm9y", "bm90", 1)) // "for" becomes "not"
	}))
	if err := w.send(1, "for bob"); err != nil || !slices.Equal(w.inbox(), []string{"not bob"}) {
		t.Errorf("%v, %q", err, w.inbox())
	}
	w.Hook(Nth("listMessages", 0, func(e *Exchange) {
		a := e.Forward()
		a.Body = []byte(strings.Replace(string(a.Body), "bm90", "ZnJv", 1))
	}))
	if got := w.inbox(); !slices.Equal(got, []string{"fro bob"}) {
		t.Errorf("%q", got)
	}
	w.Hook(func(e *Exchange) { e.Answer = Problem(409, "conflict") })
	if err := w.send(2, "more"); !errors.Is(err, fault.Conflict) {
		t.Error(err)
	}
	w.Hook(func(e *Exchange) {
		e.Answer = JSON(200, coordinator.Inbox{Messages: []coordinator.Message{{Body: []byte("invented")}}})
	})
	if got := w.inbox(); !slices.Equal(got, []string{"invented"}) {
		t.Errorf("%q", got)
	}
}

// A request that is dropped before the server acts did nothing; after it, it did; and in the middle of an answer, too.
func TestDrops(t *testing.T) {
	w := newWorld(t)
	for id, c := range []struct {
		hook func(*Exchange)
		acts bool
	}{
		{func(e *Exchange) { e.Drop() }, false},
		{func(e *Exchange) { e.Forward(); e.Drop() }, true},
	} {
		w.Hook(Nth("sendMessage", 1, c.hook))
		if err := w.send(id, "x"); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%d: %v", id, err)
		}
		if n := len(w.inbox()); n != id && !c.acts || n != id+1 && c.acts {
			t.Errorf("%d: %d messages", id, n)
		}
		if err := w.send(id, "x"); err != nil || len(w.inbox()) != id+1 {
			t.Errorf("%d: sent again: %v, %d messages", id, err, len(w.inbox()))
		}
	}
	w.Hook(Nth("swapBlobs", 1, func(e *Exchange) { e.Forward().Cut = 5 }))
	if err := swap(w.alice, "vault", "cut"); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	w.sees(w.alice, "vault", "cut")
}

// The server gets a request twice, an old answer is served, and two answers change places.
func TestRepeatsAndOldAnswers(t *testing.T) {
	w := newWorld(t)
	var first, second int
	w.Hook(Nth("swapBlobs", 2, func(e *Exchange) {
		first = e.Forward().Status
		e.Body = []byte(strings.Replace(string(e.Body), `"nonce":"AAAA`, `"nonce":"BBBB`, 1))
		second = e.Forward().Status
	}))
	w.swap(w.alice, "vault", "one")
	if err := swap(w.alice, "vault", "two"); !errors.Is(err, fault.Conflict) || first != 200 || second != 409 {
		t.Errorf("%v, %d, %d", err, first, second)
	}
	var kept *Answer
	w.Hook(Nth("getBlob", 1, func(e *Exchange) { kept = e.Forward().Clone() }))
	w.sees(w.alice, "vault", "two")
	w.Hook(nil)
	w.swap(w.alice, "vault", "three")
	w.sees(w.alice, "vault", "three")
	w.Hook(Nth("getBlob", 0, func(e *Exchange) { e.Answer = kept.Clone() }))
	w.sees(w.alice, "vault", "two")
}

// One request waits, for as long as the test likes, and others go on.
func TestHolds(t *testing.T) {
	w := newWorld(t)
	held, free := make(chan struct{}), make(chan struct{})
	w.Hook(Nth("sendMessage", 1, func(e *Exchange) {
		close(held)
		select {
		case <-free:
		case <-e.Context().Done():
		}
	}))
	done := make(chan error)
	go func() { done <- w.send(1, "first") }()
	<-held
	if err := w.send(2, "second"); err != nil {
		t.Fatal(err)
	}
	close(free)
	if err := <-done; err != nil || !slices.Equal(w.inbox(), []string{"second", "first"}) {
		t.Errorf("%v, %q", err, w.inbox())
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	w.Hook(func(e *Exchange) { cancel(); <-e.Context().Done(); close(gone) })
	if _, err := w.alice.Account(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-gone
}

// Events are taken out, changed, and streams cut; the agent comes back.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	streams := 0
	w.Hook(Nth("streamEvents", 0, func(e *Exchange) {
		streams++
		e.OnEvent = func(event string) string {
			switch {
			case strings.Contains(event, `"number":1`):
				return ""
			case strings.Contains(event, `"number":2`):
				return strings.Replace(event, `"number":2`, `"number":22`, 1)
			case strings.Contains(event, `"number":3`) && streams == 1:
				e.Drop()
			}
			return event
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []int64
	after := ""
	for ctx.Err() == nil && !slices.Contains(got, 3) {
		for n, err := range w.bob.Follow(ctx, after, func() {}) {
			after = n.ID
			if err != nil {
				break
			}
			if n.Event.Type == "resync" {
				for i := 1; i <= 3; i++ {
					if err := w.send(i, "x"); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			if got = append(got, *n.Event.Number); *n.Event.Number == 3 {
				break
			}
		}
	}
	if !slices.Equal(got, []int64{22, 3}) || streams != 2 {
		t.Errorf("%v in %d streams", got, streams)
	}
}

// What the coordinator is shown is found, wherever and however it is written; and what it is not shown is not.
func TestLeaks(t *testing.T) {
	w := newWorld(t)
	key := "\x01\x02\x03 a key \xff"
	w.swap(w.alice, "a-title", "some Text and "+hex.EncodeToString([]byte(key)))
	if _, err := w.alice.Blob(t.Context(), "in-a-path", 0); !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	w.Hook(func(e *Exchange) { e.Drop() })
	if err := w.send(1, "never arrived"); err == nil {
		t.Error("no failure")
	}
	got := w.Leaks("nowhere", "A-Title", "text AND", key, "in-a-path", "never arrived", string(UserN(1).EmailHash))
	want := []string{
		"canary 1: received bytes", "canary 1: request 4, swapBlobs", "canary 1: store of branch 0",
		"canary 2: request 4, swapBlobs", "canary 2: store of branch 0", "canary 3: request 4, swapBlobs", "canary 3: store of branch 0",
		"canary 4: received bytes", "canary 4: request 5, getBlob", "canary 5: received bytes", "canary 5: request 6, sendMessage",
		"canary 6: received bytes", "canary 6: request 1, register", "canary 2: files", "canary 3: files", "canary 6: files",
	}
	slices.Sort(want)
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("%s was not found", l)
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "canary 0") }) {
		t.Errorf("found what is not there: %q", got)
	}
	t.Logf("%q", got)
	if !strings.Contains(string(w.Received()), "POST /v1/accounts HTTP/1.1\r\n") {
		t.Error("the bytes lack a request")
	}
}

// The coordinator's clock is the test's.
func TestClock(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := New(t, Options{State: func(o *state.Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	}})
	frozen := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	alice := c.Register(UserN(1), coordinator.Options{Now: frozen})
	mu.Lock()
	now = now.Add(16 * time.Minute)
	mu.Unlock()
	if _, err := alice.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Records("refresh")); n != 1 || c.Records("refresh")[0].Caller != alice.User() {
		t.Errorf("%d exchanges of tokens", n)
	}
	c.Main.Disable(alice.User(), true)
	if _, err := alice.Account(t.Context()); !errors.Is(err, fault.Unauthorized) {
		t.Error(err)
	}
}
