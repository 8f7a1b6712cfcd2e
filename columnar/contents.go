package columnar

import (
	"bytes"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
)

const purposeContents = "columnar/contents"

// Contents is the part of a manifest that only members can read.
type Contents struct {
	Rows     uint64
	PartRows []uint64 // of each part
	Names    []string // of the columns
	Schema   *arrow.Schema
}

// contentsBody is the plaintext of Manifest.Sealed.
type contentsBody struct {
	Rows     uint64   `cbor:"1,keyasint"`
	PartRows []uint64 `cbor:"2,keyasint"`
	Names    []string `cbor:"3,keyasint"`
	Schema   []byte   `cbor:"4,keyasint"` // Arrow IPC: a stream with the schema message and no batch
}

func (m *Manifest) contentsContext() seal.Context {
	return seal.Context{Owner: string(m.Dataset), Type: "manifest", ID: string(m.Dataset), Field: "contents", Version: uint64(m.Version)}
}

func (m *Manifest) sealContents(key MetadataKey, c *Contents) error {
	schema, err := marshalSchema(c.Schema)
	if err != nil {
		return err
	}
	body, err := signed.Marshal(contentsBody{Rows: c.Rows, PartRows: append([]uint64{}, c.PartRows...), Names: c.Names, Schema: schema})
	if err != nil {
		return err
	}
	m.Sealed = seal.Seal(key.Key, key.ID, purposeContents, m.contentsContext(), body)
	m.Contents = c
	return nil
}

// Unseal opens the sealed part with the dataset's metadata key and sets Contents. fault.NotAuthentic if it does not open, or does not
// fit the manifest.
func (m *Manifest) Unseal(key MetadataKey) error {
	plain, err := seal.Open(key.Key, purposeContents, m.contentsContext(), m.Sealed)
	if err != nil {
		return err
	}
	var body contentsBody
	if err := signed.Unmarshal(plain, &body); err != nil {
		return err
	}
	schema, err := unmarshalSchema(body.Schema)
	if err != nil {
		return fault.Wrap(fault.NotAuthentic, err, "the schema of the version cannot be read")
	}
	c := &Contents{Rows: body.Rows, PartRows: body.PartRows, Names: body.Names, Schema: schema}
	if err := c.check(m); err != nil {
		return err
	}
	m.Contents = c
	m.spreadRows(m.Parts)
	return nil
}

// MetadataKeyID returns the id of the metadata key that Unseal needs.
func (m *Manifest) MetadataKeyID() (seal.KeyID, error) { return seal.IDOf(m.Sealed) }

func (m *Manifest) spreadRows(parts []Part) {
	for i := range parts {
		parts[i].Rows = m.Contents.PartRows[i]
	}
}

func (c *Contents) check(m *Manifest) error {
	refuse := func(why string) error { return fault.New(fault.NotAuthentic, "the contents of the version: %s", why) }
	switch {
	case m.PartList == nil && len(c.PartRows) != len(m.Parts), len(c.PartRows) > MaxParts:
		return refuse("not a row count for each part")
	case c.Schema.NumFields() != len(m.Columns) || len(c.Names) != len(m.Columns):
		return refuse("not a name for each column")
	}
	for i, f := range c.Schema.Fields() {
		if f.Name != c.Names[i] {
			return refuse("names and schema differ")
		}
	}
	var rows uint64
	for _, n := range c.PartRows {
		sum, ok := addUint64(rows, n)
		if !ok || sum > MaxVersion {
			return refuse("too many rows")
		}
		rows = sum
	}
	if rows != c.Rows {
		return refuse("row counts that do not add up")
	}
	return nil
}

// marshalSchema returns the schema as an Arrow IPC stream without batches.
func marshalSchema(s *arrow.Schema) ([]byte, error) {
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(s))
	if err := w.Close(); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the schema has no Arrow form")
	}
	if b.Len() > MaxSchemaSize {
		return nil, fault.New(fault.TooLarge, "the schema is larger than %d bytes", MaxSchemaSize)
	}
	return b.Bytes(), nil
}

func unmarshalSchema(b []byte) (*arrow.Schema, error) {
	if len(b) > MaxSchemaSize {
		return nil, fault.New(fault.TooLarge, "the schema is larger than %d bytes", MaxSchemaSize)
	}
	return format.ReadSchema(b)
}
