package columnar

import (
	"sync"
	"sync/atomic"
)

// lent is memory for what is fetched of some row groups together, one buffer for each request. It is used again once all of them were
// decoded, as it is: what is fetched next overwrites it.
type lent struct {
	buffers []*[]byte
	users   atomic.Int32
}

// maxKept bounds the buffers that are kept: those of large row groups are rare.
const maxKept = 8 << 20

var fetchBuffers sync.Pool // of *[]byte

func lend(requests []request, users int) *lent {
	l := &lent{}
	l.users.Store(int32(users))
	for _, r := range requests {
		l.buffers = append(l.buffers, fetchBuffer(r.length))
	}
	return l
}

func fetchBuffer(n int64) *[]byte {
	if b, ok := fetchBuffers.Get().(*[]byte); ok {
		if c := int64(cap(*b)); c >= n && c/4 <= n {
			*b = (*b)[:n]
			return b
		}
		fetchBuffers.Put(b)
	}
	b := make([]byte, n, n+n/8) // the next one is about as long
	return &b
}

// giveBack is called once for each row group, when nothing refers to its chunks any more.
func (l *lent) giveBack() {
	if l.users.Add(-1) > 0 {
		return
	}
	for _, b := range l.buffers {
		if cap(*b) <= maxKept {
			fetchBuffers.Put(b)
		}
	}
}
