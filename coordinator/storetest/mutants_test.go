package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/store"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
)

func openBadger(t testing.TB, place string) store.Store {
	t.Helper()
	s, err := badgerstore.Open(place, badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// altered is a store whose transactions go through a wrapper.
type altered struct {
	store.Store
	in func(store.Tx) store.Tx
}

func (a altered) Update(ctx context.Context, fn func(store.Tx) error) error {
	return a.Store.Update(ctx, func(tx store.Tx) error { return fn(a.in(tx)) })
}

func (a altered) View(ctx context.Context, fn func(store.Tx) error) error {
	return a.Store.View(ctx, func(tx store.Tx) error { return fn(a.in(tx)) })
}

func alter(in func(store.Tx) store.Tx) func(testing.TB, store.Store, string) store.Store {
	return func(_ testing.TB, s store.Store, _ string) store.Store { return altered{s, in} }
}

// forgetful loses the last transaction when its process is killed, and not when it is closed.
type forgetful struct {
	store.Store
	mu   sync.Mutex
	file string // keys of the last transaction, while it is open
}

type noted struct {
	store.Tx
	keys *[]string
}

func (n noted) Set(key string, value []byte) error {
	*n.keys = append(*n.keys, key)
	return n.Tx.Set(key, value)
}

func newForgetful(t testing.TB, s store.Store, place string) store.Store {
	t.Helper()
	f := &forgetful{Store: s, file: filepath.Clean(place) + ".last"}
	lost, err := os.ReadFile(f.file)
	if err != nil {
		return f
	}
	if err := s.Update(context.Background(), func(tx store.Tx) error {
		for _, k := range strings.Split(string(lost), "\n") {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *forgetful) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	err := f.Store.Update(ctx, func(tx store.Tx) error { keys = nil; return fn(noted{tx, &keys}) })
	if err == nil && len(keys) > 0 {
		err = os.WriteFile(f.file, []byte(strings.Join(keys, "\n")), 0o600)
	}
	return err
}

func (f *forgetful) Close() error {
	os.Remove(f.file)
	return f.Store.Close()
}

// unchecked reads at one moment and writes at a later one, whatever came between: two that swap the same version both win.
type unchecked struct{ store.Store }

func (u unchecked) Update(ctx context.Context, fn func(store.Tx) error) error {
	late := map[string][]byte{} // nil: deleted
	if err := u.View(ctx, func(tx store.Tx) error { clear(late); return fn(lateTx{tx, late}) }); err != nil {
		return err
	}
	return u.Store.Update(ctx, func(tx store.Tx) error {
		for k, v := range late {
			var err error
			if v == nil {
				err = tx.Delete(k)
			} else {
				err = tx.Set(k, v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type lateTx struct {
	store.Tx
	late map[string][]byte
}

func (l lateTx) Set(key string, value []byte) error {
	l.late[key] = append([]byte{}, value...)
	return nil
}

func (l lateTx) Delete(key string) error { l.late[key] = nil; return nil }

func (l lateTx) Get(key string) ([]byte, error) {
	v, ok := l.late[key]
	switch {
	case !ok:
		return l.Tx.Get(key)
	case v == nil:
		return nil, fault.New(fault.NotFound, "deleted")
	}
	return bytes.Clone(v), nil
}

func (l lateTx) ScanFrom(prefix, from string, fn func(string, []byte) error) error {
	all := map[string][]byte{}
	if err := l.Tx.ScanFrom(prefix, from, func(k string, v []byte) error { all[k] = bytes.Clone(v); return nil }); err != nil {
		return err
	}
	for k, v := range l.late {
		if delete(all, k); v != nil && strings.HasPrefix(k, prefix) && k >= from {
			all[k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if err := fn(k, all[k]); err != nil {
			return err
		}
	}
	return nil
}

// stale gives, now and then, a record as it was before its last change.
type stale struct {
	store.Tx
	of *lagging
}

type lagging struct {
	kind   string
	mu     sync.Mutex
	before map[string][]byte
	reads  int
}

func (s stale) Get(key string) ([]byte, error) {
	v, err := s.Tx.Get(key)
	if err != nil || !strings.HasPrefix(key, s.of.kind) {
		return v, err
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	old := s.of.before[key]
	s.of.before[key] = v
	if s.of.reads++; old != nil && s.of.reads%11 == 0 {
		return bytes.Clone(old), nil
	}
	return bytes.Clone(v), nil
}

// swapped hands out every two records of a kind the other way round.
type swapped struct{ store.Tx }

func (s swapped) ScanFrom(prefix, from string, fn func(string, []byte) error) error {
	if !strings.HasPrefix(prefix, "mail/") {
		return s.Tx.ScanFrom(prefix, from, fn)
	}
	held, value := "", []byte(nil)
	err := s.Tx.ScanFrom(prefix, from, func(k string, v []byte) error {
		if held == "" {
			held, value = k, bytes.Clone(v)
			return nil
		}
		err := errors.Join(fn(k, v), fn(held, value))
		held = ""
		return err
	})
	if err == nil && held != "" {
		err = fn(held, value)
	}
	return err
}

// immortal does not find the first record of a scan for what has expired.
type immortal struct{ store.Tx }

func (i immortal) ScanFrom(prefix, from string, fn func(string, []byte) error) error {
	first := prefix == "expiry/" && from == ""
	return i.Tx.ScanFrom(prefix, from, func(k string, v []byte) error {
		if first {
			first = false
			return nil
		}
		return fn(k, v)
	})
}

// keeping does not delete what it should.
type keeping struct {
	store.Tx
	kind string
}

func (d keeping) Delete(key string) error {
	if strings.HasPrefix(key, d.kind) {
		return nil
	}
	return d.Tx.Delete(key)
}

// sharing gives out the same slice each time.
type sharing struct {
	store.Tx
	mu   *sync.Mutex
	seen map[string][]byte
}

func (s sharing) Get(key string) ([]byte, error) {
	v, err := s.Tx.Get(key)
	if err != nil {
		return v, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.seen[key]; len(old) == len(v) {
		return old, nil
	}
	s.seen[key] = v
	return v, nil
}

// half keeps what a function wrote before it failed.
type half struct{ store.Store }

func (h half) Update(ctx context.Context, fn func(store.Tx) error) error {
	var failure error
	err := h.Store.Update(ctx, func(tx store.Tx) error { failure = fn(tx); return nil })
	return errors.Join(err, failure)
}

// mutants are stores with one fault each, and the tests of which at least one sees it.
var mutants = map[string]struct {
	in    func(testing.TB, store.Store, string) store.Store
	tests string
}{
	"loses what it acknowledged when it is killed": {newForgetful, "Store/F01_SurvivesAKill"},
	"lets two swaps of one version win":            {func(_ testing.TB, s store.Store, _ string) store.Store { return unchecked{s} }, "State/F16_Swaps"},
	"is not serialisable":                          {func(_ testing.TB, s store.Store, _ string) store.Store { return unchecked{s} }, "Store/Serialisable"},
	"hands out a one-time prekey twice": {func(_ testing.TB, s store.Store, _ string) store.Store {
		l := &lagging{kind: "prekeys/", before: map[string][]byte{}}
		return altered{s, func(tx store.Tx) store.Tx { return stale{tx, l} }}
	}, "State/OneTimeKeys"},
	"reorders a mailbox":                 {alter(func(tx store.Tx) store.Tx { return swapped{tx} }), "State/F15_Mail"},
	"forgets that something has expired": {alter(func(tx store.Tx) store.Tx { return immortal{tx} }), "State/Expiry"},
	"gives out messages that expired":    {alter(func(tx store.Tx) store.Tx { return keeping{tx, "mail/"} }), "State/Expiry"},
	"keeps sessions that ended":          {alter(func(tx store.Tx) store.Tx { return keeping{tx, "session/"} }), "State/SessionsByDevice"},
	"keeps half of what failed":          {func(_ testing.TB, s store.Store, _ string) store.Store { return half{s} }, "Store/AllOrNothing"},
	"shares its memory": {func(_ testing.TB, s store.Store, _ string) store.Store {
		mu, seen := &sync.Mutex{}, map[string][]byte{}
		return altered{s, func(tx store.Tx) store.Tx { return sharing{tx, mu, seen} }}
	}, "Store/Copies"},
}

const mutantName = "COLDFRAME_STORETEST_MUTANT"

// suite runs some of the suite in a process of its own, over a store with a fault.
func suite(tests, skip, mutant string) ([]byte, error) {
	c := exec.Command(os.Args[0], "-test.v", "-test.run=^TestSuite$/^"+strings.Replace(tests, "/", "$/^", 1), skip)
	c.Env = append(os.Environ(), mutantName+"="+mutant)
	return c.CombinedOutput()
}

const retryingName = "calls functions twice"

// TestMutants: a store with any of these faults fails the suite. Each is a process of its own, whose tests are to fail; without a fault they pass there.
func TestMutants(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			for _, mutant := range []string{name, ""} {
				out, err := suite(m.tests, "-test.skip=^$", mutant)
				_, failed := errors.AsType[*exec.ExitError](err)
				if err != nil && !failed || failed != (mutant != "") || failed && !bytes.Contains(out, []byte("--- FAIL: TestSuite/"+m.tests)) {
					t.Errorf("mutant %q: %v\n%s", mutant, err, out)
				}
			}
		})
	}
}

// TestSuite is no test but the process that TestMutants begins: the suite over a store with a fault. By itself it does nothing; without a fault the
// suite runs in coordinator/badgerstore.
func TestSuite(t *testing.T) {
	name, named := os.LookupEnv(mutantName)
	if !named {
		return
	}
	open := func(t testing.TB, place string) store.Store {
		s := openBadger(t, place)
		if m, ok := mutants[name]; ok {
			s = m.in(t, s, place)
		}
		if name == retryingName {
			s = retrying{s}
		}
		return s
	}
	t.Run("Store", func(t *testing.T) { storetest.Run(t, open) })
	t.Run("State", func(t *testing.T) { storetest.RunState(t, open) })
}

// retrying calls each function twice, the first time in a transaction that comes to nothing, as a database does whose transactions were in conflict.
type retrying struct{ store.Store }

var errAgain = errors.New("once more")

func (r retrying) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := r.Store.Update(ctx, func(tx store.Tx) error { return errors.Join(fn(tx), errAgain) })
	if !errors.Is(err, errAgain) {
		return err
	}
	return r.Store.Update(ctx, fn)
}

// The state takes a store that calls functions more than once: all but the longest of its tests, and the one that counts what a store does, pass over it.
func TestStateOverRetries(t *testing.T) {
	out, err := suite("", "-test.skip=^TestSuite$/^Store$|^TestSuite$/^State$/^(S05_|RemovedKeys|DeletedAccount)", retryingName)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestSuite/State/F16_")) {
		t.Errorf("%v\n%s", err, out)
	}
}
