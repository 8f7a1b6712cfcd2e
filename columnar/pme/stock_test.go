package pme_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar/pme"
)

// stockKeys gives arrow-go's own decryption the data keys, as a key service would: by what the key metadata says.
type stockKeys struct {
	t    *testing.T
	keys map[string]pme.NamedKey
}

func (s stockKeys) GetKey(metadata []byte) string {
	var m struct {
		MasterKeyID string `json:"masterKeyID"`
		Footer      bool   `json:"isFooterKey"`
	}
	if err := json.Unmarshal(metadata, &m); err != nil {
		s.t.Fatal(err)
	}
	mk := s.keys[m.MasterKeyID]
	k := pme.Keys{Footer: mk, Column: func(pme.Leaf) (pme.NamedKey, bool) { return mk, true }}
	leaf := &pme.Leaf{}
	if m.Footer {
		leaf = nil
	}
	dek, err := k.DataKey(leaf, metadata)
	if err != nil || len(dek) != 32 {
		s.t.Fatal("a data key: ", err)
	}
	return string(dek)
}

// TestStockReader has arrow-go's own modular encryption, another implementation, read what this package writes.
func TestStockReader(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			k := newKeyring(testSchema.NumFields())
			s, recs := sealShape(t, k, sh, 31)
			byID := map[string]pme.NamedKey{k.footer.ID: k.footer}
			for _, c := range k.columns {
				byID[c.ID] = c
			}
			props := parquet.NewReaderProperties(memory.DefaultAllocator)
			props.FileDecryptProps = parquet.NewFileDecryptionProperties(
				parquet.WithKeyRetriever(stockKeys{t: t, keys: byID}), parquet.WithDecryptAadPrefix(string(testPrefix)))
			pf, err := file.NewParquetReader(bytes.NewReader(s.bytes), file.WithReadProps(props))
			if err != nil {
				t.Fatal(err)
			}
			r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.ReadTable(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, recs, all())
		})
	}
}
