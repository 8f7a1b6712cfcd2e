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
	keep, scratch := make([]bool, d.rows), make([]int8, d.rows)
	for i := range keep {
		keep[i] = true
	}
	err = pme.Guard(func() error {
		for _, f := range plan.filters {
			if err := f.match(d.columns[plan.place(f.column)], keep, scratch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	for i, k := range keep {
		if k {
			d.picked = append(d.picked, int32(i))
		}
	}
	all = len(d.picked) == d.rows
	d.rows = len(d.picked)
	return all, nil
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
