package columnar

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// arrow-go writes to the data of an array of nulls each time it makes an array over it, as slicing does. So batches that go to another
// goroutine get data of their own for those; buffers stay shared.

// holdsNulls reports whether a type is or contains the null type.
func holdsNulls(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.NullType:
		return true
	case arrow.ExtensionType:
		return holdsNulls(t.StorageType())
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if holdsNulls(f.Type) {
				return true
			}
		}
	}
	return false
}

// detach returns a batch whose null arrays share nothing with rec. The caller releases it.
func detach(rec arrow.RecordBatch) arrow.RecordBatch {
	columns := make([]arrow.Array, rec.NumCols())
	defer releaseAll(columns)
	for i, c := range rec.Columns() {
		d := detachData(c.Data())
		columns[i] = array.MakeFromData(d)
		d.Release()
	}
	return array.NewRecordBatch(rec.Schema(), columns, rec.NumRows())
}

func detachData(d arrow.ArrayData) arrow.ArrayData {
	if !holdsNulls(d.DataType()) {
		d.Retain()
		return d
	}
	children := make([]arrow.ArrayData, len(d.Children()))
	for i, c := range d.Children() {
		children[i] = detachData(c)
		defer children[i].Release()
	}
	return array.NewData(d.DataType(), d.Len(), d.Buffers(), children, d.NullN(), d.Offset())
}
