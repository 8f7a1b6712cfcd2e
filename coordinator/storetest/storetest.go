// Package storetest is the suite that every store of the coordinator passes: what store.Store promises (Run), and what coordinator/state makes of
// it under concurrency and across restarts (RunState).
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// Open opens the store that lies at a place which is the test's own: a folder, or the name of a database. Opening it again after Close, or after the
// process that had it open is gone, gives back what was acknowledged.
type Open func(t testing.TB, place string) store.Store

// Run tests what store.Store promises.
func Run(t *testing.T, open Open) {
	if toBeKilled(t, open) {
		return
	}
	for name, test := range map[string]func(*testing.T, *bench){
		"ReadsWhatWasWritten":   readsWhatWasWritten,
		"Scans":                 scans,
		"AllOrNothing":          allOrNothing,
		"NeighboursOfAFailure":  neighboursOfAFailure,
		"Serialisable":          serialisable,
		"ViewIsOneMoment":       viewIsOneMoment,
		"Sizes":                 sizes,
		"Contexts":              contexts,
		"Closed":                closed,
		"BackupAndRestore":      backupAndRestore,
		"LikeAMapOverReopening": likeAMap,
		"Copies":                copies,
		"F01_SurvivesAKill":     survivesAKill,
	} {
		t.Run(name, func(t *testing.T) { test(t, newBench(t, open)) })
	}
}

// bench is one store under test, which can be opened again.
type bench struct {
	t     testing.TB
	open  Open
	place string
	store.Store
}

func newBench(t testing.TB, open Open) *bench {
	b := &bench{t: t, open: open, place: t.TempDir()}
	b.Store = open(t, b.place)
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *bench) reopen() {
	b.t.Helper()
	if err := b.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.Store = b.open(b.t, b.place)
}

func (b *bench) update(fn func(store.Tx) error) {
	b.t.Helper()
	if err := b.Update(context.Background(), fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) set(key, value string) {
	b.t.Helper()
	b.update(func(tx store.Tx) error { return tx.Set(key, []byte(value)) })
}

func (b *bench) want(key, value string) {
	b.t.Helper()
	got, err := get(b, key)
	if err != nil || got != value {
		b.t.Fatalf("%s: %q, %v, want %q", key, got, err, value)
	}
}

func (b *bench) wantNone(key string) {
	b.t.Helper()
	if got, err := get(b, key); !errors.Is(err, fault.NotFound) {
		b.t.Fatalf("%s: %q, %v", key, got, err)
	}
}

func get(s store.Store, key string) (got string, err error) {
	err = s.View(context.Background(), func(tx store.Tx) error {
		v, err := tx.Get(key)
		got = string(v)
		return err
	})
	return got, err
}

func readsWhatWasWritten(_ *testing.T, b *bench) {
	b.set("a", "1")
	b.set("empty", "")
	b.want("a", "1")
	b.want("empty", "")
	b.wantNone("b")
	b.update(func(tx store.Tx) error {
		if v, err := tx.Get("a"); err != nil || string(v) != "1" {
			return fmt.Errorf("in the transaction: %q, %w", v, err)
		}
		return errors.Join(tx.Set("a", []byte("2")), tx.Delete("empty"), tx.Delete("never"), tx.Set("b", []byte("3")), tx.Delete("b"))
	})
	b.reopen()
	b.want("a", "2")
	b.wantNone("empty")
	b.wantNone("b")
}

func scans(t *testing.T, b *bench) {
	for _, k := range []string{"m/a", "m/b", "m/c", "l/z", "n/a", "m"} {
		b.set(k, k)
	}
	list := func(tx store.Tx, prefix, from string) (got []string) {
		if err := tx.ScanFrom(prefix, from, func(k string, v []byte) error {
			if k != string(v) {
				return fmt.Errorf("%s has the value %s", k, v)
			}
			got = append(got, k)
			return nil
		}); err != nil {
			t.Error(err)
		}
		return got
	}
	b.update(func(tx store.Tx) error {
		if err := errors.Join(tx.Delete("m/b"), tx.Set("m/bb", []byte("m/bb"))); err != nil {
			return err
		}
		for _, c := range []struct{ prefix, from, want string }{
			{"m/", "", "m/a m/bb m/c"},
			{"m/", "m/b", "m/bb m/c"},
			{"m/", "m/bb", "m/bb m/c"},
			{"m/", "m/d", ""},
			{"m/", "l", "m/a m/bb m/c"},
			{"x", "", ""},
			{"", "", "l/z m m/a m/bb m/c n/a"},
		} {
			if got := strings.Join(list(tx, c.prefix, c.from), " "); got != c.want {
				t.Errorf("%q from %q: %q, want %q", c.prefix, c.from, got, c.want)
			}
		}
		return nil
	})
	stop := errors.New("stop")
	n := 0
	err := b.View(t.Context(), func(tx store.Tx) error {
		return tx.ScanFrom("m/", "", func(string, []byte) error { n++; return stop })
	})
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("a scan that was stopped: %v after %d", err, n)
	}
}

func allOrNothing(t *testing.T, b *bench) {
	b.set("a", "1")
	b.set("b", "1")
	no := errors.New("no")
	err := b.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Set("a", []byte("2")), tx.Set("a", []byte("3")), tx.Delete("b"), tx.Set("c", []byte("2")), tx.Set("d", nil), tx.Delete("d"), no)
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	for range 2 {
		b.want("a", "1")
		b.want("b", "1")
		b.wantNone("c")
		b.wantNone("d")
		b.reopen()
	}
}

// neighboursOfAFailure: transactions that fail or panic do not touch those that run at the same time.
func neighboursOfAFailure(t *testing.T, b *bench) {
	var wg sync.WaitGroup
	no := errors.New("no")
	for i := range 60 {
		wg.Go(func() {
			defer func() {
				if p := recover(); (p != nil) != (i%3 == 1) {
					t.Errorf("%d: panic %v", i, p)
				}
			}()
			err := b.Update(t.Context(), func(tx store.Tx) error {
				if err := errors.Join(tx.Set(fmt.Sprintf("k/%02d", i), []byte("x")), tx.Set("shared", []byte{byte(i)})); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					panic("of the caller")
				case 2:
					return no
				}
				return nil
			})
			if errors.Is(err, no) != (i%3 == 2) || i%3 == 0 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	n := 0
	b.update(func(tx store.Tx) error {
		n = 0
		return tx.ScanFrom("k/", "", func(string, []byte) error { n++; return nil })
	})
	if got, err := get(b, "shared"); n != 20 || err != nil || got[0]%3 != 0 {
		t.Fatalf("%d records, shared is %q (%v)", n, got, err)
	}
}

// serialisable: sums over two accounts stay (write skew), and no increment is lost.
func serialisable(t *testing.T, b *bench) {
	number := func(tx store.Tx, key string) uint64 {
		v, err := tx.Get(key)
		if err != nil {
			return 0
		}
		return binary.BigEndian.Uint64(v)
	}
	put := func(tx store.Tx, key string, n uint64) error {
		return tx.Set(key, binary.BigEndian.AppendUint64(nil, n))
	}
	b.update(func(tx store.Tx) error { return errors.Join(put(tx, "x", 100), put(tx, "y", 100)) })
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 10 {
				from := []string{"x", "y"}[i%2]
				err := b.Update(t.Context(), func(tx store.Tx) error {
					if number(tx, "x")+number(tx, "y") >= 110 { // either may go below, both together may not
						if err := put(tx, from, number(tx, from)-10); err != nil {
							return err
						}
					}
					return put(tx, "count", number(tx, "count")+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.update(func(tx store.Tx) error {
		if sum := int64(number(tx, "x") + number(tx, "y")); sum != 100 || number(tx, "count") != 160 {
			t.Errorf("x+y = %d, %d increments", sum, number(tx, "count"))
		}
		return nil
	})
}

func viewIsOneMoment(t *testing.T, b *bench) {
	b.set("a", "0")
	b.set("b", "0")
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 100 {
			v := fmt.Appendf(nil, "%d", i)
			b.update(func(tx store.Tx) error { return errors.Join(tx.Set("a", v), tx.Set("b", v)) })
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if err := b.View(t.Context(), func(tx store.Tx) error {
			x, err1 := tx.Get("a")
			y, err2 := tx.Get("b")
			if !bytes.Equal(x, y) {
				return fmt.Errorf("a is %s, b is %s", x, y)
			}
			return errors.Join(err1, err2)
		}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	b.want("a", "99")
}

func sizes(t *testing.T, b *bench) {
	large := bytes.Repeat([]byte("large"), store.MaxValue/5)
	b.update(func(tx store.Tx) error { return tx.Set("large", large) })
	if err := b.Update(t.Context(), func(tx store.Tx) error { return tx.Set("more", make([]byte, store.MaxValue+1)) }); !errors.Is(err, fault.TooLarge) {
		t.Errorf("a value over MaxValue: %v", err)
	}
	many := bytes.Repeat([]byte("m"), 100<<10)
	var wg sync.WaitGroup
	for i := range 24 { // together more than one transaction of the store below may hold
		wg.Go(func() {
			b.update(func(tx store.Tx) error {
				for j := range store.MaxTx / len(many) {
					if err := tx.Set(fmt.Sprintf("many/%d/%d", i, j), many); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	b.reopen()
	b.want("large", string(large))
	b.want("many/23/9", string(many))
	b.wantNone("more")
}

func contexts(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.View(ctx, func(store.Tx) error { return nil }); !errors.Is(err, fault.Unavailable) {
		t.Errorf("View: %v", err)
	}
}

func closed(t *testing.T, b *bench) {
	b.set("a", "1")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(store.Tx) error { return nil }
	if err := b.Update(t.Context(), nothing); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Update: %v", err)
	}
	if err := b.View(t.Context(), nothing); !errors.Is(err, fault.Unavailable) {
		t.Errorf("View: %v", err)
	}
	b.Store = b.open(b.t, b.place)
	b.want("a", "1")
}

func backupAndRestore(t *testing.T, b *bench) {
	want := map[string]string{}
	for i := range 50 {
		k := fmt.Sprintf("k/%03d", i)
		want[k] = strings.Repeat(k, i*40)
		b.set(k, want[k])
	}
	var file bytes.Buffer
	if err := store.Backup(t.Context(), b, &file); err != nil {
		t.Fatal(err)
	}
	other := newBench(t, b.open)
	if err := store.Restore(t.Context(), other, bytes.NewReader(file.Bytes()), func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	other.reopen()
	if got := all(t, other); !maps.Equal(got, want) {
		t.Fatalf("%d records came back, want %d", len(got), len(want))
	}
	if err := store.Restore(t.Context(), other, bytes.NewReader(file.Bytes()), everything); !errors.Is(err, fault.Conflict) {
		t.Errorf("into a store that is not empty: %v", err)
	}
}

func everything(string) bool { return true }

func all(t testing.TB, s store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.ScanFrom("", "", func(k string, v []byte) error { got[k] = string(v); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// likeAMap: whatever the sequence of transactions, failures and restarts, the store holds what a map would.
func likeAMap(t *testing.T, b *bench) {
	model := map[string]string{}
	keys := []string{"a", "a/b", "a/c", "b", "z"}
	rapid.Check(t, func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
			b.reopen()
		}
		next := maps.Clone(model)
		type op struct {
			key, value string
			remove     bool
		}
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			return op{rapid.SampledFrom(keys).Draw(t, "key"), rapid.String().Draw(t, "value"), rapid.Bool().Draw(t, "remove")}
		}), 1, 6).Draw(t, "ops")
		for _, o := range ops {
			if o.remove {
				delete(next, o.key)
			} else {
				next[o.key] = o.value
			}
		}
		no := errors.New("no")
		fail := rapid.IntRange(0, 2).Draw(t, "fail") == 0
		err := b.Update(context.Background(), func(tx store.Tx) error {
			for _, o := range ops {
				var err error
				if o.remove {
					err = tx.Delete(o.key)
				} else {
					err = tx.Set(o.key, []byte(o.value))
				}
				if err != nil {
					return err
				}
			}
			if fail {
				return no
			}
			return nil
		})
		if fail != errors.Is(err, no) || !fail && err != nil {
			t.Fatal(err)
		}
		if !fail {
			model = next
		}
		if got := all(b.t, b); !maps.Equal(got, model) {
			t.Fatalf("the store has %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(model)))
		}
	})
}
