package cache

import (
	"errors"
	"io"
	"syscall"
	"time"

	"coldframe/columnar"
)

// sink writes a fetch into files while it arrives. Whatever fails costs the rest of the copy only.
type sink struct {
	c    *Cache
	name columnar.ObjectName
	at   int64 // of the object: where the next byte belongs
	left int64 // bytes to come

	file io.WriteCloser // nil between two
	temp string
	r    fileRange // what file will be
	off  bool      // nothing is kept any more
}

// write takes the next bytes. b is at most as long as what is left.
func (s *sink) write(b []byte) {
	for len(b) > 0 && !s.off {
		if s.file == nil && !s.begin() {
			return
		}
		n := int(min(int64(len(b)), s.r.end()-s.at))
		if _, err := s.file.Write(b[:n]); err != nil {
			s.give(err)
			return
		}
		s.at, s.left, b = s.at+int64(n), s.left-int64(n), b[n:]
		if s.at == s.r.end() {
			s.publish()
		}
	}
}

// begin starts a file, if there is room for it.
func (s *sink) begin() bool {
	s.r = fileRange{s.name, s.at, min(s.left, s.c.maxFile)}
	if !s.c.reserve(s.r.n) {
		s.off = true
		return false
	}
	s.temp = folderOf(s.name) + "/" + string(columnar.NewObjectName()) + tempSuffix
	f, err := s.c.files.Create(s.c.root, folderOf(s.name), s.temp)
	if err != nil {
		s.off = true
		s.c.release(s.r.n)
		return false
	}
	s.file = f
	return true
}

// publish puts a file that is whole into its place.
func (s *sink) publish() {
	err := s.file.Close()
	if err == nil {
		err = s.c.files.Rename(s.c.root, s.temp, s.r.path())
	}
	if s.file = nil; err != nil {
		s.fail()
		return
	}
	_ = s.c.files.Touch(s.c.root, s.r.path(), time.Now()) // the time of the last write is a coarser one than that of a use
	s.c.add(s.r)
}

// give ends the copy after a failed write.
func (s *sink) give(err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		defer s.c.shrink()
	}
	s.close()
}

// close gives up what is not whole.
func (s *sink) close() {
	if s.file != nil {
		_ = s.file.Close() // it is removed
		s.file = nil
		s.fail()
	}
	s.off = true
}

func (s *sink) fail() {
	s.off = true
	_ = s.c.files.Remove(s.c.root, s.temp) // the next start tries again
	s.c.release(s.r.n)
}
