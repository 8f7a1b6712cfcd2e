package daemon

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strings"

	"coldframe/daemon/devices"
	"coldframe/daemon/membership"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

const (
	challengeSize = 32
	challengeKey  = "meta/vault-challenge" // of a machine whose vault is fresh, sealed under the local key; in no backup

	purposeFresh = "daemon/fresh"
	freshPrefix  = "d-fresh-" // ‖ id of a device whose vault is fresh: its challenge

	purposeVaultHead = "daemon/vault-head"
	vaultHeadPrefix  = "d-vault-" // ‖ id of a device that asked: the answer of another one
)

// challenge is what the answers to one machine are bound to, from when its vault became fresh until it was confirmed. An answer with it
// was made after that, whatever the coordinator kept from before.
type challenge [challengeSize]byte

// vaultHead is an answer: the head of the vault as another device has it.
type vaultHead struct {
	Counter   uint64 `cbor:"1,keyasint"`
	Hash      []byte `cbor:"2,keyasint"`
	Challenge []byte `cbor:"3,keyasint"`
}

func (h *vaultHead) answers(c challenge) bool {
	return subtle.ConstantTimeCompare(h.Challenge, c[:]) == 1
}

func (s *session) challengeContext(device devices.DeviceID) seal.Context {
	return seal.Context{Owner: s.user, Type: "vault-challenge", ID: device.String(), Version: 1}
}

// vaultHeadContext is where an answer to a device is sealed, under the state key of an epoch.
func (s *session) vaultHeadContext(device devices.DeviceID, epoch uint64) seal.Context {
	return seal.Context{Owner: s.user, Type: "vault-head", ID: device.String(), Version: epoch}
}

// mayBegin is fault.Stale while nobody but the coordinator says that the vault is the newest: then it may be the coordinator that hides the
// device list, and none is begun. The Member asks, whoever has it follow the list.
func (a *Agent) mayBegin(s *session) error {
	fresh, err := a.vault.Fresh()
	if err != nil || !fresh {
		return err
	}
	s.fresh.Store(true)
	return errFresh()
}

// askIfFresh has a machine whose vault is fresh ask those on the list, where one is to be seen.
func (y *syncer) askIfFresh(ctx context.Context, state membership.State) error {
	fresh, err := y.a.vault.Fresh()
	if err != nil || !fresh {
		return err
	}
	y.s.fresh.Store(true)
	if state == membership.Unknown {
		return nil
	}
	return y.ask(ctx)
}

// ask puts this machine's challenge to the coordinator, for the other devices.
func (y *syncer) ask(ctx context.Context) error {
	c, err := y.challenge()
	if err != nil {
		return err
	}
	id := y.member.DeviceID()
	asked, err := y.challengeOf(ctx, id)
	if err != nil || asked != nil && *asked == c {
		return err
	}
	return y.records.Write(ctx, freshPrefix+id.String(), seal.Seal(y.s.local.key, y.s.local.id, purposeFresh, y.s.challengeContext(id), c[:]))
}

// challenge returns the challenge of this machine, and makes one where there is none.
func (y *syncer) challenge() (c challenge, err error) {
	id := y.s.context("vault-challenge", y.s.user, "")
	err = y.a.db.Update(func(tx *kv.Tx) error {
		sealed, err := tx.Get(challengeKey)
		if err == nil {
			kept, damaged := seal.Open(y.s.local.key, purposeLocal, id, sealed)
			if damaged == nil && len(kept) == len(c) {
				c = challenge(kept)
				return nil
			}
		} else if !errors.Is(err, fault.NotFound) {
			return err
		}
		rand.Read(c[:]) //nolint:errcheck // ends the process instead of failing
		return tx.Set(challengeKey, y.s.sealLocal("vault-challenge", y.s.user, "", c[:]))
	})
	return c, err
}

// challengeOf returns what a device asks with; nil if it does not, or what is there is none of this account's.
func (y *syncer) challengeOf(ctx context.Context, device devices.DeviceID) (*challenge, error) {
	sealed, err := y.records.Read(ctx, freshPrefix+device.String())
	if err != nil || sealed == nil {
		return nil, err
	}
	body, err := seal.Open(y.s.local.key, purposeFresh, y.s.challengeContext(device), sealed)
	if err != nil || len(body) != challengeSize {
		return nil, nil //nolint:nilerr // whose it is asks again
	}
	c := challenge(body)
	return &c, nil
}

// answerOf returns the newest answer to a device, and the epoch that it is sealed under; nil if there is none, or none that this machine
// has the state key for.
func (y *syncer) answerOf(ctx context.Context, device devices.DeviceID) (*vaultHead, uint64, error) {
	sealed, err := y.records.Read(ctx, vaultHeadPrefix+device.String())
	if err != nil || sealed == nil {
		return nil, 0, err
	}
	epoch, err := messages.EpochOf(sealed)
	if err != nil {
		return nil, 0, fault.Wrap(fault.NotAuthentic, err, "not a head of the vault")
	}
	key, err := y.member.At(ctx, epoch)
	if errors.Is(err, fault.NotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	key = key.Clone()
	defer key.Wipe()
	if key.IsZero() {
		return nil, 0, errLocked()
	}
	h, err := openVaultHead(key, y.s.vaultHeadContext(device, epoch), sealed)
	return h, epoch, err
}

// openVaultHead reads an answer. Its failure is fault.NotAuthentic.
func openVaultHead(key secret.Key, where seal.Context, sealed []byte) (*vaultHead, error) {
	body, err := seal.Open(key, purposeVaultHead, where, sealed)
	h := &vaultHead{}
	if err == nil {
		err = signed.Unmarshal(body, h)
	}
	if err != nil || len(h.Hash) != len(devices.Hash{}) || len(h.Challenge) != challengeSize {
		return nil, fault.Wrap(fault.NotAuthentic, err, "not a head of the vault")
	}
	return h, nil
}

// vouch answers a device that asks: it notes the vault's head for it, bound to its challenge, under the present state key. An answer that
// is as good stays. A device that does not ask gets none.
func (y *syncer) vouch(ctx context.Context, device devices.DeviceID) error {
	c, err := y.challengeOf(ctx, device)
	if err != nil || c == nil {
		return err
	}
	epoch, key, err := y.member.Current(ctx)
	if err != nil {
		return err
	}
	key = key.Clone()
	defer key.Wipe()
	counter, hash, err := y.a.vault.Head()
	if err != nil {
		return err
	}
	was, under, err := y.answerOf(ctx, device)
	if err != nil && !errors.Is(err, fault.NotAuthentic) { // a wrong one is replaced
		return err
	}
	if was != nil && under == epoch && was.answers(*c) && was.Counter >= counter {
		return nil
	}
	body, err := signed.Marshal(vaultHead{counter, hash[:], c[:]})
	if err != nil {
		return err
	}
	if key.IsZero() {
		return errLocked()
	}
	sealed := seal.Seal(key, messages.KeyID(epoch), purposeVaultHead, y.s.vaultHeadContext(device, epoch), body)
	return y.records.Write(ctx, vaultHeadPrefix+device.String(), sealed)
}

// vouchForAll answers the listed devices that ask; after the state key was replaced as well, as an answer is good while its key is there.
// What this machine itself asked, and what it got, is removed.
func (y *syncer) vouchForAll(ctx context.Context) error {
	if y.s.readOnly || y.s.fresh.Load() || y.s.forked.Load() {
		return nil
	}
	names, err := y.records.List(ctx, freshPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		device, err := devices.ParseDeviceID(strings.TrimPrefix(name, freshPrefix))
		if err != nil {
			continue
		}
		if device == y.member.DeviceID() {
			err = y.forget(ctx, device)
		} else if y.member.Lists(device) {
			err = y.vouch(ctx, device)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget removes what a device asked, and the answer.
func (y *syncer) forget(ctx context.Context, device devices.DeviceID) error {
	if err := y.records.Remove(ctx, freshPrefix+device.String()); err != nil {
		return err
	}
	return y.records.Remove(ctx, vaultHeadPrefix+device.String())
}

// confirm ends that a vault is fresh, once another device answered this one under the present state key: a former one is known to machines that
// were removed since. Until then nobody but the coordinator says that it is the newest, and nothing is signed or sent: fault.Stale.
func (y *syncer) confirm(ctx context.Context) error {
	fresh, err := y.a.vault.Fresh()
	if err == nil && !fresh {
		y.s.fresh.Store(false)
		fresh, err = y.a.vault.Fresh() // another one may have been taken over just now
	}
	if err != nil || !fresh {
		return err
	}
	y.s.fresh.Store(true)
	c, err := y.challenge()
	if err != nil {
		return err
	}
	head, epoch, err := y.answerOf(ctx, y.member.DeviceID())
	if err != nil {
		return err
	}
	present, _, err := y.member.Current(ctx) // after that, which follows the list to an epoch to come
	if err != nil {
		return err
	}
	if head == nil || epoch != present || !head.answers(c) {
		return errFresh()
	}
	if err := y.reaches(ctx, head.Counter, [32]byte(head.Hash)); err != nil {
		return err
	}
	return y.trustVault()
}

// reaches compares the vault with a head that somebody else named. fault.RolledBack: the coordinator gave an older one, and has no newer;
// fault.Forked: another one; fault.Stale: so many changes came since that nobody can tell, and a newer answer is needed.
func (y *syncer) reaches(ctx context.Context, counter uint64, hash [32]byte) error {
	err := y.a.vault.CheckHead(counter, hash)
	if errors.Is(err, fault.RolledBack) { // the other device may have changed it just now
		if err = y.a.vault.Sync(ctx); err == nil {
			err = y.a.vault.CheckHead(counter, hash)
		}
	}
	return err
}

// trustVault takes the vault for the newest from now on. The challenge goes first: the next one that is needed is another.
func (y *syncer) trustVault() error {
	if err := y.a.db.Update(func(tx *kv.Tx) error { return tx.Delete(challengeKey) }); err != nil {
		return err
	}
	if err := y.a.vault.Confirm(); err != nil {
		return err
	}
	y.s.fresh.Store(false)
	return nil
}

// TrustVault takes the vault of this machine for the newest one, and the right one of two, on the word of the user: whose other machines
// cannot be reached, and are not lost; or who knows why contacts were told of another vault or device list (fault.Forked). It asks for the password again (L23), and wipes it. fault.Conflict: there is nothing to be decided.
func (a *Agent) TrustVault(ctx context.Context, password []byte) error {
	return a.changeDevicesAgain(ctx, password, EventVaultTrusted, func(_ context.Context, s *session, _ *membership.Member) error {
		fresh, err := a.vault.Fresh()
		if err == nil && !fresh && !s.forked.Load() {
			err = fault.New(fault.Conflict, "it is known already that this vault is the newest")
		}
		if err != nil {
			return err
		}
		if err := s.sync.acceptForks(); err != nil {
			return err
		}
		return s.sync.trustVault()
	})
}

func errFresh() error {
	return fault.New(fault.Stale, "nobody but the coordinator says that this vault is the newest: another of the user's machines has to, or the user")
}
