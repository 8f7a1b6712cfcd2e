package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// next is a swap that follows a version; the nonce is made of a number.
func next(name string, before state.Version, nonce byte, body string) state.Swap {
	sw := state.Swap{Name: name, Counter: before.Counter + 1, Body: []byte(body)}
	copy(sw.Previous[:], before.Hash)
	sw.Nonce[0] = nonce
	return sw
}

func deletion(name string, before state.Version) state.Swap {
	sw := next(name, before, 0xdd, "")
	sw.Delete = true
	return sw
}

// mustSwap makes swaps of the first user.
func (b *stateBench) mustSwap(list ...state.Swap) state.Swapped {
	b.t.Helper()
	out, err := b.Swap(context.Background(), UserN(0), list)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// wantSwap wants swaps of the first user to fail.
func (b *stateBench) wantSwap(want error, list ...state.Swap) {
	b.t.Helper()
	if _, err := b.Swap(context.Background(), UserN(0), list); !errors.Is(err, want) {
		b.t.Errorf("%v, want %v", err, want)
	}
}

// counting counts writes that reach a store's transactions.
type counting struct {
	store.Store
	writes *int
}

type countingTx struct {
	store.Tx
	writes *int
}

func (c counting) Update(ctx context.Context, fn func(store.Tx) error) error {
	return c.Store.Update(ctx, func(tx store.Tx) error { return fn(countingTx{tx, c.writes}) })
}

func (c countingTx) Set(key string, value []byte) error { *c.writes++; return c.Tx.Set(key, value) }
func (c countingTx) Delete(key string) error            { *c.writes++; return c.Tx.Delete(key) }

// refusedSwaps: whichever of a list of swaps is refused, by its head or the quota, nothing was written before that was seen.
func refusedSwaps(t *testing.T, b *stateBench) {
	ctx := context.Background()
	writes := 0
	s, err := state.New(ctx, counting{b.Store, &writes}, b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.State = s
	b.user(0)
	if err := b.SetQuota(ctx, UserN(0), state.Quota{Blobs: 3, Bytes: 100}); err != nil {
		t.Fatal(err)
	}
	var head state.Version
	for i := range 5 {
		sw := next("a", head, byte(i), "0123456789")
		sw.Keep = 8
		head = b.mustSwap(sw).Versions[0]
	}
	writes = 0
	good := next("a", head, 9, "x") // keep 0: all of the history would go
	b.wantSwap(fault.Conflict, good, next("b", head, 1, "x"))
	b.wantSwap(fault.StorageFull, good, next("b", state.Version{}, 1, "x"), next("c", state.Version{}, 1, "x"), next("d", state.Version{}, 1, "x"))
	b.wantSwap(fault.StorageFull, good, next("b", state.Version{}, 1, string(make([]byte, 100))))
	b.wantSwap(fault.Conflict, good, deletion("b", state.Version{}))
	if writes != 0 {
		t.Errorf("%d writes of swaps that were refused", writes)
	}
	b.mustSwap(good)
	if u, err := b.Usage(ctx, UserN(0)); err != nil || u.Used.Bytes != 1 || u.Used.Blobs != 1 {
		t.Errorf("%+v, %v", u.Used, err)
	}
}

// swapsAgain: a swap that is made again, with no history kept, succeeds after others went over it, until 8 did.
func swapsAgain(t *testing.T, b *stateBench) {
	b.user(0)
	first := next("a", state.Version{}, 1, "first")
	made := b.mustSwap(first)
	head := made.Versions[0]
	for i := range state.MaxHistory {
		head = b.mustSwap(next("a", head, byte(i+2), "other")).Versions[0]
		again := b.mustSwap(first)
		if !bytes.Equal(again.Versions[0].Hash, made.Versions[0].Hash) || again.Change != 0 {
			t.Errorf("after %d others: %+v", i+1, again)
		}
		b.wantSwap(fault.Conflict, next("a", state.Version{}, 99, "first"))
	}
	removed := deletion("a", head)
	b.mustSwap(removed)
	b.mustSwap(removed)
	b.wantSwap(fault.Conflict, first)
	if v, err := b.Blob(context.Background(), UserN(0), "a", 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("%+v, %v", v, err)
	}
}

// deletedNames: what is deleted frees its room; a name that is made again begins above its former counter, also when nothing is known of it any more, so
// no copy of the former blob passes for the new one.
func deletedNames(t *testing.T, b *stateBench) {
	ctx := context.Background()
	b.user(0)
	if err := b.SetQuota(ctx, UserN(0), state.Quota{Blobs: 100}); err != nil {
		t.Fatal(err)
	}
	head := b.mustSwap(next("old", state.Version{}, 1, "1")).Versions[0]
	head = b.mustSwap(next("old", head, 1, "2")).Versions[0]
	gone := b.mustSwap(deletion("old", head)).Versions[0]
	b.wantSwap(fault.Conflict, next("old", state.Version{}, 3, "1"))
	b.wantSwap(fault.Conflict, deletion("old", gone))
	again := b.mustSwap(next("old", gone, 1, "again")).Versions[0]
	if again.Counter != 4 || !bytes.Equal(again.Previous, gone.Hash) {
		t.Errorf("a name that is known: %+v", again)
	}
	b.mustSwap(deletion("old", again))
	for round := 0; round*state.MaxSwaps < state.MaxDeleted+state.MaxSwaps; round++ { // many others, until it is forgotten
		b.swapAndDelete(round)
	}
	b.restart()
	p, err := b.Read(ctx, UserN(0), state.Read{Names: []string{"old"}, Limit: 1})
	if err != nil || len(p.Blobs) != 0 || p.Floor < again.Counter+1 {
		t.Fatalf("floor %d, %d blobs, %v", p.Floor, len(p.Blobs), err)
	}
	for _, counter := range []uint64{0, again.Counter, p.Floor - 1, p.Floor + state.MaxAhead} {
		b.wantSwap(fault.Conflict, next("old", state.Version{Counter: counter}, 1, "1"))
	}
	b.mustSwap(next("old", state.Version{Counter: p.Floor + 5}, 1, "new"))
	if u, err := b.Usage(ctx, UserN(0)); err != nil || u.Used.Blobs != 1 || u.Used.Bytes != 3 {
		t.Errorf("%+v, %v", u.Used, err)
	}
	deleted := 0
	for k := range all(t, b) {
		if bytes.HasPrefix([]byte(k), []byte("deleted/")) {
			deleted++
		}
	}
	if deleted != state.MaxDeleted {
		t.Errorf("%d deletions are known", deleted)
	}
}

// swapAndDelete makes as many blobs of the first user as a swap holds, and deletes them.
func (b *stateBench) swapAndDelete(round int) {
	b.t.Helper()
	var begin, end []state.Swap
	for i := range state.MaxSwaps {
		begin = append(begin, next(fmt.Sprintf("n-%d-%d", round, i), state.Version{Counter: uint64(round+1) * 10}, 1, "x"))
	}
	for i, v := range b.mustSwap(begin...).Versions {
		end = append(end, deletion(begin[i].Name, v))
	}
	b.mustSwap(end...)
}

// swapsOfManyBlobs: as much as a swap may hold goes through in blobs of every size, among others that do the same.
func swapsOfManyBlobs(t *testing.T, b *stateBench) {
	heads := map[string]state.Version{}
	b.user(0)
	for _, n := range []int{state.MaxSwaps, 26, 1} {
		for keep := range 3 {
			var list []state.Swap
			for i := range n {
				name := fmt.Sprintf("r-%d-%d", n, i)
				sw := next(name, heads[name], byte(keep), string(make([]byte, state.MaxSwap/n)))
				sw.Keep = state.MaxHistory * (1 - keep%2)
				list = append(list, sw)
			}
			for i, v := range b.mustSwap(list...).Versions {
				heads[list[i].Name] = v
			}
		}
	}
	list := []state.Swap{next("a", state.Version{}, 1, string(make([]byte, state.MaxSwap))), next("b", state.Version{}, 1, "x")}
	b.wantSwap(fault.TooLarge, list...)
	small := []state.Swap{}
	for i := range state.MaxSwaps {
		small = append(small, next(fmt.Sprintf("s-%d", i), state.Version{}, 1, string(make([]byte, store.SmallValue-1))))
	}
	b.mustSwap(small...)
	b.restart()
	p, err := b.Read(context.Background(), UserN(0), state.Read{Prefix: "r-1-", Bodies: true, Limit: 1})
	if err != nil || len(p.Blobs) != 1 || len(p.Blobs[0].Body) != state.MaxSwap || p.Blobs[0].Counter != 3 {
		t.Errorf("%d blobs, %v", len(p.Blobs), err)
	}
}

// tooMuchWritten: one user cannot rewrite blobs without end, and others do not notice.
func tooMuchWritten(t *testing.T, b *stateBench) {
	b.o.Limits = state.DefaultLimits
	b.o.Limits.WriteBurst, b.o.Limits.WriteRate = 1<<20, 64<<10
	b.start()
	b.user(0)
	b.user(1)
	var head state.Version
	written := 0
	var wait *state.WaitError
	for {
		out, err := b.Swap(context.Background(), UserN(0), []state.Swap{next("a", head, 1, string(make([]byte, 100<<10)))})
		if errors.As(err, &wait) && errors.Is(err, fault.Busy) {
			break
		}
		if err != nil || written > 2<<20 {
			t.Fatalf("after %d bytes: %v", written, err)
		}
		head = out.Versions[0]
		written += 100 << 10
	}
	if written < 9*100<<10 {
		t.Errorf("only %d bytes", written)
	}
	if _, err := b.Swap(context.Background(), UserN(1), []state.Swap{next("a", state.Version{}, 1, string(make([]byte, 100<<10)))}); err != nil {
		t.Errorf("another user: %v", err)
	}
	_, sendErr := b.Send(context.Background(), UserN(0), UserN(1), requestN(0), make([]byte, state.MaxMessage))
	_, putErr := b.PutPreKeys(context.Background(), UserN(0), state.Upload{Sequence: 1, Bundle: []byte("x"), OneTime: slices.Repeat([][]byte{make([]byte, state.MaxOneTime)}, 100)})
	linkErr := b.AddLink(context.Background(), UserN(0), state.Link{Sequence: 1, Body: make([]byte, state.MaxDeviceLink)})
	rulesErr := error(nil)
	for n := uint64(1); rulesErr == nil && n < 100; n++ {
		rulesErr = b.SetSenders(context.Background(), UserN(0), state.Senders{Sequence: n, Blocked: slices.Repeat([]state.UserID{UserN(1)}, state.MaxSenders)})
	}
	for _, err := range []error{sendErr, putErr, rulesErr} {
		if !errors.As(err, &wait) {
			t.Errorf("something else that is written: %v", err)
		}
	}
	if linkErr != nil && !errors.As(linkErr, &wait) {
		t.Error(linkErr)
	}
	b.now = b.now.Add(time.Minute)
	b.mustSwap(next("a", head, 1, string(make([]byte, 100<<10))))
}
