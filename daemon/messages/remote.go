package messages

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const (
	maxRounds       = 8   // of reading blobs that change meanwhile
	maxAcknowledged = 256 // messages at once
	maxName         = 64  // characters of a blob's name
)

// Remote is the coordinator as this package needs it, over a client that is logged in. It is Blobs and Mailbox.
type Remote struct{ client *coordinator.Client }

// NewRemote returns the coordinator behind a client.
func NewRemote(c *coordinator.Client) *Remote { return &Remote{c} }

// coded gives a failure of the coordinator the code that it reported.
func coded(err error) error {
	if e, ok := errors.AsType[*coordinator.Error](err); ok {
		return fault.Wrap(fault.Code(e.Problem.Code), err, "the coordinator refused")
	}
	return err
}

// Hash implements Blobs.
func (r *Remote) Hash(c BlobChange) [hashSize]byte {
	return coordinator.BlobHash(r.client.User(), c.Name, c.Counter, c.Previous, c.Nonce, c.Body)
}

// First implements Blobs: counters begin with 1, as names stay.
func (r *Remote) First(context.Context) (uint64, error) { return 1, nil }

// Swap implements Blobs. What is removed is emptied, which leaves its name.
func (r *Remote) Swap(ctx context.Context, changes []BlobChange) error {
	list := make([]coordinator.Swap, len(changes))
	for i, c := range changes {
		list[i] = coordinator.Swap{Name: c.Name, Counter: int64(c.Counter), Previous: c.Previous[:], Nonce: c.Nonce[:], Body: c.Body}
		if c.Body == nil {
			list[i].Body = []byte{}
		}
	}
	made, err := r.client.Swap(ctx, list...)
	if err != nil {
		return coded(err)
	}
	if len(made.Versions) != len(changes) {
		return fault.New(fault.Incomplete, "the coordinator answered for other blobs")
	}
	for i, c := range changes {
		if hash := r.Hash(c); string(made.Versions[i].Hash) != string(hash[:]) {
			return fault.New(fault.NotAuthentic, "the coordinator answered for other blobs")
		}
	}
	return nil
}

// Read implements Blobs. Counters only rise, so two rounds that find the same were both true between them.
func (r *Remote) Read(ctx context.Context, names []string) ([]Blob, error) {
	before, err := r.round(ctx, names)
	for range maxRounds {
		if err != nil || len(names) == 1 {
			return before, err
		}
		again, err := r.round(ctx, names)
		if err != nil {
			return nil, err
		}
		if slices.EqualFunc(before, again, func(a, b Blob) bool { return a.Name == b.Name && a.version() == b.version() }) {
			return again, nil
		}
		before = again
	}
	return nil, fault.New(fault.Busy, "the blobs change while they are read")
}

func (r *Remote) round(ctx context.Context, names []string) ([]Blob, error) {
	var list []Blob
	for _, name := range names {
		b, err := r.client.Blob(ctx, name, 0)
		if err = coded(err); errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Blob{Name: name, Counter: uint64(b.Counter), Hash: [hashSize]byte(b.Hash), Body: b.Body})
	}
	return list, nil
}

// List implements Blobs.
func (r *Remote) List(ctx context.Context, prefix string) ([]Blob, error) {
	var list []Blob
	for after := before(prefix); ; {
		page, err := r.client.Blobs(ctx, after)
		if err != nil {
			return nil, coded(err)
		}
		for _, b := range page.Blobs {
			if b.Name <= after || len(b.Newest.Hash) != hashSize || b.Newest.Counter < 1 {
				return nil, fault.New(fault.NotAuthentic, "the coordinator's list is not one")
			}
			if after = b.Name; !strings.HasPrefix(b.Name, prefix) {
				return list, nil // those that do stand together
			}
			list = append(list, Blob{Name: b.Name, Counter: uint64(b.Newest.Counter), Hash: [hashSize]byte(b.Newest.Hash)})
		}
		if !page.More || len(page.Blobs) == 0 {
			return list, nil
		}
	}
}

// before returns a name after which those that begin with prefix come next: the last one of 64 characters before prefix itself.
func before(prefix string) string {
	const letters = "-0123456789abcdefghijklmnopqrstuvwxyz"
	last := len(prefix) - 1
	i := strings.IndexByte(letters, prefix[last])
	if i <= 0 {
		return prefix[:last]
	}
	name := prefix[:last] + letters[i-1:i]
	return name + strings.Repeat("z", maxName-len(name))
}

// Post implements Mailbox.
func (r *Remote) Post(ctx context.Context, receiver, id string, body []byte) error {
	_, err := r.client.Send(ctx, receiver, coordinator.OutgoingMessage{Id: id, Body: body})
	return coded(err)
}

// Inbox implements Mailbox.
func (r *Remote) Inbox(ctx context.Context, after uint64) (list []Envelope, more bool, err error) {
	in, err := r.client.Inbox(ctx, int64(after))
	if err != nil {
		return nil, false, coded(err)
	}
	for _, e := range in.Messages {
		if e.Sequence <= int64(after) {
			return nil, false, fault.New(fault.NotAuthentic, "the coordinator's mailbox is not in order")
		}
		after = uint64(e.Sequence)
		list = append(list, Envelope{Sequence: after, ID: e.Id, Sender: e.Sender, Body: e.Body})
	}
	return list, in.More && len(list) > 0, nil
}

// Acknowledge implements Mailbox.
func (r *Remote) Acknowledge(ctx context.Context, list []Acknowledgement) error {
	for some := range slices.Chunk(list, maxAcknowledged) {
		out := make([]coordinator.Acknowledgement, len(some))
		for i, a := range some {
			out[i] = coordinator.Acknowledgement{Sequence: int64(a.Sequence), Id: a.ID}
		}
		if err := r.client.Acknowledge(ctx, out...); err != nil {
			return coded(err)
		}
	}
	return nil
}
