package columnar

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// chronicle is a dataset of two versions.
type chronicle struct {
	*family
	schema   *arrow.Schema
	metadata MetadataKey
	keys     *VersionKeys
	v1, v2   *Manifest
	e1, e2   []byte
}

func newChronicle(t testing.TB) *chronicle {
	t.Helper()
	tt, ok := t.(*testing.T)
	if !ok {
		tt = &testing.T{}
	}
	c := &chronicle{family: newFamily(tt), metadata: NewMetadataKey()}
	c.schema = arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil)
	c.keys = NewVersionKeys(c.columns)
	c.e1, c.v1 = c.sign(t, c.ada, Head{}, 1)
	c.e2, c.v2 = c.sign(t, c.bob, c.v1.Head(), 2)
	return c
}

// part returns a part that describes nothing real.
func (c *chronicle) part(v Version) Part {
	p := Part{
		Name: NewObjectName(), Version: v, Length: 4096, RowGroups: 1, Chunks: []byte{}, TailOffset: 2048, Footer: c.keys.Footer.ref(), Rows: 10,
	}
	for _, id := range c.columns {
		p.Keys = append(p.Keys, c.keys.Columns[id].ref())
		p.appendChunk(100, Hash{1})
	}
	p.Digest = p.digest()
	return p
}

func (c *chronicle) draft(head Head, v Version) Draft {
	return Draft{
		Roster: c.link, Head: head, Schema: c.schema, Columns: c.columns, Keys: c.keys, Parts: []Part{c.part(v)}, Metadata: c.metadata, Now: testTime,
	}
}

func (c *chronicle) sign(t testing.TB, s signed.Signer, head Head, v Version) ([]byte, *Manifest) {
	t.Helper()
	e, m, err := c.draft(head, v).Sign(context.Background(), nil, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return e, m
}

func TestManifestChain(t *testing.T) {
	c := newChronicle(t)
	m, err := VerifyManifest(c.e2, c.link, c.v1.Head())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unseal(c.metadata); err != nil || m.Contents.Rows != 10 || m.Parts[0].Rows != 10 || !m.Contents.Schema.Equal(c.schema) {
		t.Errorf("%+v, %v", m.Contents, err)
	}
	if err := m.Unseal(NewMetadataKey()); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("another key: %v", err)
	}
	if id, err := m.MetadataKeyID(); err != nil || id != c.metadata.ID {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := VerifyManifest(c.e2, c.link, c.v2.Head()); err != nil {
		t.Errorf("the head itself: %v", err)
	}
	fork, _ := c.sign(t, c.ada, c.v1.Head(), 2)
	onFork, _ := c.sign(t, c.ada, Head{Version: 2, Hash: Hash{9}, RosterSequence: 2}, 3)
	older := Head{Version: 2, Hash: c.v2.Hash, RosterSequence: 3}
	third, _ := c.sign(t, c.ada, c.v2.Head(), 3)
	for name, x := range map[string]struct {
		envelope []byte
		head     Head
		want     fault.Code
	}{
		"older":                {c.e1, c.v2.Head(), fault.RolledBack},
		"other of this number": {fork, c.v2.Head(), fault.Forked},
		"after another":        {onFork, c.v2.Head(), fault.Forked},
		"one missing":          {third, c.v1.Head(), fault.Incomplete},
		"from nothing":         {c.e2, Head{}, fault.Incomplete},
		"older roster":         {third, older, fault.RolledBack},
	} {
		if _, err := VerifyManifest(x.envelope, c.link, x.head); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %s", name, err, x.want)
		}
	}
}

func TestE02_OlderRosterThanTheHighest(t *testing.T) {
	c := newChronicle(t)
	_, l3, err := c.link.Sign(c.ada, c.link.Roster, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyManifest(c.e2, l3, c.v1.Head()); !errors.Is(err, fault.RolledBack) {
		t.Errorf("got %v", err)
	}
	if _, err := VerifyManifest(c.e2, c.first, c.v1.Head()); err == nil {
		t.Error("a roster that is missing here")
	}
}

func TestE07_RemovedMemberWrites(t *testing.T) {
	c := newChronicle(t)
	r := c.link.Roster
	r.Members = slices.DeleteFunc(slices.Clone(r.Members), func(m Member) bool { return m.User == "bob" })
	_, l3, err := c.link.Sign(c.ada, r, testTime)
	if err != nil {
		t.Fatal(err)
	}
	d := c.draft(c.v2.Head(), 3)
	d.Roster = l3
	e, _, err := d.Sign(t.Context(), nil, nil, c.bob)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyManifest(e, l3, c.v2.Head()); !errors.Is(err, fault.Revoked) {
		t.Errorf("a removed writer: %v", err)
	}
	e, _, err = d.Sign(t.Context(), nil, nil, c.joe)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyManifest(e, l3, c.v2.Head()); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("a reader: %v", err)
	}
	e, _, err = d.Sign(t.Context(), nil, nil, signed.Signer{User: "ada", Key: c.joe.Key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyManifest(e, l3, c.v2.Head()); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("in another's name: %v", err)
	}
}

// TestE06_VersionJumps signs manifests whose numbers, lengths and counts are out of range: each is refused, none overflows.
func TestE06_VersionJumps(t *testing.T) {
	c := newChronicle(t)
	for name, edit := range map[string]func(m *Manifest){
		"version 0":              func(m *Manifest) { m.Version = 0 },
		"highest version":        func(m *Manifest) { m.Version = math.MaxUint64 },
		"version 1 with a past":  func(m *Manifest) { m.Version = 1 },
		"no columns":             func(m *Manifest) { m.Columns = []ManifestColumn{} },
		"column twice":           func(m *Manifest) { m.Columns[1] = m.Columns[0] },
		"key twice":              func(m *Manifest) { m.Columns[1].Key = m.Columns[0].Key },
		"no parts":               func(m *Manifest) { m.Parts = []Part{} },
		"part twice":             func(m *Manifest) { m.Parts = append(m.Parts, m.Parts[0]) },
		"part of a later time":   func(m *Manifest) { m.Parts[0].Version = 9 },
		"part under other keys":  func(m *Manifest) { m.Parts[0].Footer.Commitment[0]++ },
		"part of no name":        func(m *Manifest) { m.Parts[0].Name = "../../etc/passwd" },
		"huge part":              func(m *Manifest) { m.Parts[0].Length = math.MaxUint64 },
		"tail beyond the end":    func(m *Manifest) { m.Parts[0].TailOffset = 5000 },
		"chunks beyond the tail": func(m *Manifest) { m.Parts[0].appendChunk(MaxChunkSize, Hash{}); m.Parts[0].appendChunk(1, Hash{}) },
		"chunk of nothing":       func(m *Manifest) { m.Parts[0].Chunks[3] = 0 },
		"half a chunk":           func(m *Manifest) { m.Parts[0].Chunks = m.Parts[0].Chunks[:50] },
		"row groups of nothing":  func(m *Manifest) { m.Parts[0].RowGroups = 5 },
		"two lists":              func(m *Manifest) { m.PartList = &ObjectRef{Name: NewObjectName()} },
		"endless list": func(m *Manifest) {
			m.Parts, m.PartList = []Part{}, &ObjectRef{Name: NewObjectName(), Length: math.MaxUint64}
		},
		"another dataset": func(m *Manifest) { m.Dataset = NewDatasetID(Hash{1}) },
	} {
		for _, sum := range []bool{false, true} {
			m := *c.v2
			m.Columns, m.Parts = slices.Clone(m.Columns), slices.Clone(m.Parts)
			m.Parts[0].Chunks = bytes.Clone(m.Parts[0].Chunks)
			edit(&m)
			for i := range m.Parts {
				if sum {
					m.Parts[i].Digest = m.Parts[i].digest()
				}
			}
			m.Author = "ada"
			e, err := signed.Sign(c.ada, manifestType, m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := VerifyManifest(e, c.link, c.v1.Head()); err == nil {
				t.Errorf("%s (digest made anew: %v): taken", name, sum)
			}
		}
	}
}

func TestManifestBitsMatter(t *testing.T) {
	c := newChronicle(t)
	for i := range c.e2 {
		e := bytes.Clone(c.e2)
		e[i] ^= 1 << (i % 8)
		if _, err := VerifyManifest(e, c.link, c.v1.Head()); err == nil {
			t.Fatalf("a bit of byte %d is not noticed", i)
		}
	}
}

func TestVersionKeysKeepTheirBytes(t *testing.T) {
	k := NewVersionKeys([]ColumnID{NewColumnID(), NewColumnID(), NewColumnID()})
	body := k.Marshal()
	got, err := UnmarshalVersionKeys(bytes.Clone(body))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Marshal(), body) || !got.Footer.Key.Equal(k.Footer.Key) || len(got.Columns) != 3 {
		t.Error("the keys changed")
	}
	for i := range body {
		if _, err := UnmarshalVersionKeys(body[:i]); err == nil {
			t.Fatalf("%d bytes of %d are taken", i, len(body))
		}
	}
	got.Wipe()
	if !got.Footer.Key.IsZero() {
		t.Error("not wiped")
	}
}

func FuzzManifest(f *testing.F) {
	c := newChronicle(f)
	f.Add(c.e1)
	f.Add(c.e2)
	f.Add(c.e2[:len(c.e2)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Manifest
		if signed.Peek(b, &m) != nil || m.check() != nil {
			return
		}
		if _, err := signed.Marshal(m); err != nil {
			t.Error(err)
		}
	})
}

func FuzzVersionKeys(f *testing.F) {
	f.Add(NewVersionKeys([]ColumnID{NewColumnID()}).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := UnmarshalVersionKeys(bytes.Clone(b))
		if err == nil && !bytes.Equal(k.Marshal(), b) {
			t.Error("what parsed does not encode back")
		}
	})
}

// TestD13_SchemaThatLies: lengths in a schema by which arrow-go would allocate: body of 32 GiB, 2^30 fields, a loop.
func TestD13_SchemaThatLies(t *testing.T) {
	good, err := marshalSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unmarshalSchema(good); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := 8; i+4 <= len(good); i++ {
		for _, v := range []uint32{0x3fffffff, 0x7fffffff, 0xfffffff0, uint32(len(good))} {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint32(b[i:], v)
			if _, err := unmarshalSchema(b); err != nil {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Fatal("no schema was refused")
	}
}

// FuzzSchema reads schemas as they come out of a sealed body.
func FuzzSchema(f *testing.F) {
	b, err := marshalSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)}}, nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := unmarshalSchema(b)
		if err == nil && s.NumFields() > 0 {
			_, _ = storageSchema(s)
		}
	})
}
