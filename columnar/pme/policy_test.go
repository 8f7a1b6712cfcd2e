package pme_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// TestD07_ColumnInTheClear has an insider seal a footer whose only column is in the clear, or under the footer's key.
func TestD07_ColumnInTheClear(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 91)
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for name, underFooter := range map[string]bool{"in the clear": false, "under the footer's key": true} {
		f.Footer = footerOfOne(underFooter)
		b := f.Seal(testPrefix)
		if _, err := open(b, k.keys(), strict); !errors.Is(err, fault.Policy) {
			t.Errorf("a column %s: want policy, got %v", name, err)
		}
		if _, err := open(b, k.keys(), pme.ReadOptions{AADPrefix: testPrefix, Foreign: true}); err != nil {
			t.Errorf("the same in a foreign file: %v", err)
		}
	}
}

// footerOfOne is a FileMetaData of one row group with one int64 column that has no key of its own.
func footerOfOne(underFooter bool) []byte {
	var e pme.Encoder
	e.Int(1, pme.TI32, 2)
	e.List(2, pme.TStruct, 2)
	element(&e, "root", 1)
	element(&e, "a", 0)
	e.Int(3, pme.TI64, 1)
	e.List(4, pme.TStruct, 1)
	e.Elem()
	e.List(1, pme.TStruct, 1)
	e.Elem()
	e.Int(2, pme.TI64, 4)
	e.Begin(3)
	e.Int(1, pme.TI32, 2)
	e.List(3, pme.TBinary, 1)
	e.Raw([]byte("\x01a"))
	for id, v := range map[int16]int64{5: 1, 6: 8, 7: 8, 9: 4} {
		e.Int(id, pme.TI64, v)
	}
	e.End()
	if underFooter {
		e.Begin(8)
		e.Begin(1)
		e.End()
		e.End()
	}
	e.End()
	e.Int(3, pme.TI64, 1)
	e.End()
	e.List(5, pme.TStruct, 1)
	e.Elem()
	e.Str(1, "coldframe.key_commitments")
	e.Str(2, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	e.End()
	e.End()
	return bytes.Clone(e.Bytes())
}
