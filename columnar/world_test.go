package columnar_test

import (
	"context"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// world is a dataset with its owner and all that a daemon would keep about it.
type world struct {
	t        fataler
	store    columnar.Store
	signer   signed.Signer
	roster   *columnar.RosterLink
	genesis  []byte
	metadata columnar.MetadataKey
	keys     map[columnar.Version]*columnar.VersionKeys
	schema   *arrow.Schema
	columns  []columnar.ColumnID
	head     *columnar.Manifest
	envelope []byte
	names    []columnar.ObjectName // registered
	options  func(*columnar.WriterOptions)
}

func newWorld(t fataler, store columnar.Store, schema *arrow.Schema) *world {
	t.Helper()
	w := &world{
		t: t, store: store, schema: schema, metadata: columnar.NewMetadataKey(),
		signer: signed.Signer{User: "ada", Key: secret.Random()}, keys: map[columnar.Version]*columnar.VersionKeys{},
	}
	var err error
	w.genesis, w.roster, err = columnar.NewRoster(w.signer, make([]byte, 32), columnar.DefaultRetention, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range schema.NumFields() {
		w.columns = append(w.columns, columnar.NewColumnID())
	}
	return w
}

// VersionKeys makes the world columnar.Keys.
func (w *world) VersionKeys(_ context.Context, d columnar.DatasetID, v columnar.Version) (*columnar.VersionKeys, error) {
	if k, ok := w.keys[v]; ok && d == w.roster.ID {
		return k.Clone(), nil
	}
	return nil, fault.New(fault.NotFound, "no keys")
}

func (w *world) headHead() columnar.Head {
	if w.head == nil {
		return columnar.Head{}
	}
	return w.head.Head()
}

func (w *world) register(n columnar.ObjectName) error {
	w.names = append(w.names, n)
	return nil
}

func (w *world) writer(ctx context.Context) (*columnar.Writer, *columnar.VersionKeys, error) {
	v, err := w.headHead().Version.Next()
	if err != nil {
		w.t.Fatal(err)
	}
	keys := columnar.NewVersionKeys(w.columns)
	o := columnar.WriterOptions{
		Dataset: w.roster.ID, Version: v, Schema: w.schema, Columns: w.columns, Keys: keys, Register: w.register,
	}
	if w.options != nil {
		w.options(&o)
	}
	wr, err := columnar.NewWriter(ctx, w.store, o)
	return wr, keys, err
}

// put writes a version, keeping old parts before the new ones.
func (w *world) put(old []columnar.Part, batches ...arrow.RecordBatch) error {
	wr, keys, err := w.writer(context.Background())
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := wr.Write(b); err != nil {
			_ = wr.Abort()
			return err
		}
	}
	parts, err := wr.Close()
	if err != nil {
		return err
	}
	w.publish(keys, append(old, parts...))
	return nil
}

func (w *world) mustPut(batches ...arrow.RecordBatch) {
	w.t.Helper()
	if err := w.put(nil, batches...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) publish(keys *columnar.VersionKeys, parts []columnar.Part) {
	w.t.Helper()
	envelope, m, err := columnar.Draft{
		Roster: w.roster, Head: w.headHead(), Schema: w.schema, Columns: w.columns, Keys: keys, Parts: parts, Metadata: w.metadata, Now: time.Now(),
	}.Sign(context.Background(), w.store, w.register, w.signer)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys[m.Version] = keys
	verified, err := columnar.VerifyManifest(envelope, w.roster, w.headHead())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := verified.Unseal(w.metadata); err != nil {
		w.t.Fatal(err)
	}
	w.head, w.envelope = verified, envelope
}

// get reads a version whole, and copies what it gets.
func (w *world) get(o columnar.ReadOptions) ([]arrow.RecordBatch, error) {
	return readAll(context.Background(), w.store, w.head, w, o)
}

func readAll(ctx context.Context, s columnar.Store, m *columnar.Manifest, k columnar.Keys, o columnar.ReadOptions) ([]arrow.RecordBatch, error) {
	r, err := columnar.NewReader(ctx, s, m, k, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []arrow.RecordBatch
	for {
		b, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, b)
	}
}
