package server

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// follow reads events of a client until fn returns false.
func follow(t *testing.T, c *coordinator.Client, after string, fn func(coordinator.Notice) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n, err := range c.Follow(ctx, after, func() {}) {
		if err != nil {
			t.Fatal(err)
		}
		if !fn(n) {
			return
		}
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t, open, Options{})
	alice, bob := b.agent(1, coordinator.Options{}), b.agent(2, coordinator.Options{})
	send := func() {
		if err := alice.Send(t.Context(), userID(2), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: []byte("sealed")}); err != nil {
			t.Error(err)
		}
	}
	last, first := "", ""
	follow(t, bob, "", func(n coordinator.Notice) bool {
		switch n.Event.Type {
		case "resync":
			first = n.ID
			send()
		case "message":
			last = n.ID
			return false
		}
		return true
	})
	send()
	send()
	var got []int64
	follow(t, bob, last, func(n coordinator.Notice) bool {
		got = append(got, *n.Event.Number)
		return len(got) < 2
	})
	if got[0] != 2 || got[1] != 3 {
		t.Errorf("after the first: %v", got)
	}
	got = nil
	follow(t, bob, first, func(n coordinator.Notice) bool {
		got = append(got, *n.Event.Number)
		return len(got) < 3
	})
	follow(t, bob, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-2", func(n coordinator.Notice) bool {
		if n.Event.Type != "resync" {
			t.Errorf("with an id of another epoch: %+v", n)
		}
		return false
	})
}

// A stream ends at once when its session does, at the next heartbeat when the time of its token is over, and there is no other.
func TestStreamsEndWithTheSession(t *testing.T) {
	for name, end := range map[string]struct {
		heartbeat time.Duration
		by        func(b *bench, k Tokens)
	}{
		"logged out": {time.Hour, func(b *bench, k Tokens) { b.send("DELETE", "/v1/sessions", k.AccessToken, nil).want(b.t, 204, "") }},
		"logged out by another device": {time.Hour, func(b *bench, k Tokens) {
			other := into[Tokens](b.t, b.send("POST", "/v1/sessions", "", Login{User: &k.User, Device: deviceID(2), Proof: fill(1, 32)}))
			b.send("DELETE", "/v1/sessions?all=true", other.AccessToken, nil).want(b.t, 204, "")
		}},
		"another login of the device": {time.Hour, func(b *bench, k Tokens) {
			b.send("POST", "/v1/sessions", "", Login{User: &k.User, Device: deviceID(1), Proof: fill(1, 32)}).want(b.t, 200, "")
		}},
		"two exchanges later": {time.Hour, func(b *bench, k Tokens) {
			next := into[Tokens](b.t, b.refresh(k.RefreshToken, "0"))
			b.refresh(next.RefreshToken, "1").want(b.t, 200, "")
		}},
		"a refresh token used twice": {time.Hour, func(b *bench, k Tokens) {
			b.refresh(k.RefreshToken, "0").want(b.t, 200, "")
			b.refresh(k.RefreshToken, "1").want(b.t, 401, fault.Unauthorized)
		}},
		"its time is over": {50 * time.Millisecond, func(b *bench, _ Tokens) { b.clock.add(time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, open, Options{Heartbeat: end.heartbeat})
			k := b.user(1)
			stream := b.listen(k.AccessToken, 200)
			defer time.AfterFunc(20*time.Second, func() { stream.Body.Close() }).Stop()
			if _, err := stream.Body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			end.by(b, k)
			if _, err := io.Copy(io.Discard, stream.Body); err != nil {
				t.Error("the stream did not end:", err)
			}
			b.listen(k.AccessToken, 401)
		})
	}
}

// A session that ends while a body comes makes no change with it.
func TestBodiesAfterTheSession(t *testing.T) {
	b := newBench(t, open, Options{})
	k, other := b.user(1), b.user(2)
	for want, end := range map[int]func(){204: func() {}, 401: func() { b.send("DELETE", "/v1/sessions", k.AccessToken, nil).want(t, 204, "") }} {
		k = b.user(1) // logs in
		body, write := io.Pipe()
		message := []byte(`{"id":"` + coordinator.NewRequestID() + `","body":"eA=="}`)
		go func() {
			write.Write(message[:1]) //nolint:errcheck // the answer tells
			end()
			write.Write(message[1:]) //nolint:errcheck // the answer tells
		}()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/v1/users/"+other.User+"/messages", body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len(message))
		r.Header.Set("Authorization", "Bearer "+k.AccessToken)
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d, want %d", res.StatusCode, want)
		}
	}
}

// listen asks for a stream of events, which ends with the test.
func (b *bench) listen(token string, want int) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/v1/events", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != want {
		b.t.Fatalf("%d", res.StatusCode)
	}
	return res
}

// A device that comes back has the place of the stream that it had, also where nobody noticed that this ended; others have theirs, up to a number.
func TestStreamsOfDevices(t *testing.T) {
	b := newBench(t, open, Options{})
	alice := b.user(1)
	first := b.listen(alice.AccessToken, 200)
	for range maxStreams + 4 {
		b.listen(alice.AccessToken, 200)
	}
	if _, err := io.Copy(io.Discard, first.Body); err != nil { // until its end
		t.Error(err)
	}
	var last Tokens
	for i := range maxStreams {
		login := Login{User: &alice.User, Device: deviceID(100 + i), Proof: fill(1, 32)}
		last = into[Tokens](t, b.send("POST", "/v1/sessions", "", login))
		if i < maxStreams-1 {
			b.listen(last.AccessToken, 200)
		}
	}
	b.listen(last.AccessToken, 503)
	b.listen(alice.AccessToken, 200)
}

func FuzzEventID(f *testing.F) {
	for _, s := range []string{"", "ABC-1", "-", "ABC-99999999999999999999", "A-B-1", "ABC--1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		epoch, id, err := parseEventID(s)
		if err != nil || s == "" {
			return
		}
		again, same, err := parseEventID(epoch + "-" + formatID(id))
		if err != nil || again != epoch || same != id {
			t.Fatalf("%q became %q %d", s, epoch, id)
		}
	})
}
