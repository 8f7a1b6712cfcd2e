package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

// storedWrite is the answer to a write that an Idempotency-Key keeps.
type storedWrite struct {
	Version  uint64 `cbor:"1,keyasint"`
	Rows     int64  `cbor:"2,keyasint"`
	Written  int64  `cbor:"3,keyasint"`
	Bytes    int64  `cbor:"4,keyasint"`
	Transfer string `cbor:"5,keyasint"`
}

func (w storedWrite) result(dataset string, replayed bool) WriteResult {
	return WriteResult{
		Dataset: dataset, Version: w.Version, Rows: w.Rows, Written: w.Written, Bytes: w.Bytes, Transfer: w.Transfer, Replayed: replayed,
	}
}

// WriteData makes the next version of a dataset of a body. It returns once the version is durable; on an error the dataset is as it was
// and the store keeps nothing, or, if it cannot be reached, only what the sweep will remove. Of two writers that start from the same
// version one gets fault.Conflict.
func (a *Agent) WriteData(ctx context.Context, c Caller, r WriteRequest, body io.Reader) (WriteResult, error) {
	id, err := visible(c, r.Dataset)
	if err != nil {
		return WriteResult{}, err
	}
	if r.Append && r.AllowNewLayout {
		return WriteResult{}, fault.New(fault.InvalidRequest, "rows are appended in the layout of the dataset")
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return WriteResult{}, err
	}
	defer leave()
	if err := s.writable(); err != nil {
		return WriteResult{}, err
	}
	idem, err := a.begin(ctx, c, r.IdempotencyKey, r.fingerprint(c))
	if err != nil {
		return WriteResult{}, err
	}
	defer idem.done()
	counted := newCountingBody(ctx, body, r.IdempotencyKey != "")
	if r.Interrupt != nil {
		defer context.AfterFunc(ctx, r.Interrupt)()
	}
	if r.Import != "" {
		keys := s.imports.take(c.ID, r.Import)
		if keys == nil && idem.stored == nil {
			return WriteResult{}, errNoImport()
		}
		if keys != nil {
			defer keys.Wipe()
		}
		r.Read.Decrypt = keys
	}
	if idem.stored != nil {
		return replayWrite(ctx, s, idem, r.Dataset, counted)
	}
	t, free, err := a.newTransfer(ctx, r.Transfer, r.Dataset, r.Total, &a.counter.uploads)
	if err != nil {
		return WriteResult{}, err
	}
	defer free()
	w := &write{a: a, s: s, t: t, id: id, r: r, body: counted, idem: idem, journal: journal{a: a, dataset: id}}
	var done storedWrite
	err = a.guarded(func() (err error) {
		done, err = w.run(ctx)
		return err
	})
	err = ended(ctx, err)
	a.countWrite(w, err)
	t.end(err)
	return done.result(r.Dataset, false), err
}

// fingerprint is of everything that a write says but its body.
func (r WriteRequest) fingerprint(c Caller) fingerprint {
	f := newFingerprint(c, "data.write").add(r.Dataset).add(strconv.FormatBool(r.Append)).add(strconv.FormatBool(r.AllowNewLayout))
	f = f.add(string(r.Format)).add(fmt.Sprintf("%+v", r.Read.CSV))
	if r.Expect != nil {
		f = f.add("expect" + strconv.FormatUint(*r.Expect, 10))
	}
	if r.Read.Schema != nil {
		f = f.add("schema" + format.FormatSchema(r.Read.Schema))
	}
	return f
}

func replayWrite(ctx context.Context, s *session, idem *idempotent, dataset string, body *countingBody) (WriteResult, error) {
	sum, err := body.skip()
	if err != nil {
		return WriteResult{}, ended(ctx, err)
	}
	var w storedWrite
	if _, err := idem.replay(s, sum, &w); err != nil {
		return WriteResult{}, err
	}
	return w.result(dataset, true), nil
}

func (a *Agent) countWrite(w *write, err error) {
	a.counter.rowsIn.Add(w.rows)
	a.counter.bytesIn.Add(w.body.n.Load())
	if err == nil {
		a.counter.writesOK.Add(1)
		a.log.Info("version written", "dataset", w.r.Dataset, "version", uint64(w.version), "rows", w.rows, "bytes", w.stored, "format", string(w.r.Format))
		return
	}
	a.counter.writesFailed.Add(1)
	a.log.Info("write failed", append(failure(err), "dataset", w.r.Dataset, "transfer", w.t.id)...)
}

// write is one WriteData in work.
type write struct {
	a       *Agent
	s       *session
	t       *transfer
	id      columnar.DatasetID
	r       WriteRequest
	body    *countingBody
	idem    *idempotent
	journal journal

	ds      *dataset
	version columnar.Version // the one to be made
	columns []columnar.ColumnID
	keys    *columnar.VersionKeys
	rows    int64 // of this body
	stored  int64 // bytes of the new parts
}

func (w *write) run(ctx context.Context) (storedWrite, error) {
	store, err := w.s.objects()
	if err != nil {
		return storedWrite{}, err
	}
	if w.ds, err = w.a.load(w.s, w.id); err != nil {
		return storedWrite{}, err
	}
	defer w.ds.wipe()
	head := w.ds.headVersion()
	if w.r.Expect != nil && *w.r.Expect != uint64(head.Version) {
		return storedWrite{}, fault.New(fault.Conflict, "the dataset is at version %d", head.Version)
	}
	if w.version, err = head.Version.Next(); err != nil {
		return storedWrite{}, err
	}
	defer w.journal.end(ctx, store)
	defer w.wipeKeys()
	schema, parts, err := w.upload(ctx, store)
	if err != nil {
		return storedWrite{}, err
	}
	sum, err := w.body.rest()
	if err != nil {
		return storedWrite{}, err
	}
	return w.commit(ctx, store, schema, parts, sum)
}

func (w *write) wipeKeys() {
	if w.keys != nil {
		w.keys.Wipe()
	}
}

func (d *dataset) headVersion() columnar.Head { return d.meta.head() }

// upload streams the body into new parts.
func (w *write) upload(ctx context.Context, store columnar.Store) (*arrow.Schema, []columnar.Part, error) {
	o := hints(w.r.Format, w.r.Read, w.ds.head, w.r.AllowNewLayout)
	o.SpoolDir = filepath.Join(w.a.cfg.Folders.State, spoolFolder)
	in, err := w.open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close() //nolint:errcheck // it only frees memory and the spool
	schema, err := w.schema(in.Schema())
	if err != nil {
		return nil, nil, err
	}
	w.columns = columnIDs(schema, w.ds.head)
	w.keys = columnar.NewVersionKeys(w.columns)
	parts, err := w.stream(ctx, store, schema, in)
	return schema, parts, err
}

// open reads as much of the body as it takes to know its schema.
func (w *write) open(ctx context.Context, o format.ReadOptions) (format.Reader, error) {
	in, err := format.NewReader(ctx, w.r.Format, w.body, o)
	if err != nil && w.r.Format == format.CSV && w.r.Read.Schema == nil && o.Schema != nil {
		return nil, explainHeader(ctx, err, w.r.Read, o.Schema, w.body.start)
	}
	return in, err
}

// schema is what the new version has: the dataset's own if the layout must stay.
func (w *write) schema(got *arrow.Schema) (*arrow.Schema, error) {
	if w.ds.head == nil || w.r.AllowNewLayout {
		return got, nil
	}
	want := w.ds.head.Contents.Schema
	return want, sameLayout(want, got)
}

func (w *write) stream(ctx context.Context, store columnar.Store, schema *arrow.Schema, in format.Reader) ([]columnar.Part, error) {
	out, err := columnar.NewWriter(ctx, store, columnar.WriterOptions{
		Dataset: w.id, Version: w.version, Schema: schema, Columns: w.columns, Keys: w.keys, Register: w.journal.register, SizeHint: w.r.Total,
	})
	if err != nil {
		return nil, err
	}
	defer out.Abort() //nolint:errcheck // it returns nil; after Close, or when it has failed by itself, it does nothing
	for {
		rec, err := in.Next()
		if err == io.EOF { //nolint:errorlint // a failure that wraps io.EOF is not the end
			return out.Close()
		}
		if err != nil {
			return nil, err
		}
		if err := w.take(out, schema, rec); err != nil {
			return nil, err
		}
	}
}

func (w *write) take(out *columnar.Writer, schema *arrow.Schema, rec arrow.RecordBatch) error {
	defer rec.Release()
	same := under(schema, rec)
	defer same.Release()
	if err := out.Write(same); err != nil {
		return err
	}
	w.rows += rec.NumRows()
	w.t.progress(w.rows, w.body.n.Load())
	return nil
}

// commit signs the manifest and makes the switch: keys, heads, manifest, journal and answer in one transaction. Readers see the old
// version whole before it and the new one whole after it.
func (w *write) commit(ctx context.Context, store columnar.Store, schema *arrow.Schema, parts []columnar.Part, body [32]byte) (storedWrite, error) {
	if ctx.Err() != nil {
		return storedWrite{}, context.Cause(ctx)
	}
	for _, p := range parts {
		w.stored += int64(p.Length)
	}
	all, err := w.withEarlier(ctx, store, parts)
	if err != nil {
		return storedWrite{}, err
	}
	envelope, m, err := w.sign(ctx, store, schema, all)
	if err != nil {
		return storedWrite{}, err
	}
	if err := ctx.Err(); err != nil {
		return storedWrite{}, err
	}
	answer := storedWrite{Version: uint64(m.Version), Rows: int64(m.Contents.Rows), Written: w.rows, Bytes: w.stored, Transfer: w.t.id}
	named := ownObjects(m, parts)
	err = w.a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		w.a.events.stageWith(tx, Event{Type: EventVersion, Dataset: string(w.id), Version: uint64(m.Version)})
		return errors.Join(
			w.switchHead(tx, envelope, m, all),
			w.journal.keep(tx.KV(), named),
			w.idem.save(tx.KV(), w.s, body, answer),
		)
	})
	if err != nil {
		return storedWrite{}, err
	}
	w.a.counter.bytesStored.Add(w.stored)
	w.a.publish()
	return answer, nil
}

// withEarlier returns the parts of the new version: for an append those of the present one come first, as they are.
func (w *write) withEarlier(ctx context.Context, store columnar.Store, parts []columnar.Part) ([]columnar.Part, error) {
	if !w.r.Append || w.ds.head == nil {
		return parts, nil
	}
	earlier, err := w.ds.head.LoadParts(ctx, store)
	if err != nil {
		return nil, err
	}
	return append(earlier, parts...), nil
}

func (w *write) sign(ctx context.Context, store columnar.Store, schema *arrow.Schema, parts []columnar.Part) ([]byte, *columnar.Manifest, error) {
	key, err := w.ds.meta.newest()
	if err != nil {
		return nil, nil, err
	}
	defer key.Key.Wipe()
	return columnar.Draft{
		Roster: w.ds.newest(), Head: w.ds.headVersion(), Schema: schema, Columns: w.columns, Keys: w.keys, Parts: parts,
		Metadata: key, Now: w.a.clock.Now(),
	}.Sign(ctx, store, w.journal.register, w.s.signer)
}

// ownObjects are the objects that this write made and the manifest names.
func ownObjects(m *columnar.Manifest, parts []columnar.Part) []columnar.ObjectName {
	var names []columnar.ObjectName
	for _, p := range parts {
		names = append(names, p.Name)
	}
	if m.PartList != nil {
		names = append(names, m.PartList.Name)
	}
	return names
}

// switchHead stages the new version if the dataset is still at the one that this write started from.
func (w *write) switchHead(tx *keystore.Tx, envelope []byte, m *columnar.Manifest, parts []columnar.Part) error {
	meta, err := getMetadata(tx.Get, w.id)
	if err != nil {
		return err
	}
	defer meta.wipe()
	if meta.head() != w.ds.headVersion() || meta.Sequence != w.ds.meta.Sequence {
		return fault.New(fault.Conflict, "another write came first: the dataset is at version %d", meta.Version)
	}
	meta.Version, meta.Hash, meta.VersionSeq = uint64(m.Version), m.Hash, m.RosterSequence
	var info infoRecord
	if err := present(readRecord(tx.KV(), infoKey(w.id), &info)); err != nil {
		return err
	}
	if info.Oldest == 0 {
		info.Oldest = uint64(m.Version)
	}
	record := manifestRecord{Envelope: envelope}
	for _, p := range parts {
		record.Bytes += p.Length
	}
	keys := w.keys.Marshal()
	defer clear(keys)
	return errors.Join(
		tx.Put(keystore.Item{ID: versionItem(w.id, m.Version), Kind: kindVersion, Body: keys}),
		putMetadata(tx, w.id, meta),
		writeRecord(tx.KV(), infoKey(w.id), info),
		writeRecord(tx.KV(), manifestKey(w.id, m.Version), record),
		recordObjects(tx.KV(), m, parts),
	)
}
