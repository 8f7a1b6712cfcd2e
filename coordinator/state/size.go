package state

import (
	"context"
	"errors"

	"coldframe/internal/fault"
)

// An answer with bodies is held in memory until its reader has it. These say in bytes what one takes as it is now, before any body is read, so that
// room can be made for that and no more.

const (
	messageCost = 512 // of a message or a link beside its body
	pageSlack   = 256 * messageCost
)

// MaxPageSize is how much memory a page of blobs, messages or links takes at most.
const MaxPageSize = MaxReadBytes

// ReadSize returns how much memory the page of Read takes.
func (s *State) ReadSize(ctx context.Context, user UserID, r Read) (int64, error) {
	p := Page{}
	g := &gather{Read: r, user: user, page: &p, measure: true}
	err := s.gather(ctx, g)
	return g.size, err
}

// Size returns how much memory a page takes, in the measure of ReadSize.
func (p *Page) Size() (n int64) {
	for i := range p.Blobs {
		n += versionsCost + int64(len(p.Blobs[i].Body))
	}
	return n
}

// BlobSize returns how many bytes the body has that Blob reads.
func (s *State) BlobSize(ctx context.Context, user UserID, name string, counter uint64) (size int64, err error) {
	err = s.view(ctx, func(t *tx) error {
		v, err := t.version(user, name, counter)
		size = v.Size
		return err
	})
	return size, noBlob(err)
}

// Cost is how much memory a message takes.
func (m *Message) Cost() int64 { return messageCost + int64(len(m.Body)) }

// Cost is how much memory a link takes.
func (l *Link) Cost() int64 { return messageCost + int64(len(l.Body)) }

// InboxSize returns how much memory a page of a user's mailbox takes at most.
func (s *State) InboxSize(ctx context.Context, user UserID) (n int64, err error) {
	err = s.view(ctx, func(t *tx) error {
		c, err := t.of(user)
		n = min(c.MailBytes+messageCost*c.Mail, MaxMailbox+pageSlack)
		return err
	})
	return n, err
}

// LinksSize returns how much memory a page of a user's device list takes at most.
func (s *State) LinksSize(ctx context.Context, user UserID) (n int64, err error) {
	err = s.view(ctx, func(t *tx) error {
		c, err := t.of(user)
		n = min(int64(c.Links)*(MaxDeviceLink+messageCost), MaxMailbox+pageSlack)
		return err
	})
	return n, err
}

// version returns a version of a blob whose body is there, the newest for counter 0, or fault.NotFound.
func (t *tx) version(user UserID, name string, counter uint64) (Version, error) {
	head, _, err := t.blob(user, name)
	if err != nil {
		return Version{}, err
	}
	for _, v := range head.withBodies() {
		if counter == 0 || v.Counter == counter {
			return v, nil
		}
	}
	return Version{}, fault.NotFound
}

func noBlob(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such blob or version")
	}
	return err
}
