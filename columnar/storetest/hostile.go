package storetest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// Hooks are what a hostile store does. A nil hook is an honest operation. They are called from several goroutines.
type Hooks struct {
	// Before is called first by every operation ("create", "write", "close", "read", "size", "list", "delete", "abort"); it may wait,
	// and an error of it is the outcome.
	Before func(ctx context.Context, op string, name columnar.ObjectName) error

	// Rename says under which name a read really looks: swapped objects, or an old one under a new name.
	Rename func(name columnar.ObjectName) columnar.ObjectName

	// Content changes an object as reads see it: other bytes, cut, extended. Its result becomes the object, with that length; nil: it is
	// not there. It must not keep or change body.
	Content func(name columnar.ObjectName, body []byte) []byte

	// Range changes the bytes of one read, against the promise of columnar.Store if their number differs.
	Range func(name columnar.ObjectName, off int64, body []byte) []byte

	// Size changes the length that Size tells.
	Size func(name columnar.ObjectName, size int64) int64

	// Keep changes what is kept of a write that succeeds; nil: nothing is kept.
	Keep func(name columnar.ObjectName, body []byte) []byte

	// Listing changes the listing: hidden, invented, doubled objects.
	Listing func(list []Listed) []Listed
}

// Listed is an entry of a listing.
type Listed struct {
	Name    columnar.ObjectName
	Size    int64
	Created time.Time
}

// Hostile is a store that lies as its hooks say. It holds objects in memory while it changes them.
type Hostile struct {
	columnar.Store // the honest one

	mu      sync.Mutex
	hooks   Hooks
	written []columnar.ObjectName
}

// NewHostile wraps an honest store.
func NewHostile(s columnar.Store, h Hooks) *Hostile { return &Hostile{Store: s, hooks: h} }

// Set changes the hooks, between a write and the read that meets them.
func (h *Hostile) Set(hooks Hooks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks = hooks
}

func (h *Hostile) get() Hooks {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hooks
}

// Written returns the names of all objects in the order in which they were finished.
func (h *Hostile) Written() []columnar.ObjectName {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]columnar.ObjectName(nil), h.written...)
}

// Body returns what the honest store has under a name, for hooks that give it back later or elsewhere.
func (h *Hostile) Body(ctx context.Context, name columnar.ObjectName) ([]byte, error) {
	size, err := h.Store.Size(ctx, name)
	if err != nil {
		return nil, err
	}
	return Get(ctx, h.Store, name, 0, size)
}

// Replace puts other content under a name that exists, which no honest store does.
func (h *Hostile) Replace(ctx context.Context, name columnar.ObjectName, body []byte) error {
	if err := h.Store.Delete(ctx, name); err != nil {
		return err
	}
	return Put(ctx, h.Store, name, body)
}

func before(ctx context.Context, h Hooks, op string, name columnar.ObjectName) error {
	if h.Before == nil {
		return nil
	}
	return h.Before(ctx, op, name)
}

// view returns the object as a hostile read sees it.
func (h *Hostile) view(ctx context.Context, hooks Hooks, name columnar.ObjectName) ([]byte, error) {
	real := name
	if hooks.Rename != nil {
		real = hooks.Rename(name)
	}
	body, err := h.Body(ctx, real)
	if err != nil || hooks.Content == nil {
		return body, err
	}
	if body = hooks.Content(name, body); body == nil {
		return nil, fault.New(fault.NotFound, "no such object")
	}
	return body, nil
}

// ReadRange implements columnar.Store.
func (h *Hostile) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	hooks := h.get()
	if err := before(ctx, hooks, "read", name); err != nil {
		return nil, err
	}
	if hooks.Rename == nil && hooks.Content == nil && hooks.Range == nil {
		return h.Store.ReadRange(ctx, name, off, n)
	}
	body, err := h.view(ctx, hooks, name)
	if err != nil {
		return nil, err
	}
	size := int64(len(body))
	if off > size || n > size-off {
		return nil, fault.New(fault.Incomplete, "the object is shorter than the range")
	}
	part := body[off : off+n]
	if hooks.Range != nil {
		part = hooks.Range(name, off, bytes.Clone(part))
	}
	return &hostileReader{Reader: bytes.NewReader(part), size: size}, nil
}

type hostileReader struct {
	*bytes.Reader
	size int64
}

func (r *hostileReader) ObjectSize() (int64, bool) { return r.size, true }
func (r *hostileReader) Close() error              { return nil }

// Size implements columnar.Store.
func (h *Hostile) Size(ctx context.Context, name columnar.ObjectName) (int64, error) {
	hooks := h.get()
	if err := before(ctx, hooks, "size", name); err != nil {
		return 0, err
	}
	var size int64
	var err error
	if hooks.Rename == nil && hooks.Content == nil {
		size, err = h.Store.Size(ctx, name)
	} else {
		var body []byte
		body, err = h.view(ctx, hooks, name)
		size = int64(len(body))
	}
	if err == nil && hooks.Size != nil {
		size = hooks.Size(name, size)
	}
	return size, err
}

// List implements columnar.Store.
func (h *Hostile) List(ctx context.Context, fn func(columnar.ObjectName, int64, time.Time) error) error {
	hooks := h.get()
	if err := before(ctx, hooks, "list", ""); err != nil {
		return err
	}
	if hooks.Listing == nil {
		return h.Store.List(ctx, fn)
	}
	var list []Listed
	err := h.Store.List(ctx, func(name columnar.ObjectName, size int64, created time.Time) error {
		list = append(list, Listed{name, size, created})
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range hooks.Listing(list) {
		if err := fn(l.Name, l.Size, l.Created); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements columnar.Store.
func (h *Hostile) Delete(ctx context.Context, name columnar.ObjectName) error {
	if err := before(ctx, h.get(), "delete", name); err != nil {
		return err
	}
	return h.Store.Delete(ctx, name)
}

// AbortUploads implements columnar.Store.
func (h *Hostile) AbortUploads(ctx context.Context, name columnar.ObjectName) error {
	if err := before(ctx, h.get(), "abort", name); err != nil {
		return err
	}
	return h.Store.AbortUploads(ctx, name)
}
