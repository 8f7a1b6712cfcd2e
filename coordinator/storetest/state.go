package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
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
		"PreKeysWithdrawn":            preKeysWithdrawn,
		"F15_MailOnceAndInOrder":      mailOnce,
		"F15_MailPagesInOrder":        mailPages,
		"WrongAcknowledgements":       wrongAcknowledgements,
		"QuotasUnderConcurrency":      quotas,
		"RefreshTokensUsedOnce":       refreshOnce,
		"InvitationsUsedOnce":         invitationsOnce,
		"EventsResume":                eventsResume,
		"C12_TwoHoldersOfAToken":      twoHolders,
		"C12_LostRefreshes":           lostRefreshes,
		"SessionsByDevice":            sessionsByDevice,
		"DeviceCredentials":           deviceCredentials,
		"RecoveryProofs":              recoveryProofs,
		"SentIsBounded":               sentIsBounded,
		"ShareOfASender":              shareOfASender,
		"SendersNotTaken":             sendersNotTaken,
		"PreKeyStatus":                preKeyStatus,
		"ReplacedPreKeys":             replacedPreKeys,
		"Expiry":                      expiry,
		"F14_RestoredFromABackup":     restored,
		"RestoredLater":               restoredLater,
		"RefusedSwapsWriteNothing":    refusedSwaps,
		"SwapsAgainAfterOthers":       swapsAgain,
		"R05_DeletedNames":            deletedNames,
		"ReadChanges":                 readChanges,
		"ReadOneMoment":               readOneMoment,
		"ReadPages":                   readPages,
		"SwapsOfManyBlobs":            swapsOfManyBlobs,
		"TooMuchWritten":              tooMuchWritten,
		"F13_ClockJumps":              clockJumps,
		"ProofAndBlobsTogether":       proofAndBlobs,
		"ProofAndKitTogether":         proofAndKit,
		"KeptSessionsAndKits":         keptSessionsAndKits,
		"ChangedAddress":              changedAddress,
		"DeletedAccount":              deletedAccount,
		"RemovedKeys":                 removedKeys,
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
	tokens, err := b.Register(context.Background(), state.NewAccount{User: UserN(n), Device: DeviceN(n), Email: bytes32(n), Proof: bytes32(n)})
	if err != nil {
		b.t.Fatal(err)
	}
	return tokens
}

// UserN is the id of the nth user of a test.
func UserN(n int) state.UserID {
	return state.UserID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
}

// DeviceN is the id of the nth device of a test.
func DeviceN(n int) state.DeviceID {
	return state.DeviceID(fmt.Sprintf("00000000-0000-4000-9000-%012x", n))
}

func bytes32(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

func requestN(n int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012x", n) }

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
	if p, err := b.Read(ctx, UserN(0), state.Read{Limit: 100}); len(p.Blobs) != 6 || err != nil {
		t.Errorf("%d blobs, %v", len(p.Blobs), err)
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
	want := map[string]int{"meta": 2, "change": 1, "account": 3, "email": 3, "counters": 2, "blob": 1, "body": 1, "link": 1, "prekeys": 1, "onetime": 1}
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
	b.mustLogin(1, credential(bytes32(7)))
	for i := range 4 {
		b.user(i + 1)
	}
	invitation, err := b.Invite(ctx, 5, time.Hour)
	if err := errors.Join(err, b.Disable(ctx, UserN(2), true)); err != nil {
		t.Fatal(err)
	}
	upload := state.Upload{Sequence: 1, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("a"), []byte("b")}}
	_, err = b.PutPreKeys(ctx, UserN(0), upload)
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
	// Since the backup: user 3 was disabled, user 4 replaced a login proof that was stolen, and user 9 came.
	out, err := state.Restore(ctx, other, &file, UserN(3), UserN(4), UserN(9))
	if want := (state.Restored{Users: 5, Disabled: []state.UserID{UserN(2), UserN(3), UserN(4)}, Unknown: []state.UserID{UserN(9)}}); err != nil || !reflect.DeepEqual(out, want) {
		t.Fatalf("%+v, %v", out, err)
	}
	r := &stateBench{bench: other, o: b.o, now: b.now}
	r.start()
	if _, err := r.Authenticate(ctx, tokens.Access); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("access token: %v", err)
	}
	if _, err := r.Refresh(ctx, tokens.Refresh, requestN(0)); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("refresh token: %v", err)
	}
	if _, err := r.Login(ctx, state.Login{Email: bytes32(0), Device: DeviceN(0), Proof: bytes32(0)}); err != nil {
		t.Errorf("login: %v", err)
	}
	if _, err := r.login(1, byDevice(bytes32(7))); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("credential: %v", err)
	}
	for i := range 3 {
		if _, err := r.Login(ctx, state.Login{User: UserN(i + 2), Device: DeviceN(0), Proof: bytes32(i + 2)}); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("login of the disabled user %d: %v", i+2, err)
		}
	}
	r.o.Registration = state.Invitation
	r.start()
	_, err = r.Register(ctx, state.NewAccount{User: UserN(8), Device: DeviceN(0), Email: bytes32(8), Proof: bytes32(8), Invitation: invitation})
	if !errors.Is(err, fault.Forbidden) {
		t.Errorf("invitation: %v", err)
	}
	if p, err := r.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(0)); err != nil || string(p.Bundle) != "bundle" || len(p.OneTime) > 0 {
		t.Errorf("prekeys: %v, %v", p, err)
	}
	upload.Sequence = 2
	upload.OneTime = slices.Repeat(upload.OneTime, state.LowOneTimes/2)
	if n, err := r.PutPreKeys(ctx, UserN(0), upload); n != state.LowOneTimes || err != nil {
		t.Errorf("a refill: %d, %v", n, err)
	}
	events, err := r.Events(ctx, UserN(0), r.Epoch(), 0)
	if _, fetchErr := r.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(1)); err != nil || fetchErr != nil {
		t.Fatal(err, fetchErr)
	}
	if list, err := r.Events(ctx, UserN(0), r.Epoch(), events[len(events)-1].ID); err != nil || len(list) != 1 || list[0].Type != state.PreKeysEvent {
		t.Errorf("one-time prekeys are low after the refill, and nobody is told: %+v, %v", list, err)
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
	for i := range 3 { // the numbers of the lost history are reached again
		if _, err := r.Swap(ctx, UserN(0), []state.Swap{next(fmt.Sprintf("after-%d", i), state.Version{}, 1, "x")}); err != nil {
			t.Fatal(err)
		}
	}
	since := uint64(2)
	for e, missed := range map[string]bool{epoch: true, r.Epoch(): false, "": false} {
		if p, err := r.Read(ctx, UserN(0), state.Read{Since: &since, Epoch: e, Limit: 256}); err != nil || p.Missed != missed || missed && len(p.Blobs) > 0 {
			t.Errorf("changes since one of epoch %q: %+v, %v", e, p, err)
		}
	}
	if list, err := r.Events(ctx, UserN(0), epoch, 1); err != nil || len(list) != 1 || list[0].Type != state.ResyncEvent {
		t.Errorf("events: %v, %v", list, err)
	}
}

var _ store.Store = (*bench)(nil)
