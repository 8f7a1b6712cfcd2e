package state

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"coldframe/internal/fault"
)

// invitation lets somebody register.
type invitation struct {
	Left    int       `cbor:"1,keyasint"` // registrations
	Expires time.Time `cbor:"2,keyasint"`
}

// Invite makes an invitation for a number of registrations and returns it, this once: the store keeps a hash.
func (s *State) Invite(ctx context.Context, uses int, valid time.Duration) (string, error) {
	if uses < 1 || uses > 10_000 || valid < time.Minute || valid > 366*24*time.Hour {
		return "", fault.New(fault.InvalidRequest, "an invitation is for 1 to 10,000 registrations, and valid for a minute to a year")
	}
	secret := "cfi_" + rand.Text()
	err := s.urgent(ctx, func(t *tx) error {
		i := invitation{Left: uses, Expires: t.now.Add(valid)}
		if err := t.expire(i.Expires, secretKey("invite", secret)); err != nil {
			return err
		}
		return save(t, secretKey("invite", secret), i)
	})
	return secret, err
}

// invitation returns a valid one, or fault.Forbidden.
func (t *tx) invitation(secret string) (invitation, error) {
	i, err := load[invitation](t, secretKey("invite", secret))
	if errors.Is(err, fault.NotFound) || err == nil && (i.Left < 1 || !t.now.Before(i.Expires)) {
		return i, fault.New(fault.Forbidden, "a valid invitation is needed")
	}
	return i, err
}

func (t *tx) useInvitation(secret string) error {
	i, err := t.invitation(secret)
	if err != nil {
		return err
	}
	own := secretKey("invite", secret)
	if i.Left--; i.Left == 0 {
		return errors.Join(t.unexpire(i.Expires, own), t.Delete(own))
	}
	return save(t, own, i)
}
