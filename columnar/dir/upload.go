package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// guardStep is how many bytes are written between two looks at the free space.
const guardStep = 16 << 20

const partSuffix = ".part"

type upload struct {
	ctx      context.Context //nolint:containedctx // it governs the upload until Close
	s        *Store
	name     columnar.ObjectName
	temp     string // file name inside the fan-out folder
	file     File   // nil once closed
	written  int64
	unlooked int64 // bytes since the last look at the free space
	progress func(int64)
	done     bool
	err      error
}

// Create implements columnar.Store.
func (s *Store) Create(ctx context.Context, name columnar.ObjectName, o columnar.CreateOptions) (columnar.Upload, error) {
	u := &upload{ctx: ctx, s: s, name: name, temp: string(name) + "." + string(columnar.NewObjectName()) + partSuffix, progress: o.Progress}
	if o.SizeHint < 0 {
		panic("dir: negative size hint")
	}
	if err := u.open(); err != nil {
		return nil, s.classify(err)
	}
	return u, nil
}

func (u *upload) open() error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	if _, err := u.s.root.Lstat(place(u.name)); err == nil {
		return fs.ErrExist
	}
	if err := u.s.room(0); err != nil { // a hint is of data before compression: not a reason to refuse
		return err
	}
	err := u.create()
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the folder
		u.s.forget(fan(u.name))
		err = u.create()
	}
	return err
}

func (u *upload) create() error {
	if err := u.s.ensure(fan(u.name)); err != nil {
		return err
	}
	f, err := u.s.files.Create(u.s.root, u.path())
	if err != nil {
		return err
	}
	u.file = f
	return nil
}

func (u *upload) path() string { return fan(u.name) + "/" + u.temp }

// ensure makes a fan-out folder durably, once in the life of the process.
func (s *Store) ensure(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[dir] {
		return nil
	}
	if err := s.files.Mkdir(s.root, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.files.SyncDir(s.root, "."); err != nil {
		return err
	}
	s.made[dir] = true
	return nil
}

func (s *Store) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, dir)
}

// room reports fault.StorageFull if n more bytes would leave less than MinFree.
func (s *Store) room(n int64) error {
	free, err := s.files.Free(s.root)
	if err != nil {
		return err
	}
	if free < s.minFree || free-s.minFree < uint64(n) { //nolint:gosec // n is not negative
		return fault.New(fault.StorageFull, "the storage folder is full")
	}
	return nil
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	if err := u.ready(); err != nil {
		return 0, err
	}
	if u.unlooked += int64(len(p)); u.unlooked >= guardStep {
		u.unlooked = 0
		if err := u.s.room(int64(len(p))); err != nil {
			return 0, u.fail(err)
		}
	}
	n, err := u.file.Write(p)
	u.written += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, u.fail(err)
	}
	if u.progress != nil {
		u.progress(u.written)
	}
	return n, nil
}

func (u *upload) ready() error {
	if u.err != nil {
		return u.err
	}
	if u.done {
		panic("dir: upload used after Close")
	}
	if err := u.ctx.Err(); err != nil {
		return u.fail(err)
	}
	return nil
}

// Close implements columnar.Upload. A failed fsync is never tried again (R19).
func (u *upload) Close() error {
	if u.done {
		return nil
	}
	if err := u.ready(); err != nil {
		return err
	}
	if err := u.publish(); err != nil {
		return u.fail(err)
	}
	u.done = true
	return nil
}

func (u *upload) publish() error {
	if err := u.file.Sync(); err != nil {
		return err
	}
	err := u.file.Close()
	u.file = nil
	if err != nil {
		return err
	}
	dir := fan(u.name)
	if err := u.s.files.Publish(u.s.root, dir, u.temp, string(u.name)); err != nil {
		return err
	}
	if err := u.s.files.SyncDir(u.s.root, dir); err != nil {
		// Visible, but perhaps not durable: take it away again.
		return errors.Join(classify(err), u.s.files.Remove(u.s.root, place(u.name)))
	}
	return nil
}

// Abort implements columnar.Upload.
func (u *upload) Abort() error {
	if u.done {
		return nil
	}
	if u.err == nil {
		_ = u.fail(context.Canceled) // it is what Abort is for
	}
	return u.s.remove(fan(u.name), u.path())
}

// fail keeps the first error and takes the unfinished file away.
func (u *upload) fail(err error) error {
	u.err = classify(err)
	if u.file != nil {
		_ = u.file.Close() // what it holds is given up
		u.file = nil
	}
	_ = u.s.files.Remove(u.s.root, u.path()) // Abort and AbortUploads try again
	return u.err
}
