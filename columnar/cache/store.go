package cache

import (
	"context"
	"io"

	"coldframe/columnar"
)

// store is a columnar.Store whose reads come from a cache where it has them.
type store struct {
	columnar.Store
	c *Cache
}

// presigning is a store that can let others make requests, too.
type presigning struct {
	*store
	columnar.Presigner
}

// Store puts the cache in front of a store. What it returns implements columnar.Forgetter, and columnar.Presigner if the store does.
// Closing it closes the store and leaves the cache open.
func (c *Cache) Store(s columnar.Store) columnar.Store {
	front := &store{Store: s, c: c}
	if p, ok := s.(columnar.Presigner); ok {
		return &presigning{front, p}
	}
	return front
}

// ReadRange implements columnar.Store.
func (s *store) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	if _, err := columnar.ParseObjectName(string(name)); err != nil || off < 0 || n < 0 {
		panic("cache: not an object name, or a negative range")
	}
	if n == 0 || off+n < off {
		return s.Store.ReadRange(ctx, name, off, n)
	}
	r := &reader{ctx: ctx, c: s.c, store: s.Store, name: name, at: off, end: off + n, size: -1}
	if err := r.next(); err != nil { // what the store refuses shows here
		return nil, err
	}
	return r, nil
}

// Delete implements columnar.Store.
func (s *store) Delete(ctx context.Context, name columnar.ObjectName) error {
	s.c.Drop(name)
	return s.Store.Delete(ctx, name)
}

// Forget implements columnar.Forgetter.
func (s *store) Forget(name columnar.ObjectName, off, n int64) { s.c.forget(fileRange{name, off, n}) }

// Close closes the store that was put behind.
func (s *store) Close() error {
	if closer, ok := s.Store.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

var _ interface {
	columnar.Store
	columnar.Presigner
	columnar.Forgetter
	io.Closer
} = (*presigning)(nil)
