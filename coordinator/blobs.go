package coordinator

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"coldframe/internal/fault"
)

// What is used up when the coordinator answers with fault.StorageFull: the resource of a problem.
const (
	QuotaResource   = "quota"   // the caller's own
	MailboxResource = "mailbox" // the receiver's
	DiskResource    = "disk"    // the coordinator's
)

// Resource is one of these with fault.StorageFull, if the coordinator said which; anything else that it may have said is empty.
func (e *Error) Resource() string {
	r := e.Problem.Resource
	if r == nil || !errors.Is(e, fault.StorageFull) || *r != QuotaResource && *r != MailboxResource && *r != DiskResource {
		return ""
	}
	return *r
}

var errOtherBlob = fault.New(fault.NotAuthentic, "the coordinator answered with another blob")

// ReadBlobs returns blobs of one moment, or those that changed since a change. Each version is checked to fit its hash, each to follow the one before it, and
// bodies to fit theirs; that they are the newest, and that none is missing, cannot be.
func (c *Client) ReadBlobs(ctx context.Context, r BlobRead) (BlobPage, error) {
	page, err := do[BlobPage](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.ReadBlobs(ctx, r, e) })
	for i := 0; err == nil && i < len(page.Blobs); i++ {
		b := &page.Blobs[i]
		if err = b.check(c.User()); err == nil && r.Bodies != nil && *r.Bodies && !b.IsDeleted() {
			err = b.checkBody()
		}
	}
	if err != nil {
		return BlobPage{}, err
	}
	return page, nil
}

// IsDeleted reports whether the newest version is the deletion of the blob.
func (b *Blob) IsDeleted() bool { return b.Deleted != nil && *b.Deleted }

// check wants every version to fit its hash and to follow the one before it, and a deletion to be one.
func (b *Blob) check(user UserID) error {
	if len(b.Earlier) > 8 || b.Kept < 0 || b.Kept > len(b.Earlier) || b.IsDeleted() != bytes.Equal(b.Newest.BodyHash, make([]byte, HashSize)) {
		return errOtherBlob
	}
	later := b.Newest
	if err := later.check(user, b.Name); err != nil {
		return err
	}
	for _, v := range b.Earlier {
		if err := v.check(user, b.Name); err != nil {
			return err
		}
		if v.Counter+1 != later.Counter || !bytes.Equal(v.Hash, later.Previous) {
			return errOtherBlob
		}
		later = v
	}
	return nil
}

func (b *Blob) checkBody() error {
	var body []byte
	if b.Body != nil {
		body = *b.Body
	}
	if h := BodyHash(body); !bytes.Equal(h[:], b.Newest.BodyHash) || int64(len(body)) != b.Newest.Size {
		return errOtherBlob
	}
	return nil
}

// check wants a version to fit its hash.
func (v *BlobVersion) check(user UserID, name string) error {
	if v.Counter < 1 || len(v.Previous) != HashSize || len(v.Nonce) != NonceSize || len(v.BodyHash) != HashSize {
		return errOtherBlob
	}
	h := Header{uint64(v.Counter), [HashSize]byte(v.Previous), [NonceSize]byte(v.Nonce), [HashSize]byte(v.BodyHash)}.Hash(user, name)
	if !bytes.Equal(h[:], v.Hash) {
		return errOtherBlob
	}
	return nil
}

// Blob returns a version of a blob, the newest for counter 0. That its parts fit its hash is checked; that it is the newest cannot be.
func (c *Client) Blob(ctx context.Context, name string, counter int64) (BlobBody, error) {
	p := &GetBlobParams{}
	if counter > 0 {
		p.Counter = &counter
	}
	b, err := do[BlobBody](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.GetBlob(ctx, name, p, e) })
	if err != nil {
		return b, err
	}
	body := BodyHash(b.Body)
	v := BlobVersion{Counter: b.Counter, Hash: b.Hash, Previous: b.Previous, Nonce: b.Nonce, BodyHash: body[:]}
	if counter > 0 && b.Counter != counter {
		return BlobBody{}, errOtherBlob
	}
	if err := v.check(c.User(), name); err != nil {
		return BlobBody{}, err
	}
	return b, nil
}
