package daemon

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

func TestV06_OlderLocalStoreIsReadOnlyAtMost(t *testing.T) {
	dir := t.TempDir()
	a := startAgent(t, dir, nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(a.Config().Folders.Data, "kv")
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(local)); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, dir, nil)
	a.unlock()
	a.mustWrite(WriteRequest{Dataset: id}, "x\n2\n")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(local); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(local, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, dir, nil)
	wantCode(t, "unlock over an older store", a.tryUnlock(testPassword), fault.RolledBack)
	if err := a.Unlock(t.Context(), UnlockRequest{Password: []byte(testPassword), AcceptRollback: true}); err != nil {
		t.Fatal(err)
	}
	if st, err := a.Status(t.Context()); err != nil || !st.ReadOnly || len(st.Warnings) == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("read %q", got)
	}
	_, err := a.write(WriteRequest{Dataset: id}, "x\n3\n")
	wantCode(t, "write", err, fault.RolledBack)
	_, err = a.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "y"})
	wantCode(t, "create", err, fault.RolledBack)
	wantCode(t, "delete", a.DeleteDataset(t.Context(), user, id), fault.RolledBack)
	wantCode(t, "block", second(a.BlockContact(t.Context(), uuid.NewString())), fault.RolledBack)
	_, _, err = a.SendSecret(t.Context(), SendSecretRequest{To: uuid.NewString()})
	wantCode(t, "send", err, fault.RolledBack)
	if err := errors.Join(second(a.Contacts(t.Context())), second(a.Secrets(t.Context()))); err != nil {
		t.Error(err)
	}
	types := map[string]int{}
	for _, e := range a.logged(t) {
		types[e.Type]++
	}
	if types[EventRefused] == 0 || types[EventRollback] != 1 {
		t.Errorf("events %v", types)
	}
}

// TestHeadsAreCompared changes records of a dataset in the local store under an open vault, which remembers the heads (R5, R10).
func TestHeadsAreCompared(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := columnar.DatasetID(a.create("x"))
	a.mustWrite(WriteRequest{Dataset: string(id)}, "x\n1\n")
	a.mustWrite(WriteRequest{Dataset: string(id)}, "x\n2\n")
	other := columnar.DatasetID(a.create("y"))
	get := func(key string) (b []byte) {
		if err := a.db.View(func(tx *kv.Tx) (err error) { b, err = tx.Get(key); return err }); err != nil {
			t.Fatal(err)
		}
		return b
	}
	set := func(key string, value []byte) {
		err := a.db.Update(func(tx *kv.Tx) error {
			if value == nil {
				return tx.Delete(key)
			}
			return tx.Set(key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b }
	for _, c := range []struct {
		name, key string
		value     func(was []byte) []byte
		codes     []fault.Code
	}{
		{"older manifest as the newest", manifestKey(id, 2), func([]byte) []byte { return get(manifestKey(id, 1)) }, []fault.Code{fault.Forked, fault.RolledBack}},
		{"no manifest", manifestKey(id, 2), func([]byte) []byte { return nil }, []fault.Code{fault.Incomplete}},
		{"changed manifest", manifestKey(id, 2), flip, []fault.Code{fault.NotAuthentic}},
		{"no roster", rosterKey(id, 1), func([]byte) []byte { return nil }, []fault.Code{fault.Incomplete}},
		{"another dataset's roster", rosterKey(id, 1), func([]byte) []byte { return get(rosterKey(other, 1)) }, []fault.Code{fault.NotAuthentic}},
		{"another dataset's title", infoKey(id), func([]byte) []byte { return get(infoKey(other)) }, []fault.Code{fault.NotAuthentic}},
		{"no record", infoKey(id), func([]byte) []byte { return nil }, []fault.Code{fault.Incomplete}},
	} {
		before := a.refused(t)
		was := get(c.key)
		set(c.key, c.value(was))
		got, err := a.read(ReadRequest{Dataset: string(id)})
		if !hasCode(err, c.codes) || got != "" {
			t.Errorf("%s: read %q, %v, want %v", c.name, got, err, c.codes)
		}
		if n := a.refused(t) - before; n != 1 {
			t.Errorf("%s: %d events, want one", c.name, n)
		}
		_, err = a.write(WriteRequest{Dataset: string(id)}, "x\n9\n")
		if !hasCode(err, c.codes) {
			t.Errorf("%s: write: %v", c.name, err)
		}
		set(c.key, was)
	}
	set(manifestKey(id, 1), flip(get(manifestKey(id, 1))))
	_, err := a.read(ReadRequest{Dataset: string(id), Version: 1})
	wantCode(t, "changed older manifest", err, fault.NotAuthentic)
	if got := a.mustRead(ReadRequest{Dataset: string(id)}); got != "x\n2\n" {
		t.Errorf("read %q", got)
	}
}

// FuzzLocalRecords asks that every record of the local store that is read encodes back to the same bytes.
func FuzzLocalRecords(f *testing.F) {
	records := func() []any {
		return []any{
			&appRecord{}, &idemRecord{}, &eventRecord{}, &infoRecord{}, &manifestRecord{}, &objectRecord{}, &garbageRecord{}, &uploadRecord{},
			&metadataItem{}, &storeItem{}, &signingItem{}, &localItem{}, &tombstone{}, &storedWrite{}, &createdApp{}, &devicesItem{}, &vaultHead{},
		}
	}
	for i, r := range records() {
		b, err := signed.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		all := records()
		r := all[int(which)%len(all)]
		if err := signed.Unmarshal(b, r); err != nil {
			return
		}
		again, err := signed.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		second := records()[int(which)%len(all)]
		if err := signed.Unmarshal(again, second); err != nil {
			t.Fatalf("%T: what was read does not encode to what is read: %v", r, err)
		}
		third, err := signed.Marshal(second)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%T: two encodings of one record (%v)", r, err)
		}
	})
}
