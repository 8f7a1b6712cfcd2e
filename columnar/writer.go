package columnar

import (
	"context"
	"errors"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
)

// What a Writer does when nothing is asked for.
const (
	// DefaultRowGroupBytes is the size in memory of the rows that are encoded together.
	DefaultRowGroupBytes = 16 << 20

	// MaxRowGroupBytes bounds that size. A Reader takes no more.
	MaxRowGroupBytes = 20 << 20

	// MaxRowBytes bounds a single row. One value of it is one page, which a Reader holds three times while it decodes it.
	MaxRowBytes = 15 << 20

	// maxGroupRows bounds the rows of a row group: narrow ones cost more to decode than they are long.
	maxGroupRows = 1 << 20

	// DefaultPartBytes is the size from which on a part is ended and another begun.
	DefaultPartBytes = 4 << 30
)

// WriterOptions say what is written.
type WriterOptions struct {
	Dataset DatasetID
	Version Version
	Schema  *arrow.Schema // canonical: no views, large or run-end types
	Columns []ColumnID    // of the fields of Schema
	Keys    *VersionKeys  // all of them

	// Register is called with the name of an object before it is created: once it returned nil the name must be remembered durably, so
	// that a sweep finds what a dead process left. Objects of a failed Writer are removed by it, as far as the store lets it.
	Register func(ObjectName) error

	// Progress, if set, is told how many bytes of rows were taken in and how many are with the store. One call at a time.
	Progress func(in, stored int64)

	RowGroupBytes int64 // 0: DefaultRowGroupBytes; at most MaxRowGroupBytes
	PartBytes     int64 // 0: DefaultPartBytes
	SizeHint      int64 // expected size in memory of all rows, 0 if unknown
}

// Writer makes parts of record batches: encrypted Parquet files, written to a store as they come. It holds three row groups at most:
// one fills, one is encoded and sealed on all processors, one is uploaded. Write, Close and Abort are for one goroutine. The first
// error sticks.
type Writer struct {
	options WriterOptions
	schema  *arrow.Schema
	leaves  int
	nulls   bool // some column holds the null type

	pending      []arrow.RecordBatch
	pendingBytes int64
	pendingRows  int64

	cancel context.CancelCauseFunc
	ctx    context.Context
	groups chan []arrow.RecordBatch
	line   *pipeline
	done   chan struct{}

	mu  sync.Mutex
	err error
}

var errAborted = errors.New("the write was aborted")

// NewWriter starts a writer. fault.InvalidRequest names the column whose type cannot be kept. It panics if a key or column id is
// missing. Close or Abort must be called.
func NewWriter(ctx context.Context, store Store, o WriterOptions) (*Writer, error) {
	stored, err := storageSchema(o.Schema)
	if err != nil {
		return nil, err
	}
	o.check()
	plain, err := template(stored, o.Schema)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Writer{
		options: o, schema: o.Schema, ctx: ctx, cancel: cancel,
		groups: make(chan []arrow.RecordBatch), done: make(chan struct{}),
	}
	if w.options.RowGroupBytes == 0 {
		w.options.RowGroupBytes = DefaultRowGroupBytes
	}
	if w.options.PartBytes == 0 {
		w.options.PartBytes = DefaultPartBytes
	}
	w.line = newPipeline(store, w.options, stored, plain)
	w.leaves = w.line.leaves
	for _, f := range o.Schema.Fields() {
		w.nulls = w.nulls || holdsNulls(f.Type)
	}
	groups := w.groups // the field is the writer's alone
	go func() {
		defer close(w.done)
		if err := w.line.run(ctx, groups); err != nil {
			w.fail(err)
		}
	}()
	return w, nil
}

func (o *WriterOptions) check() {
	if len(o.Columns) != o.Schema.NumFields() || o.Keys == nil || o.Register == nil || o.Version == 0 {
		panic("columnar: a writer needs dataset, version, an id for each column, keys and Register")
	}
	if o.RowGroupBytes < 0 || o.RowGroupBytes > MaxRowGroupBytes {
		panic("columnar: row groups of that size cannot be read")
	}
	for _, c := range o.Columns {
		if k, ok := o.Keys.Columns[c]; !ok || k.Key.IsZero() {
			panic("columnar: a writer needs a key for each column")
		}
	}
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.cancel(err)
}

func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.ctx.Err() != nil {
		w.err = context.Cause(w.ctx)
	}
	return w.err
}

// Write takes a batch, whose schema must be the writer's. It waits when encoding or the store is behind. A row of more than
// MaxRowBytes is fault.TooLarge.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	if err := w.failed(); err != nil {
		return err
	}
	if err := w.sameLayout(rec); err != nil {
		w.fail(err)
		return err
	}
	rec.Retain()
	defer func() { rec.Release() }()
	for rec.NumRows() > 0 {
		head, size := w.fitting(rec)
		n := head.NumRows()
		if n == 1 && size > MaxRowBytes {
			head.Release()
			err := fault.New(fault.TooLarge, "a row of more than %d MiB", MaxRowBytes>>20)
			w.fail(err)
			return err
		}
		w.take(head, size)
		head.Release()
		if n == rec.NumRows() {
			return nil
		}
		rest := rec.NewSlice(n, rec.NumRows())
		rec.Release()
		rec = rest
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// overhead is what a batch costs besides its values: many small ones would not be bounded otherwise.
func (w *Writer) overhead() int64 { return 1024 + 256*int64(w.leaves) }

// fitting returns the first rows of a batch, as many as there is room for, and their size: one at least if nothing is pending. Rows
// differ in size, so what the average promises is looked at again.
func (w *Writer) fitting(rec arrow.RecordBatch) (head arrow.RecordBatch, size int64) {
	room := w.options.RowGroupBytes - w.pendingBytes
	n := min(rec.NumRows(), maxGroupRows-w.pendingRows)
	least := int64(0)
	if len(w.pending) == 0 {
		least = 1
	}
	for {
		head = rec.NewSlice(0, n)
		size = batchSize(head) + w.overhead()
		if size <= room || n <= least {
			return head, size
		}
		head.Release()
		n = max(least, min(n-1, int64(float64(n)*float64(max(room, 0))/float64(size))))
	}
}

func (w *Writer) take(rec arrow.RecordBatch, size int64) {
	if rec.NumRows() == 0 {
		return
	}
	if w.nulls {
		rec = detach(rec)
	} else {
		rec.Retain()
	}
	w.pending = append(w.pending, rec)
	w.pendingBytes += size
	w.pendingRows += rec.NumRows()
}

// sameLayout refuses a batch of other names or types than the writer's schema. Metadata may differ.
func (w *Writer) sameLayout(rec arrow.RecordBatch) error {
	s := rec.Schema()
	if s.NumFields() != w.schema.NumFields() {
		return fault.New(fault.InvalidRequest, "a batch of %d columns, want %d", s.NumFields(), w.schema.NumFields())
	}
	for i, f := range w.schema.Fields() {
		if g := s.Field(i); g.Name != f.Name || !sameType(g.Type, f.Type) {
			return fault.New(fault.InvalidRequest, "column %q of type %s in a batch, want %q of type %s", g.Name, g.Type, f.Name, f.Type)
		}
	}
	return nil
}

// sameType helps arrow.TypeEqual out, which takes a time zone that was looked up before for another type when it is in a dictionary.
func sameType(a, b arrow.DataType) bool {
	return arrow.TypeEqual(a, b) || a.Fingerprint() != "" && a.Fingerprint() == b.Fingerprint()
}

// flush hands the pending rows over as a row group.
func (w *Writer) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	group := w.pending
	w.pending, w.pendingBytes, w.pendingRows = nil, 0, 0
	select {
	case w.groups <- group:
		return nil
	case <-w.done:
	case <-w.ctx.Done():
	}
	releaseBatches(group)
	return w.failed()
}

// Close writes what is pending and returns the parts, in order, once all of them are durable. After an error nothing is left in the
// store, or, if that cannot be reached, nothing but what was registered.
func (w *Writer) Close() ([]Part, error) {
	err := w.failed()
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		w.fail(err)
	}
	w.end()
	if err := w.failed(); err != nil {
		return nil, err
	}
	w.cancel(errAborted)
	return w.line.parts, nil
}

// Abort ends the writer and removes what it wrote. After Close it does nothing.
func (w *Writer) Abort() error {
	select {
	case <-w.done:
		return nil
	default:
	}
	w.fail(errAborted)
	w.end()
	return nil
}

func (w *Writer) end() {
	releaseBatches(w.pending)
	w.pending = nil
	if w.groups != nil {
		close(w.groups)
		w.groups = nil
	}
	<-w.done
}

func releaseBatches(batches []arrow.RecordBatch) {
	for _, b := range batches {
		b.Release()
	}
}

// columnOf returns column i of each batch.
func columnOf(batches []arrow.RecordBatch, i int) []arrow.Array {
	chunks := make([]arrow.Array, len(batches))
	for j, b := range batches {
		chunks[j] = b.Column(i)
	}
	return chunks
}
