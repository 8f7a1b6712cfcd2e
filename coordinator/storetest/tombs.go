package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
)

// tombs counts the removed keys that scans pass over, which cost a store about as much as those that are there.
type tombs struct {
	store.Store
	gone   map[string]bool
	passed *int
}

type tombsTx struct {
	store.Tx
	t tombs
}

func (t tombs) Update(ctx context.Context, fn func(store.Tx) error) error {
	return t.Store.Update(ctx, func(tx store.Tx) error { return fn(tombsTx{tx, t}) })
}

func (t tombs) View(ctx context.Context, fn func(store.Tx) error) error {
	return t.Store.View(ctx, func(tx store.Tx) error { return fn(tombsTx{tx, t}) })
}

func (t tombsTx) Set(key string, value []byte) error {
	delete(t.t.gone, key)
	return t.Tx.Set(key, value)
}

func (t tombsTx) Delete(key string) error {
	t.t.gone[key] = true
	return t.Tx.Delete(key)
}

func (t tombsTx) ScanFrom(prefix, from string, fn func(string, []byte) error) error {
	last := ""
	err := t.Tx.ScanFrom(prefix, from, func(k string, v []byte) error { last = k; return fn(k, v) })
	for k := range t.t.gone {
		if strings.HasPrefix(k, prefix) && k >= from && (err == nil || k < last) {
			*t.t.passed++
		}
	}
	return err
}

// removedKeys: what forgets, sweeps and erases does not pass over what it removed before, again and again.
func removedKeys(t *testing.T, b *stateBench) {
	ctx := context.Background()
	passed := 0
	wrapped := tombs{b.Store, map[string]bool{}, &passed}
	b.o.Limits = state.DefaultLimits
	b.o.Limits.Sent = 40
	s, err := state.New(ctx, wrapped, b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.State = s
	b.user(1)
	caller := b.caller(b.user(0))
	most := func(what string, n int) {
		t.Helper()
		t.Logf("%s: %d", what, passed)
		if passed > n {
			t.Errorf("%s: %d removed keys were passed over", what, passed)
		}
		clear(wrapped.gone)
		passed = 0
	}
	for n := range 400 {
		if _, err := b.Send(ctx, UserN(0), UserN(1), requestN(n), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	most("forgotten messages", 0)
	b.now = b.now.Add(31 * 24 * time.Hour)
	if n, err := b.Sweep(ctx); err != nil || n < 400 {
		t.Fatal(n, err)
	}
	most("what expired", 2*400)
	const forgetting = 4 // rounds that do, after those that fill what is known
	const rounds = state.MaxDeleted/state.MaxSwaps + forgetting
	for round := range rounds {
		b.swapAndDelete(round)
	}
	most("forgotten deletions", forgetting*2*state.MaxSwaps)
	for n := range 5 {
		var list []state.Swap
		for i := range state.MaxSwaps {
			list = append(list, next("b"+requestN(n*100+i), state.Version{Counter: 10 * rounds}, 1, "x"))
		}
		b.mustSwap(list...)
	}
	if err := b.Delete(ctx, caller, bytes32(0)); err != nil {
		t.Fatal(err)
	}
	most("an account", 50)
}
