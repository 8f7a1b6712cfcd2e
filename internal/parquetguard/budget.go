package parquetguard

import (
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/internal/fault"
)

// Budget is an allocator for arrow-go that has only so many bytes to give. Beyond them it panics, before anything is allocated, with a
// fault.TooLarge: allocators cannot fail, and whoever decodes outside bytes recovers from panics anyway. It may be used by several
// goroutines at once.
type Budget struct {
	left  atomic.Int64
	limit int64
}

// NewBudget returns a Budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit}
	b.left.Store(limit)
	return b
}

// Take takes n bytes out of the budget that are allocated elsewhere, until Give.
func (b *Budget) Take(n int64) {
	if n < 0 || b.left.Add(-n) < 0 {
		b.left.Add(max(n, 0))
		panic(fault.New(fault.TooLarge, "the rows take more than %d MiB of memory at once", b.limit>>20))
	}
}

// Give puts n bytes back.
func (b *Budget) Give(n int64) { b.left.Add(n) }

// Allocate implements memory.Allocator.
func (b *Budget) Allocate(size int) []byte {
	b.Take(int64(size))
	return memory.DefaultAllocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (b *Budget) Reallocate(size int, old []byte) []byte {
	if grow := int64(size) - int64(len(old)); grow > 0 {
		b.Take(grow)
	} else {
		b.Give(-grow)
	}
	return memory.DefaultAllocator.Reallocate(size, old)
}

// Free implements memory.Allocator.
func (b *Budget) Free(old []byte) {
	b.Give(int64(len(old)))
	memory.DefaultAllocator.Free(old)
}
