package query_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/dir"
	"coldframe/columnar/query"
	"coldframe/columnar/query/querytest"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// world is a dataset with the keys of its versions, called "mixed" in SQL.
type world struct {
	t        testing.TB
	store    columnar.Store
	signer   signed.Signer
	roster   *columnar.RosterLink
	metadata columnar.MetadataKey
	columns  []columnar.ColumnID
	keys     map[columnar.Version]*columnar.VersionKeys
	head     *columnar.Manifest
	rows     *columnartest.Mixed
	schema   *arrow.Schema
	group    int64 // bytes of a row group
	withheld map[columnar.Version][]columnar.ColumnID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOf(t, columnartest.MixedSchema)
}

func newWorldOf(t testing.TB, schema *arrow.Schema) *world {
	t.Helper()
	store, err := dir.New(t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, store: store, metadata: columnar.NewMetadataKey(), signer: signed.Signer{User: "ada", Key: secret.Random()},
		keys: map[columnar.Version]*columnar.VersionKeys{}, rows: columnartest.NewMixed(1), schema: schema, group: 1 << 20,
	}
	if _, w.roster, err = columnar.NewRoster(w.signer, make([]byte, 32), columnar.DefaultRetention, time.Now()); err != nil {
		t.Fatal(err)
	}
	for range schema.NumFields() {
		w.columns = append(w.columns, columnar.NewColumnID())
	}
	return w
}

func (w *world) VersionKeys(_ context.Context, _ columnar.DatasetID, v columnar.Version) (*columnar.VersionKeys, error) {
	k := w.keys[v].Clone()
	for _, c := range w.withheld[v] {
		delete(k.Columns, c)
	}
	return k, nil
}

// add appends rows of the mixed table as a part of their own.
func (w *world) add(n int) {
	w.t.Helper()
	var batches []arrow.RecordBatch
	for ; n > 0; n -= 10_000 {
		batches = append(batches, w.rows.Batch(min(n, 10_000)))
	}
	w.write(batches...)
}

func (w *world) write(batches ...arrow.RecordBatch) {
	w.t.Helper()
	ctx, head := context.Background(), columnar.Head{}
	var old []columnar.Part
	if w.head != nil {
		head = w.head.Head()
		var err error
		if old, err = w.head.LoadParts(ctx, w.store); err != nil {
			w.t.Fatal(err)
		}
	}
	keys := columnar.NewVersionKeys(w.columns)
	v, _ := head.Version.Next()
	register := func(columnar.ObjectName) error { return nil }
	wr, err := columnar.NewWriter(ctx, w.store, columnar.WriterOptions{
		Dataset: w.roster.ID, Version: v, Schema: w.schema, Columns: w.columns, Keys: keys, Register: register, RowGroupBytes: w.group,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range batches {
		if err := wr.Write(b); err != nil {
			w.t.Fatal(err)
		}
	}
	parts, err := wr.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	envelope, _, err := columnar.Draft{
		Roster: w.roster, Head: head, Schema: w.schema, Columns: w.columns, Keys: keys, Parts: append(old, parts...),
		Metadata: w.metadata, Now: time.Now(),
	}.Sign(ctx, w.store, register, w.signer)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := columnar.VerifyManifest(envelope, w.roster, head)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.Unseal(w.metadata); err != nil {
		w.t.Fatal(err)
	}
	w.keys[v], w.head = keys, m
}

func (w *world) find(ctx context.Context, name string) (*columnar.Image, error) {
	if name != "mixed" && name != "MIXED" {
		return nil, fault.New(fault.NotFound, "no dataset %q", name)
	}
	return columnar.NewImage(ctx, w.store, w.head, w)
}

func options(t testing.TB) query.Options {
	return query.Options{
		Program: querytest.Engine(t), Threads: 2, MemoryMiB: 256, DataMiB: 256, ResultMiB: 64, Time: time.Minute, Spool: t.TempDir(),
	}
}

// run returns the batches of a statement.
func (w *world) run(ctx context.Context, o query.Options, sql string) ([]arrow.RecordBatch, error) {
	return w.ask(ctx, query.New(o), sql)
}

func (w *world) ask(ctx context.Context, e query.Engine, sql string) ([]arrow.RecordBatch, error) {
	r, err := e.Query(ctx, sql, w.find)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []arrow.RecordBatch
	for {
		b, err := r.Next()
		if err == io.EOF { //nolint:errorlint // the very end
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, b)
	}
}

// fetched returns how many bytes of the store a statement takes beside tails.
func (w *world) fetched(o query.Options, sql string) int64 {
	w.t.Helper()
	return w.counted(func() error { _, err := w.run(context.Background(), o, sql); return err })
}

func (w *world) counted(do func() error) int64 {
	w.t.Helper()
	plain := w.store
	counting := &counter{Store: plain}
	w.store = counting
	defer func() { w.store = plain }()
	if err := do(); err != nil {
		w.t.Fatal(err)
	}
	return counting.n.Load()
}

type counter struct {
	columnar.Store
	n atomic.Int64
}

func (c *counter) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	c.n.Add(n)
	return c.Store.ReadRange(ctx, name, off, n)
}
