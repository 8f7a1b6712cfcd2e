package keystore_test

import (
	"fmt"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// breaking is a disk that refuses from the n-th write on, once a test counts; what the process then leaves is what a crash there leaves.
type breaking struct{ counting, count, after int }

func (b *breaking) free(string) (uint64, error) {
	if b.counting > 0 {
		if b.count++; b.count > b.after {
			return 0, nil
		}
	}
	return 1 << 40, nil
}

// broken returns a device whose disk breaks.
func broken(t *testing.T) (*rig, *breaking) {
	r := newRigInMemory(t)
	disk := &breaking{}
	r.free = disk.free
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	return r, disk
}

// crash lets the process die once what it does has failed, at the n-th write, and starts it again with a disk that works.
func (b *breaking) crash(r *rig, n int, do func() error) (failed bool) {
	b.counting, b.count, b.after = 1, 0, n
	failed = do() != nil
	b.counting = 0
	r.restart()
	return failed
}

const manyItems = 600 // more than one local transaction takes

func putMany(r *rig, body string) {
	r.t.Helper()
	for i := range 3 {
		err := r.vault.Update(func(tx *keystore.Tx) error {
			for j := range manyItems / 3 {
				if err := tx.Put(keystore.Item{ID: fmt.Sprint(i*manyItems + j), Kind: "metadata", Body: []byte(body)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// Taking over a large change of another device, with a crash at every write in turn: the vault opens as it was or as it becomes, and gets there.
func TestCrashWhilePulling(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b, disk := broken(t)
	fetch := func() error {
		return b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)})
	}
	if err := fetch(); err != nil {
		t.Fatal(err)
	}
	before := b.head()
	steps := 0
	for failed := true; failed; steps++ {
		putMany(a, fmt.Sprint("round ", steps))
		b.vault.Connect(remote)
		failed = disk.crash(b, steps, func() error { return b.vault.Sync(t.Context()) })
		if err := b.unlock(); err != nil {
			t.Fatalf("crash at write %d: %v", steps, err)
		}
		if h := b.head(); h != before && h != a.head() {
			t.Fatalf("crash at write %d: a vault in between", steps)
		}
		b.vault.Connect(remote)
		b.sync()
		sameVault(t, a, b)
		before = b.head()
	}
	if steps < 5 {
		t.Fatal("only", steps, "writes")
	}
	t.Logf("%d writes", steps)
}

// The disk is full at every write in turn, and then is not: no restart is needed, and reads never see half a change.
func TestF06_FullDiskWhilePulling(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b, disk := broken(t)
	if err := b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
		t.Fatal(err)
	}
	b.vault.Connect(remote)
	locked := 0
	for n := 0; ; n++ {
		putMany(a, fmt.Sprint("round ", n))
		disk.counting, disk.count, disk.after = 1, 0, n
		err := b.vault.Sync(t.Context())
		if b.vault.State() == keystore.Unlocked {
			b.wants("seed", "one")
		} else {
			locked++
			wantCode(t, b.unlock(), fault.StorageFull)
		}
		disk.counting = 0
		if b.vault.State() == keystore.Locked {
			if err := b.unlock(); err != nil {
				t.Fatal(n, err)
			}
		}
		b.sync()
		sameVault(t, a, b)
		if err == nil {
			break
		}
		wantCode(t, err, fault.StorageFull)
	}
	if locked == 0 {
		t.Fatal("no change was ever half applied")
	}
}

// A new machine dies while it fetches: there is no vault yet, or the whole one.
func TestCrashWhileFetching(t *testing.T) {
	a, remote, kit := joinedRig(t)
	putMany(a, "one")
	steps := 0
	for failed := true; failed; steps++ {
		b, disk := broken(t)
		fetch := func() error {
			return b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)})
		}
		failed = disk.crash(b, steps, fetch)
		switch b.vault.State() {
		case keystore.None:
			if err := fetch(); err != nil {
				t.Fatalf("crash at write %d: %v", steps, err)
			}
		case keystore.Locked:
			if err := b.unlock(); err != nil {
				t.Fatalf("crash at write %d: %v", steps, err)
			}
		}
		sameVault(t, a, b)
		if fresh, err := b.vault.Fresh(); err != nil || !fresh {
			t.Fatalf("crash at write %d: not fresh", steps)
		}
	}
	t.Logf("%d writes", steps)
}

// A change, with a crash at every write in turn: an acknowledged one is there, another whole or not at all, on both devices alike.
func TestCrashWhileChanging(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b, disk := broken(t)
	if err := b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for failed := true; failed; steps++ {
		b.vault.Connect(remote)
		body := fmt.Sprint("round ", steps)
		failed = disk.crash(b, steps, func() error { return b.tryPut("x", body) })
		if err := b.unlock(); err != nil {
			t.Fatalf("crash at write %d: %v", steps, err)
		}
		b.vault.Connect(remote)
		b.sync()
		a.sync()
		sameVault(t, a, b)
		if !failed {
			a.wants("x", body)
		}
	}
	t.Logf("%d writes", steps)
}

// The first upload ends anywhere: it goes on, and the vault is there once.
func TestCrashWhileJoining(t *testing.T) {
	for step := 0; ; step++ {
		r, remote := newRigInMemory(t), keystoretest.NewReplica()
		kit := r.register()
		for i := range 70 {
			r.put(fmt.Sprint(i), "x")
		}
		swaps, failed := 0, false
		remote.OnSwap = func(keystore.Swap) error {
			if swaps++; swaps == step/2+1 && step%2 == 0 {
				failed = true
				return errReset
			}
			return nil
		}
		remote.AfterSwap = func(keystore.Swap) error {
			if swaps == step/2+1 && step%2 == 1 && !failed {
				failed = true
				return errReset
			}
			return nil
		}
		r.vault.Connect(remote)
		err := r.vault.Join(t.Context())
		if (err != nil) != failed {
			t.Fatal(step, err, failed)
		}
		remote.OnSwap, remote.AfterSwap = nil, nil
		r.reopen(remote)
		if err := r.vault.Join(t.Context()); err != nil {
			t.Fatal(step, err)
		}
		r.put("after", "x")
		sameVault(t, r, fetched(t, remote, kit))
		if !failed {
			if step < 6 {
				t.Fatal("only", step, "steps")
			}
			return
		}
	}
}
