package daemon

import (
	"testing"

	"coldframe/columnar"
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
	if err := a.bury(a.session, ds); err != nil {
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
