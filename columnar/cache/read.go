package cache

import (
	"context"
	"io"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// reader reads a range, piece by piece, from files and from the store.
type reader struct {
	ctx   context.Context //nolint:containedctx // it governs the reader until Close
	c     *Cache
	store columnar.Store
	name  columnar.ObjectName
	at    int64 // the next byte
	end   int64
	piece piece // nil between two
	alone bool  // waits for nobody any more
	size  int64 // of the object, as the store said; -1: it was not asked
	err   error
}

// piece is a part of a range that comes from one place.
type piece interface {
	// read reads bytes from at on, which is in the piece, and says how many there are in it from there on. An error beside retry sticks.
	read(p []byte, at int64) (int, error)
	until() int64
	close()
}

// errRetry means: look again where the bytes can be had.
var errRetry = fault.New(fault.Unavailable, "the cache has lost a file")

func stopped(ctx context.Context) error {
	return fault.Wrap(fault.Unavailable, ctx.Err(), "stopped")
}

// Read gives exactly the range: io.EOF comes after its last byte and nowhere else.
func (r *reader) Read(p []byte) (int, error) {
	for {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.at == r.end:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case r.ctx.Err() != nil:
			r.err = stopped(r.ctx)
			continue
		}
		if r.piece == nil {
			if r.err = r.next(); r.err != nil {
				continue
			}
		}
		n, err := r.piece.read(p[:min(int64(len(p)), r.piece.until()-r.at)], r.at)
		r.at += int64(n)
		if r.at == r.piece.until() || err != nil {
			r.stop()
		}
		if err != nil && err != errRetry { //nolint:errorlint // our own
			r.err = err
		}
		if n > 0 {
			return n, nil // an error shows at the next call
		}
	}
}

// next opens the piece at the present position.
func (r *reader) next() error {
	for {
		if r.ctx.Err() != nil {
			return stopped(r.ctx)
		}
		switch s := r.c.find(r.name, r.at, r.end, r.alone); {
		case s.file != nil:
			if l, ok := r.c.opened(s.file); ok {
				l.end = min(s.file.end(), r.end)
				r.piece = l
				return nil
			}
		case s.other != nil:
			over, err := s.other.wait(r.ctx)
			if err != nil {
				return err
			}
			r.alone = r.alone || !over
		default:
			return r.fetch(s.own)
		}
	}
}

// fetch asks the store for a hole.
func (r *reader) fetch(f *flight) error {
	in, err := r.store.ReadRange(r.ctx, r.name, f.off, f.end-f.off)
	if err != nil {
		r.c.land(r.name, f)
		return err
	}
	if size, ok := columnar.ObjectSize(in); ok {
		r.size = size
	}
	r.piece = &remote{c: r.c, in: in, flight: f, sink: sink{c: r.c, name: r.name, at: f.off, left: f.end - f.off}}
	return nil
}

func (r *reader) stop() {
	if r.piece != nil {
		r.piece.close()
		r.piece = nil
	}
}

// ObjectSize is for columnar.ObjectSize. It is not known of what came from the disk: hashes tell.
func (r *reader) ObjectSize() (int64, bool) { return r.size, r.size >= 0 }

// Close ends the reading.
func (r *reader) Close() error {
	r.stop()
	if r.err == nil {
		r.err = fault.New(fault.Unavailable, "the reader is closed")
	}
	return nil
}

// local is a piece that a file has.
type local struct {
	c      *Cache
	e      *entry
	file   io.ReaderAt
	closer io.Closer
	end    int64
}

func (l *local) read(p []byte, at int64) (int, error) {
	n, err := l.file.ReadAt(p, at-l.e.off)
	l.c.hit.Add(int64(n))
	if n == len(p) {
		return n, nil
	}
	if err != nil { // cut while we read, or the disk is broken
		l.c.drop(l.e)
		return n, errRetry
	}
	return n, nil
}

func (l *local) until() int64 { return l.end }
func (l *local) close()       { _ = l.closer.Close() } // only read

// remote is a piece that the store sends.
type remote struct {
	c      *Cache
	in     io.ReadCloser
	flight *flight
	sink   sink
}

func (f *remote) read(p []byte, at int64) (int, error) {
	n, err := f.in.Read(p)
	if f.sink.write(p[:n]); f.sink.off {
		f.c.land(f.sink.name, f.flight)
	}
	f.flight.moved.Add(int64(n))
	f.c.fetched.Add(int64(n))
	if at+int64(n) == f.flight.end {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // a store that ends early
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *remote) until() int64 { return f.flight.end }

func (f *remote) close() {
	_ = f.in.Close() // what it had was read, or is given up
	f.sink.close()
	f.c.land(f.sink.name, f.flight)
}
