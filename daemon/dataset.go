package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
)

// manifestRecord is a version in the local store. Bytes is for lists only: it is what the parts add up to.
type manifestRecord struct {
	Envelope []byte `cbor:"1,keyasint"`
	Bytes    uint64 `cbor:"2,keyasint"`
}

// dataset is what was read and verified of one dataset. wipe it.
type dataset struct {
	a      *Agent
	id     columnar.DatasetID
	meta   *metadataItem
	info   infoRecord
	roster []*columnar.RosterLink // by sequence, from 1
	title  string
	head   *columnar.Manifest // nil before the first version
	bytes  int64              // of the head
}

func (d *dataset) wipe() { d.meta.wipe() }

// load reads a dataset and verifies roster and head against the highest that the vault remembers (R5). Failures are events:
// fault.RolledBack, fault.Forked, fault.Incomplete, fault.NotAuthentic. fault.NotFound if there is no such dataset.
func (a *Agent) load(s *session, id columnar.DatasetID) (*dataset, error) {
	meta, err := getMetadata(a.vault.Get, id)
	if err != nil {
		return nil, err
	}
	d := &dataset{a: a, id: id, meta: meta}
	if err := d.read(); err != nil {
		d.wipe()
		if _, gone := getMetadata(a.vault.Get, id); errors.Is(gone, fault.NotFound) {
			return nil, gone
		}
		if a.elsewhere(id) {
			return nil, errElsewhere()
		}
		if isRefusal(fault.CodeOf(err)) {
			a.event(Event{Type: EventRefused, Dataset: string(id), Code: fault.CodeOf(err)})
		}
		return nil, err
	}
	return d, nil
}

// elsewhere reports whether a dataset was made on another device of the user: the vault, which a coordinator keeps or kept, names it, and this
// machine never had a record of it.
func (a *Agent) elsewhere(id columnar.DatasetID) bool {
	shared, err := a.vault.Shared()
	if err != nil || !shared {
		return false
	}
	n := 1
	err = a.db.View(func(tx *kv.Tx) error {
		n, err = countRecords(tx, datasetPrefix+string(id)+"/")
		return err
	})
	return err == nil && n == 0
}

func errElsewhere() error {
	return fault.New(fault.Incomplete, "the dataset is on another of your devices: manifests do not travel yet")
}

func (d *dataset) read() error {
	return d.a.db.View(func(tx *kv.Tx) error {
		if err := d.readRoster(tx); err != nil {
			return err
		}
		if err := present(readRecord(tx, infoKey(d.id), &d.info)); err != nil {
			return err
		}
		if err := d.openTitle(); err != nil {
			return err
		}
		if d.meta.Version == 0 {
			return nil
		}
		m, bytes, err := d.readManifest(tx, columnar.Version(d.meta.Version))
		if err != nil {
			return err
		}
		if m.Version != columnar.Version(d.meta.Version) || m.Hash != d.meta.Hash {
			return fault.New(fault.Forked, "two versions with number %d", d.meta.Version)
		}
		d.head, d.bytes = m, bytes
		return nil
	})
}

// present turns a record that must be there into fault.Incomplete if it is not: absence proves nothing (R10).
func present(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.Incomplete, "a record of the dataset is missing")
	}
	return err
}

func (d *dataset) readRoster(tx *kv.Tx) error {
	var link *columnar.RosterLink
	for n := uint64(1); n <= d.meta.Sequence; n++ {
		envelope, err := tx.Get(rosterKey(d.id, n))
		if err := present(err); err != nil {
			return err
		}
		if link == nil {
			link, err = columnar.OpenRoster(d.id, [][]byte{envelope})
		} else {
			link, err = link.Next(envelope)
		}
		if err != nil {
			return err
		}
		d.roster = append(d.roster, link)
	}
	if link == nil || link.Hash != d.meta.RosterHash {
		return fault.New(fault.Forked, "the roster is not the one that was seen last")
	}
	return nil
}

func (d *dataset) newest() *columnar.RosterLink { return d.roster[len(d.roster)-1] }

func (d *dataset) openTitle() error {
	id, err := seal.IDOf(d.info.Title)
	if err != nil {
		return err
	}
	key, err := d.meta.key(id)
	if err != nil {
		return err
	}
	defer key.Key.Wipe()
	title, err := seal.Open(key.Key, purposeTitle, titleContext(d.id), d.info.Title)
	d.title = string(title)
	return err
}

// readManifest reads a version and verifies it by itself: signature, author, roster of its time, sealed part.
func (d *dataset) readManifest(tx *kv.Tx, v columnar.Version) (*columnar.Manifest, int64, error) {
	var r manifestRecord
	if err := present(readRecord(tx, manifestKey(d.id, v), &r)); err != nil {
		return nil, 0, err
	}
	var claimed struct {
		Sequence uint64 `cbor:"4,keyasint"`
	}
	if err := signed.Peek(r.Envelope, &claimed); err != nil {
		return nil, 0, err
	}
	if claimed.Sequence == 0 || claimed.Sequence > uint64(len(d.roster)) {
		return nil, 0, fault.New(fault.Incomplete, "the version names a roster that is missing here")
	}
	m, err := columnar.OpenManifest(r.Envelope, d.roster[claimed.Sequence-1])
	if err != nil {
		return nil, 0, err
	}
	return m, int64(r.Bytes), d.unseal(m)
}

func (d *dataset) unseal(m *columnar.Manifest) error {
	id, err := m.MetadataKeyID()
	if err != nil {
		return err
	}
	key, err := d.meta.key(id)
	if err != nil {
		return err
	}
	defer key.Key.Wipe()
	return m.Unseal(key)
}

// each calls fn with every version that is kept, newest first, each verified by the hash in the one after it.
func (d *dataset) each(fn func(m *columnar.Manifest, bytes int64) error) error {
	if d.head == nil {
		return nil
	}
	m, bytes := d.head, d.bytes
	for {
		if err := fn(m, bytes); err != nil || uint64(m.Version) <= d.info.Oldest {
			return err
		}
		before, n, err := d.before(m)
		if err != nil {
			return err
		}
		m, bytes = before, n
	}
}

// before reads the version before m and checks that m names it.
func (d *dataset) before(m *columnar.Manifest) (*columnar.Manifest, int64, error) {
	var out *columnar.Manifest
	var bytes int64
	err := d.a.db.View(func(tx *kv.Tx) (err error) {
		out, bytes, err = d.readManifest(tx, m.Version-1)
		return err
	})
	if err == nil && (out.Hash != m.Previous || out.Version != m.Version-1) {
		err = fault.New(fault.Forked, "version %d is not the one that version %d follows", m.Version-1, m.Version)
	}
	return out, bytes, err
}

// errFound ends each when a version was found.
var errFound = errors.New("found")

// at returns a version, 0 for the newest. fault.NotFound if it is not there any more, or not yet.
func (d *dataset) at(v uint64) (*columnar.Manifest, error) {
	switch {
	case d.head == nil:
		return nil, fault.New(fault.NotFound, "nothing was written to this dataset yet")
	case v == 0:
		return d.head, nil
	case v > uint64(d.head.Version):
		return nil, fault.New(fault.NotFound, "version %d is not there yet: the newest is %d", v, d.head.Version)
	case v < d.info.Oldest:
		return nil, fault.New(fault.NotFound, "version %d is no longer kept: the oldest is %d", v, d.info.Oldest)
	}
	var out *columnar.Manifest
	err := d.each(func(m *columnar.Manifest, _ int64) error {
		if uint64(m.Version) != v {
			return nil
		}
		out = m
		return errFound
	})
	if errors.Is(err, errFound) {
		return out, nil
	}
	return nil, present(errors.Join(err, fault.New(fault.Incomplete, "version %d is missing", v)))
}

// describe returns what callers are told of a dataset.
func (a *Agent) describe(s *session, id columnar.DatasetID) (Dataset, error) {
	d, err := a.load(s, id)
	if err != nil {
		return Dataset{}, err
	}
	defer d.wipe()
	return d.describe(), nil
}

func (d *dataset) describe() Dataset {
	out := Dataset{ID: string(d.id), Title: d.title, State: "empty", Created: unixTime(d.info.Created), Updated: unixTime(d.info.Created)}
	for _, m := range d.newest().Members {
		out.Members = append(out.Members, Member{User: m.User, Role: string(m.Role)})
	}
	if d.head == nil {
		return out
	}
	out.State, out.Version, out.Updated = "ready", uint64(d.head.Version), time.UnixMilli(d.head.Time).UTC()
	out.Rows, out.Bytes = int64(d.head.Contents.Rows), d.bytes
	for i, f := range d.head.Contents.Schema.Fields() {
		out.Columns = append(out.Columns, Column{ID: string(d.head.Columns[i].ID), Name: f.Name, Type: typeText(f)})
	}
	return out
}

func typeText(f arrow.Field) string {
	t := format.FormatType(f.Type)
	if !f.Nullable {
		t += " not null"
	}
	return t
}

func describeVersion(m *columnar.Manifest, bytes int64) Version {
	return Version{
		Number: uint64(m.Version), Created: time.UnixMilli(m.Time).UTC(), Rows: int64(m.Contents.Rows), Bytes: bytes,
		Parts: len(m.Contents.PartRows), Author: m.Author, Hash: m.Hash.String(),
	}
}

// wantedColumns returns the ids of the wanted columns in the wanted order; nil: no word of them. fault.InvalidRequest names one that is not there.
func wantedColumns(m *columnar.Manifest, names []string) ([]columnar.ColumnID, error) {
	if names == nil {
		return nil, nil
	}
	if len(names) == 0 {
		return nil, fault.New(fault.InvalidRequest, "columns: at least one is needed")
	}
	var out []columnar.ColumnID
	for i, name := range names {
		at := slices.Index(m.Contents.Names, name)
		if at < 0 {
			return nil, fault.New(fault.InvalidRequest, "columns: there is no column %q", name)
		}
		if slices.Contains(names[:i], name) {
			return nil, fault.New(fault.InvalidRequest, "columns: %q is there twice", name)
		}
		out = append(out, m.Columns[at].ID)
	}
	return out, nil
}

// versions lists what Versions tells.
func (d *dataset) versions(ctx context.Context) ([]Version, error) {
	out := []Version{}
	err := d.each(func(m *columnar.Manifest, bytes int64) error {
		out = append(out, describeVersion(m, bytes))
		return ctx.Err()
	})
	return out, ended(ctx, err)
}
