package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/pme"
	"coldframe/columnar/query/querytest"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// attacked is an agent with two datasets of one layout, each in several parts of several row groups, in a store that lies as it is told.
// What the table is made of has no order, so nothing of it can be guessed from the rest.
type attacked struct {
	*running
	store     *shownStore
	id, other string
	keys      map[string]*columnar.VersionKeys // of version 1, by dataset
	columns   map[string][]columnar.ColumnID
	parts     map[string][]columnar.Part
}

var attackedSchema = arrow.NewSchema([]arrow.Field{
	{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "word", Type: arrow.BinaryTypes.String}, {Name: "price", Type: arrow.PrimitiveTypes.Float64},
}, nil)

const attackedRows = 3000

func attackedBatch(seed uint64) arrow.RecordBatch {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a table
	b := array.NewRecordBuilder(memory.DefaultAllocator, attackedSchema)
	for range attackedRows {
		b.Field(0).(*array.Int64Builder).Append(r.Int64N(1 << 40))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("w%016x", r.Uint64()))
		b.Field(2).(*array.Float64Builder).Append(r.Float64())
	}
	return b.NewRecordBatch()
}

// shownStore shows other readers its objects as a folder store does, but as the lies make them.
type shownStore struct {
	*storetest.Hostile
	folder string
}

func (s *shownStore) Path(name columnar.ObjectName) string {
	p := filepath.Join(s.folder, string(name))
	_ = os.Remove(p) // of the time before
	size, err := s.Size(context.Background(), name)
	if err != nil {
		return p
	}
	if b, err := storetest.Get(context.Background(), s, name, 0, size); err == nil {
		_ = os.WriteFile(p, b, 0o600) // a file that is not there is what the test sees
	}
	return p
}

func startAttacked(t *testing.T) *attacked {
	t.Helper()
	w := &attacked{keys: map[string]*columnar.VersionKeys{}, columns: map[string][]columnar.ColumnID{}, parts: map[string][]columnar.Part{}}
	shown := t.TempDir()
	w.running = startAgent(t, t.TempDir(), func(c *Config, o *Options) {
		c.Query.Engine = querytest.Engine(t)
		o.WrapStore = func(s columnar.Store) columnar.Store {
			w.store = &shownStore{storetest.NewHostile(s, storetest.Hooks{}), shown}
			return w.store
		}
	})
	w.register()
	w.id, w.other = w.create("mine"), w.create("other")
	for i, id := range []string{w.id, w.other} {
		w.columns[id] = columnIDs(attackedSchema, nil)
		w.keys[id] = columnar.NewVersionKeys(w.columns[id])
		w.parts[id] = w.upload(id, 1, w.keys[id], attackedBatch(uint64(i)))
		w.publish(id, w.keys[id], w.parts[id])
	}
	if n := len(w.parts[w.id]); n < 3 || w.parts[w.id][0].RowGroups < 2 {
		t.Fatalf("%d parts, the first of %d row groups", n, w.parts[w.id][0].RowGroups)
	}
	return w
}

// upload writes parts that are right.
func (w *attacked) upload(id string, v columnar.Version, keys *columnar.VersionKeys, batch arrow.RecordBatch) []columnar.Part {
	w.t.Helper()
	j := journal{a: w.Agent, dataset: columnar.DatasetID(id)}
	out, err := columnar.NewWriter(w.t.Context(), w.store, columnar.WriterOptions{
		Dataset: columnar.DatasetID(id), Version: v, Schema: attackedSchema, Columns: w.columns[id], Keys: keys, Register: j.register,
		RowGroupBytes: 16 << 10, PartBytes: 30 << 10,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := out.Write(batch); err != nil {
		w.t.Fatal(err)
	}
	parts, err := out.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	return parts
}

// publish makes a version of parts, whatever they are, as its owner: what an insider can do who has another agent.
func (w *attacked) publish(id string, keys *columnar.VersionKeys, parts []columnar.Part) {
	w.t.Helper()
	ds, err := w.load(w.session, columnar.DatasetID(id))
	if err != nil {
		w.t.Fatal(err)
	}
	defer ds.wipe()
	for i := range parts {
		parts[i].Digest = partDigest(w.t, parts[i])
	}
	t, free, err := w.newTransfer(w.t.Context(), "", id, 0, &w.counter.uploads)
	if err != nil {
		w.t.Fatal(err)
	}
	defer free()
	wr := &write{
		a: w.Agent, s: w.session, t: t, id: columnar.DatasetID(id), idem: &idempotent{}, journal: journal{a: w.Agent, dataset: columnar.DatasetID(id)},
		ds: ds, columns: w.columns[id], keys: keys,
	}
	if _, err := wr.commit(w.t.Context(), w.store, attackedSchema, parts, [32]byte{}); err != nil {
		w.t.Fatal(err)
	}
}

func partDigest(t *testing.T, p columnar.Part) columnar.Hash {
	t.Helper()
	p.Digest = columnar.Hash{}
	b, err := signed.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// plainPart signs a plain Parquet file of the same rows.
func (w *attacked) plainPart() columnar.Part {
	w.t.Helper()
	body := plainFile(w.t, attackedBatch(0))
	p := w.parts[w.id][0]
	p.Name = columnar.NewObjectName()
	if err := storetest.Put(w.t.Context(), w.store, p.Name, body); err != nil {
		w.t.Fatal(err)
	}
	p.RowGroups, p.Chunks, p.Rows = 0, []byte{}, attackedRows
	p.Length, p.TailOffset, p.TailHash = uint64(len(body)), 4, sha256.Sum256(body[4:])
	return p
}

func plainFile(t *testing.T, batch arrow.RecordBatch, o ...parquet.WriterProperty) []byte {
	t.Helper()
	var b bytes.Buffer
	f, err := pqarrow.NewFileWriter(batch.Schema(), &b, parquet.NewWriterProperties(o...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(batch); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// forgedPart seals chunks as they are, with a writer that knows no limits, in a version of the dataset.
func (w *attacked) forgedPart(v columnar.Version, keys *columnar.VersionKeys, rows uint64, plain ...[]byte) columnar.Part {
	w.t.Helper()
	p := columnar.Part{Name: columnar.NewObjectName(), Version: v, RowGroups: 1, Rows: rows, Footer: keyRef(keys.Footer), Chunks: []byte{}}
	for _, c := range w.columns[w.id] {
		p.Keys = append(p.Keys, keyRef(keys.Columns[c]))
	}
	place, err := signed.Marshal([]any{w.id, uint64(p.Version), string(p.Name)})
	if err != nil {
		w.t.Fatal(err)
	}
	prefix := sha256.Sum256(place)
	var body bytes.Buffer
	f, err := pme.NewFileWriter(&body, pme.FileConfig{
		Template: plainFile(w.t, attackedBatch(0).NewSlice(0, 1)), AADPrefix: prefix[:], Footer: pme.NamedKey(keys.Footer), MaxPage: 1 << 30,
		ColumnKey: func(l pme.Leaf) pme.NamedKey { return pme.NamedKey(keys.Columns[w.columns[w.id][l.Column]]) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var sealed []*pme.SealedColumn
	for i, b := range plain {
		c, err := columnartest.SealPlain(f, i, b)
		if err != nil {
			w.t.Fatal(err)
		}
		sealed = append(sealed, c)
	}
	chunks, err := f.AppendRowGroup(sealed)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range chunks {
		p.Chunks = append(p.Chunks, byte(c.Length>>24), byte(c.Length>>16), byte(c.Length>>8), byte(c.Length))
		p.Chunks = append(p.Chunks, c.SHA256[:]...)
	}
	tail, err := f.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	p.Length, p.TailOffset, p.TailHash = uint64(body.Len()), uint64(tail.Offset), tail.SHA256
	if err := storetest.Put(w.t.Context(), w.store, p.Name, body.Bytes()); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func keyRef(k columnar.NamedKey) columnar.KeyRef {
	return columnar.KeyRef{ID: k.ID, Commitment: seal.Commitment(k.Key, []byte(k.ID))}
}

// foreignReader reads the files of the newest version as pyarrow does, with the agent's keys: every chunk of them.
func (w *attacked) foreignReader(out io.Writer) error {
	files, err := w.Files(w.t.Context(), user, FilesRequest{Dataset: w.id})
	if err != nil {
		return err
	}
	for _, f := range files.Files {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			return fault.Wrap(fault.Incomplete, err, "no file")
		}
		if err := w.foreignFile(b, out); err != nil {
			return err
		}
	}
	return nil
}

func (w *attacked) foreignFile(b []byte, out io.Writer) error {
	f, err := pme.OpenFooter(bytes.Clone(b), int64(len(b)), serviceKeys{w}, pme.ReadOptions{Foreign: true, TakePrefix: true})
	if err != nil {
		return err
	}
	for rg := range f.NumRowGroups() {
		for leaf := range f.Leaves() {
			off, n, err := f.Range(rg, leaf)
			if err != nil {
				return err
			}
			if off+n > int64(len(b)) {
				return fault.New(fault.Incomplete, "the file is cut")
			}
			c, err := f.UnsealChunk(rg, leaf, bytes.Clone(b[off:off+n]))
			if err != nil {
				return err
			}
			if _, err := out.Write(c.Bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}

// serviceKeys asks the agent for data keys, by what the file says of them.
type serviceKeys struct{ w *attacked }

func (s serviceKeys) DataKey(_ *pme.Leaf, metadata []byte) ([]byte, error) {
	var m struct{ MasterKeyID, WrappedDEK string }
	if err := json.Unmarshal(metadata, &m); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "key metadata")
	}
	return s.w.UnwrapKey(s.w.t.Context(), user, UnwrapRequest{Dataset: s.w.id, KeyID: m.MasterKeyID, Wrapped: m.WrappedDEK})
}

// swapKey puts another key under the id of a key that the vault has.
func (w *attacked) swapKey(column int) {
	w.t.Helper()
	k := w.keys[w.id].Clone()
	c := w.columns[w.id][column]
	k.Columns[c] = columnar.NamedKey{ID: k.Columns[c].ID, Key: secret.Random()}
	w.putKeys(k)
}

func (w *attacked) putKeys(k *columnar.VersionKeys) {
	w.t.Helper()
	err := w.vault.Update(func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: versionItem(columnar.DatasetID(w.id), 1), Kind: kindVersion, Body: k.Marshal()})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
