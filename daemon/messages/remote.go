package messages

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const (
	maxNames        = 256     // blobs read at once
	maxAcknowledged = 256     // messages at once
	roomAboveFloor  = 1 << 10 // for blobs that are deleted meanwhile
	maxFloor        = 1 << 52
)

// Remote is the coordinator as this package needs it, over a client that is logged in. It is Blobs and Mailbox.
type Remote struct {
	client *coordinator.Client
	first  atomic.Uint64 // that new blobs begin with; 0: not asked yet
}

// NewRemote returns the coordinator behind a client.
func NewRemote(c *coordinator.Client) *Remote { return &Remote{client: c} }

// coded gives a failure of the coordinator the code that it reported.
func coded(err error) error {
	if e, ok := errors.AsType[*coordinator.Error](err); ok {
		return fault.Wrap(fault.Code(e.Problem.Code), err, "the coordinator refused")
	}
	return err
}

// Hash implements Blobs.
func (r *Remote) Hash(c BlobChange) [hashSize]byte {
	h := coordinator.Header{Counter: c.Counter, Previous: c.Previous, Nonce: c.Nonce}
	if !c.Remove {
		h.Body = coordinator.BodyHash(c.Body)
	}
	return h.Hash(r.client.User(), c.Name)
}

// First implements Blobs: some room above the floor, so that deletions of another device do not come in between.
func (r *Remote) First(ctx context.Context) (uint64, error) {
	if n := r.first.Load(); n > 0 {
		return n, nil
	}
	one := 1
	page, err := r.client.ReadBlobs(ctx, coordinator.BlobRead{Limit: &one})
	if err != nil {
		return 0, coded(err)
	}
	if page.Floor < 0 || page.Floor > maxFloor {
		return 0, fault.New(fault.NotAuthentic, "the coordinator's counters are used up")
	}
	n := uint64(page.Floor) + roomAboveFloor
	r.first.Store(n)
	return n, nil
}

// Swap implements Blobs.
func (r *Remote) Swap(ctx context.Context, changes []BlobChange) error {
	list := make([]coordinator.Swap, len(changes))
	for i, c := range changes {
		list[i] = coordinator.Swap{Name: c.Name, Counter: int64(c.Counter), Previous: c.Previous[:], Nonce: c.Nonce[:], Body: c.Body}
		if c.Body == nil {
			list[i].Body = []byte{}
		}
		if c.Remove {
			list[i].Delete = &c.Remove
		}
	}
	made, err := r.client.Swap(ctx, list...)
	if err != nil {
		r.first.Store(0) // perhaps it was the floor
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

// Read implements Blobs. An answer that does not hold all of them is no answer of one moment.
func (r *Remote) Read(ctx context.Context, names []string) ([]Blob, error) {
	if len(names) > maxNames {
		return nil, fault.New(fault.TooLarge, "%d blobs at once", len(names))
	}
	bodies := true
	page, err := r.client.ReadBlobs(ctx, coordinator.BlobRead{Names: &names, Bodies: &bodies})
	if err != nil {
		return nil, coded(err)
	}
	if page.More {
		return nil, fault.New(fault.TooLarge, "the record is too large to be read at once")
	}
	var list []Blob
	for _, b := range page.Blobs {
		if !slices.Contains(names, b.Name) {
			return nil, fault.New(fault.NotAuthentic, "the coordinator answered with other blobs")
		}
		out := Blob{Name: b.Name, Counter: uint64(b.Newest.Counter), Hash: [hashSize]byte(b.Newest.Hash)}
		if b.Body != nil {
			out.Body = *b.Body
		}
		list = append(list, out)
	}
	return list, nil
}

// List implements Blobs.
func (r *Remote) List(ctx context.Context, prefix string) ([]Blob, error) {
	var list []Blob
	read := coordinator.BlobRead{Prefix: &prefix}
	for {
		page, err := r.client.ReadBlobs(ctx, read)
		if err != nil {
			return nil, coded(err)
		}
		for _, b := range page.Blobs {
			if !strings.HasPrefix(b.Name, prefix) || len(list) > 0 && b.Name <= list[len(list)-1].Name {
				return nil, fault.New(fault.NotAuthentic, "the coordinator's list is not one")
			}
			list = append(list, Blob{Name: b.Name, Counter: uint64(b.Newest.Counter), Hash: [hashSize]byte(b.Newest.Hash)})
		}
		if !page.More || len(page.Blobs) == 0 {
			return list, nil
		}
		read.After = &page.Blobs[len(page.Blobs)-1].Name
	}
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
