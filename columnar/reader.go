package columnar

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"coldframe/internal/fault"
)

// Bounds of what a Reader has in hand.
const (
	fetchParallel = 8       // row groups that are fetched or wait to be decoded, small ones aside
	joinBytes     = 4 << 20 // of row groups that are fetched together
	tailsAhead    = 4       // parts whose tails are fetched at once
	tailBytes     = 4 << 20 // of those ahead of the one that is needed

	// maxSealed bounds the sealed chunks of a row group. What a Writer makes has no more.
	maxSealed = 32 << 20
)

// fetchAhead bounds the sealed chunks that are fetched or being fetched, but for a single row group that is larger.
var fetchAhead int64 = 32 << 20

// ReadOptions say what is read.
type ReadOptions struct {
	Columns []ColumnID // in the order wanted; nil: all, in the order of the schema
	Where   Where      // what the rows fulfil; its columns need not be among the wanted ones
	Limit   int64      // rows at most, of those that fulfil Where; 0: all

	// Progress, if set, is told how many bytes were asked of the store and how many rows were handed out.
	Progress func(fetched, rows int64)
}

// Reader hands out the rows of a version in order, as record batches. The chunks of a batch were compared with the manifest and
// unsealed before it is handed out (D11). Next and Close are for one goroutine.
type Reader struct {
	plan    *readPlan
	options ReadOptions
	out     chan arrow.RecordBatch
	cancel  context.CancelCauseFunc
	group   *errgroup.Group
	ahead   *semaphore.Weighted // of sealed bytes
	window  *window             // of row groups
	fetched atomic.Int64
	passed  atomic.Int64 // rows of the row groups that were read, or that hold none of those asked for

	total      int64 // rows of the version
	want, rows int64 // at most; so far
	err        error
	closed     bool
}

// NewReader starts reading a version whose manifest was verified and unsealed (it panics if Contents are not there). Failures here or
// of Next:
//
//	invalid_request  a column that the version has not, or one twice; a literal that its column does not fit
//	forbidden        the key of a column that is wanted, or that Where looks at, is not had
//	incomplete       an object that the manifest names is missing or cut short
//	not_authentic    a key, object, chunk or row count that is not the one of the manifest
//	unavailable      the store cannot be reached
func NewReader(ctx context.Context, store Store, m *Manifest, keys Keys, o ReadOptions) (*Reader, error) {
	plan, err := newReadPlan(ctx, store, m, keys, o)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		plan: plan, options: o, out: make(chan arrow.RecordBatch), ahead: semaphore.NewWeighted(fetchAhead),
		total: int64(m.Contents.Rows), want: int64(m.Contents.Rows), window: newWindow(o.Limit > 0 && !o.Where.IsZero()),
	}
	if o.Limit > 0 {
		r.want = min(r.want, o.Limit)
	}
	ctx, r.cancel = context.WithCancelCause(ctx)
	r.group, ctx = errgroup.WithContext(ctx)
	units := make(chan *unit, fetchParallel)
	r.group.Go(func() error {
		defer close(units)
		return unlessEnough(ctx, r.schedule(ctx, units))
	})
	r.group.Go(func() error {
		defer close(r.out)
		return unlessEnough(ctx, r.decode(ctx, units))
	})
	return r, nil
}

// errEnough ends the work on row groups when as many rows were found as were asked for.
var errEnough = errors.New("columnar: enough rows")

func unlessEnough(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errEnough) {
		return nil
	}
	return err
}

// Schema returns the schema of the batches: the fields of the dataset's schema, exactly as they were written.
func (r *Reader) Schema() *arrow.Schema { return r.plan.schema }

// Rows returns how many rows will come; with Where, how many at most.
func (r *Reader) Rows() int64 { return r.want }

// Fetched returns how many bytes were asked of the store so far.
func (r *Reader) Fetched() int64 { return r.fetched.Load() }

// Next returns the next batch, which the caller releases. At the end, when all rows of the version (or as many as were asked for) have
// come, and only then, it returns io.EOF. Every other error sticks.
func (r *Reader) Next() (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, ok := <-r.out
	if !ok {
		r.err = r.end()
		return nil, r.err
	}
	if over := r.rows + rec.NumRows() - r.want; over > 0 {
		whole := rec
		rec = whole.NewSlice(0, whole.NumRows()-over)
		whole.Release()
	}
	r.rows += rec.NumRows()
	if r.options.Progress != nil {
		r.options.Progress(r.Fetched(), r.rows)
	}
	return rec, nil
}

// end says how the stream ended.
func (r *Reader) end() error {
	if err := r.group.Wait(); err != nil {
		if errors.Is(err, io.EOF) { // a failure is never taken for the end, whatever a store or a decoder wrapped in it
			err = fault.Wrap(fault.CodeOf(err), errors.New(err.Error()), "the version cannot be read")
		}
		return err
	}
	if r.closed {
		return errReaderClosed
	}
	if r.rows == r.want {
		return io.EOF
	}
	came, want := r.rows, r.want
	if r.plan.filters != nil {
		came, want = r.passed.Load(), r.total
	}
	if came != want {
		return fault.New(fault.NotAuthentic, "%d rows came where the manifest says %d", came, want)
	}
	return io.EOF
}

var errReaderClosed = errors.New("columnar: the reader is closed")

// Close ends the reading and waits for everything that was started.
func (r *Reader) Close() error {
	r.closed = true
	r.cancel(errReaderClosed)
	for rec := range r.out {
		rec.Release()
	}
	_ = r.group.Wait() // whatever went wrong, nobody waits for the rows any more
	if r.err == nil {
		r.err = errReaderClosed
	}
	r.plan.wipe()
	return nil
}

// unit is a row group on its way: its wanted chunks are being fetched until ready is closed.
type unit struct {
	part     *readPart
	rowGroup int
	weight   int64
	ready    chan struct{}
	sealed   [][]byte // of the wanted leaves
	lent     *lent    // where they lie
	err      error
}

// schedule sends the wanted row groups in order, fetching ahead of whoever takes them as far as the bounds allow.
func (r *Reader) schedule(ctx context.Context, units chan<- *unit) error {
	left := r.want
	for i := 0; left > 0 && i < len(r.plan.parts); i++ {
		part, err := r.openPart(ctx, i)
		if err != nil {
			return err
		}
		r.plan.parts[i] = nil // its footer goes when its last row group was read
		var batch []*unit
		for rg := 0; rg < part.file.NumRowGroups() && left > 0; rg++ {
			if !part.possible(rg) {
				r.passed.Add(part.file.RowGroupRows(rg))
				continue
			}
			u := &unit{part: part, rowGroup: rg, weight: part.weigh(rg), ready: make(chan struct{})}
			if u.weight > maxSealed {
				return fault.New(fault.TooLarge, "a row group of %d bytes, %d allowed", u.weight, maxSealed)
			}
			if u.weight = min(u.weight, fetchAhead); !r.joins(batch, u) {
				if err := r.start(ctx, units, batch); err != nil {
					return err
				}
				batch = nil
			}
			batch = append(batch, u)
			if r.plan.filters == nil {
				left -= part.file.RowGroupRows(rg)
			}
		}
		if err := r.start(ctx, units, batch); err != nil {
			return err
		}
	}
	return nil
}

// joins reports whether a row group is fetched together with others of its part: as long as all are small, since then requests can be
// joined, and a request for little takes about as long as one for joinBytes.
func (r *Reader) joins(batch []*unit, next *unit) bool {
	sum := next.weight
	for _, u := range batch {
		sum += u.weight
	}
	return len(batch) == 0 || r.window == nil && sum <= min(joinBytes, fetchAhead)
}

// start begins to fetch row groups of one part, once there is room for them, and sends them.
func (r *Reader) start(ctx context.Context, units chan<- *unit, batch []*unit) error {
	for _, u := range batch {
		if r.window.enter(ctx) != nil || r.ahead.Acquire(ctx, u.weight) != nil {
			return context.Cause(ctx)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	r.group.Go(func() error {
		err := batch[0].part.fetch(ctx, r.plan.store, batch, &r.fetched)
		for _, u := range batch {
			u.err = err
			close(u.ready)
		}
		return nil
	})
	for _, u := range batch {
		select {
		case units <- u:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// openPart returns part i once its tail is there, and starts to fetch the tails of the next ones.
func (r *Reader) openPart(ctx context.Context, i int) (*readPart, error) {
	ahead := int64(0)
	for j := i; j < min(i+tailsAhead, len(r.plan.parts)); j++ {
		p := r.plan.parts[j]
		if j > i {
			if ahead += p.part.tailLength(); ahead > tailBytes {
				break
			}
		}
		if p.started {
			continue
		}
		p.started = true
		r.group.Go(func() error {
			defer close(p.ready)
			p.err = p.open(ctx, &r.fetched)
			return nil
		})
	}
	p := r.plan.parts[i]
	select {
	case <-p.ready:
		return p, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// decode turns row groups into batches, in order.
func (r *Reader) decode(ctx context.Context, units <-chan *unit) error {
	found := int64(0)
	for {
		var u *unit
		var ok bool
		select {
		case u, ok = <-units:
			if !ok {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		<-u.ready // its fetch ends with ctx
		if u.err != nil {
			return u.err
		}
		batches, err := u.part.decode(ctx, u.rowGroup, u.sealed)
		if err != nil {
			return err
		}
		u.lent.giveBack()
		r.ahead.Release(u.weight)
		r.passed.Add(u.part.file.RowGroupRows(u.rowGroup))
		for i, b := range batches {
			found += b.NumRows()
			select {
			case r.out <- b:
			case <-ctx.Done():
				releaseBatches(batches[i:])
				return context.Cause(ctx)
			}
		}
		if found >= r.want && r.plan.filters != nil {
			r.cancel(errEnough)
			return nil
		}
		r.window.leave()
	}
}
