package state

import (
	"context"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// User is what the operator sees of a user.
type User struct {
	ID       UserID    `json:"id"`
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled"`
	Used     Quota     `json:"used"`
	Quota    Quota     `json:"quota"`
}

const usersPage = 500

// Users lists users in the order of their ids, after the given one; an empty list ends it.
func (s *State) Users(ctx context.Context, after UserID) (list []User, err error) {
	err = s.view(ctx, func(t *tx) error {
		_, err := scan(t, key("account", ""), key("account", string(after)+"\x00"), usersPage, func(k string, v []byte) error {
			var a account
			list = append(list, User{ID: UserID(strings.TrimPrefix(k, key("account", "")))})
			u := &list[len(list)-1]
			if err := decode(v, &a); err != nil {
				return err
			}
			u.Created, u.Disabled, u.Quota = a.Created, a.Disabled, a.Quota.or(s.o.Limits.Quota)
			return nil
		})
		if err != nil {
			return err
		}
		for i := range list {
			c, err := t.of(list[i].ID)
			if err != nil {
				return err
			}
			list[i].Used = Quota{c.Blobs, c.Bytes, c.Mail, c.MailBytes}
		}
		return nil
	})
	return list, err
}

// Disable turns an account off, which ends its sessions at once, or on again.
func (s *State) Disable(ctx context.Context, user UserID, disabled bool) error {
	return s.changeAccount(ctx, user, func(t *tx, a *account) error {
		a.Disabled = disabled
		return t.endSessions(user, allSessions)
	})
}

// Check returns fault.InvalidRequest for a quota that is negative.
func (q Quota) Check() error {
	if min(q.Blobs, q.Bytes, q.Mail, q.MailBytes) < 0 {
		return fault.New(fault.InvalidRequest, "a quota is not negative")
	}
	return nil
}

// SetQuota gives a user a quota of their own; fields that are zero follow the default.
func (s *State) SetQuota(ctx context.Context, user UserID, q Quota) error {
	if err := q.Check(); err != nil {
		return err
	}
	return s.changeAccount(ctx, user, func(_ *tx, a *account) error {
		a.Quota = q
		return nil
	})
}

func (s *State) changeAccount(ctx context.Context, user UserID, change func(t *tx, a *account) error) error {
	return s.urgent(ctx, func(t *tx) error {
		a, there, err := loadOr[account](t, key("account", string(user)))
		if err != nil {
			return err
		}
		if !there {
			return fault.New(fault.NotFound, "there is no such user")
		}
		if err := change(t, &a); err != nil {
			return err
		}
		return save(t, key("account", string(user)), a)
	})
}
