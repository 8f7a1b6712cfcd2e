package dir

import (
	"context"
	"io"
	"os"
	"syscall"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

type rangeReader struct {
	ctx  context.Context //nolint:containedctx // it governs the reader until Close
	file *os.File
	off  int64
	left int64
	size int64
}

// ReadRange implements columnar.Store.
func (s *Store) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 {
		panic("dir: negative range")
	}
	if err := ctx.Err(); err != nil {
		return nil, classify(err)
	}
	// Without O_NONBLOCK a pipe that someone put there would hold the call for ever.
	f, err := s.root.OpenFile(place(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, s.classify(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = classify(err)
	case !info.Mode().IsRegular():
		err = errNoObject()
	case off > info.Size() || n > info.Size()-off:
		err = fault.New(fault.Incomplete, "the object is shorter than the range")
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return &rangeReader{ctx: ctx, file: f, off: off, left: n, size: info.Size()}, nil
}

// Read gives exactly the range: io.EOF comes after its last byte and nowhere else.
func (r *rangeReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, classify(err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.file.ReadAt(p, r.off)
	r.off += int64(n)
	r.left -= int64(n)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // as os gives it: cut while we read
		return n, fault.New(fault.Incomplete, "the object is shorter than the range")
	}
	return n, classify(err)
}

// ObjectSize is for columnar.ObjectSize.
func (r *rangeReader) ObjectSize() (int64, bool) { return r.size, true }

func (r *rangeReader) Close() error { return r.file.Close() }
