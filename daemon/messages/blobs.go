package messages

import (
	"context"
	"crypto/rand"
	"errors"

	"coldframe/internal/fault"
)

const hashSize = 32

// BlobChange puts a new version of a blob in the place of the one that it names.
type BlobChange struct {
	Name     string
	Counter  uint64 // one more than that of the version before
	Previous [hashSize]byte
	Nonce    [16]byte // random
	Body     []byte   // empty: nothing is left but what the next change must name
	Remove   bool     // the blob goes; its name is not used again
}

// Blob is one version of a blob. Its hash was made of the rest, and not taken from the coordinator.
type Blob struct {
	Name    string
	Counter uint64
	Hash    [hashSize]byte
	Body    []byte // nil in lists; empty if the blob was emptied or removed
	Removed bool   // known in lists, too

	// Before are the hashes of the versions before this one, newest first: 9, or all there are. Each is part of what the one after it is the
	// hash of.
	Before [][hashSize]byte
}

// Blobs are the user's sealed blobs at the coordinator, which is believed in nothing that it says about them.
type Blobs interface {
	// Swap makes all changes or none. The same list again succeeds. fault.Conflict: some blob has another version than the one named;
	// fault.Unavailable: nobody knows whether it was made.
	Swap(ctx context.Context, changes []BlobChange) error
	// Read returns the newest versions, as of one moment, of those of the names that there are. A blob that was removed is left out, or empty.
	Read(ctx context.Context, names []string) ([]Blob, error)
	// List returns the blobs whose names begin with prefix, without their bodies, in the order of their names.
	List(ctx context.Context, prefix string) ([]Blob, error)
	// First returns a counter that a blob which is not there yet may begin with; it is asked for often, and again after a fault.Conflict.
	First(ctx context.Context) (uint64, error)
	// Hash returns the hash of the version that a change makes.
	Hash(c BlobChange) [hashSize]byte
}

// Envelope is a message as the mailbox holds it.
type Envelope struct {
	Sequence uint64
	ID       string // chosen by the sender
	Sender   string // by the coordinator's word; that it is true shows when the message opens
	Body     []byte
}

// Acknowledgement names a message that may leave the mailbox.
type Acknowledgement struct {
	Sequence uint64
	ID       string
}

// Mailbox carries messages.
type Mailbox interface {
	// Post puts a message into the receiver's mailbox. The same again does nothing; another one under the same id is fault.Conflict.
	Post(ctx context.Context, receiver, id string, body []byte) error
	// Inbox returns our messages after a sequence number, in order, and whether there are more.
	Inbox(ctx context.Context, after uint64) (list []Envelope, more bool, err error)
	// Acknowledge removes messages.
	Acknowledge(ctx context.Context, list []Acknowledgement) error
}

// change returns the change that follows a version of a blob.
func change(name string, before version, body []byte) BlobChange {
	c := BlobChange{Name: name, Counter: before.counter + 1, Previous: before.hash, Body: body}
	rand.Read(c.Nonce[:]) //nolint:errcheck // ends the process instead of failing
	return c
}

// version names one version of a blob.
type version struct {
	counter uint64
	hash    [hashSize]byte
}

// or returns the version, or for a blob that is not there yet the one that its first version follows.
func (v version) or(first uint64) version {
	if v.counter == 0 {
		v.counter = first - 1
	}
	return v
}

func (b *Blob) version() version { return version{b.Counter, b.Hash} }

// swap makes changes at the coordinator. An answer that was lost is asked for once more: the same list twice is one swap.
func (m *Messages) swap(ctx context.Context, changes []BlobChange) error {
	err := m.config.Blobs.Swap(ctx, changes)
	if isUnavailable(err) && ctx.Err() == nil {
		err = m.config.Blobs.Swap(ctx, changes)
	}
	return err
}

// readRecord reads the blobs of a record, the head first. What is too large for one answer is read in pieces, until the head is the same
// afterwards: every change of a record changes that.
func (m *Messages) readRecord(ctx context.Context, names []string) ([]Blob, error) {
	list, err := m.config.Blobs.Read(ctx, names)
	if !errors.Is(err, fault.TooLarge) {
		return list, err
	}
	for range readTries {
		if list, err = m.readPieces(ctx, names); err != nil {
			return nil, err
		}
		head, err := m.config.Blobs.Read(ctx, names[:1])
		if err != nil {
			return nil, err
		}
		if named(head, names[0]).Hash == named(list, names[0]).Hash {
			return list, nil
		}
	}
	return nil, fault.New(fault.Busy, "the record changes while it is read")
}

// readPieces reads blobs in as many requests as it takes.
func (m *Messages) readPieces(ctx context.Context, names []string) (list []Blob, err error) {
	if list, err = m.config.Blobs.Read(ctx, names); !errors.Is(err, fault.TooLarge) || len(names) < 2 {
		return list, err
	}
	half := len(names) / 2
	if list, err = m.readPieces(ctx, names[:half]); err != nil {
		return nil, err
	}
	rest, err := m.readPieces(ctx, names[half:])
	return append(list, rest...), err
}
