package columnar

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Draft is a version before it is signed.
type Draft struct {
	Roster   *RosterLink // the newest
	Head     Head        // of the version that this one follows
	Schema   *arrow.Schema
	Columns  []ColumnID // of the fields of Schema
	Keys     *VersionKeys
	Parts    []Part // those of earlier versions that stay, with their Rows, then the new ones
	Metadata MetadataKey
	Now      time.Time
}

// Sign makes and signs the manifest. A part list too long for it is written to store as an object of its own, whose name is given to
// register first. It returns the envelope and the manifest with its contents.
func (d Draft) Sign(ctx context.Context, store Store, register func(ObjectName) error, s signed.Signer) ([]byte, *Manifest, error) {
	m, err := d.manifest(s)
	if err != nil {
		return nil, nil, err
	}
	if err := m.checkParts(m.Parts); err != nil {
		return nil, nil, err
	}
	if err := m.moveParts(ctx, store, register); err != nil {
		return nil, nil, err
	}
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	envelope, err := signed.Sign(s, manifestType, m)
	if err != nil {
		return nil, nil, err
	}
	if len(envelope) > MaxManifestSize {
		return nil, nil, fault.New(fault.TooLarge, "the manifest is larger than %d bytes", MaxManifestSize)
	}
	m.Hash = signed.Hash(envelope)
	return envelope, m, nil
}

func (d Draft) manifest(s signed.Signer) (*Manifest, error) {
	version, err := d.Head.Version.Next()
	if err != nil {
		return nil, err
	}
	if d.Schema.NumFields() != len(d.Columns) {
		panic("columnar: a draft needs a column id for each field")
	}
	m := &Manifest{
		Dataset: d.Roster.ID, Version: version, Previous: d.Head.Hash,
		RosterSequence: d.Roster.Sequence, RosterHash: d.Roster.Hash, Author: s.User, Time: d.Now.UnixMilli(),
		Footer: d.Keys.Footer.ref(), Parts: slices.Clone(d.Parts),
		Inputs: []Input{}, Derivation: []byte{}, Frontier: []Input{},
	}
	rand.Read(m.Nonce[:]) //nolint:errcheck // never fails: it ends the process instead
	c := &Contents{Schema: d.Schema}
	for i, id := range d.Columns {
		key, ok := d.Keys.Columns[id]
		if !ok {
			panic("columnar: a draft needs a key for each column")
		}
		m.Columns = append(m.Columns, ManifestColumn{ID: id, Key: key.ref(), Lineage: []ColumnRef{}})
		c.Names = append(c.Names, d.Schema.Field(i).Name)
	}
	for _, p := range d.Parts {
		c.PartRows = append(c.PartRows, p.Rows)
		c.Rows += p.Rows
	}
	if c.Rows > MaxVersion {
		return nil, fault.New(fault.TooLarge, "too many rows")
	}
	return m, m.sealContents(d.Metadata, c)
}

// moveParts writes a long part list to an object of its own.
func (m *Manifest) moveParts(ctx context.Context, store Store, register func(ObjectName) error) error {
	list, err := signed.Marshal(m.Parts)
	if err != nil {
		return fault.Wrap(fault.TooLarge, err, "the version has too many parts or row groups")
	}
	if len(list) <= inlinePartList {
		return nil
	}
	if len(list) > MaxPartListSize {
		return fault.New(fault.TooLarge, "the version has too many row groups")
	}
	name := NewObjectName()
	if err := register(name); err != nil {
		return err
	}
	up, err := store.Create(ctx, name, CreateOptions{SizeHint: int64(len(list))})
	if err != nil {
		return err
	}
	if _, err := up.Write(list); err != nil {
		_ = up.Abort() // the write's error is the one to tell
		return err
	}
	if err := up.Close(); err != nil {
		_ = up.Abort() // the close's error is the one to tell
		return err
	}
	m.PartList = &ObjectRef{Name: name, Length: uint64(len(list)), Hash: sha256.Sum256(list)}
	m.Parts = []Part{}
	return nil
}

// LoadParts returns the parts of the version, fetched from store if they are an object of their own. fault.Incomplete if that is
// missing, fault.NotAuthentic if it is not the one that the manifest names. Rows are set if Unseal was called.
func (m *Manifest) LoadParts(ctx context.Context, store Store) ([]Part, error) {
	if m.PartList == nil {
		return slices.Clone(m.Parts), nil
	}
	b, err := fetchVerified(ctx, store, span{name: m.PartList.Name, length: int64(m.PartList.Length), hash: m.PartList.Hash})
	if err != nil {
		return nil, err
	}
	var parts []Part
	if err := signed.Unmarshal(b, &parts); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the part list cannot be read")
	}
	if err := m.checkParts(parts); err != nil {
		return nil, err
	}
	if m.Contents != nil {
		if len(parts) != len(m.Contents.PartRows) {
			return nil, fault.New(fault.Incomplete, "not a row count for each part")
		}
		m.spreadRows(parts)
	}
	return parts, nil
}
