package storetest

import (
	"context"

	"coldframe/columnar"
)

// hostileUpload passes writes on, or, if what is kept is to be changed, collects them.
type hostileUpload struct {
	columnar.Upload // of the honest store
	h               *Hostile
	ctx             context.Context //nolint:containedctx // of Create
	name            columnar.ObjectName
	progress        func(int64)
	body            []byte
	keep            func(columnar.ObjectName, []byte) []byte
}

// Create implements columnar.Store.
func (h *Hostile) Create(ctx context.Context, name columnar.ObjectName, o columnar.CreateOptions) (columnar.Upload, error) {
	hooks := h.get()
	if err := before(ctx, hooks, "create", name); err != nil {
		return nil, err
	}
	u, err := h.Store.Create(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return &hostileUpload{Upload: u, h: h, ctx: ctx, name: name, progress: o.Progress, keep: hooks.Keep}, nil
}

func (u *hostileUpload) Write(p []byte) (int, error) {
	if err := before(u.ctx, u.h.get(), "write", u.name); err != nil {
		return 0, err
	}
	if u.keep == nil {
		return u.Upload.Write(p)
	}
	u.body = append(u.body, p...)
	if u.progress != nil {
		u.progress(int64(len(u.body)))
	}
	return len(p), nil
}

func (u *hostileUpload) Close() error {
	if err := before(u.ctx, u.h.get(), "close", u.name); err != nil {
		_ = u.Abort() // the first error counts
		return err
	}
	if err := u.finish(); err != nil {
		return err
	}
	u.h.mu.Lock()
	u.h.written = append(u.h.written, u.name)
	u.h.mu.Unlock()
	return nil
}

func (u *hostileUpload) finish() error {
	if u.keep == nil {
		return u.Upload.Close()
	}
	if body := u.keep(u.name, u.body); body == nil {
		return u.Abort()
	} else if _, err := u.Upload.Write(body); err != nil {
		return err
	}
	return u.Upload.Close()
}
