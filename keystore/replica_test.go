package keystore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// joinedRig is a registered vault that a replica keeps.
func joinedRig(t *testing.T) (*rig, *keystoretest.Replica, keystore.RecoveryKit) {
	t.Helper()
	r, remote := newRigInMemory(t), keystoretest.NewReplica()
	kit := r.register()
	r.put("seed", "one")
	r.vault.Connect(remote)
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, remote, kit
}

// fetched is another device of the same user.
func fetched(t *testing.T, remote *keystoretest.Replica, kit keystore.RecoveryKit) *rig {
	t.Helper()
	r := newRigInMemory(t)
	if err := r.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
		t.Fatal(err)
	}
	r.vault.Connect(remote)
	return r
}

// reopen is a new process on the same machine.
func (r *rig) reopen(remote keystore.Replica) {
	r.t.Helper()
	r.vault.Lock()
	r.vault = keystore.New(r.db, r.options())
	if err := r.unlock(); err != nil {
		r.t.Fatal(err)
	}
	r.vault.Connect(remote)
}

func (r *rig) sync() {
	r.t.Helper()
	if err := r.vault.Sync(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryPut(id, body string) error {
	return r.vault.Update(func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: id, Kind: "metadata", Body: []byte(body)})
	})
}

func (r *rig) head() [32]byte {
	r.t.Helper()
	_, hash, err := r.vault.Head()
	if err != nil {
		r.t.Fatal(err)
	}
	return hash
}

func sameVault(t *testing.T, rigs ...*rig) {
	t.Helper()
	for _, r := range rigs[1:] {
		if r.head() != rigs[0].head() {
			t.Fatal("the vaults differ")
		}
		a, b := rigs[0].records(), r.records()
		for _, m := range []map[string][]byte{a, b} {
			delete(m, "vault/replica")
			delete(m, "vault/left")
			delete(m, "vault/given-up")
			delete(m, "vault/throttle")
		}
		if !maps.EqualFunc(a, b, slices.Equal) {
			t.Fatal("the records differ:", slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
		}
	}
}

func TestTwoDevices(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	b.wants("seed", "one")
	if fresh, err := b.vault.Fresh(); err != nil || !fresh {
		t.Fatal("a fetched vault is fresh:", fresh, err)
	}
	if fresh, err := a.vault.Fresh(); err != nil || fresh {
		t.Fatal("the first device is not:", fresh, err)
	}
	a.put("x", "from a")
	b.put("y", "from b") // on top of what a did
	b.wants("x", "from a")
	a.sync()
	a.wants("y", "from b")
	if err := b.vault.Update(func(tx *keystore.Tx) error { return tx.Delete("x") }); err != nil {
		t.Fatal(err)
	}
	a.sync()
	_, err := a.vault.Get("x")
	wantCode(t, err, fault.NotFound)
	sameVault(t, a, b)

	if err := b.vault.Confirm(); err != nil {
		t.Fatal(err)
	}
	b.reopen(remote)
	b.wants("y", "from b")
	if fresh, err := b.vault.Fresh(); err != nil || fresh {
		t.Fatal(fresh, err)
	}
	sameVault(t, a, b)
}

// Nothing of an item but its size can be read off the replica: names and bodies are scanned for ids, kinds and address.
func TestReplicaLearnsNoKinds(t *testing.T) {
	r, remote, _ := joinedRig(t)
	r.put("dataset-of-ada", "body-of-ada")
	for name, rec := range remote.Records() {
		for _, secret := range []string{"dataset-of-ada", "body-of-ada", "metadata", "seed", email, "ada"} {
			if strings.Contains(name, secret) || strings.Contains(string(rec.Body), secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
}

func TestOfflineReadsWorkAndChangesDoNot(t *testing.T) {
	r, remote, _ := joinedRig(t)
	r.vault.Connect(nil)
	r.wants("seed", "one")
	wantCode(t, r.tryPut("x", "y"), fault.Unavailable)
	wantCode(t, r.vault.Sync(t.Context()), fault.Unavailable)
	r.restart()
	if err := r.unlock(); err != nil {
		t.Fatal("a vault opens without its replica:", err)
	}
	r.wants("seed", "one")
	err := r.vault.Update(func(tx *keystore.Tx) error { return tx.KV().Set("own/record", []byte("v")) })
	if err != nil {
		t.Fatal("records of the agent alone need no replica:", err)
	}
	remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errors.New("connection reset") }
	r.vault.Connect(remote)
	wantCode(t, r.tryPut("x", "y"), fault.Unavailable)
	remote.OnRead = nil
	if err := r.tryPut("x", "y"); err != nil {
		t.Fatal(err)
	}
}

// What the caller writes beside items comes with them, also when the answer of the replica is lost and the process ends.
func TestCallersRecords(t *testing.T) {
	r, remote, _ := joinedRig(t)
	update := func(body string) error {
		return r.vault.Update(func(tx *keystore.Tx) error {
			tx.OnCommit(func(k *kv.Tx) error { return k.Set("own/commit", []byte(body)) })
			return errors.Join(tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte(body)}), tx.KV().Set("own/head", []byte(body)), tx.KV().Set("own/shared", []byte(body)))
		})
	}
	if err := update("one"); err != nil || r.own("own/head") != "one" || r.own("own/commit") != "one" {
		t.Fatal(err, r.own("own/head"), r.own("own/commit"))
	}
	lost := errors.New("connection reset")
	remote.AfterSwap = func(keystore.Swap) error {
		remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, lost }
		return lost
	}
	wantCode(t, update("two"), fault.Unavailable)
	r.wants("x", "one")
	if r.own("own/head") != "one" {
		t.Fatal("written before it was acknowledged")
	}
	if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set("own/shared", []byte("meanwhile")) }); err != nil {
		t.Fatal(err)
	}
	remote.AfterSwap, remote.OnRead = nil, nil
	r.reopen(remote)
	r.wants("x", "one")
	r.sync()
	r.wants("x", "two")
	if r.own("own/head") != "two" || r.own("own/shared") != "meanwhile" {
		t.Fatal(r.own("own/head"), r.own("own/shared"))
	}
}

func TestAttached(t *testing.T) {
	r, remote, kit := joinedRig(t)
	other := fetched(t, remote, kit)
	attach := func(v *rig, before keystore.Mark, body string) error {
		return v.vault.Update(func(tx *keystore.Tx) error {
			if body == "" {
				return errors.Join(tx.Detach("i-1", before), tx.Put(keystore.Item{ID: "applied", Kind: "metadata"}))
			}
			return tx.Attach("i-1", before, []byte(body))
		})
	}
	if err := attach(r, keystore.Mark{}, "sealed body"); err != nil {
		t.Fatal(err)
	}
	rec := remote.Records()["i-1"]
	if string(rec.Body) != "sealed body" {
		t.Fatal(rec)
	}
	wantCode(t, attach(other, keystore.Mark{}, "another"), fault.Conflict)
	if err := attach(other, rec.Mark, ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, attach(r, rec.Mark, ""), fault.Conflict) // applied once, whoever comes second
	if _, there := remote.Records()["i-1"]; there {
		t.Fatal("still there")
	}
	for _, name := range []string{"", "v-root", "v-part-0123", "Upper", strings.Repeat("a", 65), "a/b"} {
		err := r.vault.Update(func(tx *keystore.Tx) error { return tx.Attach(name, keystore.Mark{}, []byte("x")) })
		wantCode(t, err, fault.InvalidRequest)
	}
	sync := func() { r.sync(); other.sync() }
	sync()
	sameVault(t, r, other)
}

// What is attached shares the swap with the root blob: as much as always fits is taken, and anything more is refused before it is staged, so
// that it is no change that the replica refuses.
func TestAttachedTooLarge(t *testing.T) {
	r, remote, _ := joinedRig(t)
	attach := func(bodies ...int) error {
		return r.vault.Update(func(tx *keystore.Tx) error {
			for i, size := range bodies {
				if err := tx.Attach(fmt.Sprint("i-", len(bodies), "-", i), keystore.Mark{}, make([]byte, size)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	calls := remote.Calls()
	for _, bodies := range [][]int{{0}, {keystore.MaxAttachedBytes + 1}, {keystore.MaxAttachedBytes, 1}, {keystore.MaxRemote}} {
		wantCode(t, attach(bodies...), fault.TooLarge)
	}
	if n := remote.Calls() - calls; n != 0 || pendingWrites(r, "vault/root") {
		t.Error(n, "calls for what is refused here")
	}
	for _, bodies := range [][]int{{keystore.MaxAttachedBytes}, {keystore.MaxAttachedBytes - 2, 1, 1}} {
		if err := attach(bodies...); err != nil {
			t.Error(bodies, err)
		}
	}
	r.put("x", "goes on")
}

// A vault larger than a swap, with items of the largest size: uploaded, fetched, changed in one go, collected.
func TestLargeVault(t *testing.T) {
	r, remote := newRigInMemory(t), keystoretest.NewReplica()
	kit := r.register()
	big := strings.Repeat("b", keystore.MaxBody)
	r.put("big/1", big)
	r.put("big/2", big)
	for batch := range 12 {
		err := r.vault.Update(func(tx *keystore.Tx) error {
			for i := range 100 {
				if err := tx.Put(keystore.Item{ID: fmt.Sprintf("item/%d/%d", batch, i), Kind: "metadata", Body: make([]byte, i*10)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.vault.Connect(remote)
	swaps := 0
	remote.OnSwap = func(keystore.Swap) error {
		if swaps++; swaps == 5 {
			return errors.New("connection reset")
		}
		return nil
	}
	wantCode(t, r.vault.Join(t.Context()), fault.Unavailable)
	r.put("x", "local as before")
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := fetched(t, remote, kit)
	sameVault(t, r, other)
	other.wants("big/2", big)
	err := other.vault.Update(func(tx *keystore.Tx) error {
		for i := range 200 {
			if err := tx.Put(keystore.Item{ID: fmt.Sprintf("item/%d/%d", i%12, i/12), Kind: "metadata", Body: []byte("new")}); err != nil {
				return err
			}
		}
		return errors.Join(tx.Put(keystore.Item{ID: "big/1", Kind: "metadata", Body: []byte("small")}), tx.Put(keystore.Item{ID: "big/3", Kind: "metadata", Body: []byte(big)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	r.sync()
	sameVault(t, r, other)
	removed, err := r.vault.Collect(t.Context())
	if err != nil || removed < 200 {
		t.Fatal(removed, err)
	}
	if again, err := r.vault.Collect(t.Context()); err != nil || again != 0 {
		t.Fatal(again, err)
	}
	third := fetched(t, remote, kit)
	sameVault(t, r, third)
	t.Logf("%d swaps, %d parts removed, %d records stay", swaps, removed, len(remote.Records()))
}

// A replica without room is tidied, and the change is made.
func TestFullReplicaIsCollected(t *testing.T) {
	r, remote, _ := joinedRig(t)
	remote.Limit(40, keystore.MaxSwapBytes)
	for i := range 100 {
		r.put("x", fmt.Sprint(i))
	}
	r.wants("x", "99")
	remote.Limit(3, keystore.MaxSwapBytes)
	wantCode(t, r.tryPut("y", "no room"), fault.StorageFull)
	r.wants("x", "99")
}

// Another device collects while this one uploads the parts of a large change: what it removed is uploaded again.
func TestCollectDuringUpload(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	busy := false
	remote.OnSwap = func(s keystore.Swap) error {
		if busy || s.Changes[0].Name != "v-root" {
			return nil
		}
		busy = true
		if n, err := b.vault.Collect(t.Context()); err != nil || n < 100 {
			t.Error("collected", n, err)
		}
		return nil
	}
	err := a.vault.Update(func(tx *keystore.Tx) error {
		for i := range 200 {
			if err := tx.Put(keystore.Item{ID: fmt.Sprint(i), Kind: "metadata", Body: []byte("x")}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !busy {
		t.Fatal(err, busy)
	}
	b.sync()
	sameVault(t, a, b, fetched(t, remote, kit))
}

// A backup of before: the restored vault is no second one beside the replica's, but catches up with it first.
func TestRestoredBackupCatchesUp(t *testing.T) {
	ctx := t.Context()
	a, remote, kit := joinedRig(t)
	var file bytes.Buffer
	if err := a.vault.Backup(ctx, &file, nil); err != nil {
		t.Fatal(err)
	}
	a.put("x", "after the backup")
	b := newRigInMemory(t)
	if err := b.vault.Restore(ctx, &file, keystore.RestoreOptions{Password: []byte(password), Kit: &kit}); err != nil {
		t.Fatal(err)
	}
	if fresh, err := b.vault.Fresh(); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	wantCode(t, b.tryPut("y", "beside the replica"), fault.Unavailable)
	b.vault.Connect(remote)
	b.put("y", "on top")
	b.wants("x", "after the backup")
	a.sync()
	sameVault(t, a, b)
}
