package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// keyPlaces remembers which version of a dataset a wrapping key belongs to, of the dataset that was asked for last. Ids of keys are no
// secret: they stand in the clear in the files.
type keyPlaces struct {
	mu       sync.Mutex
	dataset  columnar.DatasetID
	versions map[string]columnar.Version
}

// version returns the version that a key belongs to, and reads the ids of all keys of the dataset anew if it is not known.
func (p *keyPlaces) version(d columnar.DatasetID, id string, read func() (map[string]columnar.Version, error)) (columnar.Version, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v, ok := p.versions[id]; ok && p.dataset == d {
		return v, nil
	}
	versions, err := read()
	if err != nil {
		return 0, err
	}
	p.dataset, p.versions = d, versions
	if v, ok := versions[id]; ok {
		return v, nil
	}
	return 0, fault.New(fault.NotFound, "the dataset has no key of this id")
}

// UnwrapKey returns the data key of one column, or of the footer, of one file to another reader of modular encryption: 16, 24 or 32
// bytes, which the caller wipes. The key never says for which file it is: whoever may have a column's key may open that column in all
// files of the dataset. fault.NotFound: there is no such key. fault.Forbidden: it is of a column that the token does not cover.
func (a *Agent) UnwrapKey(ctx context.Context, c Caller, r UnwrapRequest) ([]byte, error) {
	id, err := visible(c, r.Dataset)
	if err != nil {
		return nil, err
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	v, err := s.wrapping.version(id, r.KeyID, func() (map[string]columnar.Version, error) { return a.keyVersions(ctx, id) })
	if err != nil {
		return nil, err
	}
	keys, err := versionKeys{a.vault}.VersionKeys(ctx, id, v)
	if err != nil {
		return nil, err
	}
	defer keys.Wipe()
	if keys.Footer.ID == r.KeyID {
		return keys.Footer.Unwrap(r.Wrapped)
	}
	for column, k := range keys.Columns {
		switch {
		case k.ID != r.KeyID:
		case !c.Opens(string(column)):
			return nil, fault.New(fault.Forbidden, "this token does not cover the column")
		default:
			return k.Unwrap(r.Wrapped)
		}
	}
	return nil, fault.New(fault.NotFound, "the dataset has no key of this id")
}

// keyVersions reads the ids of all keys that the vault has of a dataset.
func (a *Agent) keyVersions(ctx context.Context, id columnar.DatasetID) (map[string]columnar.Version, error) {
	meta, err := getMetadata(a.vault.Get, id)
	if err != nil {
		return nil, err
	}
	defer meta.wipe()
	needed, err := a.versionsWithKeys(id, meta.Version)
	if err != nil {
		return nil, err
	}
	out := map[string]columnar.Version{}
	for n := range needed {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		v := columnar.Version(n)
		keys, err := versionKeys{a.vault}.VersionKeys(ctx, id, v)
		if errors.Is(err, fault.NotFound) {
			continue // expired meanwhile
		}
		if err != nil {
			return nil, err
		}
		out[keys.Footer.ID] = v
		for _, k := range keys.Columns {
			out[k.ID] = v
		}
		keys.Wipe()
	}
	return out, nil
}

func (a *Agent) versionsWithKeys(id columnar.DatasetID, newest uint64) (needed map[uint64]struct{}, err error) {
	err = a.db.View(func(tx *kv.Tx) error {
		var info infoRecord
		if err := present(readRecord(tx, infoKey(id), &info)); err != nil {
			return err
		}
		objects, err := objectsOf(tx, id)
		needed = versionsNeeded(objects, info.Oldest, newest)
		return err
	})
	return needed, err
}

// Files tells where the encrypted parts of a version lie: paths if the store is a folder, else URLs that end with columnar.MaxPresign.
// Who reads there sees what the store gives: nothing compares it with the manifest.
func (a *Agent) Files(ctx context.Context, c Caller, r FilesRequest) (Files, error) {
	id, err := visible(c, r.Dataset)
	if err != nil {
		return Files{}, err
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return Files{}, err
	}
	defer leave()
	store, err := s.objects()
	if err != nil {
		return Files{}, err
	}
	ds, err := a.load(s, id)
	if err != nil {
		return Files{}, err
	}
	defer ds.wipe()
	m, err := ds.at(r.Version)
	if err != nil {
		return Files{}, err
	}
	parts, err := m.LoadParts(ctx, store)
	if err != nil {
		return Files{}, ended(ctx, err)
	}
	out := Files{Dataset: r.Dataset, Version: uint64(m.Version), Rows: int64(m.Contents.Rows)}
	for i, f := range m.Contents.Schema.Fields() {
		column := string(m.Columns[i].ID)
		out.Columns = append(out.Columns, FileColumn{ID: column, Name: f.Name, Type: typeText(f), Readable: c.Opens(column)})
	}
	for i, p := range parts {
		f := File{Name: fmt.Sprintf("part-%05d.parquet", i), Rows: int64(p.Rows), Bytes: int64(p.Length)}
		if err := a.locate(ctx, store, p.Name, &f); err != nil {
			return Files{}, ended(ctx, err)
		}
		out.Files = append(out.Files, f)
	}
	return out, nil
}

func (a *Agent) locate(ctx context.Context, store columnar.Store, name columnar.ObjectName, f *File) error {
	switch store := store.(type) {
	case interface {
		Path(columnar.ObjectName) string
	}:
		f.Path = store.Path(name)
		return nil
	case columnar.Presigner:
		p, err := store.PresignObject(ctx, name, columnar.MaxPresign)
		f.URL, f.Expires = p.URL, a.clock.Now().Add(columnar.MaxPresign).UTC().Truncate(time.Second)
		return err
	}
	return fault.New(fault.Unavailable, "the store lets nobody else read")
}

// columnIDs returns the ids of the named columns in the datasets. Each name must be there in one of them.
func (a *Agent) columnIDs(s *session, datasets, names []string) ([]string, error) {
	found := map[string]bool{}
	ids := []string{}
	for _, d := range datasets {
		ds, err := a.load(s, columnar.DatasetID(d))
		if err != nil {
			return nil, err
		}
		if ds.head != nil {
			for i, name := range ds.head.Contents.Names {
				if slices.Contains(names, name) {
					found[name] = true
					ids = append(ids, string(ds.head.Columns[i].ID))
				}
			}
		}
		ds.wipe()
	}
	for i, name := range names {
		if !found[name] || slices.Contains(names[:i], name) {
			return nil, fault.New(fault.InvalidRequest, "columns: %d is in none of the datasets, or there twice", i)
		}
	}
	return ids, nil
}
