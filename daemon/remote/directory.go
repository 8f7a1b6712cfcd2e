package remote

import (
	"context"
	"math"
	"sync"

	"coldframe/coordinator"
	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
)

// maxAsked is how many fetches without an answer are remembered.
const maxAsked = 256

// Directory finds people at the coordinator, and publishes the user's own prekeys there. Its methods may be called by several goroutines.
type Directory struct {
	client Client

	mu    sync.Mutex
	asked map[string]string // user, and the id of a fetch whose answer was lost: it may have used up a one-time prekey
}

var _ contacts.Directory = (*Directory)(nil)

// NewDirectory returns the directory behind a client.
func NewDirectory(c Client) *Directory { return &Directory{client: c, asked: map[string]string{}} }

// FindUser implements contacts.Directory.
func (d *Directory) FindUser(ctx context.Context, emailHash contacts.Hash) (user string, err error) {
	c, err := d.client()
	if err != nil {
		return "", err
	}
	user, err = c.Lookup(ctx, emailHash[:])
	return user, failure(err)
}

// FetchBundle implements contacts.Directory. A fetch whose answer was lost is made again, under its id, by the next call for that user: so it
// uses up one one-time prekey and not two.
func (d *Directory) FetchBundle(ctx context.Context, user string) (contacts.Published, error) {
	c, err := d.client()
	if err != nil {
		return contacts.Published{}, err
	}
	request := d.take(user)
	k, err := c.FetchPreKeys(ctx, user, request)
	if fault.CodeOf(err) == fault.Unavailable {
		d.keep(user, request)
	}
	if err != nil {
		return contacts.Published{}, failure(err)
	}
	p := contacts.Published{Bundle: k.Bundle}
	if k.OneTime != nil {
		p.OneTime = *k.OneTime
	}
	return p, nil
}

// take returns the id of the fetch of a user that had no answer, which is this caller's alone from then on, or a new one.
func (d *Directory) take(user string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, ok := d.asked[user]
	if !ok {
		return coordinator.NewRequestID()
	}
	delete(d.asked, user)
	return id
}

func (d *Directory) keep(user, request string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) >= maxAsked {
		clear(d.asked)
	}
	d.asked[user] = request
}

// FetchOwn returns what the coordinator hands out under the user's own id, for contacts.Book.CheckOwn. It uses up a one-time prekey.
func (d *Directory) FetchOwn(ctx context.Context) (contacts.Published, error) {
	c, err := d.client()
	if err != nil {
		return contacts.Published{}, err
	}
	return d.FetchBundle(ctx, c.User())
}

// Publish offers prekeys, with replace in the place of all one-time ones that are there, and returns how many of those are there then. The
// same again changes nothing. Errors: fault.Conflict if something with this number or a higher one was offered before; fault.StorageFull
// for more one-time prekeys than are kept.
func (d *Directory) Publish(ctx context.Context, u contacts.Upload, replace bool) (left int, err error) {
	c, err := d.client()
	if err != nil {
		return 0, err
	}
	if u.Sequence > math.MaxInt64 {
		return 0, fault.New(fault.InvalidRequest, "a bundle has a smaller number")
	}
	up := coordinator.PreKeyUpload{Sequence: int64(u.Sequence), Bundle: u.Bundle, OneTime: u.OneTime, Replace: &replace}
	if up.OneTime == nil {
		up.OneTime = [][]byte{}
	}
	n, err := c.PutPreKeys(ctx, up)
	return max(0, n.OneTimeLeft), unsure(err)
}

// Withdraw removes all prekeys that were offered, whoever did it; proof is that of the login. The same again changes nothing. Errors: fault.Forbidden for another
// proof.
func (d *Directory) Withdraw(ctx context.Context, proof keystore.Proof) error {
	c, err := d.client()
	if err != nil {
		return err
	}
	p := bytesOf(proof, c.URL())
	defer secret.Wipe(p)
	return unsure(c.WithdrawPreKeys(ctx, p))
}

// PreKeyStatus is what the coordinator says that it has of the user.
type PreKeyStatus struct {
	Sequence uint64        // of the last upload; 0: there was none
	Bundle   contacts.Hash // SHA-256 of the bundle; zero if there is none
	Left     int           // one-time prekeys
}

// Status returns the coordinator's word on what it hands out for the user: mistakes show in it, lies do not (CheckOwn).
func (d *Directory) Status(ctx context.Context) (PreKeyStatus, error) {
	c, err := d.client()
	if err != nil {
		return PreKeyStatus{}, err
	}
	s, err := c.PreKeyStatus(ctx)
	if err != nil {
		return PreKeyStatus{}, failure(err)
	}
	out := PreKeyStatus{Sequence: uint64(max(0, s.Sequence)), Left: max(0, s.OneTimeLeft)}
	if s.BundleHash != nil {
		if len(*s.BundleHash) != len(out.Bundle) {
			return PreKeyStatus{}, errOther
		}
		copy(out.Bundle[:], *s.BundleHash)
	}
	return out, nil
}
