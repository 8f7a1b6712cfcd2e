package daemon

import (
	"cmp"
	"context"
	"errors"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Which store a machine uses. The vault names one for the account, and any device of the user may name another; the datasets of a machine
// are where they were written. So each machine remembers the store that it uses, and goes on with that one while it holds its datasets.

// usedStoreKey keeps the settings of the store that this machine uses, credentials included: CBOR of a storeItem as the vault
// has it, sealed under the local key.
const usedStoreKey = "meta/store"

func (s *session) sealStore(i storeItem) ([]byte, error) {
	body, err := signed.Marshal(i)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	return s.sealLocal("store", s.user, "used", body), nil
}

// usedStore returns the settings that this machine used last; nil if it does not know. The caller wipes the secret.
func (a *Agent) usedStore(s *session) (*storeItem, error) {
	var sealed []byte
	err := a.db.View(func(tx *kv.Tx) (err error) {
		sealed, err = tx.Get(usedStoreKey)
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	body, err := seal.Open(s.local.key, purposeLocal, s.context("store", s.user, "used"), sealed)
	if err != nil { // damaged, or another user's: as good as none
		a.log.Warn("the record of the store in use does not open", failure(err)...)
		return nil, nil
	}
	defer clear(body)
	item := new(storeItem)
	if err := signed.Unmarshal(body, item); err != nil {
		return nil, err
	}
	return item, nil
}

// noteStore remembers the store that this machine uses.
func (a *Agent) noteStore(tx *kv.Tx, s *session, i storeItem) error {
	sealed, err := s.sealStore(i)
	if err != nil {
		return err
	}
	return tx.Set(usedStoreKey, sealed)
}

// storesData reports whether this machine's datasets, or objects that it is to remove, are in the store that it uses.
func (a *Agent) storesData() (bool, error) {
	err := a.db.View(func(tx *kv.Tx) error {
		found := func(string, []byte) error { return errFound }
		return errors.Join(tx.Scan(datasetPrefix, found), tx.Scan(uploadPrefix, found), tx.Scan(garbagePrefix, found))
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// storeChoice is a store that a machine may use. Kept is why it is not the one that the vault names; empty: it is.
type storeChoice struct {
	item storeItem
	kept fault.Code
}

// storeChoices returns what to try, the best first: the store that the vault names, then the one in use if that cannot be opened here. While
// this machine's datasets are at another place than the vault's, that place is the only one.
func (a *Agent) storeChoices(wanted storeItem, used *storeItem) ([]storeChoice, error) {
	if used == nil || used.sum() == wanted.sum() {
		return []storeChoice{{item: wanted}}, nil
	}
	if a.place(*used) != a.place(wanted) {
		if data, err := a.storesData(); err != nil || data {
			return []storeChoice{{*used, fault.Conflict}}, err
		}
	}
	return []storeChoice{{item: wanted}, {item: *used}}, nil
}

// followStore takes the store into use that is to be used now: as the account opens, after SetStore, and in every round, as another device may
// have named another in the vault. It reports whether that is another one than before. A store that cannot be opened is the failure of what needs it.
func (a *Agent) followStore(ctx context.Context, s *session) (changed bool, err error) {
	s.storing.Lock()
	defer s.storing.Unlock()
	wanted, err := a.storeItem()
	if err != nil {
		return false, err
	}
	defer secret.Wipe(wanted.SecretAccessKey)
	used, err := a.usedStore(s)
	if err != nil {
		return false, err
	}
	if used != nil {
		defer secret.Wipe(used.SecretAccessKey)
	}
	list, err := a.storeChoices(wanted, used)
	if err != nil {
		return false, err
	}
	var failed error
	for _, c := range list {
		kept := cmp.Or(c.kept, failedCode(failed))
		if s.usesStore(c.item) {
			s.keepStore(kept)
			return false, nil
		}
		store, err := a.tryStore(ctx, s, c.item)
		if err == nil {
			changed, err = a.useStore(s, store, c.item, used)
			s.keepStore(kept)
			return changed, err
		}
		failed = cmp.Or(failed, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.exchangeStore(s, nil, failed, list[0].item), nil
}

// failedStore is the last store that could not be opened. s.storing is held.
type failedStore struct {
	sum [32]byte
	at  time.Duration // Monotonic
	err error
}

// tryStore opens a store. One that could not be opened a minute ago still cannot: a coordinator says how often there are rounds.
func (a *Agent) tryStore(ctx context.Context, s *session, i storeItem) (columnar.Store, error) {
	now, sum := a.clock.Monotonic(), i.sum()
	if f := s.storeFailed; f.err != nil && f.sum == sum && now-f.at < time.Minute {
		return nil, f.err
	}
	store, err := a.openStore(ctx, i)
	if err != nil {
		s.storeFailed = failedStore{sum, now, err}
		a.log.Warn("store not opened", failure(err)...)
	}
	return store, err
}

func failedCode(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

// usesStore reports whether a store with exactly these settings is open.
func (s *session) usesStore(i storeItem) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.store != nil && s.storeSum == i.sum()
}

// useStore takes an open store into use, unless datasets came at another place meanwhile: whoever writes to the store of before had its dataset
// before that. It takes the store.
func (a *Agent) useStore(s *session, store columnar.Store, i storeItem, used *storeItem) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.settings // of a session that was just opened: none
	if used != nil {
		before = *used
	}
	if before.Kind != "" && a.place(before) != a.place(i) {
		if data, err := a.storesData(); err != nil || data {
			return false, errors.Join(err, closeStore(store))
		}
	}
	if used == nil || used.sum() != i.sum() {
		err := a.db.Update(func(tx *kv.Tx) error { return a.noteStore(tx, s, i) })
		if err != nil && s.store != nil {
			return false, errors.Join(err, closeStore(store))
		}
		if err != nil { // a full disk, say, must not keep an account closed
			a.log.Warn("the store in use is not remembered", failure(err)...)
		}
	}
	return a.exchangeStore(s, store, nil, i), nil
}

// exchangeStore puts a store, or why it cannot be opened, in the place of the one that the session has. Transfers go on with that. s.mu is held.
func (a *Agent) exchangeStore(s *session, store columnar.Store, storeErr error, i storeItem) (changed bool) {
	first := s.settings.Kind == ""
	moved, changed := !first && a.place(s.settings) != a.place(i), !first && s.storeSum != i.sum()
	if s.store != nil {
		s.retired = append(s.retired, s.store)
	}
	s.store, s.storeErr, s.settings, s.storeSum = store, storeErr, a.rooted(i).public(), i.sum()
	if moved {
		if err := a.cache.empty(); err != nil {
			a.log.Warn("cache not cleared", failure(err)...)
		}
	}
	return changed
}

// keepStore notes why the store in use is not the one that the vault names.
func (s *session) keepStore(kept fault.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storeKept = kept
}

func (s *session) keptStore() fault.Code {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.storeKept
}

// storeSettingsChanged takes over what another device of the user changed of the store. What fails of it must not keep messages from coming.
func (a *Agent) storeSettingsChanged(ctx context.Context, s *session) {
	before := s.keptStore()
	changed, err := a.followStore(ctx, s)
	if err != nil {
		a.log.Warn("the store that is set was not taken over", failure(err)...)
	}
	if changed {
		a.event(Event{Type: EventStoreChanged})
	}
	if kept := s.keptStore(); kept != "" && kept != before {
		a.event(Event{Type: EventStoreKept, Code: kept})
	}
}

// keptStoreWarning is for people: why the store in use is not the one that is set; empty if it is.
func (s *session) keptStoreWarning() string {
	kept := s.keptStore()
	switch kept {
	case "":
		return ""
	case fault.Conflict:
		return "another device set another store; this machine keeps using the one that its datasets are in"
	}
	return "another device set a store that cannot be opened here (" + string(kept) + "); this machine keeps using the one of before"
}
