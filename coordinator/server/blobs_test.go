package server

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
)

// next is a swap that follows a version, which may be none.
func next(name string, v coordinator.BlobVersion, body string) coordinator.Swap {
	if v.Hash == nil {
		v.Hash = fill(0, 32)
	}
	return coordinator.Swap{Name: name, Counter: v.Counter + 1, Previous: v.Hash, Nonce: []byte(coordinator.NewRequestID())[:16], Body: []byte(body)}
}

// descends reports whether a version is the newest of a blob, or known to come before it.
func descends(b *coordinator.Blob, v coordinator.BlobVersion) bool {
	return bytes.Equal(b.Newest.Hash, v.Hash) || slices.ContainsFunc(append(slices.Clone(b.Earlier), b.Newest), func(w coordinator.BlobVersion) bool {
		return bytes.Equal(w.Previous, v.Hash)
	})
}

// An agent that was away reads what changed, deletions too, and sees that each blob descends from what it knew.
func TestReadWhatChanged(t *testing.T) {
	b := newBench(t, open, Options{})
	c := b.agent(1, coordinator.Options{})
	none := coordinator.BlobVersion{}
	swap := func(list ...coordinator.Swap) coordinator.Swapped {
		t.Helper()
		s, err := c.Swap(t.Context(), list...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := swap(next("read", none, "one"), next("r-a", none, "a"), next("r-b", none, ""))
	known := first.Versions[0]
	head := known
	for i := range 8 {
		head = swap(next("read", head, fmt.Sprint(i))).Versions[0]
	}
	gone := next("r-a", first.Versions[1], "")
	gone.Delete = optional(true)
	last := swap(gone)

	page, err := c.ReadBlobs(t.Context(), coordinator.BlobRead{Since: &first.Change, Bodies: optional(true)})
	if err != nil || page.Change != last.Change || page.More || page.Missed || page.Floor != 0 || page.Epoch != b.state.Epoch() || len(page.Blobs) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	read, deleted := &page.Blobs[0], &page.Blobs[1]
	if read.Name != "read" || string(*read.Body) != "7" || !descends(read, known) {
		t.Errorf("%+v", read)
	}
	if deleted.Name != "r-a" || !deleted.IsDeleted() || deleted.Body != nil || !descends(deleted, first.Versions[1]) {
		t.Errorf("%+v", deleted)
	}
	head = swap(next("read", head, "other")).Versions[0]
	swap(next("read", head, "8"))
	page, err = c.ReadBlobs(t.Context(), coordinator.BlobRead{Names: &[]string{"read"}})
	if err != nil || len(page.Blobs) != 1 || descends(&page.Blobs[0], known) || page.Blobs[0].Body != nil {
		t.Errorf("10 versions later it descends from %d, or is not there: %v", known.Counter, err)
	}
	if got, err := c.Blob(t.Context(), "read", 0); err != nil || string(got.Body) != "8" {
		t.Errorf("a blob with the name of an operation: %v", err)
	}
	for _, q := range []string{`{"names":["a"],"prefix":"a"}`, `{"since":1,"after":"a"}`, `{"epoch":"A"}`, `{"since":-1}`, `{"limit":257}`, `{"names":[]}`, `{"names":["A"]}`} {
		b.send("POST", "/v1/blobs/read", b.user(1).AccessToken, q).want(t, 400, fault.InvalidRequest)
	}
}

// A client is told which of the three is full, and of the coordinator's disk no more than that.
func TestWhatIsFull(t *testing.T) {
	b := newBench(t, open, Options{})
	alice := b.agent(1, coordinator.Options{})
	b.agent(2, coordinator.Options{})
	for n := 1; n < 3; n++ {
		if err := b.state.SetQuota(t.Context(), storetest.UserN(n), state.Quota{Bytes: 10, MailBytes: 10}); err != nil {
			t.Fatal(err)
		}
	}
	resource := func(err error) string {
		t.Helper()
		e, ok := errors.AsType[*coordinator.Error](err)
		if !ok || !errors.Is(err, fault.StorageFull) {
			t.Fatal(err)
		}
		return e.Resource()
	}
	_, quota := alice.Swap(t.Context(), next("a", coordinator.BlobVersion{}, "more than ten bytes"))
	mailbox := alice.Send(t.Context(), userID(2), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: []byte("more than ten bytes")})
	b.full.Store(true)
	_, disk := alice.Swap(t.Context(), next("a", coordinator.BlobVersion{}, "x"))
	b.full.Store(false)
	got := []string{resource(quota), resource(mailbox), resource(disk)}
	if !slices.Equal(got, []string{coordinator.QuotaResource, coordinator.MailboxResource, coordinator.DiskResource}) {
		t.Error(got)
	}
	for err, told := range map[error]bool{quota: true, mailbox: true, disk: false} {
		if e, ok := errors.AsType[*coordinator.Error](err); !ok || (e.Problem.Detail != nil) != told {
			t.Errorf("%v: a detail %v", err, !told)
		}
	}
	if _, err := alice.Swap(t.Context(), next("a", coordinator.BlobVersion{}, "x")); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// What a failure says of the machine is for its operator alone.
func TestDetailsOfTheMachine(t *testing.T) {
	for err, users := range map[error]bool{
		fault.New(fault.StorageFull, "96 MiB free"):     false,
		fault.New(fault.Unavailable, "the disk failed"): false,
		fault.New(fault.Conflict, "the rules are at 3"): true,
	} {
		for caller, told := range map[state.UserID]bool{storetest.UserN(1): users, operator: true, "": false} {
			if p := problemOf(err, &call{caller: state.Caller{User: caller}}); (p.Detail != nil) != told {
				t.Errorf("%v, for %q: a detail %v", err, caller, !told)
			}
		}
	}
}

// A full disk locks nobody out and heals: who is logged in stays so, others log in, log out and remove devices, messages and blobs go, the operator is heard.
func TestF06_FullDiskLocksNobodyOut(t *testing.T) {
	b := newBench(t, open, Options{})
	ctx := t.Context()
	alice, bob, carol := b.agent(1, coordinator.Options{}), b.agent(2, coordinator.Options{}), b.agent(3, coordinator.Options{})
	b.agent(1, coordinator.Options{Device: deviceID(8)})
	made, err := bob.Swap(ctx, next("a", coordinator.BlobVersion{}, "x"))
	if err := errors.Join(err, alice.Send(ctx, userID(2), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: []byte("x")})); err != nil {
		t.Fatal(err)
	}
	in, err := bob.Inbox(ctx, 0)
	if err != nil || len(in.Messages) != 1 {
		t.Fatal(in, err)
	}
	yes := true
	removal := next("a", made.Versions[0], "")
	removal.Delete = &yes
	b.full.Store(true)
	b.clock.add(20 * time.Minute)
	if _, err := alice.Swap(ctx, next("a", coordinator.BlobVersion{}, "x")); !errors.Is(err, fault.StorageFull) {
		t.Errorf("a swap on a full disk, after an exchange of tokens: %v", err)
	}
	wrapped := []coordinator.Swap{next("key", coordinator.BlobVersion{}, "x")}
	withSwap := coordinator.ProofChange{Proof: fill(2, 32), NewProof: fill(12, 32), Swaps: &wrapped}
	if err := bob.ChangeProof(ctx, withSwap); !errors.Is(err, fault.StorageFull) {
		t.Errorf("a login proof with a blob: %v", err)
	}
	_, swapErr := bob.Swap(ctx, removal)
	_, inviteErr := b.state.Invite(ctx, 1, time.Hour)
	for what, err := range map[string]error{
		"login":               alice.Login(ctx, coordinator.Login{User: optional(userID(1)), Device: deviceID(9), Proof: fill(1, 32)}),
		"acknowledgement":     bob.Acknowledge(ctx, coordinator.Acknowledgement{Sequence: in.Messages[0].Sequence, Id: in.Messages[0].Id}),
		"deletion of a blob":  swapErr,
		"login proof":         alice.ChangeProof(ctx, coordinator.ProofChange{Proof: fill(1, 32), NewProof: fill(11, 32), KeepSessions: &yes}),
		"recovery proof":      alice.SetRecovery(ctx, coordinator.RecoveryChange{Proof: fill(11, 32), RecoveryProof: fill(12, 32)}),
		"removal of a device": alice.EndSession(ctx, deviceID(8)),
		"logout":              alice.Logout(ctx, false),
		"deletion of a user":  carol.DeleteAccount(ctx, fill(3, 32)),
		"invitation":          inviteErr,
		"operator":            b.state.Disable(ctx, storetest.UserN(2), true),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.clock.add(31 * 24 * time.Hour)
	if n, err := b.state.Sweep(ctx); err != nil || n == 0 {
		t.Errorf("%d records were swept, %v", n, err)
	}
}

// Whoever writes too much is told how long to wait.
func TestF06_TooMuchWritten(t *testing.T) {
	limits := state.DefaultLimits
	limits.WriteBurst, limits.WriteRate = 1<<20, 1<<10
	b := newBench(t, state.Options{Registration: state.Open, Limits: limits}, Options{})
	c := b.agent(1, coordinator.Options{})
	var head coordinator.BlobVersion
	for range 3 {
		s, err := c.Swap(t.Context(), next("a", head, string(make([]byte, 300<<10))))
		if err != nil {
			t.Fatal(err)
		}
		head = s.Versions[0]
	}
	_, err := c.Swap(t.Context(), next("a", head, string(make([]byte, 300<<10))))
	if e, ok := errors.AsType[*coordinator.Error](err); !ok || fault.CodeOf(err) != fault.Busy || e.Problem.Status != 429 || e.RetryAfter() < 100e9 {
		t.Errorf("%v", err)
	}
}

// The password changes with the vault key that it wraps, over the client; then the account goes.
func TestPasswordAndAccount(t *testing.T) {
	b := newBench(t, open, Options{})
	c := b.agent(1, coordinator.Options{})
	s, err := c.Swap(t.Context(), next("v-key", coordinator.BlobVersion{}, "wrapped"))
	if err != nil {
		t.Fatal(err)
	}
	change := coordinator.ProofChange{
		Proof: fill(1, 32), NewProof: fill(7, 32), EmailHash: optional2(fill(77, 32)), Swaps: &[]coordinator.Swap{next("v-key", s.Versions[0], "wrapped anew")},
	}
	for range 2 {
		if err := c.ChangeProof(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Blob(t.Context(), "v-key", 0); err != nil || string(got.Body) != "wrapped anew" {
		t.Fatal(err)
	}
	large := change
	large.Proof, large.NewProof, large.EmailHash = fill(7, 32), fill(8, 32), nil
	large.Swaps = &[]coordinator.Swap{next("large", coordinator.BlobVersion{}, string(bytes.Repeat([]byte("x"), state.MaxSwap)))}
	if err := c.ChangeProof(t.Context(), large); err != nil {
		t.Errorf("with the largest blob: %v", err)
	}
	if err := c.DeleteAccount(t.Context(), fill(7, 32)); !errors.Is(err, fault.Forbidden) {
		t.Errorf("with another proof: %v", err)
	}
	if err := c.DeleteAccount(t.Context(), fill(8, 32)); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteAccount(t.Context(), fill(8, 32)); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("again: %v", err)
	}
	err = c.Register(t.Context(), coordinator.Registration{User: userID(1), EmailHash: fill(1, 32), Proof: fill(1, 32)})
	if !errors.Is(err, fault.Conflict) {
		t.Errorf("the id again: %v", err)
	}
}
