package format

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// ParseValue reads one value of a plain canonical type from its text, as it stands in CSV without quotes, into an array of length one. It
// reports false if the text is no value of the type: nothing is rounded, but for floats to the nearest of their width.
func ParseValue(t arrow.DataType, text string) (arrow.Array, bool) {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	defer b.Release()
	if !textAppender(t, b)([]byte(text)) {
		return nil, false
	}
	return b.NewArray(), true
}
