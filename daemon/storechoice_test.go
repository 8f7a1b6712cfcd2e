package daemon

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// twoMachines returns two machines of one user, both with the coordinator. The first one made the dataset.
func twoMachines(t *testing.T, desk func(*Config, *Options), laptop func(*Config, *Options)) (one, other *running, dataset string) {
	t.Helper()
	c := newCoordinator(t, state.Open)
	one = startAgent(t, t.TempDir(), desk)
	res, err := one.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	dataset = one.create("x")
	one.mustWrite(WriteRequest{Dataset: dataset}, "x\n1\n")
	one.connect(c)
	one.settled()
	other = startAgent(t, t.TempDir(), laptop)
	one.admit(other, c.url(), res.Kit)
	return one, other, dataset
}

func (r *running) setFolder(path string, force bool) error {
	return r.SetStore(r.t.Context(), SetStoreRequest{
		Settings: StoreSettings{Kind: StoreFolder, Path: path}, Password: []byte(testPassword), Force: force,
	})
}

// store is where objects lie, and why it is not where the account says.
func (r *running) store() (string, fault.Code) {
	r.t.Helper()
	info, err := r.StoreInfo(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return info.Path + info.Bucket, info.Kept
}

// warned reports whether the status says that another store is set.
func (r *running) warned() bool {
	r.t.Helper()
	st, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.ContainsFunc(st.Warnings, func(w string) bool { return strings.Contains(w, "another device set") })
}

// TestAnotherStoreFromAnotherDevice has one machine set another store while the other one has datasets in the former.
func TestAnotherStoreFromAnotherDevice(t *testing.T) {
	desk, laptop, id := twoMachines(t, local, local)
	folder, own := filepath.Join(t.TempDir(), "shared"), filepath.Join(desk.Config().Folders.Data, "objects")
	if err := laptop.setFolder(folder, false); err != nil {
		t.Fatal(err)
	}
	if at, kept := laptop.store(); at != folder || kept != "" || laptop.warned() {
		t.Fatal(at, kept)
	}
	desk.awaitEvents(EventStoreKept, 1)
	check := func(desk *running, want string) {
		t.Helper()
		if at, kept := desk.store(); at != own || kept != fault.Conflict || !desk.warned() {
			t.Fatalf("at %q, %q", at, kept)
		}
		if got := desk.mustRead(ReadRequest{Dataset: id}); got != want {
			t.Fatalf("read %q", got)
		}
	}
	check(desk, "x\n1\n")
	desk.mustWrite(WriteRequest{Dataset: id}, "x\n2\n")
	for range 3 {
		desk.session.sync.poke(allTasks)
		desk.settled()
	}
	if n := desk.countEvents(EventStoreKept); n != 1 || desk.countEvents(EventStoreChanged) != 0 {
		t.Errorf("%d events", n)
	}
	made := laptop.create("y")
	laptop.mustWrite(WriteRequest{Dataset: made}, "x\n9\n")
	if err := desk.stop(); err != nil {
		t.Fatal(err)
	}
	desk = startAgent(t, filepath.Dir(desk.Config().Folders.Data), local)
	desk.unlock()
	check(desk, "x\n2\n")

	wantCode(t, "the account's store without force", desk.setFolder(folder, false), fault.Conflict)
	if err := os.CopyFS(folder, os.DirFS(own)); err != nil {
		t.Fatal(err)
	}
	desk.settled()
	if err := desk.setFolder(folder, true); err != nil {
		t.Fatal(err)
	}
	if at, kept := desk.store(); at != folder || kept != "" || desk.warned() {
		t.Fatal(at, kept)
	}
	if got := desk.mustRead(ReadRequest{Dataset: id}); got != "x\n2\n" {
		t.Errorf("read %q", got)
	}
	if got := laptop.mustRead(ReadRequest{Dataset: made}); got != "x\n9\n" {
		t.Errorf("read %q", got)
	}
}

// TestAnotherStoreIsTakenOver by a machine that has no datasets any more.
func TestAnotherStoreIsTakenOver(t *testing.T) {
	desk, laptop, id := twoMachines(t, local, local)
	folder := filepath.Join(t.TempDir(), "shared")
	if err := laptop.setFolder(folder, false); err != nil {
		t.Fatal(err)
	}
	desk.awaitEvents(EventStoreKept, 1)
	if err := desk.DeleteDataset(t.Context(), user, id); err != nil {
		t.Fatal(err)
	}
	desk.session.sync.poke(allTasks)
	desk.settled()
	if _, kept := desk.store(); kept != fault.Conflict {
		t.Fatal("objects of the deleted dataset would stay:", kept)
	}
	var garbage []string
	if err := desk.db.View(func(tx *kv.Tx) (err error) { garbage, err = keysUnder(tx, garbagePrefix); return err }); err != nil {
		t.Fatal(err)
	}
	if err := desk.deleteKeys(garbage); err != nil || len(garbage) == 0 {
		t.Fatal(garbage, err)
	}
	desk.session.sync.poke(allTasks)
	desk.awaitEvents(EventStoreChanged, 1)
	if at, kept := desk.store(); at != folder || kept != "" || desk.warned() {
		t.Fatal(at, kept)
	}
	made := desk.create("y")
	desk.mustWrite(WriteRequest{Dataset: made}, "x\n3\n")
	if got := desk.mustRead(ReadRequest{Dataset: made}); got != "x\n3\n" {
		t.Errorf("read %q", got)
	}
}

// TestStoreThatIsUnusableHere has another device set a store that this machine may not reach: the one of before stays in use.
func TestStoreThatIsUnusableHere(t *testing.T) {
	desk, laptop, id := twoMachines(t, local, func(c *Config, o *Options) {
		local(c, o)
		c.Store = Store{AllowLoopback: true, AllowPlainHTTP: true}
	})
	if err := desk.DeleteDataset(t.Context(), user, id); err != nil {
		t.Fatal(err)
	}
	if err := desk.db.Update(func(tx *kv.Tx) error {
		keys, err := keysUnder(tx, garbagePrefix)
		for _, k := range keys {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	err := laptop.SetStore(t.Context(), SetStoreRequest{Password: []byte(testPassword), Settings: StoreSettings{
		Kind: StoreS3, Bucket: "bucket", Endpoint: "http://127.0.0.1:1", AccessKeyID: "a", SecretAccessKey: []byte("s"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	desk.awaitEvents(EventStoreKept, 1)
	own := filepath.Join(desk.Config().Folders.Data, "objects")
	if at, kept := desk.store(); at != own || kept == "" || kept == fault.Conflict || !desk.warned() {
		t.Fatal(at, kept)
	}
	made := desk.create("y")
	desk.mustWrite(WriteRequest{Dataset: made}, "x\n3\n")
	if got := desk.mustRead(ReadRequest{Dataset: made}); got != "x\n3\n" {
		t.Errorf("read %q", got)
	}
	if err := desk.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk.unlock()
	if got := desk.mustRead(ReadRequest{Dataset: made}); got != "x\n3\n" {
		t.Errorf("read %q", got)
	}
	if _, kept := desk.store(); kept != fault.Conflict {
		t.Error(kept)
	}
}

// TestSettingThatCameWithAChange is taken over by a round in which the vault did not move: a change made here brought it.
func TestSettingThatCameWithAChange(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := newPerson(t, c, testMail)
	folder := filepath.Join(t.TempDir(), "shared")
	a.nameStore(storeItem{Kind: StoreFolder, Path: folder})
	a.session.sync.poke(taskVault)
	a.awaitEvents(EventStoreChanged, 1)
	if at, kept := a.store(); at != folder || kept != "" {
		t.Fatal(at, kept)
	}
}

// TestStoreSetWithoutAnAnswer is in use once the coordinator says what became of the change, forced or not.
func TestStoreSetWithoutAnAnswer(t *testing.T) {
	for _, force := range []bool{false, true} {
		a, remote := replicated(t)
		own, _ := a.store()
		if force {
			a.mustWrite(WriteRequest{Dataset: a.create("x")}, "x\n1\n")
		}
		folder := filepath.Join(t.TempDir(), "shared")
		mend := loseAnswer(remote, true)
		wantCode(t, "set", a.setFolder(folder, force), fault.Unavailable)
		if at, _ := a.store(); at != own {
			t.Error("in use before the change was made")
		}
		mend()
		if err := a.vault.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.storeSettingsChanged(t.Context(), a.session)
		if at, kept := a.store(); at != folder || kept != "" {
			t.Errorf("force %v: at %q, %q", force, at, kept)
		}
	}
}

// TestStoreThatOpensAgain is tried once a minute, and at once where a person sets it.
func TestStoreThatOpensAgain(t *testing.T) {
	clock := newFakeClock()
	a := startAgent(t, t.TempDir(), func(c *Config, o *Options) { c.Lock, o.Clock = Lock{}, clock })
	a.register()
	parent := filepath.Join(t.TempDir(), "mount")
	folder := filepath.Join(parent, "objects")
	if err := a.setFolder(folder, false); err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	block := func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(parent), os.WriteFile(parent, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	block()
	a.unlock()
	opens := func() bool {
		a.storeSettingsChanged(t.Context(), a.session)
		_, err := a.session.objects()
		return err == nil
	}
	if opens() {
		t.Fatal("it cannot be there")
	}
	if err := os.Remove(parent); err != nil {
		t.Fatal(err)
	}
	if opens() {
		t.Error("tried again at once")
	}
	if clock.pass(time.Minute, 0); !opens() {
		t.Error("not tried again")
	}
	block()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.unlock()
	if err := os.Remove(parent); err != nil {
		t.Fatal(err)
	}
	if err := a.setFolder(folder, false); err != nil {
		t.Fatal(err)
	}
	if _, err := a.session.objects(); err != nil {
		t.Error("set, and not tried:", err)
	}
}

// nameStore puts settings into the vault, which is as if another device had.
func (r *running) nameStore(i storeItem) {
	r.t.Helper()
	body, err := signed.Marshal(i)
	if err == nil {
		err = r.vault.Update(func(tx *keystore.Tx) error { return tx.Put(keystore.Item{ID: itemStore, Kind: kindStore, Body: body}) })
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// comesFromElsewhere is nameStore and what a round does.
func (r *running) comesFromElsewhere(i storeItem) {
	r.t.Helper()
	r.nameStore(i)
	r.storeSettingsChanged(r.t.Context(), r.session)
}

// TestCredentialsFromElsewhere are taken over for the store in use; those of another store are not mixed up with them.
func TestCredentialsFromElsewhere(t *testing.T) {
	a := startAgent(t, t.TempDir(), func(c *Config, _ *Options) { c.Store = Store{AllowLoopback: true, AllowPlainHTTP: true} })
	a.register()
	if err := a.db.Update(func(tx *kv.Tx) error { return tx.Set(garbagePrefix+"x", []byte("y")) }); err != nil {
		t.Fatal(err)
	}
	bucket := func(name, id, secret string) storeItem {
		return storeItem{Kind: StoreS3, Bucket: name, Endpoint: "http://127.0.0.1:1", AccessKeyID: id, SecretAccessKey: []byte(secret)}
	}
	uses := func(want storeItem, kept fault.Code) {
		t.Helper()
		item, err := a.usedStore(a.session)
		if err != nil || item.sum() != want.sum() || !a.session.usesStore(want) {
			t.Errorf("%+v, %v", item.public(), err)
		}
		if at, code := a.store(); at != want.Bucket || code != kept {
			t.Errorf("at %q, %q", at, code)
		}
	}
	one := bucket("one", "a", "s1")
	if err := a.SetStore(t.Context(), SetStoreRequest{Settings: storeSettings(one), Password: []byte(testPassword), Force: true}); err != nil {
		t.Fatal(err)
	}
	uses(one, "")
	one.AccessKeyID, one.SecretAccessKey = "b", []byte("s2")
	a.comesFromElsewhere(one)
	uses(one, "")
	a.comesFromElsewhere(bucket("two", "c", "s3"))
	uses(one, fault.Conflict)
	back := storeSettings(one)
	back.SecretAccessKey = nil
	if err := a.SetStore(t.Context(), SetStoreRequest{Settings: back, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	uses(one, "")
	if named, err := a.storeItem(); err != nil || named.sum() != one.sum() {
		t.Errorf("%+v, %v", named.public(), err)
	}
	searchTree(t, filepath.Join(a.Config().Folders.Data, "kv"), map[string][]byte{"an endpoint": []byte("http://127.0.0.1:1")})
}

func storeSettings(i storeItem) StoreSettings {
	s := i.settings()
	s.SecretAccessKey = slices.Clone(i.SecretAccessKey)
	return s
}

// TestKeptStoreIsInTheBackup restores a backup of a machine that keeps its store: the datasets are not looked for in the account's.
func TestKeptStoreIsInTheBackup(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	res, err := a.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "own")
	if err := a.setFolder(own, false); err != nil {
		t.Fatal(err)
	}
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	a.comesFromElsewhere(storeItem{Kind: StoreFolder, Path: filepath.Join(t.TempDir(), "other")})
	var backup bytes.Buffer
	if err := a.Backup(t.Context(), []byte(testPassword), &backup); err != nil {
		t.Fatal(err)
	}
	b := startAgent(t, t.TempDir(), nil)
	if err := b.Restore(t.Context(), RestoreRequest{Password: []byte(testPassword), Kit: res.Kit}, &backup); err != nil {
		t.Fatal(err)
	}
	if at, kept := b.store(); at != own || kept != fault.Conflict {
		t.Errorf("at %q, %q", at, kept)
	}
	if got := b.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("read %q", got)
	}
}
