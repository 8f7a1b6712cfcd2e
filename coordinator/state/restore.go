package state

import (
	"context"
	"io"
	"slices"
	"strings"

	"coldframe/coordinator/store"
)

// Backup writes a copy of everything while the state is in use.
func (s *State) Backup(ctx context.Context, w io.Writer) error { return store.Backup(ctx, s.store, w) }

// Restored is what a backup brought back.
type Restored struct {
	Users    int      // accounts
	Disabled []UserID // those of them that are turned off
	Unknown  []UserID // that were to be turned off, and are not in the backup
}

// notRestored are keys, or the beginnings of keys, that a backup does not bring back: sessions and credentials, as one that was ended since would be good
// again; one-time prekeys, as those handed out since would be handed out again; invitations, as those used since would be good again; the epoch; and the clock, which
// would go on from the time of the backup and catch up for as long as that is old.
var notRestored = []string{epochKey, clockKey, "session/", "onetime/", "fetch/", "invite/"}

// Restore fills an empty store from a backup and turns off the accounts that are named: those that were turned off since, or whose login proof was stolen
// and replaced since, as the backup knows neither.
func Restore(ctx context.Context, s store.Store, r io.Reader, disable ...UserID) (out Restored, err error) {
	err = store.Restore(ctx, s, r, func(key string) bool {
		return !slices.ContainsFunc(notRestored, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	})
	if err != nil {
		return out, err
	}
	st, err := New(ctx, s, Options{})
	if err != nil {
		return out, err
	}
	left := slices.Clone(disable)
	for after := UserID(""); ; {
		page, err := st.Users(ctx, after)
		if err != nil || len(page) == 0 {
			out.Unknown = left
			return out, err
		}
		for _, u := range page {
			after = u.ID
			out.Users++
			if slices.Contains(left, u.ID) {
				left = slices.DeleteFunc(left, func(id UserID) bool { return id == u.ID })
				u.Disabled = true
				if err := st.Disable(ctx, u.ID, true); err != nil {
					return out, err
				}
			}
			if u.Disabled {
				out.Disabled = append(out.Disabled, u.ID)
			}
		}
	}
}
