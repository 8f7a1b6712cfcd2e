package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// sentIsBounded: however much somebody sends and has acknowledged, a bounded number of records is left of it, and those go when their time is over.
func sentIsBounded(t *testing.T, b *stateBench) {
	b.o.Limits = state.DefaultLimits
	b.o.Limits.Sent = 40
	b.restart()
	ctx := context.Background()
	b.user(0)
	b.user(1)
	if _, err := b.Send(ctx, UserN(0), UserN(0), requestN(0), []byte("x")); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("to oneself: %v", err)
	}
	body := func(n int) []byte { return fmt.Append(nil, n) }
	for n := range 150 {
		b.now = b.now.Add(time.Minute)
		at, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), body(n))
		if err != nil {
			t.Fatal(err)
		}
		if removed, err := b.Acknowledge(ctx, UserN(0), []state.Acknowledgement{{Sequence: at, ID: requestN(n)}}); removed != 1 || err != nil {
			t.Fatal(removed, err)
		}
	}
	b.restart()
	if mail := b.keysOf("mail/"); len(mail) > 0 {
		t.Errorf("left of messages that were acknowledged: %v", mail)
	}
	if n := len(b.keysOf("sent")); n != 40+40+1 { // records, log, its expiry
		t.Errorf("%d records of 150 messages", n)
	}
	for _, n := range []int{149, 110} {
		if at, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), body(n)); at != uint64(n+1) || err != nil {
			t.Errorf("message %d again: %d, %v", n, at, err)
		}
	}
	if at, err := b.Send(ctx, UserN(1), UserN(0), requestN(109), body(109)); at != 151 || err != nil {
		t.Errorf("one that was forgotten: %d, %v", at, err)
	}
	b.now = b.now.Add(30*24*time.Hour - time.Hour)
	for b.now.Before(Day.Add(33 * 24 * time.Hour)) {
		if _, err := b.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(7 * time.Minute)
	}
	if left := append(b.keysOf("sent"), b.keysOf("mail/")...); len(left) > 0 {
		t.Errorf("left after 30 days: %v", left)
	}
}

// mailReads counts the messages that are looked at one by one: by views, and by changes, which other changes wait for.
type mailReads struct {
	store.Store
	viewed, updated *int
}

type mailReadsTx struct {
	store.Tx
	n *int
}

func (m mailReads) Update(ctx context.Context, fn func(store.Tx) error) error {
	before := *m.updated
	return m.Store.Update(ctx, func(tx store.Tx) error { *m.updated = before; return fn(mailReadsTx{tx, m.updated}) })
}

func (m mailReads) View(ctx context.Context, fn func(store.Tx) error) error {
	return m.Store.View(ctx, func(tx store.Tx) error { return fn(mailReadsTx{tx, m.viewed}) })
}

func (m mailReadsTx) Get(key string) ([]byte, error) {
	if strings.HasPrefix(key, "mail/") {
		*m.n++
	}
	return m.Tx.Get(key)
}

// wrongAcknowledgements: a list that names messages again and again, or wrongly, costs one look at each, and a change nothing but those that it removes.
func wrongAcknowledgements(t *testing.T, b *stateBench) {
	ctx := context.Background()
	var viewed, updated int
	s, err := state.New(ctx, mailReads{b.Store, &viewed, &updated}, b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.State = s
	b.user(0)
	b.user(1)
	for n := range 3 {
		if _, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	var wrong []state.Acknowledgement
	for n := range 200 {
		wrong = append(wrong, state.Acknowledgement{Sequence: 1, ID: requestN(1 + n)}, state.Acknowledgement{Sequence: 4, ID: requestN(n)})
	}
	second := state.Acknowledgement{Sequence: 2, ID: requestN(1)}
	for _, c := range []struct {
		list                     []state.Acknowledgement
		removed, viewed, updated int
	}{
		{wrong, 0, 2, 0},
		{append(wrong, second, second), 1, 3, 1},
		{[]state.Acknowledgement{second}, 0, 1, 0},
	} {
		viewed, updated = 0, 0
		if n, err := b.Acknowledge(ctx, UserN(0), c.list); n != c.removed || viewed != c.viewed || updated != c.updated || err != nil {
			t.Errorf("%d of %d removed, %d messages looked at, %d in a change (%v)", n, len(c.list), viewed, updated, err)
		}
	}
	if list, _, err := b.Inbox(ctx, UserN(0), 0, 64); err != nil || len(list) != 2 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// shareOfASender: nobody fills a mailbox alone, neither by number nor by bytes, and others have room.
func shareOfASender(t *testing.T, b *stateBench) {
	b.o.Limits = state.DefaultLimits
	b.o.Limits.Quota.MailBytes = 40 << 20
	b.restart()
	ctx := context.Background()
	for i := range 3 {
		b.user(i)
	}
	large := make([]byte, state.MaxMessage)
	var list []state.Acknowledgement
	for n := 0; ; n++ {
		at, err := b.Send(ctx, UserN(1), UserN(0), requestN(n), large)
		if errors.Is(err, fault.StorageFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, state.Acknowledgement{Sequence: at, ID: requestN(n)})
	}
	if u, err := b.Usage(ctx, UserN(0)); err != nil || u.Used.MailBytes > 4<<20 || u.Used.MailBytes < 3<<20 {
		t.Errorf("one sender: %+v, %v", u.Used, err)
	}
	send := func(from int) {
		t.Helper()
		if _, err := b.Send(ctx, UserN(from), UserN(0), requestN(999), large); err != nil {
			t.Error(err)
		}
	}
	send(2)
	if n, err := b.Acknowledge(ctx, UserN(0), list); n != len(list) || err != nil {
		t.Fatal(n, err)
	}
	send(1)
	if err := b.SetQuota(ctx, UserN(0), state.Quota{Mail: 200}); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for n := range 200 {
		if _, err := b.Send(ctx, UserN(2), UserN(0), requestN(2000+n), []byte("x")); err == nil {
			sent++
		}
	}
	if sent != 19 { // and the large one
		t.Errorf("%d small ones in a mailbox for 200", sent)
	}
}

// sendersNotTaken: their messages are answered as any other and are nowhere, and they get no one-time prekey.
func sendersNotTaken(t *testing.T, b *stateBench) {
	ctx := context.Background()
	for i := range 4 {
		b.user(i)
	}
	upload := state.Upload{Sequence: 1, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("a"), []byte("b"), []byte("c")}}
	if _, err := b.PutPreKeys(ctx, UserN(0), upload); err != nil {
		t.Fatal(err)
	}
	from := func(sender, n int) uint64 {
		t.Helper()
		at, err := b.Send(ctx, UserN(sender), UserN(0), requestN(n), []byte("x"))
		if err != nil {
			t.Error(err)
		}
		return at
	}
	from(1, 0)
	rules := state.Senders{Sequence: 1, Blocked: []state.UserID{UserN(1)}}
	for range 2 {
		if err := b.SetSenders(ctx, UserN(0), rules); err != nil {
			t.Fatal(err)
		}
	}
	other := state.Senders{Sequence: 1}
	gap := state.Senders{Sequence: 3}
	if err := errors.Join(b.SetSenders(ctx, UserN(0), other), b.SetSenders(ctx, UserN(0), gap)); !errors.Is(err, fault.Conflict) {
		t.Errorf("rules that do not follow: %v", err)
	}
	if err := b.SetSenders(ctx, UserN(0), state.Senders{Sequence: 2, Blocked: make([]state.UserID, 1001)}); !errors.Is(err, fault.TooLarge) {
		t.Errorf("1,001 blocked: %v", err)
	}
	b.restart()
	before := len(b.keysOf("event/" + string(UserN(0))))
	for i, want := range []uint64{2, 2, 3} { // the second again: as for any other message
		if at := from(1, 1+i/2); at != want {
			t.Errorf("a blocked sender's message %d: %d, want %d", i, at, want)
		}
	}
	if after := len(b.keysOf("event/" + string(UserN(0)))); after != before {
		t.Error("an event tells of a message that is not there")
	}
	if at := from(2, 0); at != 4 {
		t.Errorf("another's: %d", at)
	}
	rules = state.Senders{Sequence: 2, OnlyAllowed: true, Allowed: []state.UserID{UserN(1), UserN(3)}, Blocked: []state.UserID{UserN(1)}}
	if err := b.SetSenders(ctx, UserN(0), rules); err != nil {
		t.Fatal(err)
	}
	for _, sender := range []int{1, 2, 3} {
		from(sender, 50)
	}
	list, _, err := b.Inbox(ctx, UserN(0), 0, 64)
	var got []uint64
	for _, m := range list {
		got = append(got, m.Sequence)
	}
	if err != nil || !slices.Equal(got, []uint64{1, 4, 7}) {
		t.Errorf("in the mailbox: %v, %v", got, err)
	}
	for sender, want := range map[int]string{1: "", 2: "", 3: "a"} {
		if p, err := b.FetchPreKeys(ctx, UserN(sender), UserN(0), requestN(0)); string(p.Bundle) != "bundle" || string(p.OneTime) != want || err != nil {
			t.Errorf("prekeys for %d: %q %q %v", sender, p.Bundle, p.OneTime, err)
		}
	}
	if got, err := b.Senders(ctx, UserN(0)); err != nil || got.Sequence != 2 || !got.OnlyAllowed || len(got.Allowed) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func preKeyStatus(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	b.user(1)
	if st, err := b.PreKeyStatus(ctx, UserN(0)); err != nil || st.Sequence != 0 || st.OneTime != 0 || st.BundleHash != nil {
		t.Errorf("before an upload: %+v, %v", st, err)
	}
	upload := state.Upload{Sequence: 5, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("a"), []byte("b")}}
	if _, err := b.PutPreKeys(ctx, UserN(0), upload); err != nil {
		t.Fatal(err)
	}
	if _, err := b.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(0)); err != nil {
		t.Fatal(err)
	}
	b.restart()
	want := sha256.Sum256([]byte("bundle"))
	if st, err := b.PreKeyStatus(ctx, UserN(0)); err != nil || st.Sequence != 5 || st.OneTime != 1 || string(st.BundleHash) != string(want[:]) {
		t.Errorf("%+v, %v", st, err)
	}
}
