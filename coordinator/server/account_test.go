package server

import (
	"bytes"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
)

func (b *bench) refresh(token, request string) reply {
	b.t.Helper()
	return b.send("POST", "/v1/sessions/refresh", "", RefreshRequest{RefreshToken: token, Request: "40000000-0000-4000-8000-00000000000" + request})
}

// Stolen tokens: access at most 15 minutes, refresh at most 48 hours, good once, and all of it ends when the user says so.
func TestC12_StolenTokens(t *testing.T) {
	b := newBench(t, open, Options{})
	k := b.user(1)
	if k.AccessSeconds > 15*60 || k.RefreshSeconds > 48*3600 {
		t.Fatalf("access for %d s, refresh for %d s", k.AccessSeconds, k.RefreshSeconds)
	}
	get := func(access string) reply { return b.send("GET", "/v1/account", access, nil) }
	get(k.AccessToken).want(t, 200, "")
	b.clock.add(15*time.Minute - time.Second)
	get(k.AccessToken).want(t, 200, "")
	b.clock.add(time.Second)
	get(k.AccessToken).want(t, 401, fault.Unauthorized)
	get(k.RefreshToken).want(t, 401, fault.Unauthorized)
	b.refresh(k.AccessToken, "0").want(t, 401, fault.Unauthorized)

	// The answer was lost: the same request gets other tokens, and those of the lost answer are worthless.
	lost := into[Tokens](t, b.refresh(k.RefreshToken, "0"))
	next := into[Tokens](t, b.refresh(k.RefreshToken, "0"))
	get(lost.AccessToken).want(t, 401, fault.Unauthorized)
	get(next.AccessToken).want(t, 200, "")

	// The thief uses what was exchanged: both are out, and so is whatever the other one got since.
	last := into[Tokens](t, b.refresh(next.RefreshToken, "1"))
	b.refresh(k.RefreshToken, "0").want(t, 401, fault.Unauthorized)
	get(last.AccessToken).want(t, 401, fault.Unauthorized)
	b.refresh(last.RefreshToken, "2").want(t, 401, fault.Unauthorized)

	login := Login{User: optional(userID(1)), Device: deviceID(1), Proof: fill(1, 32)}
	from := func(device int) reply {
		login.Device = deviceID(device)
		return b.send("POST", "/v1/sessions", "", login)
	}
	k = into[Tokens](t, from(1))
	b.refresh(k.RefreshToken, "a").want(t, 200, "")
	b.refresh(k.RefreshToken, "b").want(t, 401, fault.Unauthorized) // the thief has the token, but not the request

	k = into[Tokens](t, from(1))
	b.clock.add(48 * time.Hour)
	b.refresh(k.RefreshToken, "3").want(t, 401, fault.Unauthorized)

	one, two := into[Tokens](t, from(1)), into[Tokens](t, from(2))
	b.send("DELETE", "/v1/sessions", one.AccessToken, nil).want(t, 204, "")
	get(one.AccessToken).want(t, 401, fault.Unauthorized)
	b.refresh(one.RefreshToken, "4").want(t, 401, fault.Unauthorized)
	get(two.AccessToken).want(t, 200, "")
	three := into[Tokens](t, from(3))
	b.send("PUT", "/v1/account/proof", three.AccessToken, ProofChange{Proof: fill(1, 32), NewProof: fill(9, 32)}).want(t, 204, "")
	get(two.AccessToken).want(t, 401, fault.Unauthorized)
	get(three.AccessToken).want(t, 200, "")
	b.send("POST", "/v1/sessions", "", login).want(t, 401, fault.Unauthorized)
	login.Proof = fill(9, 32)
	two = into[Tokens](t, from(2))
	b.send("DELETE", "/v1/sessions?all=true", two.AccessToken, nil).want(t, 204, "")
	get(three.AccessToken).want(t, 401, fault.Unauthorized)

	four := into[Tokens](t, from(4))
	if err := b.state.Disable(t.Context(), storetest.UserN(1), true); err != nil {
		t.Fatal(err)
	}
	get(four.AccessToken).want(t, 401, fault.Unauthorized)
	b.refresh(four.RefreshToken, "5").want(t, 401, fault.Unauthorized)
	b.send("POST", "/v1/sessions", "", login).want(t, 401, fault.Unauthorized)
	if err := b.state.Disable(t.Context(), storetest.UserN(1), false); err != nil {
		t.Fatal(err)
	}
	get(four.AccessToken).want(t, 401, fault.Unauthorized)
	five := into[Tokens](t, from(5))
	b.storedNothingOf(five.AccessToken, five.RefreshToken, string(login.Proof))
}

// storedNothingOf wants none of these in the store, whose copy on somebody's disk lets nobody in.
func (b *bench) storedNothingOf(secrets ...string) {
	b.t.Helper()
	var all bytes.Buffer
	if err := b.state.Backup(b.t.Context(), &all); err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Contains(all.Bytes(), []byte(userID(1))) {
		b.t.Error("the copy lacks a user")
	}
	for _, s := range secrets {
		if bytes.Contains(all.Bytes(), []byte(s)) {
			b.t.Error("the store holds a secret that it was shown")
		}
	}
}

// Who asks without a session learns the same of users that are there, are turned off, or are not there.
func TestNoEnumeration(t *testing.T) {
	b := newBench(t, open, Options{})
	there := b.user(1)
	b.user(2)
	if err := b.state.Disable(t.Context(), storetest.UserN(2), true); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for n := 1; n <= 3; n++ {
		for _, l := range []Login{{User: optional(userID(n))}, {EmailHash: optional2(fill(byte(n), 32))}} {
			l.Device, l.Proof = deviceID(n), fill(8, 32)
			for _, kind := range []LoginKind{LoginKindPassword, LoginKindRecovery, LoginKindDevice} {
				l.Kind = &kind
				r := b.send("POST", "/v1/sessions", "", l)
				r.want(t, 401, fault.Unauthorized)
				r.problem.RequestId = ""
				seen = append(seen, reflect.ValueOf(r.problem).String()+string(rune('0'+len(r.Header))))
				if r.problem.Detail != nil {
					t.Error("a detail for somebody without a session")
				}
			}
		}
	}
	if len(slices.Compact(seen)) != 1 {
		t.Errorf("answers differ: %q", seen)
	}
	for n, want := range map[int]int{1: 200, 2: 404, 3: 404} {
		r := b.send("POST", "/v1/lookup", there.AccessToken, LookupRequest{EmailHash: fill(byte(n), 32)})
		if r.StatusCode != want {
			t.Errorf("look-up of %d: %d", n, r.StatusCode)
		}
	}
	b.send("POST", "/v1/lookup", "", LookupRequest{EmailHash: fill(1, 32)}).want(t, 401, fault.Unauthorized)
}

func optional2(b []byte) *[]byte { return &b }

func TestRegistrationModes(t *testing.T) {
	r := Registration{User: userID(1), Device: deviceID(1), EmailHash: fill(1, 32), Proof: fill(1, 32)}
	newBench(t, state.Options{Registration: state.Closed}, Options{}).send("POST", "/v1/accounts", "", r).want(t, 422, fault.Policy)

	b := newBench(t, state.Options{Registration: state.Invitation}, Options{})
	b.send("POST", "/v1/accounts", "", r).want(t, 403, fault.Forbidden)
	invitation, err := b.state.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	late, err := b.state.Invite(t.Context(), 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.clock.add(2 * time.Minute)
	r.Invitation = &late
	b.send("POST", "/v1/accounts", "", r).want(t, 403, fault.Forbidden)
	r.Invitation = &invitation
	for range 2 {
		b.send("POST", "/v1/accounts", "", r).want(t, 200, "")
	}
	other := r
	other.Proof = fill(2, 32)
	b.send("POST", "/v1/accounts", "", other).want(t, 409, fault.Conflict)
	other.User = userID(2)
	b.send("POST", "/v1/accounts", "", other).want(t, 403, fault.Forbidden)
	again, err := b.state.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other.Invitation = &again
	b.send("POST", "/v1/accounts", "", other).want(t, 409, fault.Conflict) // the address is taken
}

func TestRateLimits(t *testing.T) {
	b := newBench(t, open, Options{Rates: DefaultRates})
	k := b.user(1)
	b.user(2)
	try := func(user int) reply {
		return b.send("POST", "/v1/sessions", "", Login{User: optional(userID(user)), Device: deviceID(1), Proof: fill(9, 32)})
	}
	for range 9 { // the registration counts
		try(1).want(t, 401, fault.Unauthorized)
	}
	r := try(1)
	r.want(t, 429, fault.Busy)
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	try(2).want(t, 401, fault.Unauthorized)
	b.clock.add(time.Minute)
	try(1).want(t, 401, fault.Unauthorized)
	try(1).want(t, 429, fault.Busy)
	for range 30 {
		b.send("POST", "/v1/lookup", k.AccessToken, LookupRequest{EmailHash: fill(7, 32)}).want(t, 404, fault.NotFound)
	}
	b.send("POST", "/v1/lookup", k.AccessToken, LookupRequest{EmailHash: fill(7, 32)}).want(t, 429, fault.Busy)
	for range 10 {
		b.send("POST", "/v1/users/"+userID(2)+"/prekeys", k.AccessToken, PreKeyRequest{Request: coordinator.NewRequestID()}).want(t, 404, fault.NotFound)
	}
	b.send("POST", "/v1/users/"+userID(2)+"/prekeys", k.AccessToken, PreKeyRequest{Request: coordinator.NewRequestID()}).want(t, 429, fault.Busy)
	for i := range 8 {
		b.send("POST", "/v1/accounts", "", Registration{User: userID(i + 10), Device: deviceID(1), EmailHash: fill(byte(i+10), 32), Proof: fill(1, 32)}).want(t, 200, "")
	}
	b.send("POST", "/v1/accounts", "", Registration{User: userID(30), Device: deviceID(1), EmailHash: fill(30, 32), Proof: fill(1, 32)}).want(t, 429, fault.Busy)
}

// Whoever tries one address after another finds out no faster which are taken than by looking them up.
func TestNewAddressesCountAsLookups(t *testing.T) {
	b := newBench(t, open, Options{Rates: Rates{limitLookup: {2, time.Minute}}})
	k := b.user(1)
	b.user(2)
	change := func(email *[]byte) reply {
		return b.send("PUT", "/v1/account/proof", k.AccessToken, ProofChange{Proof: fill(1, 32), NewProof: fill(1, 32), EmailHash: email})
	}
	change(new(fill(2, 32))).want(t, 409, fault.Conflict)
	change(new(fill(7, 32))).want(t, 204, "")
	change(new(fill(8, 32))).want(t, 429, fault.Busy)
	b.send("POST", "/v1/lookup", k.AccessToken, LookupRequest{EmailHash: fill(2, 32)}).want(t, 429, fault.Busy)
	change(nil).want(t, 204, "")
}

// The clock of limits goes back: nobody is locked out for longer than a bucket takes to fill.
func TestF13_LimitsSurviveTheClock(t *testing.T) {
	c := &clock{t: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)}
	l := newLimiter(Rates{limitLogin: {2, time.Minute}}, c.now)
	for range 2 {
		if err := l.take(limitLogin, "x"); err != nil {
			t.Fatal(err)
		}
	}
	c.add(-10 * 365 * 24 * time.Hour)
	if err := l.take(limitLogin, "x"); !errors.Is(err, fault.Busy) {
		t.Fatal(err)
	}
	c.add(time.Minute)
	if err := l.take(limitLogin, "x"); err != nil {
		t.Fatal(err)
	}
}

// A client keeps itself logged in, over restarts of the agent and lost answers.
func TestClientRefreshes(t *testing.T) {
	b := newBench(t, open, Options{})
	var saved []coordinator.Session
	c := b.agent(1, coordinator.Options{Save: func(s coordinator.Session) error { saved = append(saved, s); return nil }})
	for range 3 {
		if _, err := c.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.add(20 * time.Minute)
	}
	if len(saved) != 3 {
		t.Fatalf("%d sessions were saved", len(saved))
	}
	// The agent was killed after the exchange and before it saved: what it has is the session before.
	drop := roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			res.Body.Close()
			err = errors.New("lost")
		}
		return nil, err
	})
	killed, err := coordinator.New(b.url, coordinator.Options{HTTP: &http.Client{Transport: drop}, Session: saved[2], Now: b.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := killed.Account(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	again, err := coordinator.New(b.url, coordinator.Options{Session: saved[2], Now: b.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := again.Account(t.Context()); err != nil || a.User != userID(1) {
		t.Fatal(err)
	}
	b.clock.add(49 * time.Hour)
	if _, err := again.Account(t.Context()); !errors.Is(err, fault.Unauthorized) {
		t.Fatal(err)
	}
	if err := again.Login(t.Context(), coordinator.Login{User: optional(userID(1)), Proof: fill(1, 32)}); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
