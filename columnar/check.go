package columnar

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"coldframe/internal/fault"
)

// ProbeStore tries what a store must be able to do, with a few small objects and one of the given length, which a store that sends
// large objects in parts sends in parts. It removes all of them again, as far as the store can. Store.Check is made of it.
func ProbeStore(ctx context.Context, s Store, large int64) []Probe {
	small, big := NewObjectName(), NewObjectName()
	body := make([]byte, 4096)
	rand.Read(body) //nolint:errcheck // never fails
	var probes []Probe
	try := func(name, works string, f func() error) bool {
		err := f()
		p := Probe{Name: name, Err: err, Text: works}
		if err != nil {
			p.Text = advice(err)
		}
		probes = append(probes, p)
		return err == nil
	}
	if !try("write", "an object was written", func() error { return putBytes(ctx, s, small, body) }) {
		return probes
	}
	try("read a range", "a range of it was read", func() error { return probeRange(ctx, s, small, body) })
	try("refuse to replace", "a second object of that name was refused", func() error { return probeReplace(ctx, s, small, body) })
	try("write in parts", "a large object was written in parts", func() error { return probeParts(ctx, s, big, large) })
	try("delete", "the objects were deleted", func() error { return probeDelete(ctx, s, small, big) })
	return probes
}

func putBytes(ctx context.Context, s Store, name ObjectName, body []byte) error {
	u, err := s.Create(ctx, name, CreateOptions{SizeHint: int64(len(body))})
	if err != nil {
		return err
	}
	if _, err := u.Write(body); err != nil {
		return errors.Join(err, u.Abort())
	}
	return u.Close()
}

func probeRange(ctx context.Context, s Store, name ObjectName, body []byte) error {
	const off, n = 1000, 2000
	got, err := readBytes(ctx, s, name, off, n)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, body[off:off+n]) {
		return fault.New(fault.NotAuthentic, "the store gave back other bytes than were written")
	}
	return nil
}

func readBytes(ctx context.Context, s Store, name ObjectName, off, n int64) ([]byte, error) {
	r, err := s.ReadRange(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func probeReplace(ctx context.Context, s Store, name ObjectName, body []byte) error {
	err := putBytes(ctx, s, name, make([]byte, len(body)))
	switch {
	case errors.Is(err, fault.Conflict):
		return nil
	case err != nil:
		return err
	}
	return fault.New(fault.Policy, "the store replaced an object that existed; it must support If-None-Match")
}

func probeParts(ctx context.Context, s Store, name ObjectName, size int64) error {
	u, err := s.Create(ctx, name, CreateOptions{SizeHint: size})
	if err != nil {
		return err
	}
	if _, err := io.CopyN(u, zeros{}, size); err != nil {
		return errors.Join(err, u.Abort())
	}
	if err := u.Close(); err != nil {
		return err
	}
	got, err := s.Size(ctx, name)
	if err == nil && got != size {
		err = fault.New(fault.Incomplete, "the store says %d bytes where %d were written", got, size)
	}
	return err
}

func probeDelete(ctx context.Context, s Store, names ...ObjectName) error {
	for _, name := range names {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
		if _, err := s.Size(ctx, name); !errors.Is(err, fault.NotFound) {
			return fault.Wrap(fault.Policy, err, "a deleted object is still there")
		}
	}
	return nil
}

// advice says for people what to do about err.
func advice(err error) string {
	hint := map[fault.Code]string{
		fault.Forbidden:   "check the credentials, and that they may write, read, list and delete",
		fault.Unavailable: "check the address and that the store is running",
		fault.StorageFull: "make room, or raise the quota",
		fault.NotFound:    "check the bucket and the prefix",
		fault.Policy:      "this store or address cannot be used as it is configured",
	}[fault.CodeOf(err)]
	detail := string(fault.CodeOf(err))
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Detail != "" {
		detail = f.Detail
	}
	if hint == "" {
		return detail
	}
	return fmt.Sprintf("%s: %s", detail, hint)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
