package main

import (
	"context"
	"io"
	"sync"

	"coldframe/columnar"
	"coldframe/columnar/s3"
	"coldframe/internal/fault"
)

// memStore keeps objects in memory, in pieces as long as the parts of an upload.
type memStore struct {
	columnar.Store
	mu      sync.Mutex
	objects map[columnar.ObjectName][][]byte
}

const piece = s3.DefaultPartSize

func newMemStore() *memStore { return &memStore{objects: map[columnar.ObjectName][][]byte{}} }

type memUpload struct {
	store  *memStore
	name   columnar.ObjectName
	pieces [][]byte // all full but the last
}

func (s *memStore) Create(_ context.Context, name columnar.ObjectName, _ columnar.CreateOptions) (columnar.Upload, error) {
	return &memUpload{store: s, name: name}, nil
}

func (u *memUpload) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		last := len(u.pieces) - 1
		if last < 0 || len(u.pieces[last]) == piece {
			u.pieces = append(u.pieces, make([]byte, 0, piece))
			last++
		}
		m := min(len(p), piece-len(u.pieces[last]))
		u.pieces[last] = append(u.pieces[last], p[:m]...)
		p = p[m:]
	}
	return n, nil
}

func (u *memUpload) Close() error {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	u.store.objects[u.name] = u.pieces
	return nil
}

func (u *memUpload) Abort() error { return nil }

func (s *memStore) ReadRange(_ context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces, ok := s.objects[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "no object")
	}
	return &memReader{pieces, off, n}, nil
}

func (s *memStore) Delete(_ context.Context, name columnar.ObjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
	return nil
}

type memReader struct {
	pieces    [][]byte
	off, left int64
}

func (r *memReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.pieces[r.off/piece][r.off%piece:])
	r.off, r.left = r.off+int64(n), r.left-int64(n)
	return n, nil
}

func (r *memReader) Close() error { return nil }
