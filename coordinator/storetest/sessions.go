package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// login logs the nth device of user 0 in.
func (b *stateBench) login(device int, change ...func(*state.Login)) (state.Tokens, error) {
	l := state.Login{User: UserN(0), Device: DeviceN(device), Proof: bytes32(0)}
	for _, fn := range change {
		fn(&l)
	}
	return b.Login(context.Background(), l)
}

func (b *stateBench) mustLogin(device int, change ...func(*state.Login)) state.Tokens {
	b.t.Helper()
	k, err := b.login(device, change...)
	if err != nil {
		b.t.Fatal(err)
	}
	return k
}

func credential(c []byte) func(*state.Login) { return func(l *state.Login) { l.Credential = c } }

func byDevice(c []byte) func(*state.Login) {
	return func(l *state.Login) { l.Kind, l.Proof = state.DeviceLogin, c }
}

func byRecovery(c []byte) func(*state.Login) {
	return func(l *state.Login) { l.Kind, l.Proof = state.RecoveryLogin, c }
}

// in wants an access token to be good, or not.
func (b *stateBench) in(k state.Tokens, good bool) {
	b.t.Helper()
	c, err := b.Authenticate(context.Background(), k.Access)
	if good && (err != nil || c.User != k.User || c.Device != k.Device) || !good && !errors.Is(err, fault.Unauthorized) {
		b.t.Errorf("%+v, %v; want it to be good: %v", c, err, good)
	}
}

// keysOf returns the keys of the store of which a part begins with a text.
func (b *stateBench) keysOf(text string) (list []string) {
	for k := range all(b.t, b) {
		if strings.Contains("/"+k, "/"+text) {
			list = append(list, k)
		}
	}
	return list
}

// twoHolders: somebody has a refresh token beside its owner, and the id under which the owner will use it. Each line of the table in docs/coordinator.md:
// who acts in which order, and who is in afterwards. An upper-case step uses the refresh token that this holder got last, a lower-case one the stolen token
// again; o and O are the owner, t the thief under the owner's id, x the thief under another.
func twoHolders(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	for _, c := range []struct {
		name, steps string
		owner       bool // is in
		thief       bool
	}{
		{"the thief does nothing", "oOO", true, false},
		{"first, the owner never", "tTT", false, true},
		{"first, then the owner", "to", true, false},
		{"first, then the owner, and the thief goes on", "toT", false, false},
		{"first, goes on, then the owner", "tTo", false, false},
		{"first under another id, then the owner", "xo", false, false},
		{"second, before the owner used its tokens", "ot", false, true},
		{"second, and the owner goes on", "otO", false, false},
		{"second and goes on, and so does the owner", "otTO", false, false},
		{"after the owner went on", "oOt", false, false},
		{"second under another id", "ox", false, false},
		{"owner and thief in turn", "ototO", false, false},
	} {
		stolen := b.mustLogin(0)
		other := b.mustLogin(1)
		var owner, thief state.Tokens
		for i, step := range c.steps {
			use, request, got := stolen.Refresh, requestN(0), &owner
			switch step {
			case 'O':
				use, request = owner.Refresh, requestN(100+i)
			case 't':
				got = &thief
			case 'x':
				got, request = &thief, requestN(99)
			case 'T':
				use, request, got = thief.Refresh, requestN(200+i), &thief
			}
			k, err := b.Refresh(ctx, use, request)
			if err != nil && !errors.Is(err, fault.Unauthorized) {
				t.Fatal(err)
			}
			if *got = k; err != nil {
				got.Access = "refused"
			}
		}
		t.Log(c.name)
		b.in(owner, c.owner)
		b.in(thief, c.thief)
		b.in(other, true)
	}
}

// lostRefreshes: an owner whose answers are lost 200 times is not taken for a thief, and leaves nothing.
func lostRefreshes(t *testing.T, b *stateBench) {
	ctx := context.Background()
	k := b.user(0)
	before := len(all(t, b))
	var got state.Tokens
	for range 200 {
		b.now = b.now.Add(time.Second)
		next, err := b.Refresh(ctx, k.Refresh, requestN(0))
		if err != nil {
			t.Fatal(err)
		}
		b.in(got, false)
		got = next
	}
	b.in(got, true)
	for i := range 200 {
		b.now = b.now.Add(time.Minute)
		next, err := b.Refresh(ctx, got.Refresh, requestN(i))
		if err != nil {
			t.Fatal(err)
		}
		got = next
	}
	if after := len(all(t, b)); after != before {
		t.Errorf("%d records before, %d after 400 exchanges", before, after)
	}
}

// sessionsByDevice: a device has one session, a user a bounded number of devices, and what is removed is out.
func sessionsByDevice(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	lost := b.mustLogin(1)
	again := b.mustLogin(1)
	b.in(lost, false)
	b.in(again, true)
	if _, err := b.Refresh(ctx, lost.Refresh, requestN(0)); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("the refresh token of a lost answer: %v", err)
	}
	b.in(again, true)
	unattended := b.mustLogin(2, credential(bytes32(7)))
	for i := range 100 {
		b.now = b.now.Add(time.Second)
		b.mustLogin(i + 10)
	}
	b.restart()
	list, err := b.Sessions(ctx, UserN(0))
	if err != nil || len(list) != state.DefaultLimits.Sessions || list[0].Device != DeviceN(2) || !list[0].Credential || list[31].Device != DeviceN(109) || list[31].Credential {
		t.Errorf("%d devices, %v: %+v", len(list), err, list)
	}
	if n := len(b.keysOf("session/")); n != 2*state.DefaultLimits.Sessions {
		t.Errorf("%d keys for %d devices", n, len(list))
	}
	b.in(again, false)
	b.in(unattended, true)
	for range 2 {
		if err := b.EndSession(ctx, UserN(0), DeviceN(2)); err != nil {
			t.Fatal(err)
		}
	}
	b.in(unattended, false)
	if _, err := b.login(2, byDevice(bytes32(7))); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("the credential of a device that was removed: %v", err)
	}
	last := b.mustLogin(109)
	c, err := b.Authenticate(ctx, last.Access)
	if err != nil {
		t.Fatal(err)
	}
	newer := b.mustLogin(109)
	if err := b.Logout(ctx, c, false); err != nil { // of the session before
		t.Fatal(err)
	}
	b.in(newer, true)
	if err := b.Logout(ctx, c, true); err != nil {
		t.Fatal(err)
	}
	if n := len(b.keysOf("session/")); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if _, err := b.login(0, func(l *state.Login) { l.Device = "phone" }); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("a device without a UUID: %v", err)
	}
}

// deviceCredentials: they log one device in for 90 days after each use, until somebody says otherwise.
func deviceCredentials(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	secret := bytes32(7)
	b.mustLogin(1, credential(secret))
	for range 3 {
		b.now = b.now.Add(89 * 24 * time.Hour)
		if _, err := b.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		b.restart()
		b.in(b.mustLogin(1, byDevice(secret)), true)
	}
	for name, change := range map[string]func(*state.Login){
		"another":           byDevice(bytes32(8)),
		"an empty one":      byDevice([]byte{}),
		"on another device": func(l *state.Login) { byDevice(secret)(l); l.Device = DeviceN(2) },
		"of another user":   func(l *state.Login) { byDevice(secret)(l); l.User = UserN(1) },
		"as a login proof":  func(l *state.Login) { l.Proof = secret },
		"as a recovery":     byRecovery(secret),
	} {
		if _, err := b.login(1, change); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.login(1, byDevice(secret), credential(bytes32(9))); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("a credential by a credential: %v", err)
	}
	for name, end := range map[string]func() error{
		"unused for 90 days": func() error { b.now = b.now.Add(90 * 24 * time.Hour); return nil },
		"logged out": func() error {
			c, err := b.Authenticate(ctx, b.mustLogin(1, byDevice(secret)).Access)
			return errors.Join(err, b.Logout(ctx, c, false))
		},
		"logged in without":   func() error { _, err := b.login(1); return err },
		"replaced":            func() error { _, err := b.login(1, credential(bytes32(8))); return err },
		"disabled, and again": func() error { return errors.Join(b.Disable(ctx, UserN(0), true), b.Disable(ctx, UserN(0), false)) },
		"disabled after its session ended": func() error {
			b.now = b.now.Add(49 * time.Hour)
			k := b.mustLogin(1, byDevice(secret))
			for i := range 2 {
				b.Refresh(ctx, k.Refresh, requestN(i)) //nolint:errcheck // the second ends the session
			}
			return errors.Join(b.Disable(ctx, UserN(0), true), b.Disable(ctx, UserN(0), false))
		},
		"login proof replaced": func() error {
			c, err := b.Authenticate(ctx, b.mustLogin(3).Access)
			return errors.Join(err, b.ChangeProof(ctx, c, state.ProofChange{Old: bytes32(0), New: bytes32(1)}), b.ChangeProof(ctx, c, state.ProofChange{Old: bytes32(1), New: bytes32(0)}))
		},
	} {
		b.mustLogin(1, credential(secret))
		b.mustLogin(1, byDevice(secret))
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := b.login(1, byDevice(secret)); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A reused refresh token ends the session; whoever has the credential is the device.
	k := b.mustLogin(1, credential(secret))
	for i := range 2 {
		b.Refresh(ctx, k.Refresh, requestN(i)) //nolint:errcheck // the second is refused
	}
	b.in(b.mustLogin(1, byDevice(secret)), true)
	if raw := backupOf(t, b); bytes.Contains(raw, secret) {
		t.Error("the store holds a credential")
	}
}

func backupOf(t testing.TB, b *stateBench) []byte {
	var file bytes.Buffer
	if err := b.Backup(context.Background(), &file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// recoveryProofs: whoever forgot the password logs in with the kit's proof and replaces the login proof.
func recoveryProofs(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	old, kit := bytes32(20), bytes32(21)
	if _, err := b.login(1, byRecovery(kit)); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("none was set: %v", err)
	}
	if err := b.SetRecovery(ctx, state.Caller{User: UserN(0)}, bytes32(9), kit); !errors.Is(err, fault.Forbidden) {
		t.Errorf("set with a wrong login proof: %v", err)
	}
	for _, proof := range [][]byte{old, kit, kit} { // the last answer was lost
		if err := b.SetRecovery(ctx, state.Caller{User: UserN(0)}, bytes32(0), proof); err != nil {
			t.Fatal(err)
		}
	}
	b.restart()
	for _, wrong := range [][]byte{old, bytes32(0)} {
		if _, err := b.login(1, byRecovery(wrong)); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("a wrong one: %v", err)
		}
	}
	if _, err := b.login(1, func(l *state.Login) { l.Proof = kit }); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("as a login proof: %v", err)
	}
	other, k := b.mustLogin(2, credential(bytes32(7))), b.mustLogin(1, byRecovery(kit))
	k, err := b.Refresh(ctx, k.Refresh, requestN(0))
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Authenticate(ctx, k.Access)
	if err != nil || !c.Recovery {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := b.ChangeProof(ctx, c, state.ProofChange{Old: bytes32(9), New: bytes32(1)}); !errors.Is(err, fault.Forbidden) {
		t.Errorf("replaced with another proof than the kit's: %v", err)
	}
	for range 2 {
		if err := b.ChangeProof(ctx, c, state.ProofChange{Old: kit, New: bytes32(1)}); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := b.Authenticate(ctx, k.Access); err != nil || c.Recovery {
		t.Errorf("after it replaced the proof: %+v, %v", c, err)
	}
	b.in(other, false)
	if _, err := b.login(2, byDevice(bytes32(7))); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("a credential from before: %v", err)
	}
	if _, err := b.login(1); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("the proof from before: %v", err)
	}
	b.mustLogin(1, func(l *state.Login) { l.Proof = bytes32(1) })
	k = b.mustLogin(1, byRecovery(kit)) // somebody who remembers the password after all
	if c, err = b.Authenticate(ctx, k.Access); err != nil || !c.Recovery {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := b.ChangeProof(ctx, c, state.ProofChange{Old: kit, New: bytes32(1)}); err != nil {
		t.Fatal(err)
	}
	if c, err := b.Authenticate(ctx, k.Access); err != nil || c.Recovery {
		t.Errorf("after it set the proof in force again: %+v, %v", c, err)
	}
	if _, err := b.Register(ctx, state.NewAccount{User: UserN(1), Device: DeviceN(1), Email: bytes32(1), Proof: bytes32(1), Recovery: kit}); err != nil {
		t.Fatal(err)
	}
	b.mustLogin(1, byRecovery(kit), func(l *state.Login) { l.User = UserN(1) })
}
