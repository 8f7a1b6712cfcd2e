package remote

import (
	"context"
	"errors"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const (
	maxLink  = 16 << 10 // bytes of one link
	maxLinks = 32 << 20 // bytes of a device list that are taken at once
	maxTries = 3
)

// Links is the user's device list.
type Links struct{ Client Client }

// Add appends a link; sequence counts from 1. The same again changes nothing. fault.Conflict: another link took its place, or there is none
// before it.
func (l Links) Add(ctx context.Context, link []byte, sequence uint64) error {
	if len(link) > maxLink {
		return fault.New(fault.TooLarge, "a link of the device list has at most %d KiB", maxLink>>10)
	}
	c, err := l.Client()
	if err != nil {
		return err
	}
	return unsure(c.AddDeviceLink(ctx, coordinator.DeviceLink{Link: link, Sequence: int64(sequence)}))
}

// After returns the links that follow a sequence number, without a gap, unchecked. fault.TooLarge: they have more than 32 MiB.
func (l Links) After(ctx context.Context, sequence uint64) ([][]byte, error) {
	c, err := l.Client()
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for size, more := 0, true; more; {
		page, err := c.DeviceLinks(ctx, c.User(), int64(sequence))
		if err != nil {
			return nil, failure(err)
		}
		for _, link := range page.Links {
			if sequence++; link.Sequence != int64(sequence) || len(link.Link) == 0 || len(link.Link) > maxLink {
				return nil, errOther
			}
			if size += len(link.Link); size > maxLinks {
				return nil, fault.New(fault.TooLarge, "the device list has more than %d MiB", maxLinks>>20)
			}
			list = append(list, link.Link)
		}
		if more = page.More; more && len(page.Links) == 0 {
			return nil, errOther
		}
	}
	return list, nil
}

// Records are small sealed records of the user by name. Whether they are the newest, or were ever written, is for who opens them to say.
type Records struct{ store store }

// NewRecords returns the records behind a client.
func NewRecords(c Client) *Records { return &Records{store{client: c}} }

// Read returns a record; nil if there is none.
func (r *Records) Read(ctx context.Context, name string) ([]byte, error) {
	list, _, err := r.store.read(ctx, []string{name}, true)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return bodyOf(&list[0]), nil
}

// List returns the names of the records that begin with prefix, in order.
func (r *Records) List(ctx context.Context, prefix string) ([]string, error) {
	list, err := r.store.all(ctx, prefix)
	var names []string
	for i := range list {
		if !list[i].IsDeleted() {
			names = append(names, list[i].Name)
		}
	}
	return names, err
}

// Write puts a body in the place of whatever there is. fault.Conflict: others do the same all the time.
func (r *Records) Write(ctx context.Context, name string, body []byte) error {
	if len(body) == 0 {
		return fault.New(fault.InvalidRequest, "a record is not empty")
	}
	return r.put(ctx, coordinator.Swap{Name: name, Body: body})
}

// Remove removes a record; one that is not there is no failure.
func (r *Records) Remove(ctx context.Context, name string) error {
	return r.put(ctx, coordinator.Swap{Name: name, Delete: new(true)})
}

// put makes a swap on whatever version there is. Where its answer was lost, or another was faster, it looks again.
func (r *Records) put(ctx context.Context, w coordinator.Swap) error {
	for try := 1; ; try++ {
		list, _, err := r.store.read(ctx, []string{w.Name}, false)
		if err != nil {
			return err
		}
		w.Counter, w.Previous = 0, make([]byte, coordinator.HashSize)
		if len(list) > 0 {
			if isMade(&list[0], w) {
				return nil
			}
			w.Counter, w.Previous = list[0].Newest.Counter+1, list[0].Newest.Hash
		} else if w.Delete != nil {
			return nil
		}
		err = r.store.swap(ctx, []coordinator.Swap{w}, plain)
		if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Unavailable) || try == maxTries || ctx.Err() != nil {
			return err
		}
	}
}

// isMade reports whether a blob is what a swap would make of it.
func isMade(b *coordinator.Blob, w coordinator.Swap) bool {
	if w.Delete != nil || b.IsDeleted() {
		return w.Delete != nil && b.IsDeleted()
	}
	return coordinator.BodyHash(w.Body) == [coordinator.HashSize]byte(b.Newest.BodyHash)
}
