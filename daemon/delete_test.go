package daemon

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// count returns the number of records under a prefix.
func (r *running) count(prefix string) (n int) {
	r.t.Helper()
	if err := r.db.View(func(tx *kv.Tx) (err error) { n, err = countRecords(tx, prefix); return err }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestDeleteWhatNoTransactionTakes deletes a dataset of more objects than one transaction can move.
func TestDeleteWhatNoTransactionTakes(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "a,b\n1,x\n")
	const many = 4000
	for range many / 500 {
		err := a.db.Update(func(tx *kv.Tx) error {
			for range 500 {
				key := objectPrefix(columnar.DatasetID(id)) + string(columnar.NewObjectName())
				if err := writeRecord(tx, key, objectRecord{First: 1}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.DeleteDataset(t.Context(), user, id); err != nil {
		t.Fatal(err)
	}
	set := SetStoreRequest{Settings: StoreSettings{Kind: StoreFolder, Path: t.TempDir()}, Password: []byte(testPassword)}
	wantCode(t, "another store while objects wait to be removed", a.SetStore(t.Context(), set), fault.Conflict)
	if left, garbage := a.count(datasetPrefix), a.count(garbagePrefix); left != 0 || garbage != many+1 {
		t.Errorf("%d records left, %d objects to remove, want 0 and %d", left, garbage, many+1)
	}
}

// TestDeleteGoesOnAfterACrash stops between the tombstone and the rest.
func TestDeleteGoesOnAfterACrash(t *testing.T) {
	home := t.TempDir()
	a := startAgent(t, home, nil)
	a.register()
	id, kept := a.create("x"), a.create("y")
	for _, d := range []string{id, kept} {
		a.mustWrite(WriteRequest{Dataset: d}, "a,b\n1,x\n")
	}
	ds, err := a.load(a.session, columnar.DatasetID(id))
	if err != nil {
		t.Fatal(err)
	}
	defer ds.wipe()
	if err := a.bury(t.Context(), a.session, ds); err != nil {
		t.Fatal(err)
	}
	err = a.db.Update(func(tx *kv.Tx) error { return tx.Set(tombstonePrefix+kept, []byte("forged")) })
	if err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, home, nil)
	a.unlock()
	eventually(t, "the end of the records", func() bool { return a.count(datasetPrefix+id) == 0 })
	if n := a.count(garbagePrefix); n != 1 {
		t.Errorf("%d objects to remove, want 1", n)
	}
	if ids, err := a.vault.List(kindVersion); err != nil || len(ids) != 1 {
		t.Errorf("keys of %v, %v; want those of the other dataset", ids, err)
	}
	if got := a.mustRead(ReadRequest{Dataset: kept}); got != "a,b\n1,x\n" {
		t.Errorf("a record beside the vault buried a dataset: read %q", got)
	}
}

// TestF24_AnOlderBackupTakesNothingFromTheNewerState restores a backup beside the agent that went on, with one store: nothing of what was
// written since is removed, nor an upload that ran while the backup was made.
func TestF24_AnOlderBackupTakesNothingFromTheNewerState(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	res, err := a.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	at, err := a.StoreInfo(t.Context()) // named, as the default is another folder where the backup is restored
	if err == nil {
		err = a.SetStore(t.Context(), SetStoreRequest{Settings: at, Password: []byte(testPassword)})
	}
	if err != nil {
		t.Fatal(err)
	}
	id, gone := a.create("x"), a.create("gone")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	a.mustWrite(WriteRequest{Dataset: gone}, "x\n1\n")
	if err := a.DeleteDataset(t.Context(), user, gone); err != nil {
		t.Fatal(err)
	}
	j := journal{a: a.Agent, dataset: columnar.DatasetID(id)} // of an upload in work
	if err := j.register(columnar.NewObjectName()); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := a.Backup(t.Context(), []byte(testPassword), &backup); err != nil {
		t.Fatal(err)
	}
	a.mustWrite(WriteRequest{Dataset: id, Append: true}, "x\n2\n")
	a.mustWrite(WriteRequest{Dataset: a.create("new")}, "x\n7\n")
	before := a.objectFiles()
	clock := newFakeClock()
	b := startAgent(t, t.TempDir(), func(c *Config, o *Options) { o.Clock, c.Lock = clock, Lock{} })
	if err := b.Restore(t.Context(), RestoreRequest{Password: []byte(testPassword), Kit: res.Kit}, &backup); err != nil {
		t.Fatal(err)
	}
	clock.pass(6*24*time.Hour, 0) // before the deleted dataset's objects are due
	b.sweep(clock)
	if _, err := b.CheckStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.sweep(clock)
	if after := a.objectFiles(); !slices.Equal(before, after) {
		t.Errorf("objects before %v, after %v", before, after)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n2\n" {
		t.Errorf("read %q", got)
	}
	if got := b.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("the restored one read %q", got)
	}
	if b.uploads() != 0 || b.count(tombstonePrefix) != 1 {
		t.Errorf("%d names in the journal, %d tombstones; want none and one", b.uploads(), b.count(tombstonePrefix))
	}
}
