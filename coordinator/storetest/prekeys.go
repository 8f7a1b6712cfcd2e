package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
)

// scanning counts the scans of a store's transactions.
type scanning struct {
	store.Store
	scans *int
}

type scanningTx struct {
	store.Tx
	scans *int
}

func (s scanning) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return fn(scanningTx{tx, s.scans}) })
}

func (s scanningTx) ScanFrom(prefix, from string, fn func(string, []byte) error) error {
	*s.scans++
	return s.Tx.ScanFrom(prefix, from, fn)
}

// replacedPreKeys: an upload that replaces as many one-time prekeys as there may be looks for none of them, and neither does a fetch: what others wait behind
// costs the same however many were there before. Uploads of many tiny ones count as what they are on the disk.
func replacedPreKeys(t *testing.T, b *stateBench) {
	ctx := context.Background()
	scans := 0
	b.o.Limits = state.DefaultLimits
	b.o.Limits.WriteBurst, b.o.Limits.WriteRate = 1<<20, 1
	s, err := state.New(ctx, scanning{b.Store, &scans}, b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.State = s
	b.user(0)
	b.user(1)
	scans = 0
	u := state.Upload{Replace: true, Bundle: []byte("bundle"), OneTime: slices.Repeat([][]byte{[]byte("k")}, state.MaxOneTimes)}
	var wait *state.WaitError
	for u.Sequence = 1; ; u.Sequence++ {
		n, err := b.PutPreKeys(ctx, UserN(0), u)
		if errors.As(err, &wait) {
			break
		}
		if err != nil || n != state.MaxOneTimes || u.Sequence > 100 {
			t.Fatal(u.Sequence, n, err)
		}
	}
	if _, err := b.FetchPreKeys(ctx, UserN(1), UserN(0), requestN(0)); err != nil || scans != 0 || u.Sequence < 10 || u.Sequence > 30 {
		t.Errorf("%d scans, %d uploads, %v", scans, u.Sequence, err)
	}
	if n := len(b.keysOf("onetime/")); n != state.MaxOneTimes-1 {
		t.Errorf("%d keys", n)
	}
}
