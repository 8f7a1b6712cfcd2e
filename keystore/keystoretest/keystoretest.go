// Package keystoretest has what tests of other packages need to open a vault quickly. Nothing but tests may import it.
package keystoretest

import (
	"context"

	"coldframe/keystore"
)

// Cheap is a profile whose derivations take no time. Its floor is as low as its costs, so a vault made with it opens with it; it is
// far below the floor of keystore.Production, which refuses such a vault.
func Cheap() keystore.Profile {
	cost := keystore.Params{Memory: 64, Time: 1, Threads: 1}
	return keystore.Profile{
		Floor:   cost,
		Ceiling: keystore.Params{Memory: 1024, Time: 4, Threads: 4},
		Start:   cost,
		Fixed:   cost,
	}
}

// NewKit drafts a kit and uses it; with an address that becomes the account's. A kit that comes with an error that keystore.Undecided knows may become
// the valid one.
func NewKit(ctx context.Context, v *keystore.Vault, password []byte, email string) (keystore.RecoveryKit, error) {
	kit, err := v.DraftKit(ctx, password, email)
	if err != nil {
		return keystore.RecoveryKit{}, err
	}
	err = v.UseKit(ctx, password, keystore.KitChange{Kit: kit, Address: email != ""})
	return kit, err
}
