package daemon

import (
	"bytes"
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// The vault's items, by kind. Ids tell no more than a dataset's id and version.
const (
	kindIdentity = "identity"
	kindSigning  = "signing"
	kindLocal    = "local"
	kindStore    = "store"
	kindMetadata = "metadata"
	kindVersion  = "version-keys"

	itemIdentity = "identity"
	itemSigning  = "signing"
	itemLocal    = "local"
	itemStore    = "store"
)

// signingContext is what the identity key signs of the signing key: this label, a zero byte, and the public key.
const signingContext = "coldframe/v1/signing-key"

// signingItem is the body of the signing key's item.
type signingItem struct {
	Seed      []byte `cbor:"1,keyasint"`
	Signature []byte `cbor:"2,keyasint"` // XEdDSA of the identity key
}

// localItem is the body of the local key's item.
type localItem struct {
	ID  []byte `cbor:"1,keyasint"`
	Key []byte `cbor:"2,keyasint"`
}

func (a *Agent) hasSession() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session != nil
}

// openSession is openForLogin without a login proof.
func (a *Agent) openSession(api bool) error { return a.openForLogin(api, keystore.Proof{}) }

// openForLogin makes the session of a vault that was just opened, and with api lets callers in. It takes the login proof, if there is
// one, for the link to the coordinator. a.change is held.
func (a *Agent) openForLogin(api bool, proof keystore.Proof) error {
	return a.openHolding(api, proof, secret.Key{})
}

// openHolding is openForLogin for a vault that a credential opened, if it is a key. It takes that, too.
func (a *Agent) openHolding(api bool, proof keystore.Proof, credential secret.Key) error {
	var err error
	if !credential.IsZero() && a.lostCredential() { // somebody has it after all
		err = a.noteHanded()
	}
	var s *session
	if err == nil {
		s, err = a.loadSession()
	}
	if err != nil {
		proof.Wipe()
		credential.Wipe()
		a.vault.Lock()
		return err
	}
	s.credential = credential
	a.mu.Lock()
	a.session, a.work = s, newGate()
	a.mu.Unlock()
	if api {
		a.openGate()
		a.event(Event{Type: EventUnlocked})
	}
	a.log.Info("vault open", "kind", s.settings.Kind)
	if !a.hasCoordinator() && s.writable() == nil { // else the first round does it
		a.dropLost(a.life)
	}
	a.linkLog.forget()
	a.runSync(s)
	a.startLink(s, proof)
	a.kick()
	return nil
}

func (a *Agent) openGate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle.touch()
	if a.gate == nil {
		a.gate = newGate()
	}
}

// closeSession ends background work, locks the vault and wipes the keys of the session. a.change is held. It reports whether the
// background work has ended.
func (a *Agent) closeSession(cause error) bool {
	a.mu.Lock()
	s, work := a.session, a.work
	a.session, a.work = nil, nil
	a.mu.Unlock()
	if s == nil {
		return true
	}
	drained := work.drain(cause)
	a.vault.Lock()
	s.wipe()
	for _, store := range append(s.retired, s.store) {
		if err := closeStore(store); err != nil {
			a.log.Warn("store not closed cleanly", failure(err)...)
		}
	}
	return drained
}

// loadSession reads the user's own keys and opens the store. A vault without any of them is new and gets them.
func (a *Agent) loadSession() (*session, error) {
	if err := a.ensureKeys(); err != nil {
		return nil, err
	}
	s := &session{
		user: a.vault.UserID(), readOnly: a.vault.State() == keystore.ReadOnly, unattended: a.opensUnattended(), opened: a.clock.Now().UTC(),
	}
	fresh, err := a.vault.Fresh()
	s.fresh.Store(fresh)
	own, loadErr := a.loadSigning(s)
	if err = errors.Join(err, loadErr, a.loadLocal(s)); err == nil {
		if err := a.finishDeletion(); err != nil { // the next unlock tries again
			a.log.Warn("the account is not a local one yet", failure(err)...)
		}
		_, err = a.followStore(context.Background(), s)
	}
	if err == nil {
		s.sync, err = a.newSyncer(s, own)
	}
	if err == nil {
		err = s.sync.loadForked()
	}
	if err != nil {
		own.Identity.Wipe()
		s.wipe()
		return nil, err
	}
	return s, nil
}

// ensureKeys gives a vault that has just been registered the user's keys. All come in one change, so a vault that has some of them
// only is damaged, which loading finds.
func (a *Agent) ensureKeys() error {
	for _, kind := range []string{kindIdentity, kindSigning, kindLocal, kindStore} {
		ids, err := a.vault.List(kind)
		if err != nil || len(ids) > 0 {
			return err
		}
	}
	items, err := newUserItems(defaultStore())
	if err != nil {
		return err
	}
	defer func() {
		for _, it := range items {
			clear(it.Body)
		}
	}()
	return a.vault.Update(func(tx *keystore.Tx) error {
		for _, it := range items {
			if err := tx.Put(it); err != nil {
				return err
			}
		}
		return nil
	})
}

func newUserItems(store storeItem) ([]keystore.Item, error) {
	identity := ratchet.NewIdentity()
	defer identity.Wipe()
	private := identity.Key()
	defer private.Wipe()
	seed, local, id := secret.Random(), secret.Random(), seal.RandomKeyID()
	defer seed.Wipe()
	defer local.Wipe()
	public := signed.Signer{Key: seed}.Public()
	signature := identity.Sign(signingMessage(public))
	var bodies [3][]byte
	for i, v := range []any{
		signingItem{Seed: seed.Bytes(), Signature: signature[:]}, localItem{ID: id[:], Key: local.Bytes()}, store,
	} {
		b, err := signed.Marshal(v)
		if err != nil {
			return nil, err
		}
		bodies[i] = b
	}
	return []keystore.Item{
		{ID: itemIdentity, Kind: kindIdentity, Body: append([]byte{}, private.Bytes()...)},
		{ID: itemSigning, Kind: kindSigning, Body: bodies[0]},
		{ID: itemLocal, Kind: kindLocal, Body: bodies[1]},
		{ID: itemStore, Kind: kindStore, Body: bodies[2]},
	}, nil
}

func signingMessage(public []byte) []byte {
	return append(append([]byte(signingContext), 0), public...)
}

// loadSigning reads identity and signing key and checks that the one signed the other. The caller wipes the identity.
func (a *Agent) loadSigning(s *session) (own ratchet.Local, err error) {
	it, err := a.item(itemIdentity)
	if err != nil {
		return own, err
	}
	private, err := secret.FromBytes(it.Body)
	if err != nil {
		return own, fault.Wrap(fault.NotAuthentic, err, "the identity key cannot be read")
	}
	defer private.Wipe()
	identity, err := ratchet.IdentityFromKey(private)
	if err != nil {
		return own, fault.Wrap(fault.NotAuthentic, err, "the identity key cannot be read")
	}
	own = localOf(s.user, identity)
	s.identity = identity.Public()

	var item signingItem
	if err := a.itemInto(itemSigning, &item); err != nil {
		return own, err
	}
	key, err := secret.FromBytes(item.Seed)
	if err != nil || len(item.Signature) != ratchet.SignatureSize {
		return own, fault.New(fault.NotAuthentic, "the signing key cannot be read")
	}
	s.signer = signed.Signer{User: s.user, Key: key}
	if !ratchet.Verify(s.identity, signingMessage(s.signer.Public()), [ratchet.SignatureSize]byte(item.Signature)) {
		return own, fault.New(fault.NotAuthentic, "the signing key is not signed by the identity key")
	}
	return own, nil
}

func (a *Agent) loadLocal(s *session) error {
	var item localItem
	if err := a.itemInto(itemLocal, &item); err != nil {
		return err
	}
	key, err := secret.FromBytes(item.Key)
	if err != nil || len(item.ID) != len(seal.KeyID{}) {
		return fault.New(fault.NotAuthentic, "the local key cannot be read")
	}
	s.local = namedKey{id: seal.KeyID(item.ID), key: key}
	return nil
}

// item reads an item that must be there.
func (a *Agent) item(id string) (keystore.Item, error) {
	it, err := a.vault.Get(id)
	if errors.Is(err, fault.NotFound) {
		return it, fault.New(fault.Incomplete, "the vault lacks one of the user's own keys")
	}
	return it, err
}

// itemInto reads the CBOR body of an item, which is wiped; v holds what was secret.
func (a *Agent) itemInto(id string, v any) error {
	it, err := a.item(id)
	if err != nil {
		return err
	}
	defer clear(it.Body)
	return signed.Unmarshal(it.Body, v)
}

// Status tells what the agent is and has. It works in every state.
func (a *Agent) Status(context.Context) (Status, error) {
	done, err := a.use()
	if err != nil {
		return Status{}, err
	}
	defer done()
	a.mu.Lock()
	s, open := a.session, a.gate != nil
	st := Status{
		State: StateLocked, Started: a.started.UTC(), IdleLock: a.cfg.Lock.Idle(), Uploads: int(a.counter.uploads.Load()),
		Warnings: append([]string{}, a.warnings...),
	}
	if s != nil {
		st.Unattended, st.ReadOnly = s.unattended, s.readOnly
	}
	a.mu.Unlock()
	if a.vaultState() == StateUnregistered {
		st.State = StateUnregistered
		return st, nil
	}
	st.UserID = a.vault.UserID()
	if s == nil || !open {
		return st, nil
	}
	st.State, st.Email = StateUnlocked, a.vault.Email()
	st.StoreKind, st.Coordinator, st.Device = s.storeKind(), s.coordinatorStatus(), s.deviceStatus()
	if s.readOnly {
		st.Warnings = append(st.Warnings, "an older vault was accepted at unlock: the account is read-only")
	}
	if at, err := a.deletion(); err == nil && bytes.Equal(at, deletionDone) {
		st.Warnings = append(st.Warnings, notYetLocal)
	}
	if s.sync.failure(taskVault) == fault.Locked {
		st.Warnings = append(st.Warnings, "the password was changed on another machine: lock this one, and log in again with the new password")
	}
	if s.sync.stuck() {
		st.Warnings = append(st.Warnings, "not everything is done with the coordinator: coldframe coordinator show says what is in the way")
	}
	if a.lacksCredential() {
		st.Warnings = append(st.Warnings, "the coordinator does not let this machine in without a person yet: unlock it once with the password")
	}
	st.Cache = a.cacheOf(s)
	if _, err := a.cache.info(); err != nil && st.StoreKind == StoreS3 {
		st.Warnings = append(st.Warnings, "the cache of the bucket is off: "+string(fault.CodeOf(err)))
	}
	if _, err := s.objects(); err != nil {
		st.Warnings = append(st.Warnings, "the store cannot be opened: "+string(fault.CodeOf(err)))
	}
	if w := s.keptStoreWarning(); w != "" {
		st.Warnings = append(st.Warnings, w)
	}
	ids, err := a.datasetIDs()
	st.Datasets = len(ids)
	return st, err
}
