package columnar

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"coldframe/columnar/chunk"
	"coldframe/columnar/pme"
	"coldframe/internal/parquetguard"
)

// maxDecoded bounds the memory of a row group while it is decoded. What a Writer lets through takes no more.
const maxDecoded = 48 << 20

// decode unseals and decodes the wanted chunks of a row group, each column by itself on all processors, and returns its rows that fulfil
// the filters: one batch, or more if a dictionary has more values in it than its index type counts, or none.
func (p *readPart) decode(ctx context.Context, rowGroup int, sealed [][]byte) ([]arrow.RecordBatch, error) {
	d := rowGroupDecoder{
		part: p, rowGroup: rowGroup, rows: int(p.file.RowGroupRows(rowGroup)), sealed: sealed,
		mem: parquetguard.NewBudget(maxDecoded), columns: make([]arrow.Array, len(p.plan.columns)),
	}
	defer d.release()
	all, err := d.filter(ctx)
	if err != nil || d.rows == 0 {
		return nil, err
	}
	if err := d.columnsOf(ctx, d.missing()); err != nil {
		return nil, err
	}
	var batches []arrow.RecordBatch
	err = pme.Guard(func() (err error) {
		if !all {
			if err := d.pick(ctx); err != nil {
				return err
			}
		}
		batches, err = p.plan.restore(d.mem, d.columns[:p.plan.schema.NumFields()], d.rows)
		return err
	})
	return batches, err
}

// rowGroupDecoder has the columns of a row group that are decoded so far, in the order of the plan.
type rowGroupDecoder struct {
	part     *readPart
	rowGroup int
	rows     int // in the end: that fulfil the filters
	sealed   [][]byte
	mem      *parquetguard.Budget
	columns  []arrow.Array
	picked   []int32 // rows that fulfil the filters, if not all do
}

func (d *rowGroupDecoder) release() {
	for _, c := range d.columns {
		if c != nil {
			c.Release()
		}
	}
}

// columnsOf decodes columns.
func (d *rowGroupDecoder) columnsOf(ctx context.Context, which []int) error {
	order := d.part.largestFirst(which, d.sealed)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				var err error
				if d.columns[order[i]], err = d.part.decodeColumn(d.mem, d.rowGroup, order[i], d.sealed); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// missing returns the wanted columns that are not decoded yet.
func (d *rowGroupDecoder) missing() []int {
	var out []int
	for i := range d.part.plan.schema.NumFields() {
		if d.columns[i] == nil {
			out = append(out, i)
		}
	}
	return out
}

// largestFirst orders columns of the plan by the size of their chunks.
func (p *readPart) largestFirst(which []int, sealed [][]byte) []int {
	sizes := map[int]int{}
	for _, i := range which {
		for first, end := p.file.LeavesOf(p.plan.columns[i]); first < end; first++ {
			sizes[i] += len(sealed[first])
		}
	}
	order := slices.Clone(which)
	slices.SortStableFunc(order, func(a, b int) int { return sizes[b] - sizes[a] })
	return order
}

// decodeColumn returns wanted column i of a row group as an array of its storage type.
func (p *readPart) decodeColumn(mem *parquetguard.Budget, rowGroup, i int, sealed [][]byte) (arrow.Array, error) {
	column := p.plan.columns[i]
	first, end := p.file.LeavesOf(column)
	c := chunk.Column{Field: p.plan.stored[i], Elements: p.file.Elements(column), Rows: int(p.file.RowGroupRows(rowGroup))}
	for leaf := first; leaf < end; leaf++ {
		u, err := p.file.UnsealChunk(rowGroup, leaf, sealed[leaf])
		if err != nil {
			return nil, err
		}
		c.Leaves = append(c.Leaves, chunk.Leaf{Pages: u.Bytes(), Compressed: u.Compressed()})
	}
	var out arrow.Array
	err := pme.Guard(func() (err error) {
		out, err = chunk.Decode(mem, c)
		return err
	})
	return out, err
}

// restore makes batches of the dataset's own types.
func (p *readPlan) restore(mem *parquetguard.Budget, stored []arrow.Array, rows int) ([]arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, len(stored))
	defer func() { releaseAll(columns) }()
	for i, s := range stored {
		c, err := fromStorage(mem, s, p.schema.Field(i).Type)
		if errors.Is(err, errIndexes) && rows > 1 {
			return p.restoreHalves(mem, stored, rows)
		}
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return []arrow.RecordBatch{array.NewRecordBatch(p.schema, columns, int64(rows))}, nil
}

func (p *readPlan) restoreHalves(mem *parquetguard.Budget, stored []arrow.Array, rows int) ([]arrow.RecordBatch, error) {
	var out []arrow.RecordBatch
	for _, half := range [][2]int{{0, rows / 2}, {rows / 2, rows}} {
		slices := make([]arrow.Array, len(stored))
		for i, s := range stored {
			slices[i] = array.NewSlice(s, int64(half[0]), int64(half[1]))
		}
		batches, err := p.restore(mem, slices, half[1]-half[0])
		releaseAll(slices)
		if err != nil {
			releaseBatches(out)
			return nil, err
		}
		out = append(out, batches...)
	}
	return out, nil
}
