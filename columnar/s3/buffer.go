package s3

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// buffers lends part buffers of one size; larger ones are made for the upload that needs them.
type buffers struct {
	size int64
	pool sync.Pool
}

func newBuffers(size int64) *buffers {
	return &buffers{size: size, pool: sync.Pool{New: func() any { b := make([]byte, size); return &b }}}
}

func (p *buffers) get(size int64) *[]byte {
	if size == p.size {
		return p.pool.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put in
	}
	b := make([]byte, size)
	return &b
}

func (p *buffers) put(b *[]byte) {
	if int64(len(*b)) == p.size {
		p.pool.Put(b)
	}
}

var errReleased = errors.New("the request is over")

// payload is the body of one attempt. The transport may go on reading after the request has returned; release ends that, so that the
// buffer can be used for something else.
type payload struct {
	mu sync.Mutex
	r  *bytes.Reader // nil once released
	w  *watch
}

func newPayload(b []byte, w *watch) *payload { return &payload{r: bytes.NewReader(b), w: w} }

func (p *payload) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r == nil {
		return 0, errReleased
	}
	n, err := p.r.Read(b)
	p.w.progress(n)
	return n, err
}

func (p *payload) Seek(offset int64, whence int) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r == nil {
		return 0, errReleased
	}
	return p.r.Seek(offset, whence)
}

func (p *payload) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r = nil
}

var _ io.ReadSeeker = (*payload)(nil)
