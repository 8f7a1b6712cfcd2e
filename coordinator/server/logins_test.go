package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// Registration tells nobody more about proofs and ids than logging in does.
func TestRegistrationIsNoOracle(t *testing.T) {
	b := newBench(t, open, Options{Rates: Rates{limitLoginPair: {10, time.Minute}, limitLoginUser: {100, time.Minute}}})
	b.user(1)
	guess := func(proof byte) reply {
		return b.send("POST", "/v1/accounts", "", Registration{User: userID(1), Device: deviceID(2), EmailHash: fill(1, 32), Proof: fill(proof, 32)})
	}
	for i := range 9 {
		guess(byte(i+2)).want(t, 409, fault.Conflict)
	}
	guess(1).want(t, 429, fault.Busy)
	right := Login{User: optional(userID(1)), Device: deviceID(1), Proof: fill(1, 32)}
	b.send("POST", "/v1/sessions", "", right).want(t, 429, fault.Busy)
	b.clock.add(time.Minute)
	guess(1).want(t, 200, "")

	b = newBench(t, state.Options{Registration: state.Invitation}, Options{})
	invitation, err := b.state.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r := Registration{User: userID(1), Device: deviceID(1), EmailHash: fill(1, 32), Proof: fill(1, 32), Invitation: &invitation}
	b.send("POST", "/v1/accounts", "", r).want(t, 200, "")
	b.send("POST", "/v1/accounts", "", r).want(t, 200, "")
	for _, text := range []string{"", "cfi_" + strings.Repeat("A", 26)} {
		r.Invitation = optional(text)
		for user := 1; user <= 2; user++ { // one that is there, and one that is not
			r.User = userID(user)
			b.send("POST", "/v1/accounts", "", r).want(t, 403, fault.Forbidden)
		}
	}
}

// Every kind of login counts for the account that it names, those with a credential for the device.
func TestLimitsOfAllLogins(t *testing.T) {
	b := newBench(t, open, Options{Rates: Rates{limitLoginPair: {10, time.Minute}}})
	b.user(1)
	kinds := []LoginKind{LoginKindPassword, LoginKindRecovery, LoginKindDevice}
	try := func(kind LoginKind, device int, proof byte) reply {
		return b.send("POST", "/v1/sessions", "", Login{User: optional(userID(1)), Device: deviceID(device), Kind: &kind, Proof: fill(proof, 32)})
	}
	secret := fill(30, 32)
	trusted := Login{User: optional(userID(1)), Device: deviceID(2), Proof: fill(1, 32), Credential: &secret}
	b.send("POST", "/v1/sessions", "", trusted).want(t, 200, "")
	for i := range 8 {
		try(kinds[i%2], i, 9).want(t, 401, fault.Unauthorized)
	}
	for range 10 {
		try(LoginKindDevice, 1, 9).want(t, 401, fault.Unauthorized)
	}
	for _, kind := range kinds {
		try(kind, 1, 1).want(t, 429, fault.Busy)
	}
	try(LoginKindDevice, 2, 30).want(t, 200, "")
}

// The session of a recovery proof does what the document marks, and nothing else, until it replaced the login proof.
func TestRecoverySession(t *testing.T) {
	b := newBench(t, open, Options{})
	k, kit := b.user(1), fill(20, 32)
	put := func(path, token string, body any) reply { return b.send("PUT", path, token, body) }
	put("/v1/account/recovery", k.AccessToken, RecoveryChange{Proof: fill(9, 32), RecoveryProof: kit}).want(t, 403, fault.Forbidden)
	put("/v1/account/recovery", k.AccessToken, RecoveryChange{Proof: fill(1, 32), RecoveryProof: kit}).want(t, 204, "")
	l := Login{User: optional(userID(1)), Device: deviceID(2), Kind: optional(LoginKindRecovery), Proof: kit}
	r := into[Tokens](t, b.send("POST", "/v1/sessions", "", l))
	for _, rt := range routes {
		marked, _ := checks[rt.operation].Flags["x-recovery"].(bool)
		if marked != rt.recovery {
			t.Errorf("%s: the table says %v, the document %v", rt.operation, rt.recovery, marked)
		}
		if rt.open || rt.streaming || rt.operation == "logout" {
			continue
		}
		path := strings.NewReplacer("{user}", userID(1), "{name}", "vault", "{device}", deviceID(1)).Replace(rt.path)
		got := b.send(rt.method, path, r.AccessToken, nil)
		if refused := got.StatusCode == 403; refused == rt.recovery {
			t.Errorf("%s: %d", rt.operation, got.StatusCode)
		}
	}
	put("/v1/account/recovery", r.AccessToken, RecoveryChange{Proof: kit, RecoveryProof: fill(21, 32)}).want(t, 403, fault.Forbidden)
	put("/v1/account/proof", r.AccessToken, ProofChange{Proof: kit, NewProof: fill(2, 32)}).want(t, 204, "")
	b.send("GET", "/v1/messages", r.AccessToken, nil).want(t, 200, "")
	b.send("GET", "/v1/account", k.AccessToken, nil).want(t, 401, fault.Unauthorized)
	b.storedNothingOf(string(kit))
}

// Devices, by the client: what is listed, removed, and logged in again without a person.
func TestDevicesOfAUser(t *testing.T) {
	b := newBench(t, open, Options{})
	ctx, secret := t.Context(), fill(30, 32)
	laptop, server := b.agent(1, coordinator.Options{}), b.agent(1, coordinator.Options{Device: deviceID(5)})
	login := coordinator.Login{User: optional(userID(1)), Proof: fill(1, 32), Credential: &secret}
	for range 3 { // answers were lost
		if err := server.Login(ctx, login); err != nil {
			t.Fatal(err)
		}
	}
	list, err := laptop.Sessions(ctx)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, d := range list {
		if d.Current != (d.Device == laptop.Device()) || d.Credential != (d.Device == deviceID(5)) || d.Expires == nil {
			t.Errorf("%+v", d)
		}
	}
	b.clock.add(49 * time.Hour)
	if _, err := server.Account(ctx); !errors.Is(err, fault.Unauthorized) {
		t.Fatalf("after 49 hours: %v", err)
	}
	unattended := coordinator.Login{User: optional(userID(1)), Kind: optional(coordinator.LoginKindDevice), Proof: secret}
	if err := server.Login(ctx, unattended); err != nil {
		t.Fatal(err)
	}
	if err := laptop.Login(ctx, coordinator.Login{User: optional(userID(1)), Proof: fill(1, 32)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := laptop.EndSession(ctx, deviceID(5)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.Account(ctx); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("a device that was removed: %v", err)
	}
	if err := server.Login(ctx, unattended); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("its credential: %v", err)
	}
	b.storedNothingOf(string(secret))
	for range 2 {
		if err := laptop.Logout(ctx, false); err != nil {
			t.Errorf("logged out, and again: %v", err)
		}
	}
	b.send("DELETE", "/v1/sessions/phone", b.user(1).AccessToken, nil).want(t, 400, fault.InvalidRequest)
}

// A logout whose answer was lost is made again.
func TestLogoutAnswerLost(t *testing.T) {
	b := newBench(t, open, Options{})
	lose := true
	flaky := roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && lose && r.Method == "DELETE" {
			res.Body.Close()
			return nil, errors.New("lost")
		}
		return res, err
	})
	var saved coordinator.Session
	c := b.agent(1, coordinator.Options{HTTP: &http.Client{Transport: flaky}, Save: func(s coordinator.Session) error { saved = s; return nil }})
	if err := c.Logout(t.Context(), false); !errors.Is(err, fault.Unavailable) || saved.Refresh == "" {
		t.Fatal(err)
	}
	lose = false
	if err := c.Logout(t.Context(), false); err != nil || saved.Refresh != "" || saved.Device != c.Device() {
		t.Fatal(err)
	}
	if err := c.Logout(t.Context(), true); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("whether all sessions ended is not known: %v", err)
	}
}

// Rules about senders and the status of prekeys, as a client sees them.
func TestSendersAndStatus(t *testing.T) {
	b := newBench(t, open, Options{})
	ctx := t.Context()
	alice, mallory := b.agent(1, coordinator.Options{}), b.agent(2, coordinator.Options{})
	if st, err := alice.PreKeyStatus(ctx); err != nil || st.BundleHash != nil {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := alice.PutPreKeys(ctx, coordinator.PreKeyUpload{Sequence: 3, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("one")}}); err != nil {
		t.Fatal(err)
	}
	if st, err := alice.PreKeyStatus(ctx); err != nil || st.Sequence != 3 || st.OneTimeLeft != 1 || len(deref(st.BundleHash)) != 32 {
		t.Errorf("%+v, %v", st, err)
	}
	token := b.user(1).AccessToken
	rules := into[Senders](t, b.send("GET", "/v1/senders", token, nil))
	if rules.Sequence != 0 || rules.Allowed == nil || rules.Blocked == nil {
		t.Fatalf("%+v", rules)
	}
	rules.Sequence++
	for i := range 999 {
		rules.Allowed = append(rules.Allowed, userID(i+100))
		rules.Blocked = append(rules.Blocked, userID(i+2000))
	}
	rules.Blocked = append(rules.Blocked, userID(2))
	for range 2 {
		b.send("PUT", "/v1/senders", token, rules).want(t, 204, "")
	}
	for i := range 2 {
		m := coordinator.OutgoingMessage{Id: fmt.Sprintf("30000000-0000-4000-8000-%012d", i), Body: []byte("x")}
		if err := mallory.Send(ctx, userID(1), m); err != nil {
			t.Errorf("a blocked sender sees %v", err)
		}
	}
	if in, err := alice.Inbox(ctx, 0); err != nil || len(in.Messages) != 0 {
		t.Errorf("%d messages, %v", len(in.Messages), err)
	}
	if err := alice.Send(ctx, userID(1), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: []byte("x")}); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("to oneself: %v", err)
	}
}
