package daemon

import (
	"context"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// DataStream is a verified version or the result of a query, ready to be sent. Nothing of it has left yet, so every error up to here can
// still be an error answer. Call WriteTo once, and Close in every case.
type DataStream struct {
	Dataset string // empty: a query
	Version uint64
	Rows    int64 // that WriteTo will hand out; with a condition, at most; of a query not known
	Schema  *arrow.Schema

	a     *Agent
	t     *transfer
	in    batches // nil: no rows were asked for
	ctx   context.Context
	leave func()
	once  sync.Once
}

// batches is where rows come from: a version, or a query.
type batches interface {
	// Next returns the next batch, which the caller releases; io.EOF once all are there, and only then.
	Next() (arrow.RecordBatch, error)
	Close() error
}

// ReadData opens a version for reading. Unknown columns, a wrong condition, and versions that are not there, are errors here; an object that is missing
// or changed is one of WriteTo at the latest, and no row leaves before its chunk was verified.
func (a *Agent) ReadData(ctx context.Context, c Caller, r ReadRequest) (*DataStream, error) {
	id, err := visible(c, r.Dataset)
	if err != nil {
		return nil, err
	}
	if r.Limit != nil && *r.Limit < 0 {
		return nil, fault.New(fault.InvalidRequest, "limit: not negative")
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	t, free, err := a.newTransfer(ctx, r.Transfer, r.Dataset, 0, &a.counter.downloads)
	if err != nil {
		leave()
		return nil, err
	}
	out := &DataStream{Dataset: r.Dataset, a: a, t: t, ctx: ctx, leave: func() { free(); leave() }}
	if err := a.guarded(func() error { return out.open(s, id, r) }); err != nil {
		_ = out.Close() // it returns nil
		return nil, ended(ctx, err)
	}
	return out, nil
}

func (d *DataStream) open(s *session, id columnar.DatasetID, r ReadRequest) error {
	ds, err := d.a.load(s, id)
	if err != nil {
		return err
	}
	defer ds.wipe()
	err = d.openVersion(s, ds, r)
	d.a.noteRefused(id, err)
	return err
}

func (d *DataStream) openVersion(s *session, ds *dataset, r ReadRequest) error {
	store, err := s.objects()
	if err != nil {
		return err
	}
	m, err := ds.at(r.Version)
	if err != nil {
		return err
	}
	columns, err := wantedColumns(m, r.Columns)
	if columns == nil && err == nil {
		columns, err = columnar.Readable(d.ctx, store, m, versionKeys{d.a.vault})
	}
	if err != nil {
		return err
	}
	where, err := condition(m, r.Where)
	if err != nil {
		return err
	}
	d.Version, d.Rows = uint64(m.Version), int64(m.Contents.Rows)
	if r.Limit != nil && *r.Limit == 0 {
		d.Rows, d.Schema = 0, subSchema(m, columns)
		return nil
	}
	o := columnar.ReadOptions{Columns: columns, Where: where, Progress: func(fetched, rows int64) { d.t.progress(rows, fetched) }}
	if r.Limit != nil {
		o.Limit = *r.Limit
	}
	in, err := columnar.NewReader(d.ctx, store, m, versionKeys{d.a.vault}, o)
	if err != nil {
		return err
	}
	d.in, d.Rows, d.Schema = in, in.Rows(), in.Schema()
	return nil
}

// condition reads the condition on rows of a version; without one all rows fulfil it.
func condition(m *columnar.Manifest, text string) (columnar.Where, error) {
	if text == "" {
		return columnar.Where{}, nil
	}
	where, err := columnar.ParseWhere(text)
	if err == nil {
		err = where.Check(m.Contents.Schema)
	}
	return where, err
}

func subSchema(m *columnar.Manifest, columns []columnar.ColumnID) *arrow.Schema {
	if columns == nil {
		return m.Contents.Schema
	}
	var fields []arrow.Field
	for _, id := range columns {
		for i, c := range m.Columns {
			if c.ID == id {
				fields = append(fields, m.Contents.Schema.Field(i))
			}
		}
	}
	return arrow.NewSchema(fields, nil)
}

// noteRefused makes one event of a check that said no to what the store or the disk gave.
func (a *Agent) noteRefused(id columnar.DatasetID, err error) {
	if err != nil && isRefusal(fault.CodeOf(err)) {
		a.event(Event{Type: EventRefused, Dataset: string(id), Code: fault.CodeOf(err)})
	}
}

// WriteTo sends the rows as k. It returns nil only after the whole table and its end were written; an error after the first byte must
// end the connection visibly.
func (d *DataStream) WriteTo(ctx context.Context, w io.Writer, k format.Kind) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.ctx, func() { cancel(context.Cause(d.ctx)) })()
	out := &sink{ctx: ctx, w: w}
	err := d.a.guarded(func() error { return d.send(out, k) })
	if err == nil && d.ctx.Err() != nil {
		err = context.Cause(d.ctx)
	}
	err = ended(d.ctx, ended(ctx, err))
	if err != nil && out.err == nil {
		d.a.noteRefused(columnar.DatasetID(d.Dataset), err)
	}
	d.t.end(err)
	return err
}

func (d *DataStream) send(out io.Writer, k format.Kind) error {
	enc, err := format.NewWriter(k, out, d.Schema)
	if err != nil {
		return err
	}
	for d.in != nil {
		rec, err := d.in.Next()
		if err == io.EOF { //nolint:errorlint // a failure that wraps io.EOF is not the end
			break
		}
		if err != nil {
			return err
		}
		if err := d.sendBatch(enc, rec); err != nil {
			return err
		}
	}
	return enc.Close()
}

func (d *DataStream) sendBatch(enc format.Writer, rec arrow.RecordBatch) error {
	defer rec.Release()
	d.a.counter.rowsOut.Add(rec.NumRows())
	return enc.Write(rec)
}

// sink is where a table goes: it stops when its context ends, and remembers that it was the receiver who failed.
type sink struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// Close frees the stream. It may be called twice.
func (d *DataStream) Close() error {
	d.once.Do(func() {
		if d.in != nil {
			_ = d.in.Close() // it returns nil
		}
		d.leave()
	})
	return nil
}
