package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// Records of a dataset in the local store: dataset/ID/info, dataset/ID/roster/SEQUENCE, dataset/ID/manifest/VERSION and those of
// objects.go. After its end tombstone/ID, and garbage/NAME for each object.
const (
	datasetPrefix = "dataset/"
	uploadPrefix  = "upload/"
	garbagePrefix = "garbage/"

	purposeTitle = "daemon/title"

	// MaxDatasets bounds how many datasets an agent has.
	MaxDatasets = 100_000
)

func infoKey(id columnar.DatasetID) string { return datasetPrefix + string(id) + "/info" }

func rosterKey(id columnar.DatasetID, sequence uint64) string {
	return fmt.Sprintf("%s%s/roster/%016d", datasetPrefix, id, sequence)
}

func manifestPrefix(id columnar.DatasetID) string { return datasetPrefix + string(id) + "/manifest/" }

func manifestKey(id columnar.DatasetID, v columnar.Version) string {
	return fmt.Sprintf("%s%016d", manifestPrefix(id), uint64(v))
}

func metadataItemID(id columnar.DatasetID) string { return kindMetadata + "/" + string(id) }

func versionItem(id columnar.DatasetID, v columnar.Version) string {
	return fmt.Sprintf("%s/%s/%d", kindVersion, id, uint64(v))
}

func validDatasetID(s string) bool {
	_, err := columnar.ParseDatasetID(s)
	return err == nil
}

// infoRecord is what the local store keeps of a dataset beside its chains. Title is sealed under the metadata key.
type infoRecord struct {
	Created int64  `cbor:"1,keyasint"` // Unix seconds
	Title   []byte `cbor:"2,keyasint"`
	Oldest  uint64 `cbor:"3,keyasint"` // lowest version that is kept; 0 before the first
}

// metadataItem is the body of a dataset's vault item: its metadata keys by epoch, and the heads: the highest roster and version that
// this agent has seen (R5). The vault's own counter keeps an old copy of the disk from putting old heads back.
type metadataItem struct {
	Keys       []metadataKey `cbor:"1,keyasint"`
	Sequence   uint64        `cbor:"2,keyasint"` // of the roster: the epoch
	RosterHash [32]byte      `cbor:"3,keyasint"`
	Version    uint64        `cbor:"4,keyasint"`
	Hash       [32]byte      `cbor:"5,keyasint"`
	VersionSeq uint64        `cbor:"6,keyasint"` // roster that the version was signed under
}

type metadataKey struct {
	Epoch uint64 `cbor:"1,keyasint"`
	ID    []byte `cbor:"2,keyasint"`
	Key   []byte `cbor:"3,keyasint"`
}

func (m *metadataItem) head() columnar.Head {
	return columnar.Head{Version: columnar.Version(m.Version), Hash: m.Hash, RosterSequence: m.VersionSeq}
}

// marshal returns the body of the vault item, which the caller wipes.
func (m *metadataItem) marshal() ([]byte, error) { return signed.Marshal(m) }

// key returns a copy of the metadata key with this id; the caller wipes it.
func (m *metadataItem) key(id seal.KeyID) (columnar.MetadataKey, error) {
	for _, k := range m.Keys {
		if string(k.ID) == string(id[:]) {
			key, err := secret.FromBytes(slices.Clone(k.Key))
			return columnar.MetadataKey{ID: id, Key: key}, err
		}
	}
	return columnar.MetadataKey{}, fault.New(fault.NotAuthentic, "sealed under a metadata key that this dataset does not have")
}

// newest returns the key of the present epoch.
func (m *metadataItem) newest() (columnar.MetadataKey, error) {
	if len(m.Keys) == 0 || len(m.Keys[len(m.Keys)-1].ID) != len(seal.KeyID{}) {
		return columnar.MetadataKey{}, fault.New(fault.Incomplete, "the dataset has no metadata key")
	}
	return m.key(seal.KeyID(m.Keys[len(m.Keys)-1].ID))
}

func (m *metadataItem) wipe() {
	for _, k := range m.Keys {
		clear(k.Key)
	}
}

func titleContext(id columnar.DatasetID) seal.Context {
	return seal.Context{Owner: string(id), Type: "dataset", ID: string(id), Field: "title", Version: 1}
}

// CreateDataset makes an empty dataset whose only member is its owner. Titles need not be unique.
func (a *Agent) CreateDataset(ctx context.Context, c Caller, r CreateDatasetRequest) (Dataset, error) {
	if err := checkName("title", r.Title); err != nil {
		return Dataset{}, err
	}
	if c.Datasets != nil {
		return Dataset{}, fault.New(fault.Forbidden, "a token for named datasets creates none")
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer leave()
	if err := s.writable(); err != nil {
		return Dataset{}, err
	}
	idem, err := a.begin(ctx, c, r.IdempotencyKey, newFingerprint(c, "datasets.create").add(r.Title))
	if err != nil {
		return Dataset{}, err
	}
	defer idem.done()
	var id string
	if again, err := idem.replay(s, [32]byte{}, &id); err != nil || again {
		return a.describeAgain(s, id, err)
	}
	made, err := a.createDataset(ctx, s, r.Title, idem)
	if err != nil {
		return Dataset{}, ended(ctx, err)
	}
	a.publish()
	a.log.Info("dataset created", "dataset", string(made), "caller", c.ID)
	return a.describe(s, made)
}

func (a *Agent) describeAgain(s *session, id string, err error) (Dataset, error) {
	if err != nil {
		return Dataset{}, err
	}
	return a.describe(s, columnar.DatasetID(id))
}

func (a *Agent) createDataset(ctx context.Context, s *session, title string, idem *idempotent) (columnar.DatasetID, error) {
	now := a.clock.Now()
	envelope, link, err := columnar.NewRoster(s.signer, s.identity[:], columnar.DefaultRetention, now)
	if err != nil {
		return "", err
	}
	key := columnar.NewMetadataKey()
	defer key.Key.Wipe()
	meta := metadataItem{
		Keys:     []metadataKey{{Epoch: link.Sequence, ID: key.ID[:], Key: slices.Clone(key.Key.Bytes())}},
		Sequence: link.Sequence, RosterHash: link.Hash,
	}
	defer meta.wipe()
	info := infoRecord{Created: now.Unix(), Title: seal.Seal(key.Key, key.ID, purposeTitle, titleContext(link.ID), []byte(title))}
	if ids, err := a.datasetIDs(); err != nil || len(ids) >= MaxDatasets {
		return "", errors.Join(err, fault.New(fault.TooLarge, "an agent has at most %d datasets", MaxDatasets))
	}
	err = a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		a.events.stageWith(tx, Event{Type: EventDatasetCreated, Dataset: string(link.ID)})
		return errors.Join(
			putMetadata(tx, link.ID, &meta),
			writeRecord(tx.KV(), infoKey(link.ID), info),
			tx.KV().Set(rosterKey(link.ID, link.Sequence), envelope),
			idem.save(tx.KV(), s, [32]byte{}, string(link.ID)),
		)
	})
	return link.ID, err
}

func putMetadata(tx *keystore.Tx, id columnar.DatasetID, m *metadataItem) error {
	body, err := m.marshal()
	if err != nil {
		return err
	}
	defer clear(body)
	return tx.Put(keystore.Item{ID: metadataItemID(id), Kind: kindMetadata, Body: body})
}

// Datasets lists what the caller sees, by title, then id. A title that is not empty asks for the datasets with exactly that title.
func (a *Agent) Datasets(ctx context.Context, c Caller, title string) ([]Dataset, error) {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	ids, err := a.datasetIDs()
	if err != nil {
		return nil, err
	}
	out := []Dataset{}
	for _, id := range ids {
		if !c.Sees(string(id)) {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, ended(ctx, err)
		}
		d, wanted, err := a.listed(s, id, title)
		if errors.Is(err, fault.NotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		if wanted {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(x, y Dataset) int {
		if n := strings.Compare(x.Title, y.Title); n != 0 {
			return n
		}
		return strings.Compare(x.ID, y.ID)
	})
	return out, nil
}

// listed describes a dataset if its title is the wanted one, or any is wanted. The chains of the others are not looked at.
func (a *Agent) listed(s *session, id columnar.DatasetID, title string) (Dataset, bool, error) {
	if a.elsewhere(id) {
		return Dataset{ID: string(id), State: "elsewhere"}, title == "", nil
	}
	if title != "" {
		got, err := a.titleOf(id)
		if err != nil || got != title {
			return Dataset{}, false, err
		}
	}
	d, err := a.describe(s, id)
	return d, true, err
}

func (a *Agent) titleOf(id columnar.DatasetID) (string, error) {
	meta, err := getMetadata(a.vault.Get, id)
	if err != nil {
		return "", err
	}
	d := dataset{a: a, id: id, meta: meta}
	defer d.wipe()
	err = a.db.View(func(tx *kv.Tx) error { return present(readRecord(tx, infoKey(id), &d.info)) })
	if err != nil {
		return "", err
	}
	err = d.openTitle()
	return d.title, err
}

// datasetIDs lists all datasets from the closed list of the vault.
func (a *Agent) datasetIDs() ([]columnar.DatasetID, error) {
	items, err := a.vault.List(kindMetadata)
	ids := make([]columnar.DatasetID, 0, len(items))
	for _, it := range items {
		ids = append(ids, columnar.DatasetID(strings.TrimPrefix(it, kindMetadata+"/")))
	}
	return ids, err
}

// Dataset returns one dataset; fault.NotFound if there is none of that id or the caller does not see it.
func (a *Agent) Dataset(ctx context.Context, c Caller, id string) (Dataset, error) {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer leave()
	d, err := visible(c, id)
	if err != nil {
		return Dataset{}, err
	}
	return a.describe(s, d)
}

func errNoDataset() error { return fault.New(fault.NotFound, "no such dataset") }

// visible parses an id that a caller gave; a dataset that the caller's token does not cover looks like one that is not there.
func visible(c Caller, id string) (columnar.DatasetID, error) {
	d, err := columnar.ParseDatasetID(id)
	if err != nil || !c.Sees(id) {
		return "", errNoDataset()
	}
	return d, nil
}

// RenameDataset gives a dataset another title.
func (a *Agent) RenameDataset(ctx context.Context, c Caller, id, title, idempotencyKey string) (Dataset, error) {
	if err := checkName("title", title); err != nil {
		return Dataset{}, err
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer leave()
	d, err := visible(c, id)
	if err := errors.Join(err, s.writable()); err != nil {
		return Dataset{}, err
	}
	idem, err := a.begin(ctx, c, idempotencyKey, newFingerprint(c, "datasets.rename").add(id).add(title))
	if err != nil {
		return Dataset{}, err
	}
	defer idem.done()
	var done bool
	if again, err := idem.replay(s, [32]byte{}, &done); err != nil || again {
		return a.describeAgain(s, id, err)
	}
	if err := a.rename(ctx, s, d, title, idem); err != nil {
		return Dataset{}, ended(ctx, err)
	}
	a.publish()
	return a.describe(s, d)
}

func (a *Agent) rename(ctx context.Context, s *session, id columnar.DatasetID, title string, idem *idempotent) error {
	return a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		meta, err := getMetadata(tx.Get, id)
		if err != nil {
			return err
		}
		defer meta.wipe()
		key, err := meta.newest()
		if err != nil {
			return err
		}
		defer key.Key.Wipe()
		var info infoRecord
		if err := readRecord(tx.KV(), infoKey(id), &info); err != nil {
			return err
		}
		info.Title = seal.Seal(key.Key, key.ID, purposeTitle, titleContext(id), []byte(title))
		a.events.stageWith(tx, Event{Type: EventDatasetRenamed, Dataset: string(id)})
		return errors.Join(
			writeRecord(tx.KV(), infoKey(id), info),
			idem.save(tx.KV(), s, [32]byte{}, true),
		)
	})
}

// getMetadata reads a dataset's vault item; fault.NotFound if there is no such dataset. The caller wipes the answer.
func getMetadata(get func(string) (keystore.Item, error), id columnar.DatasetID) (*metadataItem, error) {
	it, err := get(metadataItemID(id))
	if errors.Is(err, fault.NotFound) {
		return nil, errNoDataset()
	}
	if err != nil {
		return nil, err
	}
	defer clear(it.Body)
	m := new(metadataItem)
	return m, signed.Unmarshal(it.Body, m)
}

// Versions lists the versions that are kept, newest first.
func (a *Agent) Versions(ctx context.Context, c Caller, id string) ([]Version, error) {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	d, err := visible(c, id)
	if err != nil {
		return nil, err
	}
	ds, err := a.load(s, d)
	if err != nil {
		return nil, err
	}
	defer ds.wipe()
	return ds.versions(ctx)
}

func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
