package columnar_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// columnVector is one case of docs/vectors/column. Byte strings are hexadecimal.
type columnVector struct {
	Kind    string `json:"kind"` // "aad prefix", "key commitment" or "part"
	Comment string `json:"comment,omitempty"`

	Dataset   columnar.DatasetID  `json:"dataset,omitempty"`
	Version   columnar.Version    `json:"version,omitempty"`
	Part      columnar.ObjectName `json:"part,omitempty"`
	AADPrefix string              `json:"aad_prefix,omitempty"`

	Key        string `json:"key,omitempty"`
	KeyID      string `json:"key_id,omitempty"`
	Commitment string `json:"commitment,omitempty"`

	Roster        []string          `json:"roster,omitempty"`   // the chain
	Manifest      string            `json:"manifest,omitempty"` // an envelope
	MetadataKey   string            `json:"metadata_key,omitempty"`
	MetadataKeyID string            `json:"metadata_key_id,omitempty"`
	VersionKeys   string            `json:"version_keys,omitempty"` // the map of docs/column.md
	Objects       map[string]string `json:"objects,omitempty"`      // by name
	Rows          json.RawMessage   `json:"rows,omitempty"`
	Refused       fault.Code        `json:"refused,omitempty"`
}

const columnVectors = "../docs/vectors/column"

func TestColumnVectors(t *testing.T) {
	if os.Getenv("COLDFRAME_WRITE_VECTORS") != "" {
		writePartVectors(t)
	}
	files, err := filepath.Glob(columnVectors + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	kinds := map[string]int{}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var v columnVector
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			kinds[v.Kind]++
			v.run(t)
		})
	}
	if kinds["aad prefix"] == 0 || kinds["key commitment"] == 0 || kinds["part"] == 0 {
		t.Errorf("a kind is missing: %v", kinds)
	}
}

func (v columnVector) run(t *testing.T) {
	switch v.Kind {
	case "aad prefix":
		if got := columnar.AADPrefix(v.Dataset, v.Version, v.Part); hex.EncodeToString(got) != v.AADPrefix {
			t.Errorf("%x", got)
		}
	case "key commitment":
		key, err := secret.FromBytes(unhexed(t, v.Key))
		if err != nil {
			t.Fatal(err)
		}
		if got := columnar.KeyCommitment(columnar.NamedKey{ID: v.KeyID, Key: key}); got.String() != v.Commitment {
			t.Errorf("%s", got)
		}
	case "part":
		got, err := v.read(t)
		if v.Refused != "" {
			if fault.CodeOf(err) != v.Refused || len(got) > 0 {
				t.Errorf("%d batches, %v, want %s", len(got), err, v.Refused)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := array.RecordFromJSON(memory.DefaultAllocator, got[0].Schema(), bytes.NewReader(v.Rows))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || want.NumRows() == 0 || !array.RecordEqual(got[0], want) {
			t.Errorf("%v, want %v", got, want)
		}
	default:
		t.Fatalf("kind %q", v.Kind)
	}
}

// read opens a version as somebody does who has nothing but the vector.
func (v columnVector) read(t *testing.T) ([]arrow.RecordBatch, error) {
	t.Helper()
	var chain [][]byte
	for _, s := range v.Roster {
		chain = append(chain, unhexed(t, s))
	}
	link, err := columnar.OpenRoster(v.Dataset, chain)
	if err != nil {
		return nil, err
	}
	m, err := columnar.VerifyManifest(unhexed(t, v.Manifest), link, columnar.Head{})
	if err != nil {
		return nil, err
	}
	key, err := secret.FromBytes(unhexed(t, v.MetadataKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unseal(columnar.MetadataKey{ID: seal.KeyID(unhexed(t, v.MetadataKeyID)), Key: key}); err != nil {
		return nil, err
	}
	store := folder(t)
	for name, body := range v.Objects {
		if err := storetest.Put(t.Context(), store, columnar.ObjectName(name), unhexed(t, body)); err != nil {
			t.Fatal(err)
		}
	}
	return readAll(t.Context(), store, m, vectorKeys(unhexed(t, v.VersionKeys)), columnar.ReadOptions{})
}

// vectorKeys are the keys of one version.
type vectorKeys []byte

func (k vectorKeys) VersionKeys(context.Context, columnar.DatasetID, columnar.Version) (*columnar.VersionKeys, error) {
	return columnar.UnmarshalVersionKeys(bytes.Clone(k))
}

func unhexed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writePartVectors makes the vectors of whole versions anew. Keys and nonces are random: they differ each time.
func writePartVectors(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "word", Type: arrow.BinaryTypes.String},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
	}, nil)
	rows := json.RawMessage(`[{"n":1,"word":"one","list":[0.5,1.5]},{"n":null,"word":"","list":null},{"n":-3,"word":"drei","list":[]}]`)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, bytes.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, folder(t), schema)
	w.mustPut(batch)
	name := w.head.Parts[0].Name
	body, err := storetest.Get(t.Context(), w.store, name, 0, int64(w.head.Parts[0].Length))
	if err != nil {
		t.Fatal(err)
	}
	v := columnVector{
		Kind: "part", Comment: "one part of three rows", Dataset: w.roster.ID, Roster: []string{hex.EncodeToString(w.genesis)}, Manifest: hex.EncodeToString(w.envelope),
		MetadataKey: hex.EncodeToString(w.metadata.Key.Bytes()), MetadataKeyID: w.metadata.ID.String(),
		VersionKeys: hex.EncodeToString(w.keys[1].Marshal()), Objects: map[string]string{string(name): hex.EncodeToString(body)}, Rows: rows,
	}
	saveColumnVector(t, "part", v)
	change := func(file, comment string, code fault.Code, f func(v *columnVector)) {
		bad := v
		bad.Comment, bad.Refused, bad.Rows = comment, code, nil
		f(&bad)
		saveColumnVector(t, "part-"+file, bad)
	}
	flipped := func(at int) map[string]string {
		b := bytes.Clone(body)
		b[at] ^= 1
		return map[string]string{string(name): hex.EncodeToString(b)}
	}
	change("page", "a bit of the first chunk flipped", fault.NotAuthentic, func(v *columnVector) { v.Objects = flipped(40) })
	change("footer", "a bit of the footer flipped", fault.NotAuthentic, func(v *columnVector) { v.Objects = flipped(len(body) - 20) })
	change("missing", "the object is not there", fault.Incomplete, func(v *columnVector) { v.Objects = nil })
	change("other-key", "another key under the id of a column's", fault.NotAuthentic, func(v *columnVector) {
		k := w.keys[1].Clone()
		c := w.columns[1]
		k.Columns[c] = columnar.NamedKey{ID: k.Columns[c].ID, Key: secret.Random()}
		v.VersionKeys = hex.EncodeToString(k.Marshal())
	})
	change("no-key", "the key of a column is not had", fault.Forbidden, func(v *columnVector) {
		k := w.keys[1].Clone()
		delete(k.Columns, w.columns[2])
		v.VersionKeys = hex.EncodeToString(k.Marshal())
	})
}

func saveColumnVector(t *testing.T, name string, v columnVector) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(columnVectors, name+".json"), append(b, '\n'), 0o644); err != nil { //nolint:gosec // of the repository
		t.Fatal(err)
	}
}
