package dir

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"coldframe/internal/fault"
)

// classify turns an error of the file system into a fault. The paths in it stay in the cause, for the log.
func classify(err error) error {
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "stopped")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fault.Wrap(fault.StorageFull, err, "the storage folder is full")
	case errors.Is(err, fs.ErrExist):
		return fault.Wrap(fault.Conflict, err, "an object of that name exists")
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.NotFound, err, "no such object")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.Forbidden, err, "the storage folder may not be used")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.Wrap(fault.Unavailable, err, "too many open files")
	}
	return fault.Wrap(fault.Unavailable, err, "the storage folder does not work")
}

// classify tells an object that is not there from a folder that is not: somebody removed it under us.
func (s *Store) classify(err error) error {
	if errors.Is(err, fs.ErrNotExist) && s.gone() {
		return errGone()
	}
	return classify(err)
}

// gone reports whether the folder has been removed since it was opened: it has no name any more.
func (s *Store) gone() bool {
	info, err := s.root.Stat(".")
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

func errGone() error { return fault.New(fault.Unavailable, "the folder of the store is gone") }
