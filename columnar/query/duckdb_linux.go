package query

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// duckDB is the Engine.
type duckDB struct{ spares }

// New returns the engine with these limits. It starts nothing yet.
func New(o Options) Engine { return &duckDB{spares{o: o}} }

// Warm implements Engine.
func (d *duckDB) Warm(ctx context.Context) error {
	n := d.warm(d.generation())
	if n == nil {
		return nil
	}
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Rest implements Engine.
func (d *duckDB) Rest() { d.rest() }

// Query implements Engine.
func (d *duckDB) Query(ctx context.Context, sql string, find Find) (Result, error) {
	if len(sql) > MaxSQL {
		return nil, fault.New(fault.TooLarge, "a statement of %d bytes, %d allowed", len(sql), MaxSQL)
	}
	caller, rested := ctx, d.generation()
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Time, fault.New(fault.TooLarge, "the query took longer than %s", d.o.Time))
	r := &result{o: d.o, ctx: ctx, cancel: cancel, again: func() {
		if caller.Err() == nil {
			d.warm(rested)
		}
	}}
	if err := r.run(d, sql, find); err != nil {
		err = r.cause(err)
		r.Close() //nolint:errcheck // it returns nil
		return nil, err
	}
	return r, nil
}

// result is a statement that runs.
type result struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	again  func() // makes the next engine ready
	child  *child
	tables []*memFiles
	in     format.Reader
	rows   int64
	bytes  int64
	err    error
}

// run goes through the protocol up to the schema of the result.
func (r *result) run(d *duckDB, sql string, find Find) (err error) {
	defer r.forget()
	if r.child, err = d.take(r.ctx); err != nil {
		return err
	}
	if err := writeRequest(r.child.control, request{SQL: sql}); err != nil {
		return err
	}
	m, err := readReply(r.child.control)
	if err != nil {
		return err
	}
	if m.Names == nil {
		return errBroken
	}
	if err := r.define(m.Names, find); err != nil {
		return err
	}
	if m, err = readReply(r.child.control); err != nil {
		return err
	}
	if err := r.fill(m.Scans); err != nil {
		return err
	}
	if err := writeRequest(r.child.control, request{}); err != nil {
		return err
	}
	if r.in, err = format.NewReader(r.ctx, format.Arrow, r.child.result, format.ReadOptions{SpoolDir: r.o.Spool}); err != nil {
		return r.broken(err)
	}
	return nil
}

// define finds the tables that a statement names and hands over their files, as yet without rows.
func (r *result) define(n *names, find Find) error {
	var list []table
	files := 0
	for _, name := range n.Tables {
		image, err := find(r.ctx, name)
		if errors.Is(err, fault.NotFound) && contains(n.Local, name) {
			continue
		}
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(list, func(t table) bool { return strings.EqualFold(t.Name, name) }); i >= 0 {
			image.Close()
			if image.Dataset() == r.tables[i].image.Dataset() {
				continue // DuckDB takes one name for the other
			}
			return fault.New(fault.InvalidRequest, "two datasets whose names differ only in their case: name them by their ids")
		}
		if files += image.Parts(); files > maxFiles {
			image.Close()
			return fault.New(fault.TooLarge, "the datasets have %d parts or more, %d allowed: write them anew in one piece", files, maxFiles)
		}
		t, err := newMemFiles(image)
		if err != nil {
			return err
		}
		r.tables, list = append(r.tables, t), append(list, table{Name: name, Files: len(t.files), Hidden: hidden(image.Schema())})
	}
	if err := writeRequest(r.child.control, request{Tables: list}); err != nil {
		return err
	}
	for _, t := range r.tables {
		for _, f := range t.files {
			if err := r.child.give(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// fill brings the columns that are read.
func (r *result) fill(scans []scan) error {
	if len(scans) != len(r.tables) {
		return errBroken
	}
	wanted, weight := make([]columnar.Wanted, len(scans)), int64(0)
	for i, s := range scans {
		image := r.tables[i].image
		columns, err := s.columns(image.Schema().NumFields())
		if err != nil {
			return err
		}
		wanted[i] = columnar.Wanted{Columns: columns, Rows: s.rows(image)}
		weight += image.Weigh(wanted[i])
	}
	if weight > int64(r.o.DataMiB)<<20 {
		return fault.New(fault.TooLarge, "the query reads %d MiB of columns, %d allowed: name fewer columns, or raise query.data_mib", weight>>20, r.o.DataMiB)
	}
	for i, t := range r.tables {
		if err := t.image.Fill(r.ctx, wanted[i], t.at); err != nil {
			return err
		}
		if err := t.finish(); err != nil {
			return err
		}
	}
	return nil
}

// forget closes the agent's side of the tables: the engine has them, or nobody wants them any more.
func (r *result) forget() {
	for _, t := range r.tables {
		t.close()
	}
	r.tables = nil
}

// Schema implements Result.
func (r *result) Schema() *arrow.Schema { return r.in.Schema() }

// Next implements Result.
func (r *result) Next() (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, err := r.in.Next()
	switch {
	case err == io.EOF: //nolint:errorlint // a failure that wraps io.EOF is not the end
		err = r.end()
	case err != nil:
		err = r.broken(err)
	default:
		r.rows += rec.NumRows()
		if r.bytes += size(rec); r.bytes <= int64(r.o.ResultMiB)<<20 {
			return rec, nil
		}
		rec.Release()
		err = fault.New(fault.TooLarge, "the result is larger than %d MiB: ask for less, or raise query.result_mib", r.o.ResultMiB)
	}
	r.err = r.cause(err)
	return nil, r.err
}

func size(rec arrow.RecordBatch) int64 {
	n := int64(0)
	for _, c := range rec.Columns() {
		n += int64(c.Data().SizeInBytes())
	}
	return n
}

// end says whether the stream that has ended is the whole result.
func (r *result) end() error {
	rows, err := r.child.last()
	if err != nil {
		return err
	}
	if rows != r.rows {
		return errBroken
	}
	return io.EOF
}

// broken returns why the stream broke off: what the engine says of it, else what was found wrong with the stream.
func (r *result) broken(err error) error {
	_, told := r.child.last()
	switch {
	case told != nil && fault.CodeOf(told) != fault.Internal:
		return told
	case errors.Is(told, errSilent), fault.CodeOf(err) == fault.Incomplete:
		return errBroken
	}
	return err // such as a type that is not handed out
}

// cause gives the reason why ctx ended, if it has: what a killed engine says is only its echo.
func (r *result) cause(err error) error {
	if err == io.EOF || r.ctx.Err() == nil { //nolint:errorlint // the very end
		return err
	}
	if f, ok := errors.AsType[*fault.Error](context.Cause(r.ctx)); ok {
		return f
	}
	return fault.Wrap(fault.Incomplete, context.Cause(r.ctx), "the request ended before it was done")
}

// Close implements Result.
func (r *result) Close() error {
	r.cancel()
	r.forget()
	if r.child != nil {
		r.child.stop()
		r.child = nil
		r.again()
	}
	if r.in != nil {
		r.in.Close() //nolint:errcheck // it read from a pipe
		r.in = nil
	}
	return nil
}
