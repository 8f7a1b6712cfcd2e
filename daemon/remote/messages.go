package remote

import (
	"context"
	"slices"

	"coldframe/coordinator"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

const maxAcknowledged = 256 // messages at once

// Blobs are the user's blobs, for the records of sessions.
type Blobs struct {
	store store
	user  string
}

var _ messages.Blobs = (*Blobs)(nil)

// NewBlobs returns the blobs of a user behind a client.
func NewBlobs(c Client, user string) *Blobs { return &Blobs{store{client: c}, user} }

// Before is the version that a change of a blob takes the place of, as the vault names it in keystore.Tx.Attach and Detach. Of a blob that
// never was it is the counter before the first.
func Before(c messages.BlobChange) keystore.Mark {
	return keystore.Mark{Counter: c.Counter - 1, Hash: c.Previous}
}

// Hash implements messages.Blobs.
func (b *Blobs) Hash(c messages.BlobChange) [coordinator.HashSize]byte {
	return hashOf(b.user, swapOf(c))
}

// First implements messages.Blobs.
func (b *Blobs) First(ctx context.Context) (uint64, error) { return b.store.first(ctx) }

func swapOf(c messages.BlobChange) coordinator.Swap {
	w := coordinator.Swap{Name: c.Name, Counter: int64(c.Counter), Previous: c.Previous[:], Nonce: c.Nonce[:], Body: c.Body}
	if c.Remove {
		w.Delete = new(true)
	}
	return w
}

// Swap implements messages.Blobs.
func (b *Blobs) Swap(ctx context.Context, changes []messages.BlobChange) error {
	list := make([]coordinator.Swap, len(changes))
	for i, c := range changes {
		list[i] = swapOf(c)
	}
	return b.store.swap(ctx, list, plain)
}

// Read implements messages.Blobs. An answer that does not hold all of them is no answer of one moment.
func (b *Blobs) Read(ctx context.Context, names []string) ([]messages.Blob, error) {
	if len(names) > maxNames {
		return nil, fault.New(fault.TooLarge, "%d blobs at once", len(names))
	}
	list, more, err := b.store.read(ctx, names, true)
	if err == nil && more {
		err = fault.New(fault.TooLarge, "the record is too large to be read at once")
	}
	return blobsOf(list), err
}

// List implements messages.Blobs. Blobs that were removed are in it as long as the coordinator knows them: a change must name them.
func (b *Blobs) List(ctx context.Context, prefix string) ([]messages.Blob, error) {
	list, err := b.store.all(ctx, prefix)
	return blobsOf(list), err
}

func blobsOf(list []coordinator.Blob) (out []messages.Blob) {
	for i := range list {
		v := &list[i].Newest
		out = append(out, messages.Blob{
			Name: list[i].Name, Counter: uint64(v.Counter), Hash: [coordinator.HashSize]byte(v.Hash), Body: bodyOf(&list[i]),
			Removed: list[i].IsDeleted(), Before: hashesBefore(&list[i]),
		})
	}
	return out
}

// hashesBefore returns the hashes of the versions before the newest, newest first, as far as the answer has them.
func hashesBefore(b *coordinator.Blob) [][coordinator.HashSize]byte {
	list := [][coordinator.HashSize]byte{[coordinator.HashSize]byte(b.Newest.Previous)}
	for _, v := range b.Earlier {
		list = append(list, [coordinator.HashSize]byte(v.Previous))
	}
	return list
}

// Mailbox is the user's mailbox, and the way into those of others.
type Mailbox struct{ Client Client }

var _ messages.Mailbox = Mailbox{}

// Post implements messages.Mailbox.
func (m Mailbox) Post(ctx context.Context, receiver, id string, body []byte) error {
	c, err := m.Client()
	if err != nil {
		return err
	}
	return failure(c.Send(ctx, receiver, coordinator.OutgoingMessage{Id: id, Body: body}))
}

// Inbox implements messages.Mailbox.
func (m Mailbox) Inbox(ctx context.Context, after uint64) (list []messages.Envelope, more bool, err error) {
	c, err := m.Client()
	if err != nil {
		return nil, false, err
	}
	in, err := c.Inbox(ctx, int64(after))
	if err != nil {
		return nil, false, failure(err)
	}
	for _, e := range in.Messages {
		if e.Sequence <= int64(after) {
			return nil, false, fault.New(fault.NotAuthentic, "the coordinator's mailbox is not in order")
		}
		after = uint64(e.Sequence)
		list = append(list, messages.Envelope{Sequence: after, ID: e.Id, Sender: e.Sender, Body: e.Body})
	}
	return list, in.More && len(list) > 0, nil
}

// Acknowledge implements messages.Mailbox.
func (m Mailbox) Acknowledge(ctx context.Context, list []messages.Acknowledgement) error {
	c, err := m.Client()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(list, maxAcknowledged) {
		out := make([]coordinator.Acknowledgement, len(some))
		for i, a := range some {
			out[i] = coordinator.Acknowledgement{Sequence: int64(a.Sequence), Id: a.ID}
		}
		if err := c.Acknowledge(ctx, out...); err != nil {
			return failure(err)
		}
	}
	return nil
}
