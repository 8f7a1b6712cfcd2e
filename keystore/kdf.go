package keystore

import (
	"context"
	"math"
	"runtime/debug"
	"time"

	"golang.org/x/crypto/argon2"

	"coldframe/internal/secret"
)

// derivations holds one token: at most one argon2id runs in the process, so that its memory is the bound for all.
var derivations = make(chan struct{}, 1)

// rootKey derives the root key from a normalised password (RFC 9106, then HKDF with the account key). The block must have been
// accepted by the profile. It waits for its turn until ctx ends; the derivation itself runs to its end.
func rootKey(ctx context.Context, password []byte, b kdfBlock, account AccountKey) (secret.Key, error) {
	stretched, err := stretchInTurn(ctx, password, b)
	if err != nil {
		return secret.Key{}, err
	}
	defer stretched.Wipe()
	return rootFrom(stretched, b.accountKey, account), nil
}

// stretchInTurn is stretch once no other derivation runs.
func stretchInTurn(ctx context.Context, password []byte, b kdfBlock) (secret.Key, error) {
	select {
	case derivations <- struct{}{}:
		defer func() { <-derivations }()
	case <-ctx.Done():
		return secret.Key{}, context.Cause(ctx)
	}
	if err := ctx.Err(); err != nil {
		return secret.Key{}, context.Cause(ctx)
	}
	return stretch(password, b), nil
}

// stretch runs argon2id and gives the memory back, which the heap would otherwise keep for minutes.
func stretch(password []byte, b kdfBlock) secret.Key {
	defer debug.FreeOSMemory()
	key, err := secret.FromBytes(argon2.IDKey(password, b.salt[:], b.Time, b.Memory, b.Threads, secret.KeySize))
	if err != nil {
		panic("keystore: " + err.Error())
	}
	return key
}

// rootFrom mixes the account key in. An account without one has a label of its own, so that no choice of account key leads there.
func rootFrom(stretched secret.Key, withAccount bool, account AccountKey) secret.Key {
	if !withAccount {
		return stretched.Derive("root-key/password-only")
	}
	return stretched.Derive("root-key", account.bytes())
}

// calibrate finds parameters with which the derivation of this password takes the profile's time on this machine, and returns the
// root key of the last try with them. Each try is measured with memory fresh from the system, as an unlock will find it.
func (p Profile) calibrate(ctx context.Context, password []byte, b kdfBlock, account AccountKey) (kdfBlock, secret.Key, error) {
	b.Params = p.Start
	if !b.accountKey {
		b.Params = p.Fixed
	}
	const tries = 6
	for try := 1; ; try++ {
		begin := time.Now()
		root, err := rootKey(ctx, password, b, account)
		if err != nil {
			return b, root, err
		}
		next := p.next(b.Params, time.Since(begin))
		if !b.accountKey || p.AtMost == 0 || next == b.Params || try == tries {
			return b, root, nil
		}
		root.Wipe()
		b.Params = next
	}
}

// next returns the parameters to try after a took the time it took; a itself if that was right or nothing better is allowed.
func (p Profile) next(a Params, took time.Duration) Params {
	if took >= p.AtLeast && took <= p.AtMost {
		return a
	}
	middle := (p.AtLeast + p.AtMost) / 2
	passes := uint32(math.Round(float64(a.Time) * float64(middle) / float64(max(took, time.Millisecond))))
	next := a
	next.Time = min(max(passes, p.Floor.Time), p.Ceiling.Time)
	switch {
	case next.Time != a.Time:
		return next
	case took < p.AtLeast && a.Time == p.Ceiling.Time && a.Memory*2 <= p.Ceiling.Memory:
		next.Memory, next.Time = a.Memory*2, p.Floor.Time
	case took > p.AtMost && a.Time == p.Floor.Time && a.Memory/2 >= p.Floor.Memory:
		next.Memory = a.Memory / 2
	}
	return next
}
