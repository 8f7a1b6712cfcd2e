package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

const (
	email    = "ada@example.org"
	password = "tundra-violet-47-anvil-orbit"
	another  = "quarry-mellow-93-lantern-fig"
)

// rig is a vault over real files, with a clock that the test moves.
type rig struct {
	t     *testing.T
	dir   string
	db    *kv.DB
	vault *keystore.Vault
	files atomicfile.Layer
	free  func(string) (uint64, error) // of the disk; nil: ask the system

	mu     sync.Mutex
	now    time.Time
	events []string
}

func newRig(t *testing.T) *rig { return newRigIn(t, t.TempDir()) }

// newRigInMemory is newRig on a file system in memory where there is one: for tests of thousands of changes that are not about the disk.
func newRigInMemory(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "coldframe-test-")
	if err != nil {
		return newRig(t)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return newRigIn(t, dir)
}

func newRigIn(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	r.open()
	t.Cleanup(func() { _ = r.db.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	db, err := kv.Open(filepath.Join(r.dir, "db"), kv.Options{FreeSpace: r.free})
	if err != nil {
		r.t.Fatal(err)
	}
	r.db = db
	r.vault = keystore.New(db, r.options())
}

func (r *rig) options() keystore.Options {
	return keystore.Options{Dir: r.dir, Profile: keystoretest.Cheap(), Clock: r.clock, Notify: r.notify, Files: r.files}
}

// restart closes everything and opens it again, as a new process does.
func (r *rig) restart() {
	r.t.Helper()
	r.vault.Lock()
	if err := r.db.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) sleep(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) notify(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

func (r *rig) saw(event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.events, event)
}

func (r *rig) register() keystore.RecoveryKit {
	r.t.Helper()
	kit, err := r.vault.Register(context.Background(), keystore.Registration{Email: email, Password: []byte(password)})
	if err != nil {
		r.t.Fatal(err)
	}
	return kit
}

func (r *rig) unlock() error { return r.unlockWith(password) }

func (r *rig) unlockWith(p string) error {
	return r.vault.Unlock(context.Background(), []byte(p), keystore.UnlockOptions{})
}

func (r *rig) put(id string, body string) {
	r.t.Helper()
	err := r.vault.Update(func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: id, Kind: "metadata", Body: []byte(body)})
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wants(id string, body string) {
	r.t.Helper()
	it, err := r.vault.Get(id)
	if err != nil || string(it.Body) != body {
		r.t.Fatalf("item %q: %q, %v; want %q", id, it.Body, err, body)
	}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) || fault.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

// records returns everything under vault/ in the database.
func (r *rig) records() map[string][]byte {
	r.t.Helper()
	all := make(map[string][]byte)
	err := r.db.View(func(tx *kv.Tx) error {
		return tx.Scan("vault/", func(key string, value []byte) error {
			all[key] = value
			return nil
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// replace makes the vault's records those of all; others go.
func (r *rig) replace(all map[string][]byte) {
	r.t.Helper()
	now := r.records()
	err := r.db.Update(func(tx *kv.Tx) error {
		for key := range now {
			if _, keep := all[key]; !keep {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
		}
		for key, value := range all {
			if err := tx.Set(key, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	r := newRig(t)
	if s := r.vault.State(); s != keystore.None {
		t.Fatal(s)
	}
	wantCode(t, r.unlock(), fault.NotFound)
	kit := r.register()
	if s := r.vault.State(); s != keystore.Unlocked {
		t.Fatal(s)
	}
	if r.vault.Email() != email || r.vault.UserID() != kit.UserID {
		t.Fatal(r.vault.Email(), r.vault.UserID())
	}
	r.put("a", "one")
	r.put("b", "two")
	r.put("a", "three")
	r.restart()
	if s := r.vault.State(); s != keystore.Locked {
		t.Fatal(s)
	}
	_, err := r.vault.Get("a")
	wantCode(t, err, fault.Locked)
	wantCode(t, r.vault.Update(func(*keystore.Tx) error { return nil }), fault.Locked)
	wantCode(t, r.unlockWith(another), fault.NotAuthentic)
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "three")
	r.wants("b", "two")
	ids, err := r.vault.List("metadata")
	if err != nil || !slices.Equal(ids, []string{"a", "b"}) {
		t.Fatal(ids, err)
	}
	_, err = r.vault.Register(context.Background(), keystore.Registration{Email: email, Password: []byte(password)})
	wantCode(t, err, fault.Conflict)
}

func TestChangePasswordAndRecover(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	kit := r.register()
	r.put("a", "one")
	credential, err := r.vault.EnableUnattended(ctx, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.vault.ChangePassword(ctx, []byte(another), []byte(another)), fault.NotAuthentic)
	if err := r.vault.ChangePassword(ctx, []byte(password), []byte(another)); err != nil {
		t.Fatal(err)
	}
	r.put("b", "two")
	r.restart()
	wantCode(t, r.unlock(), fault.NotAuthentic)
	if err := r.unlockWith(another); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
	r.restart()
	if err := r.vault.UnlockUnattended(ctx, credential); err != nil {
		t.Fatal(err)
	}
	r.wants("b", "two")
	r.restart()

	parsed, err := keystore.ParseRecoveryKit(kit.Text())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.vault.Recover(ctx, parsed, []byte(password)); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
	r.restart()
	wantCode(t, r.unlockWith(another), fault.NotAuthentic)
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	if err := r.vault.DisableUnattended(ctx); err != nil {
		t.Fatal(err)
	}
	r.restart()
	wantCode(t, r.vault.UnlockUnattended(ctx, credential), fault.Forbidden)
	wantCode(t, r.vault.UnlockUnattended(ctx, secret.Random()), fault.Forbidden)
}

func TestBackupAndRestore(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	kit := r.register()
	for i := range 300 {
		r.put(string(rune('a'+i%26))+string(rune('a'+i/26)), string(bytes.Repeat([]byte{'x'}, i*20)))
	}
	var file bytes.Buffer
	err := r.vault.Backup(ctx, &file, func(_ *kv.Tx, put func(string, []byte) error) error {
		return put("dataset/one", bytes.Repeat([]byte("y"), 700<<10))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.vault.Restore(ctx, bytes.NewReader(file.Bytes()), keystore.RestoreOptions{Password: []byte(password)}), fault.Conflict)

	for name, o := range map[string]keystore.RestoreOptions{
		"password and kit": {Password: []byte(password), Kit: &kit},
		"kit":              {Kit: &kit, NewPassword: []byte(another)},
	} {
		t.Run(name, func(t *testing.T) {
			n := newRig(t)
			wantCode(t, n.vault.Restore(ctx, bytes.NewReader(file.Bytes()), keystore.RestoreOptions{Password: []byte(password)}), fault.Incomplete)
			if err := n.vault.Restore(ctx, bytes.NewReader(file.Bytes()), o); err != nil {
				t.Fatal(err)
			}
			n.restart()
			p := password
			if o.NewPassword != nil {
				p = another
			}
			if err := n.unlockWith(p); err != nil {
				t.Fatal(err)
			}
			n.wants("bb", string(bytes.Repeat([]byte{'x'}, 27*20)))
			err := n.db.View(func(tx *kv.Tx) error {
				v, err := tx.Get("dataset/one")
				if len(v) != 700<<10 {
					t.Error("extra record is", len(v), "bytes")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
