package contacts

import (
	"bytes"
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// The marks of the user's own newest bundles are an item: all devices of the user publish one chain.
const (
	kindPublished = "prekey-bundle"
	itemPublished = "prekey-bundle"
)

// Upload is what is published.
type Upload struct {
	Sequence uint64
	Bundle   []byte
	OneTime  [][]byte
}

// Publish signs the next bundle of the chain and one-time prekeys. That its place is taken is durable before it returns (THREATS R6); one
// that never reached the coordinator is a gap, which is none's concern. lastResort is a bundle with the last-resort KEM prekey, each of
// oneTime one with one-time keys, all of ratchet.PreKeys. Errors: fault.InvalidRequest for other keys than this user's.
func (b *Book) Publish(ctx context.Context, k Keys, lastResort ratchet.Bundle, oneTime []ratchet.Bundle) (Upload, error) {
	if k.User != b.o.Own.User || k.Identity.Public() != b.o.Own.Identity || !bytes.Equal(k.signer().Public(), b.o.Own.Signing) {
		return Upload{}, fault.New(fault.InvalidRequest, "the keys are not this user's")
	}
	var u Upload
	for _, o := range oneTime {
		e, err := signOneTime(k, o)
		if err != nil {
			return Upload{}, err
		}
		u.OneTime = append(u.OneTime, e)
	}
	err := b.o.Vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		marks, err := ownMarks(tx)
		if err != nil {
			return err
		}
		envelope, next, err := signBundle(k, lastResort, marks.Newest, b.o.Clock())
		if err != nil {
			return err
		}
		u.Sequence, u.Bundle = next.Sequence, envelope
		marks.Newest = next
		return putOwnMarks(tx, marks)
	})
	if err != nil {
		return Upload{}, err
	}
	return u, nil
}

// published is the body of the item: the newest bundle that was signed, and the newest known to be at the coordinator.
type published struct {
	Newest   Mark `cbor:"1,keyasint"`
	Uploaded Mark `cbor:"2,keyasint"`
}

func ownMarks(from items) (published, error) {
	it, err := from.Get(itemPublished)
	if errors.Is(err, fault.NotFound) {
		return published{}, nil
	}
	var p published
	if err == nil {
		err = unmarshalExact(it.Body, &p)
	}
	return p, err
}

func putOwnMarks(tx *keystore.Tx, p published) error {
	body, err := signed.Marshal(p)
	if err != nil {
		return err
	}
	return tx.Put(keystore.Item{ID: itemPublished, Kind: kindPublished, Body: body})
}

// Uploaded notes that the coordinator took an upload: an older bundle from it is rolled_back from then on.
func (b *Book) Uploaded(ctx context.Context, u Upload) error {
	return b.ownSeen(ctx, Mark{Sequence: u.Sequence, Hash: signed.Hash(u.Bundle)})
}

// ownSeen takes over a mark of the user's own, if it is news.
func (b *Book) ownSeen(ctx context.Context, m Mark) error {
	return b.o.Vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		p, err := ownMarks(tx)
		if err != nil || p.Uploaded.Sequence >= m.Sequence {
			return err
		}
		p.Uploaded = m
		if p.Newest.Sequence < m.Sequence {
			p.Newest = m
		}
		return putOwnMarks(tx, p)
	})
}

// CheckOwn judges what the coordinator hands out under the user's own id (THREATS K03). A newer bundle under the user's own keys is one
// that this vault forgot: its place is taken over, so that the next one follows it. Nothing else is ever changed by it. Errors, with an
// event each: fault.KeyChanged for other keys than the user's; fault.RolledBack and fault.Forked by the user's own mark; those of Verify,
// but for the time.
func (b *Book) CheckOwn(ctx context.Context, p Published) error {
	err := b.checkOwn(ctx, p.Bundle)
	switch code := fault.CodeOf(err); {
	case err == nil:
	case code == fault.KeyChanged:
		b.notify(Event{Type: EventOwnChanged, User: b.o.Own.User, Code: code})
	default:
		b.notify(Event{Type: EventRefused, User: b.o.Own.User, Code: code})
	}
	return err
}

func (b *Book) checkOwn(ctx context.Context, envelope []byte) error {
	body, err := openBundle(b.o.Own.User, envelope)
	if err != nil {
		return err
	}
	if body.Card.Identity != b.o.Own.Identity || !bytes.Equal(body.Card.Signing[:], b.o.Own.Signing) {
		return fault.New(fault.KeyChanged, "the coordinator hands out other keys under your own id")
	}
	found := Mark{Sequence: body.Sequence, Hash: signed.Hash(envelope)}
	p, err := ownMarks(b.o.Vault)
	if err != nil || found == p.Uploaded {
		return err
	}
	switch {
	case found.Sequence < p.Uploaded.Sequence:
		return fault.New(fault.RolledBack, "the coordinator hands out an older bundle of yours")
	case found.Sequence == p.Uploaded.Sequence, found.Sequence == p.Newest.Sequence && found != p.Newest:
		return fault.New(fault.Forked, "two bundles of yours have one number")
	}
	return b.ownSeen(ctx, found)
}
