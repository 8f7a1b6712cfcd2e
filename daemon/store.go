package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"

	"coldframe/columnar"
	"coldframe/columnar/dir"
	"coldframe/columnar/s3"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// Kinds of stores.
const (
	StoreFolder = "folder"
	StoreS3     = "s3"
)

// storeItem is the body of the store's vault item: all settings, since they tell about the user, and the credentials.
type storeItem struct {
	Kind            string `cbor:"1,keyasint"`
	Path            string `cbor:"2,keyasint,omitempty"`
	Bucket          string `cbor:"3,keyasint,omitempty"`
	Prefix          string `cbor:"4,keyasint,omitempty"`
	Region          string `cbor:"5,keyasint,omitempty"`
	Endpoint        string `cbor:"6,keyasint,omitempty"`
	PathStyle       bool   `cbor:"7,keyasint,omitempty"`
	CAFile          string `cbor:"8,keyasint,omitempty"`
	AccessKeyID     string `cbor:"9,keyasint,omitempty"`
	SecretAccessKey []byte `cbor:"10,keyasint,omitempty"`
}

// defaultStore is a folder below the data folder of whichever machine opens the vault: there is no path in the item.
func defaultStore() storeItem { return storeItem{Kind: StoreFolder} }

// storeItem reads the settings. The caller wipes the secret.
func (a *Agent) storeItem() (item storeItem, err error) {
	err = a.itemInto(itemStore, &item)
	return item, err
}

// rooted gives the default store the path that it has on this machine.
func (a *Agent) rooted(i storeItem) storeItem {
	if i.Kind == StoreFolder && i.Path == "" {
		i.Path = filepath.Join(a.cfg.Folders.Data, "objects")
	}
	return i
}

// place is where objects lie, whatever the credentials: two settings of one place hold the same datasets.
func (a *Agent) place(i storeItem) [5]string {
	i = a.rooted(i)
	if i.Kind == StoreFolder {
		return [5]string{i.Kind, filepath.Clean(i.Path)}
	}
	return [5]string{i.Kind, i.Endpoint, i.Region, i.Bucket, i.Prefix}
}

func (s *session) storeKind() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.settings.Kind
}

// public returns the settings without the secret.
func (i storeItem) public() storeItem {
	i.SecretAccessKey = nil
	return i
}

func (a *Agent) openStore(ctx context.Context, i storeItem) (columnar.Store, error) {
	store, err := a.openRawStore(ctx, a.rooted(i))
	if err != nil {
		return nil, err
	}
	if a.o.WrapStore != nil {
		store = a.o.WrapStore(store)
	}
	if i.Kind == StoreS3 {
		store = a.cached(store)
	}
	return store, nil
}

func (a *Agent) openRawStore(ctx context.Context, i storeItem) (columnar.Store, error) {
	if i.Kind == StoreFolder {
		return dir.New(i.Path, dir.Options{Files: a.o.Files, MinFree: uint64(a.cfg.Limits.MinFreeMiB) << 20})
	}
	return s3.New(ctx, a.s3Config(i))
}

// StoreInfo returns the settings without the secret access key.
func (a *Agent) StoreInfo(ctx context.Context) (StoreSettings, error) {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return StoreSettings{}, err
	}
	defer leave()
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := s.settings.settings()
	out.Kept = s.storeKept
	return out, nil
}

func (i storeItem) settings() StoreSettings {
	return StoreSettings{
		Kind: i.Kind, Path: i.Path, Bucket: i.Bucket, Prefix: i.Prefix, Region: i.Region, Endpoint: i.Endpoint,
		PathStyle: i.PathStyle, CAFile: i.CAFile, AccessKeyID: i.AccessKeyID,
	}
}

func (s StoreSettings) item() storeItem {
	return storeItem{
		Kind: s.Kind, Path: s.Path, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, Endpoint: s.Endpoint,
		PathStyle: s.PathStyle, CAFile: s.CAFile, AccessKeyID: s.AccessKeyID, SecretAccessKey: append([]byte(nil), s.SecretAccessKey...),
	}
}

func (s StoreSettings) check() error {
	switch {
	case s.Kind == StoreFolder && !filepath.IsAbs(s.Path):
		return fault.New(fault.InvalidRequest, "path: an absolute path is needed")
	case s.Kind == StoreFolder && (s.Bucket != "" || s.Endpoint != "" || s.AccessKeyID != "" || len(s.SecretAccessKey) > 0):
		return fault.New(fault.InvalidRequest, "a folder has a path and nothing else")
	case s.Kind == StoreS3 && (s.Bucket == "" || s.Path != ""):
		return fault.New(fault.InvalidRequest, "bucket: needed, and no path")
	case s.Kind == StoreS3 && s.CAFile != "" && !filepath.IsAbs(s.CAFile):
		return fault.New(fault.InvalidRequest, "ca_file: an absolute path is needed")
	case s.Kind != StoreFolder && s.Kind != StoreS3:
		return fault.New(fault.InvalidRequest, "kind: folder or s3")
	}
	return nil
}

// SetStore changes where objects lie. While there are datasets, or objects that wait to be removed, another place is refused with
// fault.Conflict unless Force is set: those datasets cannot be read until the place is set back. Other credentials, another CA file or
// path style for the same place are always fine. The store is not tried; CheckStore does that. The setting is the account's: other devices of
// the user take it over, unless datasets of theirs are in another store.
func (a *Agent) SetStore(ctx context.Context, r SetStoreRequest) error {
	defer clear(r.Password)
	defer clear(r.Settings.SecretAccessKey)
	if err := r.Settings.check(); err != nil {
		return err
	}
	s, ctx, leave, err := a.enterChange(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.writable(), a.passwordAgain(ctx, r.Password)); err != nil {
		return err
	}
	item := r.Settings.item()
	defer secret.Wipe(item.SecretAccessKey)
	if err := a.keepCredentials(s, &item); err != nil {
		return err
	}
	if err := a.checkPlace(s, item, r.Force); err != nil {
		return err
	}
	return ended(ctx, a.replaceStore(ctx, s, item, r.Force))
}

// keepCredentials fills in the secret that is here for the same access key, if the request brought none.
func (a *Agent) keepCredentials(s *session, item *storeItem) error {
	if item.Kind != StoreS3 || len(item.SecretAccessKey) > 0 {
		return nil
	}
	named, err := a.storeItem()
	if err != nil {
		return err
	}
	defer secret.Wipe(named.SecretAccessKey)
	used, err := a.usedStore(s)
	if err != nil {
		return err
	}
	if used == nil {
		used = &storeItem{}
	}
	defer secret.Wipe(used.SecretAccessKey)
	err = item.takeSecret(*used)
	if err != nil && item.takeSecret(named) == nil {
		err = nil
	}
	return err
}

// takeSecret copies the credentials of other settings.
func (i *storeItem) takeSecret(old storeItem) error {
	if old.Kind != StoreS3 || (i.AccessKeyID != "" && old.AccessKeyID != i.AccessKeyID) || len(old.SecretAccessKey) == 0 {
		return fault.New(fault.InvalidRequest, "secret_access_key: needed")
	}
	if old.Endpoint != i.Endpoint {
		return fault.New(fault.InvalidRequest, "secret_access_key: needed again for another endpoint")
	}
	i.AccessKeyID, i.SecretAccessKey = old.AccessKeyID, bytes.Clone(old.SecretAccessKey)
	return nil
}

func (a *Agent) checkPlace(s *session, item storeItem, force bool) error {
	s.mu.RLock()
	same := a.place(s.settings) == a.place(item)
	s.mu.RUnlock()
	if same || force {
		return nil
	}
	used, err := a.storesData()
	if err == nil && used {
		return fault.New(fault.Conflict, "the present store holds datasets, which could not be read any more, or objects of deleted ones, which would stay; force changes it all the same")
	}
	return err
}

func (a *Agent) replaceStore(ctx context.Context, s *session, item storeItem, force bool) error {
	store, err := a.openStore(ctx, item)
	if err == nil {
		err = closeStore(store) // it was the try
	}
	if err != nil {
		return err
	}
	s.storing.Lock()
	s.storeFailed = failedStore{}
	s.storing.Unlock()
	body, err := signed.Marshal(item)
	if err != nil {
		return err
	}
	defer clear(body)
	err = a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		a.events.stageWith(tx, Event{Type: EventStoreChanged})
		if force { // wherever this machine's datasets are
			if err := a.noteStore(tx.KV(), s, item); err != nil {
				return err
			}
		}
		return tx.Put(keystore.Item{ID: itemStore, Kind: kindStore, Body: body})
	})
	if err != nil {
		return err
	}
	_, err = a.followStore(ctx, s)
	a.publish()
	a.log.Info("store changed", "kind", item.Kind)
	return err
}

// sum tells one setting from another, credentials included.
func (i storeItem) sum() [32]byte {
	b, err := signed.Marshal(i)
	if err != nil {
		return [32]byte{}
	}
	defer secret.Wipe(b)
	return sha256.Sum256(b)
}

// CheckStore tries what the store must be able to do, and counts objects that no dataset names (D05): those are not touched.
func (a *Agent) CheckStore(ctx context.Context) ([]Probe, error) {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	store, err := s.objects()
	if err != nil {
		return nil, err
	}
	var out []Probe
	for _, p := range store.Check(ctx) {
		probe := Probe{Name: p.Name}
		if p.Err != nil {
			probe.Error = p.Text
		}
		out = append(out, probe)
	}
	if err := a.reportExtras(ctx, s); err != nil {
		a.log.Warn("store not listed", failure(err)...)
	}
	return out, ended(ctx, context.Cause(ctx))
}
