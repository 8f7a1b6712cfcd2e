package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

const otherPassword = "canary quarry mellow lantern fig 93"

// firstMachine is a user's agent whose vault the coordinator keeps.
type firstMachine struct {
	*running
	dir      string
	kit      []byte // text
	client   *coordinator.Client
	user     string
	identity [32]byte
}

func (f *firstMachine) kitText() []byte { return bytes.Clone(f.kit) }

// with returns a request to log in with a password.
func (f *firstMachine) with(c *coordinatortest.Coordinator, password string) LoginRequest {
	return LoginRequest{URL: c.URL, Kit: f.kitText(), Password: []byte(password)}
}

// newFirstMachine registers a user and puts the vault in place.
func newFirstMachine(t *testing.T, c *coordinatortest.Coordinator, mail string) *firstMachine {
	t.Helper()
	dir := t.TempDir()
	a := startAgent(t, dir, local)
	res, err := a.Register(t.Context(), RegisterRequest{Email: mail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{URL: c.URL, Password: []byte(testPassword), Kit: bytes.Clone(res.Kit)}); err != nil {
		t.Fatal(err)
	}
	a.settled()
	proof, err := a.vault.LoginProof(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	f := &firstMachine{
		running: a, dir: dir, kit: res.Kit, client: c.Client(coordinator.Options{}), user: res.UserID, identity: a.session.identity,
	}
	own := proof.For(c.URL)
	if err := f.client.Login(t.Context(), coordinator.Login{User: &res.UserID, Proof: own.Bytes()}); err != nil {
		t.Fatal(err)
	}
	return f
}

// mustBeEmpty fails unless the agent has no account.
func (r *running) mustBeEmpty() {
	r.t.Helper()
	if st := r.state(); st != StateUnregistered {
		r.t.Fatalf("the agent is %s", st)
	}
}

// isOf fails unless this agent has the whole account of the other.
func (r *running) isOf(f *firstMachine) {
	r.t.Helper()
	if st := r.state(); st != StateUnlocked {
		r.t.Fatalf("the agent is %s", st)
	}
	r.mu.Lock()
	s := r.session
	r.mu.Unlock()
	if s.user != f.user || s.identity != f.identity {
		r.t.Fatal("not the same user's keys")
	}
}

// A second machine has the user's vault, which nobody but the coordinator calls the newest one, and a device of its own. It stays online
// over a restart, and no other account can be put over it.
func TestLogin(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	dir := t.TempDir()
	b := startAgent(t, dir, local)
	r := f.with(c, testPassword)
	if err := b.Login(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsFunc(slices.Concat(r.Kit, r.Password), func(c rune) bool { return c != 0 }) {
		t.Error("kit and password are not wiped")
	}
	b.isOf(f)
	b.becomes("online")
	if fresh, err := b.vault.Fresh(); err != nil || !fresh {
		t.Error("the vault passes for the newest one", err)
	}
	b.awaitEvents(EventLogin, 1)
	list, err := f.client.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own, first := b.keyFileID(), f.keyFileID()
	known := func(id string) bool {
		return slices.ContainsFunc(list, func(s coordinator.DeviceSession) bool { return s.Device == id })
	}
	if own == first || !known(own) || !known(first) {
		t.Errorf("device keys %s and %s, sessions %+v", own, first, list)
	}
	if err := b.Login(t.Context(), f.with(c, testPassword)); !errors.Is(err, fault.Conflict) {
		t.Errorf("over an account: %v", err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startAgent(t, dir, local)
	if err := b.Login(t.Context(), f.with(c, otherPassword)); !errors.Is(err, fault.Forbidden) || b.state() != StateLocked {
		t.Errorf("a locked account with a wrong password: %v", err)
	}
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Errorf("a locked account: %v", err)
	}
	b.isOf(f)
	b.becomes("online")
	if b.keyFileID() != own {
		t.Error("another device after a restart")
	}
}

// Who lost the password has a new one, here and at the coordinator, with the recovery kit alone; the kit stays good.
func TestLoginWithANewPassword(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := startAgent(t, t.TempDir(), local)
	weak := LoginRequest{URL: c.URL, Kit: f.kitText(), NewPassword: []byte("password")}
	before := len(c.Records())
	if err := b.Login(t.Context(), weak); !errors.Is(err, fault.Policy) || len(c.Records()) != before {
		t.Errorf("a weak password: %v, after %d requests", err, len(c.Records())-before)
	}
	b.mustBeEmpty()
	if err := b.Login(t.Context(), LoginRequest{URL: c.URL, Kit: f.kitText(), NewPassword: []byte(otherPassword)}); err != nil {
		t.Fatal(err)
	}
	b.isOf(f)
	b.becomes("online")
	if err := b.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.tryUnlock(testPassword); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("the lost password: %v", err)
	}
	if err := b.tryUnlock(otherPassword); err != nil {
		t.Fatal(err)
	}
	third := startAgent(t, t.TempDir(), local)
	if err := third.Login(t.Context(), f.with(c, testPassword)); !errors.Is(err, fault.Forbidden) {
		t.Errorf("the lost password at the coordinator: %v", err)
	}
	third.mustBeEmpty()
	if err := third.Login(t.Context(), f.with(c, otherPassword)); err != nil {
		t.Fatal(err)
	}
	third.isOf(f)
}

// What is wrong is refused, leaves no account, and does not keep what is right from working.
func TestLoginRefused(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, g := newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	alone := startAgent(t, t.TempDir(), local)
	res, err := alone.Register(t.Context(), RegisterRequest{Email: "canary.three@example.org", Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := alone.vault.LoginProof(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	hash, own := sha256.Sum256([]byte("three")), proof.For(c.URL)
	reg := coordinator.Registration{User: res.UserID, EmailHash: hash[:], Proof: own.Bytes()}
	if err := c.Client(coordinator.Options{}).Register(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	slip := bytes.Replace(f.kitText(), []byte("m=64 "), []byte("m=65 "), 1)
	mixed := bytes.Clone(f.kit) // the user of one kit, the keys of another
	mixed = append(mixed[:bytes.Index(mixed, []byte("Account key"))], g.kit[bytes.Index(g.kit, []byte("Account key")):]...)
	b := startAgent(t, t.TempDir(), local)
	for name, try := range map[string]struct {
		r    LoginRequest
		want fault.Code
	}{
		"wrong password":         {f.with(c, otherPassword), fault.Forbidden},
		"two passwords":          {LoginRequest{URL: c.URL, Kit: f.kitText(), Password: []byte("a"), NewPassword: []byte("b")}, fault.InvalidRequest},
		"none":                   {LoginRequest{URL: c.URL, Kit: f.kitText()}, fault.InvalidRequest},
		"a slip in the kit":      {LoginRequest{URL: c.URL, Kit: slip, Password: []byte(testPassword)}, fault.InvalidRequest},
		"another's account key":  {LoginRequest{URL: c.URL, Kit: bytes.Clone(mixed), Password: []byte(testPassword)}, fault.Forbidden},
		"another's recovery key": {LoginRequest{URL: c.URL, Kit: bytes.Clone(mixed), NewPassword: []byte(otherPassword)}, fault.Forbidden},
		"no vault there":         {LoginRequest{URL: c.URL, Kit: bytes.Clone(res.Kit), Password: []byte(testPassword)}, fault.NotFound},
	} {
		if err := b.Login(t.Context(), try.r); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %s", name, err, try.want)
		}
		b.mustBeEmpty()
	}
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isOf(f)
}

// TestL14_LoginAddresses has coordinators that no configuration allows, and one whose certificate nobody vouches for: nothing is sent.
func TestL14_LoginAddresses(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	strict := startAgent(t, t.TempDir(), nil)
	before := len(c.Records())
	for _, url := range []string{c.URL, strings.Replace(c.URL, "http:", "https:", 1), "http://1.1.1.1", "https://h/path", "", "https://169.254.169.254"} {
		if err := strict.Login(t.Context(), LoginRequest{URL: url, Kit: f.kitText(), Password: []byte(testPassword)}); !errors.Is(err, fault.Policy) {
			t.Errorf("%q: %v", url, err)
		}
		strict.mustBeEmpty()
	}
	if n := len(c.Records()); n != before {
		t.Errorf("%d requests", n-before)
	}
	var heard atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	defer s.Close()
	b := startAgent(t, t.TempDir(), local)
	err := b.Login(t.Context(), LoginRequest{URL: s.URL, Kit: f.kitText(), Password: []byte(testPassword)})
	if !errors.Is(err, fault.NotAuthentic) || heard.Load() != 0 {
		t.Errorf("a certificate that nobody vouches for: %v, %d requests", err, heard.Load())
	}
	b.mustBeEmpty()
}

// An agent that logs in stops as fast as any other, and has no account then.
func TestL24_StopWhileLoggingIn(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	dir := t.TempDir()
	b := startAgent(t, dir, local)
	reached, once := make(chan struct{}), sync.Once{}
	c.Hook(coordinatortest.Nth("readBlobs", 2, func(e *coordinatortest.Exchange) {
		once.Do(func() { close(reached) })
		<-e.Context().Done()
	}))
	done := make(chan error, 1)
	go func() { done <- b.Login(t.Context(), f.with(c, testPassword)) }()
	<-reached
	begun := time.Now()
	if err := b.stop(); err != nil || time.Since(begun) > 8*time.Second {
		t.Errorf("stopping took %v, %v", time.Since(begun), err)
	}
	if err := <-done; !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	c.Hook(nil)
	b = startAgent(t, dir, local)
	b.mustBeEmpty()
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
}

// A vault whose user left the coordinator lacks the setting: it is written by who came back.
func TestLoginWithoutTheSetting(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	if err := f.vault.Update(func(tx *keystore.Tx) error { return tx.Delete(itemCoordinator) }); err != nil {
		t.Fatal(err)
	}
	b := startAgent(t, t.TempDir(), local)
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
	b.becomes("online")
}

// keyFileID is the id in the device key file.
func (r *running) keyFileID() string {
	r.t.Helper()
	raw, err := os.ReadFile(r.deviceFile())
	if err != nil || len(raw) < 37 {
		r.t.Fatal(err, len(raw))
	}
	return uuid.UUID(raw[21:37]).String()
}
