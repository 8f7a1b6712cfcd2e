package columnar

import (
	"crypto/sha256"
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Limits of a manifest (R13).
const (
	MaxManifestSize = 4 << 20  // bytes of the envelope
	MaxPartListSize = 16 << 20 // bytes of a part list that is an object of its own
	MaxParts        = 10_000
	MaxChunkSize    = 1 << 30  // bytes of one sealed column chunk
	MaxTailSize     = 17 << 20 // bytes: the footer that package pme reads, and its frame
	MaxPartSize     = 64 << 30 // bytes, which also bounds what one data key seals (D16)
	MaxSchemaSize   = 4 << 20  // bytes of the IPC schema message

	// inlinePartList is the size in bytes up to which a part list is in the manifest itself.
	inlinePartList = 64 << 10
)

const manifestType = "manifest"

// Manifest says what a version of a dataset is. Its author signs it; it names every object, and each is compared with it (R7).
type Manifest struct {
	Dataset        DatasetID        `cbor:"1,keyasint"`
	Version        Version          `cbor:"2,keyasint"`
	Previous       Hash             `cbor:"3,keyasint"` // of the envelope of the version before; zero in version 1
	RosterSequence uint64           `cbor:"4,keyasint"`
	RosterHash     Hash             `cbor:"5,keyasint"`
	Author         string           `cbor:"6,keyasint"`
	Time           int64            `cbor:"7,keyasint"` // Unix milliseconds, the author's word
	Nonce          [16]byte         `cbor:"8,keyasint"` // no two manifests are the same bytes
	Footer         KeyRef           `cbor:"9,keyasint"`
	Columns        []ManifestColumn `cbor:"10,keyasint"`
	Parts          []Part           `cbor:"11,keyasint"` // empty if PartList is there
	PartList       *ObjectRef       `cbor:"12,keyasint,omitempty"`
	Inputs         []Input          `cbor:"13,keyasint"` // of a derived dataset
	Derivation     []byte           `cbor:"14,keyasint"` // hash of the derivation, empty if not derived
	Frontier       []Input          `cbor:"15,keyasint"` // every root source of a derived version
	Sealed         []byte           `cbor:"16,keyasint"` // Contents, under the dataset's metadata key

	// Hash is that of the envelope. Set by whoever verified or signed it.
	Hash Hash `cbor:"-"`

	// Contents is the sealed part, once Unseal opened it.
	Contents *Contents `cbor:"-"`
}

// ManifestColumn is a column of a version: its key, and for a derived one the columns that it depends on.
type ManifestColumn struct {
	ID      ColumnID    `cbor:"1,keyasint"`
	Key     KeyRef      `cbor:"2,keyasint"`
	Lineage []ColumnRef `cbor:"3,keyasint"`
}

// ColumnRef is a column of some dataset.
type ColumnRef struct {
	Dataset DatasetID `cbor:"1,keyasint"`
	Column  ColumnID  `cbor:"2,keyasint"`
}

// Input is a version of a dataset that a derived one was computed from.
type Input struct {
	Dataset DatasetID `cbor:"1,keyasint"`
	Version Version   `cbor:"2,keyasint"`
	Hash    Hash      `cbor:"3,keyasint"`
}

// ObjectRef is an object of known bytes.
type ObjectRef struct {
	Name   ObjectName `cbor:"1,keyasint"`
	Length uint64     `cbor:"2,keyasint"`
	Hash   Hash       `cbor:"3,keyasint"`
}

// Part is one object with rows: a Parquet file. Its column chunks follow each other from offset 4, row group by row group and leaf by
// leaf; filler and the tail come after them.
type Part struct {
	Name       ObjectName `cbor:"1,keyasint"`
	Version    Version    `cbor:"2,keyasint"` // whose column keys open it
	Length     uint64     `cbor:"3,keyasint"` // bytes
	RowGroups  uint32     `cbor:"4,keyasint"`
	Chunks     []byte     `cbor:"5,keyasint"` // chunkSize bytes each: length (4, big endian) ‖ SHA-256
	TailOffset uint64     `cbor:"6,keyasint"` // the tail goes to the end of the object
	TailHash   Hash       `cbor:"7,keyasint"`
	Footer     KeyRef     `cbor:"8,keyasint"`
	Keys       []KeyRef   `cbor:"9,keyasint"`  // of the columns, in the order of Manifest.Columns
	Digest     Hash       `cbor:"10,keyasint"` // over all of the above

	// Rows is the number of rows. It is sealed in the manifest; Unseal sets it.
	Rows uint64 `cbor:"-"`
}

// chunkSize is the length of an entry of Part.Chunks; firstChunk is the offset of the first chunk, behind the magic bytes.
const (
	chunkSize  = 4 + sha256.Size
	firstChunk = 4
)

// chunkCount returns the number of column chunks in the part.
func (p *Part) chunkCount() int { return len(p.Chunks) / chunkSize }

// chunk returns the length and hash of chunk i.
func (p *Part) chunk(i int) (length int64, hash Hash) {
	e := p.Chunks[i*chunkSize : (i+1)*chunkSize]
	return int64(binary.BigEndian.Uint32(e)), Hash(e[4:])
}

func (p *Part) appendChunk(length int64, hash Hash) {
	p.Chunks = binary.BigEndian.AppendUint32(p.Chunks, uint32(length))
	p.Chunks = append(p.Chunks, hash[:]...)
}

// tailLength returns the length of the tail in bytes.
func (p *Part) tailLength() int64 { return int64(p.Length - p.TailOffset) }

// digest returns what Digest must be: the SHA-256 of the part as deterministic CBOR with an empty Digest.
func (p *Part) digest() Hash {
	c := *p
	c.Digest = Hash{}
	b, err := signed.Marshal(c)
	if err != nil {
		panic("columnar: part: " + err.Error())
	}
	return sha256.Sum256(b)
}

// check says whether a part is in order by itself.
func (p *Part) check(columns int) error {
	refuse := func(why string) error { return fault.New(fault.InvalidRequest, "manifest: %s", why) }
	if _, err := ParseObjectName(string(p.Name)); err != nil {
		return err
	}
	switch {
	case p.Version == 0 || p.Version > MaxVersion:
		return refuse("the version of a part is out of range")
	case p.Length > MaxPartSize || p.TailOffset > p.Length || p.tailLength() == 0 || p.tailLength() > MaxTailSize:
		return refuse("the length of a part is out of range")
	case len(p.Chunks)%chunkSize != 0 || p.RowGroups == 0 && len(p.Chunks) > 0:
		return refuse("the chunks of a part are not whole")
	case p.RowGroups > 0 && (p.chunkCount() == 0 || p.chunkCount()%int(p.RowGroups) != 0):
		return refuse("the row groups of a part are not whole")
	case len(p.Keys) != columns:
		return refuse("a part does not have a key for each column")
	}
	end := uint64(firstChunk)
	for i := range p.chunkCount() {
		n, _ := p.chunk(i)
		if n == 0 || n > MaxChunkSize {
			return refuse("the length of a chunk is out of range")
		}
		end += uint64(n) // at most 2³² chunks of 2³⁰ bytes: no overflow
	}
	if end > p.TailOffset {
		return refuse("the chunks of a part do not fit")
	}
	for _, k := range append([]KeyRef{p.Footer}, p.Keys...) {
		if !isUUID(k.ID) {
			return refuse("not a key id")
		}
	}
	if p.digest() != p.Digest {
		return refuse("a part's digest is not its own")
	}
	return nil
}

// check says whether a manifest is in order by itself, whoever signed it.
func (m *Manifest) check() error {
	refuse := func(why string) error { return fault.New(fault.InvalidRequest, "manifest: %s", why) }
	if _, err := ParseDatasetID(string(m.Dataset)); err != nil {
		return err
	}
	switch {
	case m.Version == 0 || m.Version > MaxVersion:
		return refuse("its version is out of range")
	case (m.Version == 1) != m.Previous.IsZero():
		return refuse("only the first version follows nothing")
	case m.RosterSequence == 0 || m.RosterSequence > MaxVersion:
		return refuse("its roster is out of range")
	case len(m.Columns) == 0 || len(m.Columns) > MaxColumns:
		return refuse("too few or too many columns")
	case !isUUID(m.Footer.ID):
		return refuse("not a key id")
	case m.PartList != nil && len(m.Parts) > 0:
		return refuse("two lists of parts")
	case len(m.Derivation) != 0 && len(m.Derivation) != sha256.Size:
		return refuse("a derivation that is no hash")
	}
	if err := m.checkColumns(); err != nil {
		return err
	}
	if l := m.PartList; l != nil {
		if _, err := ParseObjectName(string(l.Name)); err != nil {
			return err
		}
		if l.Length > MaxPartListSize {
			return fault.New(fault.TooLarge, "the part list is larger than %d bytes", MaxPartListSize)
		}
		return nil
	}
	return m.checkParts(m.Parts)
}

func (m *Manifest) checkColumns() error {
	ids, keys := map[ColumnID]bool{}, map[string]bool{m.Footer.ID: true}
	for _, c := range m.Columns {
		if !isUUID(string(c.ID)) || !isUUID(c.Key.ID) || ids[c.ID] || keys[c.Key.ID] {
			return fault.New(fault.InvalidRequest, "manifest: a column or key is no id, or doubled")
		}
		ids[c.ID], keys[c.Key.ID] = true, true
	}
	return nil
}

// checkParts judges a list of parts: each in order, none twice, those of this version under this version's keys.
func (m *Manifest) checkParts(parts []Part) error {
	if len(parts) == 0 || len(parts) > MaxParts {
		return fault.New(fault.Incomplete, "the version has no parts, or more than %d", MaxParts)
	}
	names := map[ObjectName]bool{}
	for i := range parts {
		p := &parts[i]
		if err := p.check(len(m.Columns)); err != nil {
			return err
		}
		if names[p.Name] {
			return fault.New(fault.Incomplete, "a part is there twice")
		}
		names[p.Name] = true
		if p.Version > m.Version || p.Version == m.Version && !m.keysOf(p) {
			return fault.New(fault.NotAuthentic, "a part is not under the keys of its version")
		}
	}
	return nil
}

func (m *Manifest) keysOf(p *Part) bool {
	for i, c := range m.Columns {
		if p.Keys[i] != c.Key {
			return false
		}
	}
	return p.Footer == m.Footer
}
