package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// clockJumps: the machine's clock is ten years ahead for a while, then ten years behind: nothing goes, not over a restart either, and tokens still end in time.
func clockJumps(t *testing.T, b *stateBench) {
	ctx := context.Background()
	elapsed := time.Duration(0)
	b.o.Elapsed = func() time.Duration { return elapsed }
	b.start()
	tokens := b.user(0)
	b.user(1)
	mail := 0
	send := func() {
		t.Helper()
		if _, err := b.Send(ctx, UserN(1), UserN(0), requestN(mail), []byte("x")); err != nil {
			t.Fatal(err)
		}
		mail++
	}
	check := func(what string) {
		t.Helper()
		if _, err := b.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if list, _, err := b.Inbox(ctx, UserN(0), 0, 256); err != nil || len(list) != mail {
			t.Errorf("%s: %d of %d messages, %v", what, len(list), mail, err)
		}
		if _, err := b.Authenticate(ctx, tokens.Access); err != nil {
			t.Errorf("%s: the session: %v", what, err)
		}
	}
	pass := func(d time.Duration) { elapsed += d; b.now = b.now.Add(d) }
	send()
	const years = 10 * 365 * 24 * time.Hour
	for i, jump := range []time.Duration{years, -years, -years, years} { // away and back, twice
		b.now = b.now.Add(jump)
		pass(time.Minute)
		what := fmt.Sprintf("jump %d", i)
		check(what)
		send()
		b.restart()
		pass(time.Minute)
		check(what + " and a restart")
	}
	if off := b.ClockOff(); off.Abs() > 10*time.Minute {
		t.Errorf("back at the right time the clock is off by %v", off)
	}
	b.now = b.now.Add(-years)
	pass(16 * time.Minute)
	if _, err := b.Authenticate(ctx, tokens.Access); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("an access token after 24 minutes: %v", err)
	}
	b.now = b.now.Add(years)
	pass(31 * 24 * time.Hour)
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if list, _, err := b.Inbox(ctx, UserN(0), 0, 256); err != nil || len(list) > 0 {
		t.Errorf("after a month %d messages, %v", len(list), err)
	}
}

// caller is who has tokens.
func (b *stateBench) caller(k state.Tokens) state.Caller {
	b.t.Helper()
	c, err := b.Authenticate(context.Background(), k.Access)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// may reports whether the first user can log in with a proof.
func (b *stateBench) may(proof int) bool {
	b.t.Helper()
	_, err := b.Login(context.Background(), state.Login{User: UserN(0), Device: DeviceN(90), Proof: bytes32(proof)})
	if err != nil && !errors.Is(err, fault.Unauthorized) {
		b.t.Fatal(err)
	}
	return err == nil
}

// proofAndBlobs: a new proof and the key that is wrapped for it come together or not at all.
func proofAndBlobs(t *testing.T, b *stateBench) {
	ctx := context.Background()
	own := b.user(0)
	caller := b.caller(own)
	alive := func(k state.Tokens) bool { _, err := b.Authenticate(ctx, k.Access); return err == nil }
	login := func(proof int) state.Tokens {
		t.Helper()
		k, err := b.Login(ctx, state.Login{User: UserN(0), Device: DeviceN(91), Proof: bytes32(proof)})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	head := b.mustSwap(next("v-key", state.Version{}, 1, "old")).Versions[0]
	other := login(0)
	for _, c := range []struct {
		change state.ProofChange
		want   error
	}{
		{state.ProofChange{Old: bytes32(0), New: bytes32(7), Swaps: []state.Swap{next("v-key", state.Version{}, 1, "new")}}, fault.Conflict},
		{state.ProofChange{Old: bytes32(0), New: bytes32(7), Swaps: []state.Swap{next("v-key", head, 2, string(make([]byte, state.MaxSwap+1)))}}, fault.TooLarge},
		{state.ProofChange{Old: bytes32(9), New: bytes32(7), Swaps: []state.Swap{next("v-key", head, 2, "new")}}, fault.Forbidden},
	} {
		if err := b.ChangeProof(ctx, caller, c.change); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
	if v, err := b.Blob(ctx, UserN(0), "v-key", 0); err != nil || v.Counter != 1 || !b.may(0) || b.may(7) || !alive(other) {
		t.Fatalf("a change that was refused left something: %+v, %v", v, err)
	}
	change := state.ProofChange{Old: bytes32(0), New: bytes32(7), Swaps: []state.Swap{next("v-key", head, 2, "new")}}
	for range 2 { // the answer was lost
		if err := b.ChangeProof(ctx, caller, change); err != nil {
			t.Fatal(err)
		}
	}
	b.restart()
	v, err := b.Blob(ctx, UserN(0), "v-key", 0)
	if err != nil || string(v.Body) != "new" || v.Counter != 2 || b.may(0) || !b.may(7) || alive(other) || !alive(own) {
		t.Errorf("%+v, %v, other session %v, own %v", v, err, alive(other), alive(own))
	}
	other = login(7)
	if err := b.ChangeProof(ctx, caller, state.ProofChange{Old: bytes32(7), New: bytes32(8), KeepSessions: true}); err != nil || !alive(other) {
		t.Errorf("a change that keeps sessions: %v", err)
	}
	robot, kit := b.mustLogin(2, func(l *state.Login) { l.Proof = bytes32(8) }, credential(bytes32(30))), bytes32(20)
	if err := b.SetRecovery(ctx, caller, bytes32(8), kit); err != nil {
		t.Fatal(err)
	}
	recovering := b.mustLogin(3, byRecovery(kit))
	err = b.ChangeProof(ctx, caller, state.ProofChange{
		Old: bytes32(8), New: bytes32(9), Recovery: bytes32(21), Keep: []state.DeviceID{DeviceN(2), DeviceN(3), DeviceN(77)},
	})
	if err != nil || alive(other) || !alive(robot) || alive(recovering) || !alive(own) {
		t.Errorf("a change that keeps a device: %v, others %v, the device %v, of the former kit %v", err, alive(other), alive(robot), alive(recovering))
	}
	b.in(b.mustLogin(2, byDevice(bytes32(30))), true)
}

// proofAndKit: a new recovery proof comes with the blobs that it is for or not at all, with another login proof or without. Whoever has no login proof any more
// shows the recovery proof.
func proofAndKit(t *testing.T, b *stateBench) {
	ctx := context.Background()
	caller := b.caller(b.user(0))
	head := b.mustSwap(next("v-key", state.Version{}, 1, "old")).Versions[0]
	kit := func(n int, want error) {
		t.Helper()
		if _, err := b.login(3, byRecovery(bytes32(n))); !errors.Is(err, want) {
			t.Errorf("kit %d: %v, want %v", n, err, want)
		}
	}
	change := func(old, new, recovery int, sw state.Swap, want error) {
		t.Helper()
		p := state.ProofChange{Old: bytes32(old), New: bytes32(new), Recovery: bytes32(recovery), Swaps: []state.Swap{sw}}
		for range 2 { // the answer was lost
			if err := b.ChangeProof(ctx, caller, p); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	}
	other := b.mustLogin(2)
	wrong, first := next("v-key", state.Version{}, 1, "new"), next("v-key", head, 2, "new")
	change(0, 0, 40, wrong, fault.Conflict)
	kit(40, fault.Unauthorized)
	change(0, 0, 40, first, nil)
	kit(40, nil)
	b.in(other, true)
	b.restart()
	v, err := b.Blob(ctx, UserN(0), "v-key", 0)
	if err != nil || v.Counter != 2 || !b.may(0) {
		t.Fatalf("%+v, %v", v, err)
	}
	change(41, 7, 42, next("v-key", v.Version, 3, "by a wrong kit"), fault.Forbidden)
	change(40, 7, 42, next("v-key", v.Version, 3, "by the kit"), nil)
	kit(40, fault.Unauthorized)
	kit(42, nil)
	b.in(other, false)
	if b.may(0) || !b.may(7) {
		t.Error("the login proof is not the one that came with the kit's")
	}
	if err := b.ChangeProof(ctx, caller, state.ProofChange{Old: bytes32(7), New: bytes32(7), Recovery: []byte("short")}); !errors.Is(err, fault.InvalidRequest) {
		t.Error(err)
	}
}

// changedAddress: the address moves with the proof, to one that nobody has, and the old one is free.
func changedAddress(t *testing.T, b *stateBench) {
	ctx := context.Background()
	caller := b.caller(b.user(0))
	b.user(1)
	taken := state.ProofChange{Old: bytes32(0), New: bytes32(7), Email: bytes32(1), Swaps: []state.Swap{next("v", state.Version{}, 1, "x")}}
	if err := b.ChangeProof(ctx, caller, taken); !errors.Is(err, fault.Conflict) || !b.may(0) {
		t.Fatalf("an address that is taken: %v", err)
	}
	change := taken
	change.Email = bytes32(5)
	for range 2 {
		if err := b.ChangeProof(ctx, caller, change); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := b.Lookup(ctx, bytes32(5)); err != nil || id != UserN(0) {
		t.Error(id, err)
	}
	if id, err := b.Lookup(ctx, bytes32(0)); !errors.Is(err, fault.NotFound) {
		t.Error(id, err)
	}
	if _, err := b.Login(ctx, state.Login{Email: bytes32(5), Device: DeviceN(92), Proof: bytes32(7)}); err != nil {
		t.Error(err)
	}
	if _, err := b.Register(ctx, state.NewAccount{User: UserN(2), Device: DeviceN(93), Email: bytes32(0), Proof: bytes32(2)}); err != nil {
		t.Errorf("the old address is not free: %v", err)
	}
}

// failing refuses changes after a number of them.
type failing struct {
	store.Store
	left *int
}

func (f failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if *f.left--; *f.left < 0 {
		return fault.Unavailable
	}
	return f.Store.Update(ctx, fn)
}

// deletedAccount: nothing stays of an account but that there was one, wherever the process dies.
func deletedAccount(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(9)
	if _, err := b.PutPreKeys(ctx, UserN(9), state.Upload{Sequence: 1, Bundle: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		b.user(n)
		fillAccount(b, n)
		left := 1 << 30
		s, err := state.New(ctx, failing{b.Store, &left}, b.o)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := s.Login(ctx, state.Login{User: UserN(n), Device: DeviceN(n), Proof: bytes32(n)})
		if err != nil {
			t.Fatal(err)
		}
		c := b.caller(tokens)
		if err := s.Delete(ctx, c, bytes32(99)); !errors.Is(err, fault.Forbidden) {
			t.Fatal(err)
		}
		left = []int{1, 2, 5, 8, 12, 1 << 30}[n]
		if err := s.Delete(ctx, c, bytes32(n)); errors.Is(err, fault.Unavailable) != (left < 0) {
			t.Fatal(err)
		}
		if _, err := b.Authenticate(ctx, tokens.Access); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("a session of somebody who is gone: %v", err)
		}
		if n == 5 {
			b.wantNothingOf(n, "erase/", "expiry/")
		}
		b.restart()
		b.now = b.now.Add(time.Hour)
		if _, err := b.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		b.wantNothingOf(n, "expiry/")
		if _, err := b.Register(ctx, state.NewAccount{User: UserN(n), Device: DeviceN(93), Email: bytes32(n), Proof: bytes32(n)}); !errors.Is(err, fault.Conflict) {
			t.Errorf("the id again: %v", err)
		}
		if _, err := b.Register(ctx, state.NewAccount{User: UserN(n + 50), Device: DeviceN(93), Email: bytes32(n), Proof: bytes32(n)}); err != nil {
			t.Errorf("the address again: %v", err)
		}
	}
	b.now = b.now.Add(2 * 24 * time.Hour)
	b.restart()
	b.now = b.now.Add(40 * 24 * time.Hour)
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		b.wantNothingOf(n)
	}
}

// fillAccount leaves something of every kind.
func fillAccount(b *stateBench, n int) {
	b.t.Helper()
	ctx := context.Background()
	for i := range 150 {
		_, err := b.Swap(ctx, UserN(n), []state.Swap{next(fmt.Sprintf("b%d", i), state.Version{}, 1, "x")})
		_, sendErr := b.Send(ctx, UserN(9), UserN(n), requestN(1000*n+i), []byte("x"))
		if err := errors.Join(err, sendErr); err != nil {
			b.t.Fatal(err)
		}
	}
	_, sendErr := b.Send(ctx, UserN(n), UserN(9), requestN(n), []byte("x"))
	_, putErr := b.PutPreKeys(ctx, UserN(n), state.Upload{Sequence: 1, Bundle: []byte("b"), OneTime: [][]byte{[]byte("a"), []byte("b")}})
	_, fetchErr := b.FetchPreKeys(ctx, UserN(n), UserN(9), requestN(n))
	rulesErr := b.SetSenders(ctx, UserN(n), state.Senders{Sequence: 1, Blocked: []state.UserID{UserN(77)}})
	if err := errors.Join(sendErr, putErr, fetchErr, rulesErr, b.AddLink(ctx, UserN(n), state.Link{Sequence: 1, Body: []byte("link")})); err != nil {
		b.t.Fatal(err)
	}
}

// wantNothingOf wants no record with a user's id in its key, but that there was one, what was sent, and those of some kinds.
func (b *stateBench) wantNothingOf(n int, but ...string) {
	b.t.Helper()
	for k := range all(b.t, b) {
		ours := strings.Contains(k, string(UserN(n))) && !strings.HasPrefix(k, "gone/") && !strings.HasPrefix(k, "waiting/"+string(UserN(9)))
		for _, kind := range but {
			ours = ours && !strings.HasPrefix(k, kind)
		}
		if ours {
			b.t.Errorf("left of user %d: %s", n, k)
		}
	}
}
