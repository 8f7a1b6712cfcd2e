package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"coldframe/columnar"
)

// listBatch is how many folder entries are held at a time.
const listBatch = 1024

// List implements columnar.Store.
func (s *Store) List(ctx context.Context, fn func(columnar.ObjectName, int64, time.Time) error) error {
	if s.gone() {
		return errGone()
	}
	return s.entries(ctx, ".", func(d fs.DirEntry) error {
		if !d.IsDir() || len(d.Name()) != 2 {
			return nil
		}
		return s.entries(ctx, d.Name(), func(e fs.DirEntry) error {
			name, err := columnar.ParseObjectName(e.Name())
			if err != nil || fan(name) != d.Name() || !e.Type().IsRegular() {
				return nil //nolint:nilerr // not ours
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err != nil {
				return classify(err)
			}
			return fn(name, info.Size(), info.ModTime())
		})
	})
}

// AbortUploads implements columnar.Store.
func (s *Store) AbortUploads(ctx context.Context, name columnar.ObjectName) error {
	dir := fan(name)
	err := s.entries(ctx, dir, func(e fs.DirEntry) error {
		if !strings.HasPrefix(e.Name(), string(name)+".") || !strings.HasSuffix(e.Name(), partSuffix) {
			return nil
		}
		return s.remove(dir, dir+"/"+e.Name())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// entries calls fn for each entry of a folder; an error of fn is returned as it is.
func (s *Store) entries(ctx context.Context, dir string, fn func(fs.DirEntry) error) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return s.classify(err)
	}
	defer func() { _ = f.Close() }() // only read
	for {
		list, err := f.ReadDir(listBatch)
		for _, e := range list {
			if err := ctx.Err(); err != nil {
				return classify(err)
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			return nil
		}
		if err != nil {
			return classify(err)
		}
	}
}
