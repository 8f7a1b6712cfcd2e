package pme_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// vector is one case of docs/vectors/pme.
type vector struct {
	Kind      string `json:"kind"` // "key metadata", "module", "data key commitment", "chunk" or "file"
	MasterKey string `json:"master_key"`
	MasterID  string `json:"master_key_id"`
	DataKey   string `json:"data_key"`
	Nonce     string `json:"nonce"`
	Footer    bool   `json:"footer"`
	Metadata  string `json:"metadata"`
	Refused   string `json:"refused"` // code that opening gives

	Prefix    string `json:"aad_prefix"`
	Unique    string `json:"aad_file_unique"`
	Module    int    `json:"module_type"`
	RowGroup  int    `json:"row_group"`
	Column    int    `json:"column"`
	Page      int    `json:"page"`
	AAD       string `json:"aad"`
	Plaintext string `json:"plaintext"`
	Frame     string `json:"frame"`

	Salt       string `json:"salt"`
	Commitment string `json:"commitment"`
	Header     string `json:"header"`
	SHA256     string `json:"sha256"`

	FooterKey  vectorKey       `json:"footer_key"`
	ColumnKeys []vectorKey     `json:"column_keys"`
	File       string          `json:"file"`
	Rows       json.RawMessage `json:"rows"`
}

type vectorKey struct{ ID, Key string }

func (v vectorKey) named(t *testing.T) pme.NamedKey {
	t.Helper()
	k, err := secret.FromBytes(unhex(t, v.Key))
	if err != nil {
		t.Fatal(err)
	}
	return pme.NamedKey{ID: v.ID, Key: k}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	names, err := filepath.Glob("../../docs/vectors/pme/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no vectors", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(name, err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			switch v.Kind {
			case "key metadata":
				keyMetadataVector(t, v)
			case "module":
				moduleVector(t, v)
			case "data key commitment":
				commitmentVector(t, v)
			case "chunk":
				chunkVector(t, v)
			case "file":
				fileVector(t, v)
			default:
				t.Fatalf("kind %q", v.Kind)
			}
		})
	}
	t.Logf("%d vectors", len(names))
}

func keyMetadataVector(t *testing.T, v vector) {
	master, err := secret.FromBytes(unhex(t, v.MasterKey))
	if err != nil {
		t.Fatal(err)
	}
	mk := pme.NamedKey{ID: v.MasterID, Key: master}
	keys := pme.Keys{Footer: mk, Column: func(pme.Leaf) (pme.NamedKey, bool) { return mk, true }}
	leaf := &pme.Leaf{}
	if v.Footer {
		leaf = nil
	}
	dek, err := keys.DataKey(leaf, []byte(v.Metadata))
	if v.Refused != "" {
		if !errors.Is(err, fault.Code(v.Refused)) {
			t.Fatalf("want %s, got %v", v.Refused, err)
		}
		return
	}
	if err != nil || !bytes.Equal(dek, unhex(t, v.DataKey)) {
		t.Fatalf("another data key (%v)", err)
	}
	made, err := pme.WrapKey(mk, dek, unhex(t, v.Nonce), v.Footer)
	if err != nil || string(made) != v.Metadata {
		t.Fatalf("made %s (%v)", made, err)
	}
}

func moduleVector(t *testing.T, v vector) {
	prefix := append(unhex(t, v.Prefix), unhex(t, v.Unique)...)
	aad := pme.ModuleAAD(prefix, v.Module, v.RowGroup, v.Column)
	if v.Module == 2 || v.Module == 4 {
		aad = pme.PageAAD(prefix, v.Module, v.RowGroup, v.Column, v.Page)
	}
	if !bytes.Equal(aad, unhex(t, v.AAD)) {
		t.Fatalf("associated data %x", aad)
	}
	plain, err := pme.OpenFrame(unhex(t, v.DataKey), unhex(t, v.Frame), aad)
	if v.Refused != "" {
		if !errors.Is(err, fault.Code(v.Refused)) {
			t.Fatalf("want %s, got %v", v.Refused, err)
		}
		return
	}
	if err != nil || !bytes.Equal(plain, unhex(t, v.Plaintext)) {
		t.Fatalf("%q (%v)", plain, err)
	}
	frame := pme.Frame(unhex(t, v.DataKey), plain, aad)
	if len(frame) != len(v.Frame)/2 || !bytes.Equal(frame[:4], unhex(t, v.Frame)[:4]) {
		t.Fatal("a frame of another length")
	}
}

// fileVector reads a whole file as it was written when the format was laid down.
func fileVector(t *testing.T, v vector) {
	k := keyring{footer: v.FooterKey.named(t)}
	for _, c := range v.ColumnKeys {
		k.columns = append(k.columns, c.named(t))
	}
	got, err := readAll(unhex(t, v.File), k.keys(), pme.ReadOptions{AADPrefix: unhex(t, v.Prefix)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := array.RecordFromJSON(memory.DefaultAllocator, got.Schema(), bytes.NewReader(v.Rows))
	if err != nil {
		t.Fatal(err)
	}
	if want.NumRows() == 0 || got.NumRows() != want.NumRows() {
		t.Fatalf("%d rows, want %d", got.NumRows(), want.NumRows())
	}
	for i := range int(want.NumCols()) {
		if !array.ChunkedEqual(arrow.NewChunked(want.Column(i).DataType(), []arrow.Array{want.Column(i)}), got.Column(i).Data()) {
			t.Fatalf("column %d differs", i)
		}
	}
}
