package columnar

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
)

// filter decodes the columns that filters look at and finds the rows that fulfil all of them. It tells whether these are all rows; rows
// is then how many.
func (d *rowGroupDecoder) filter(ctx context.Context) (all bool, err error) {
	plan := d.part.plan
	if len(plan.filters) == 0 {
		return true, nil
	}
	if err := d.columnsOf(ctx, plan.asked); err != nil {
		return false, err
	}
	if err := pme.Guard(d.match); err != nil {
		return false, err
	}
	all = len(d.picked) == d.rows
	d.rows = len(d.picked)
	return all, nil
}

// matchBytes is what match takes for a row: rows may be many that take nothing themselves.
const matchBytes = 1 + 1 + 4

func (d *rowGroupDecoder) match() error {
	d.mem.Take(matchBytes * int64(d.rows))
	defer d.mem.Give(matchBytes * int64(d.rows))
	keep, scratch := make([]bool, d.rows), make([]int8, d.rows)
	for i := range keep {
		keep[i] = true
	}
	plan := d.part.plan
	for _, f := range plan.filters {
		if err := f.match(d.columns[plan.place(f.column)], keep, scratch); err != nil {
			return err
		}
	}
	n := 0
	for _, k := range keep {
		n += int(b2i(k))
	}
	d.picked = make([]int32, 0, n)
	for i, k := range keep {
		if k {
			d.picked = append(d.picked, int32(i))
		}
	}
	return nil
}

// pick leaves only the picked rows of the wanted columns. Each is let go as soon as it was copied.
func (d *rowGroupDecoder) pick(ctx context.Context) error {
	indices := build(arrow.PrimitiveTypes.Int32, len(d.picked), 0,
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(d.picked))})
	defer indices.Release()
	for i := range d.part.plan.schema.NumFields() {
		c, err := compute.TakeArrayOpts(ctx, d.columns[i], indices, compute.TakeOptions{BoundsCheck: false})
		if err != nil {
			return err
		}
		d.columns[i].Release()
		d.columns[i] = c
	}
	return nil
}
