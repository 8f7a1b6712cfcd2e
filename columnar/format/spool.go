package format

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"coldframe/internal/fault"

	"golang.org/x/sys/unix"
)

// spool is a temporary file that nobody else can open or read: it has no name, and its blocks are sealed with AES-256-GCM under a
// key that was drawn for it and is kept in memory only. It is written once, from the start, then read anywhere.
//
// On disk: blocks of 64 KiB of plaintext (the last may be shorter), each followed by its 16-byte tag; the nonce is the block's index,
// 12 bytes big-endian, so no (key, nonce) pair is used twice.
type spool struct {
	f      *os.File
	aead   cipher.AEAD
	size   int64  // plaintext bytes written
	tail   []byte // plaintext of the block being written
	sealed []byte // scratch: one block with its tag
	done   bool
	cache  [4]spoolBlock
	clock  int
}

type spoolBlock struct {
	index int64 // -1: none
	data  []byte
}

const (
	spoolBlockSize = 64 << 10
	spoolTagSize   = 16
)

// newSpool makes a spool in dir, or in os.TempDir if dir is empty.
func newSpool(dir string) (*spool, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := unnamedFile(dir)
	if err != nil {
		return nil, spoolError(err)
	}
	var key [32]byte
	rand.Read(key[:]) //nolint:errcheck // never fails: it ends the process instead
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block size is right
	}
	s := &spool{f: f, aead: aead, tail: make([]byte, 0, spoolBlockSize), sealed: make([]byte, spoolBlockSize+spoolTagSize)}
	for i := range s.cache {
		s.cache[i].index = -1
	}
	return s, nil
}

// unnamedFile makes a file without a name; on a file system that cannot, one that loses its name at once.
func unnamedFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC|unix.O_EXCL, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "spool"), nil
	}
	f, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { //nolint:gosec // the name is of the file just made
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func spoolError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.Wrap(fault.StorageFull, err, "no space for the temporary copy of the body")
	}
	return fault.Wrap(fault.Unavailable, err, "the temporary copy of the body cannot be kept")
}

func nonce(index int64) []byte {
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], uint64(index))
	return n[:]
}

// Write appends p.
func (s *spool) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), spoolBlockSize-len(s.tail))
		s.tail = append(s.tail, p[:k]...)
		p = p[k:]
		s.size += int64(k)
		if len(s.tail) == spoolBlockSize {
			if err := s.putBlock(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (s *spool) putBlock() error {
	index := (s.size - 1) / spoolBlockSize
	if _, err := s.f.WriteAt(s.aead.Seal(s.sealed[:0], nonce(index), s.tail, nil), index*(spoolBlockSize+spoolTagSize)); err != nil {
		return spoolError(err)
	}
	clear(s.tail)
	s.tail = s.tail[:0]
	return nil
}

// finish ends writing. Reading begins after it.
func (s *spool) finish() error {
	if !s.done && len(s.tail) > 0 {
		if err := s.putBlock(); err != nil {
			return err
		}
	}
	s.done = true
	return nil
}

// ReadAt reads len(p) bytes at off, as io.ReaderAt says.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("format: negative offset")
	}
	n := 0
	for n < len(p) && off < s.size {
		b, err := s.block(off / spoolBlockSize)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], b[off%spoolBlockSize:])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block returns the plaintext of a block, good until a few calls later.
func (s *spool) block(index int64) ([]byte, error) {
	for i := range s.cache {
		if s.cache[i].index == index {
			return s.cache[i].data, nil
		}
	}
	size := min(spoolBlockSize, s.size-index*spoolBlockSize)
	sealed := s.sealed[:size+spoolTagSize]
	if _, err := s.f.ReadAt(sealed, index*(spoolBlockSize+spoolTagSize)); err != nil {
		return nil, spoolError(err)
	}
	c := &s.cache[s.clock%len(s.cache)]
	s.clock++
	c.index = -1
	data, err := s.aead.Open(c.data[:0], nonce(index), sealed, nil)
	if err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the temporary copy of the body was changed")
	}
	c.index, c.data = index, data
	return data, nil
}

// Close frees the file and the plaintext in memory.
func (s *spool) Close() error {
	clear(s.tail[:cap(s.tail)])
	for i := range s.cache {
		clear(s.cache[i].data)
		s.cache[i] = spoolBlock{index: -1}
	}
	return s.f.Close()
}

// store keeps bytes in memory up to a limit and in a spool beyond it.
type store struct {
	dir   string
	limit int
	mem   []byte
	sp    *spool
	size  int64
}

func (s *store) Write(p []byte) (int, error) {
	if s.sp == nil && len(s.mem)+len(p) > s.limit {
		sp, err := newSpool(s.dir)
		if err != nil {
			return 0, err
		}
		s.sp = sp
		if _, err := sp.Write(s.mem); err != nil {
			return 0, err
		}
		s.mem = nil
	}
	s.size += int64(len(p))
	if s.sp != nil {
		return s.sp.Write(p)
	}
	s.mem = append(s.mem, p...)
	return len(p), nil
}

// finish ends writing.
func (s *store) finish() error {
	if s.sp != nil {
		return s.sp.finish()
	}
	return nil
}

func (s *store) ReadAt(p []byte, off int64) (int, error) {
	if s.sp != nil {
		return s.sp.ReadAt(p, off)
	}
	if off < 0 || off > int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// reset empties the store for the next use.
func (s *store) reset() error {
	s.size = 0
	s.mem = s.mem[:0]
	if s.sp == nil {
		return nil
	}
	sp := s.sp
	s.sp = nil
	return sp.Close()
}
