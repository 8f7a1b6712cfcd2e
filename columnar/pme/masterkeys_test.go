package pme_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/outside"
)

// The vectors of the format description: one data key, wrapped once and twice, by a key service of form 1 and of form 2.
const (
	vectorKEK    = "EBESExQVFhcYGRobPb/aVQ2MfPSCPEJWQzQnHJIrJXdHl7739vS6WIQvvGQ="
	vectorDouble = `{"keyMaterialType":"PKMT1","internalStorage":true,"isFooterKey":true,"kmsInstanceID":"DEFAULT","kmsInstanceURL":"DEFAULT","masterKeyID":"mk-footer",` +
		`"wrappedDEK":"ICEiIyQlJicoKSorstWf010xAdBMs9Gm5w113eJ4NIdg0c1oPrVEJyNEs9mYUEhue5qCxToJ3BNj/Peh","doubleWrapping":true,` +
		`"keyEncryptionKeyID":"gIGCg4SFhoeIiYqLjI2Ojw==","wrappedKEK":"` + vectorKEK + `"}`
	vectorSingle = `{"keyMaterialType":"PKMT1","internalStorage":true,"isFooterKey":true,"kmsInstanceID":"DEFAULT","kmsInstanceURL":"DEFAULT","masterKeyID":"mk-footer",` +
		`"wrappedDEK":"MDEyMzQ1Njc4OTo7c/TzAy2qjMTi+kQn3lTwp0z2nYQX65LS/2eLlzRuoOHsP3/LzyE6ibsbcq13aiaj","doubleWrapping":false}`
)

func through(first, last byte) []byte {
	var b []byte
	for v := int(first); v <= int(last); v++ {
		b = append(b, byte(v))
	}
	return b
}

func masterKeys(t testing.TB, external []byte) *pme.MasterKeys {
	t.Helper()
	var keys []pme.MasterKey
	for id, b := range map[string][]byte{"mk-footer": through(0, 0x1f), "short": through(1, 16)} {
		k, err := pme.NewMasterKey(id, b)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	m, err := pme.NewMasterKeys(keys, external)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Wipe)
	return m
}

func external(t testing.TB, name, material string) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]string{name: strings.Replace(material, `"internalStorage":true,`, "", 1)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMasterKeysVectors(t *testing.T) {
	versioned := strings.Replace(vectorDouble, `"`+vectorKEK+`"`, `"{\"masterKeyVersion\":\"NO_VERSION\",\"encryptedKey\":\"`+vectorKEK+`\"}"`, 1)
	outside := `{"keyMaterialType":"PKMT1","internalStorage":false,"keyReference":"footerKey"}`
	for name, c := range map[string]struct {
		metadata string
		external []byte
		want     []byte
	}{
		"single":                  {vectorSingle, nil, through(0xc0, 0xdf)},
		"double":                  {vectorDouble, nil, through(0xc0, 0xdf)},
		"double, form 2":          {versioned, nil, through(0xc0, 0xdf)},
		"external":                {outside, external(t, "footerKey", vectorDouble), through(0xc0, 0xdf)},
		"a name alone":            {"short", nil, through(1, 16)},
		"a name that is not had":  {"other", nil, nil},
		"a master key not had":    {strings.Replace(vectorSingle, "mk-footer", "mk-other", 1), nil, nil},
		"unknown members go over": {strings.Replace(vectorSingle, "{", `{"new":true,`, 1), nil, through(0xc0, 0xdf)},
	} {
		got, err := masterKeys(t, c.external).DataKey(nil, []byte(c.metadata))
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func TestMasterKeysRefuse(t *testing.T) {
	outside := `{"keyMaterialType":"PKMT1","internalStorage":false,"keyReference":"footerKey"}`
	for name, c := range map[string]struct {
		metadata string
		external []byte
		want     fault.Code
	}{
		"another type":                {strings.Replace(vectorSingle, "PKMT1", "PKMT2", 1), nil, fault.Policy},
		"another type outside":        {outside, external(t, "footerKey", strings.Replace(vectorSingle, "PKMT1", "PKMT2", 1)), fault.Policy},
		"no material outside":         {outside, nil, fault.InvalidRequest},
		"another name outside":        {outside, external(t, "columnKey0", vectorSingle), fault.NotAuthentic},
		"a column's key":              {strings.Replace(vectorSingle, `"isFooterKey":true`, `"isFooterKey":false`, 1), nil, fault.NotAuthentic},
		"the key under another id":    {strings.Replace(vectorSingle, "mk-footer", "short", 1), nil, fault.NotAuthentic},
		"a wrapped key, changed":      {strings.Replace(vectorSingle, "MDEy", "MDEz", 1), nil, fault.NotAuthentic},
		"a KEK id, changed":           {strings.Replace(vectorDouble, "gIGC", "gIGD", 1), nil, fault.NotAuthentic},
		"a boolean as text":           {strings.Replace(vectorSingle, `"doubleWrapping":false`, `"doubleWrapping":"false"`, 1), nil, fault.NotAuthentic},
		"double wrapping without KEK": {strings.Replace(vectorSingle, `"doubleWrapping":false`, `"doubleWrapping":true`, 1), nil, fault.NotAuthentic},
		"another master key version":  {strings.Replace(vectorSingle, `"MDEyMz`, `"{\"masterKeyVersion\":\"2\",\"encryptedKey\":\"\"}MDEyMz`, 1), nil, fault.NotAuthentic},
		"not an object":               {"{", nil, fault.NotAuthentic},
		"much":                        {"{" + strings.Repeat(" ", 9000), nil, fault.TooLarge},
	} {
		if got, err := masterKeys(t, c.external).DataKey(nil, []byte(c.metadata)); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	k, err := pme.NewMasterKey("a", through(1, 16))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pme.NewMasterKeys([]pme.MasterKey{k, k}, nil); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("one id twice: %v", err)
	}
	if _, err := pme.NewMasterKeys([]pme.MasterKey{k}, make([]byte, pme.MaxKeyMaterial+1)); !errors.Is(err, fault.TooLarge) {
		t.Errorf("much key material: %v", err)
	}
	if _, err := pme.NewMasterKey("a", through(1, 15)); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("a key of 15 bytes: %v", err)
	}
	m := masterKeys(t, nil)
	for _, id := range []string{"b", "a", "b"} {
		if _, err := m.DataKey(nil, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.Missing(); !slices.Equal(got, []string{"a", "b"}) || !slices.Equal(m.Missing(), got) {
		t.Errorf("missing: %q", got)
	}
}

func FuzzForeignKeyMetadata(f *testing.F) {
	outside := `{"keyMaterialType":"PKMT1","internalStorage":false,"keyReference":"footerKey"}`
	for _, m := range []string{vectorSingle, vectorDouble, outside, "short"} {
		f.Add([]byte(m), external(f, "footerKey", vectorDouble))
	}
	f.Fuzz(func(t *testing.T, metadata, beside []byte) {
		k, err := pme.NewMasterKey("mk-footer", through(0, 0x1f))
		if err != nil {
			t.Fatal(err)
		}
		m, err := pme.NewMasterKeys([]pme.MasterKey{k}, beside)
		if err != nil {
			return
		}
		defer m.Wipe()
		if dek, err := m.DataKey(nil, metadata); err == nil && dek != nil && len(dek) != 16 && len(dek) != 24 && len(dek) != 32 {
			t.Fatalf("a data key of %d bytes", len(dek))
		}
	})
}

// FuzzForeignFile decrypts files with the published keys. What comes out of one is a plain Parquet file, to be read like any.
func FuzzForeignFile(f *testing.F) {
	for _, name := range []string{
		"uniform_encryption", "encrypt_columns_and_footer", "encrypt_columns_and_footer_aad", "encrypt_columns_and_footer_ctr", "encrypt_columns_plaintext_footer",
	} {
		f.Add(outside.Reference(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := pme.ReadOptions{Foreign: true, PlaintextFooter: true, TakePrefix: true, AllowCTR: true, MaxPage: 1 << 20, MaxFooter: 1 << 20}
		file, err := open(b, published, o)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := file.WritePlain(&out, bytes.NewReader(b), pme.PlainOptions{SkipHidden: true, Fixed96: func(string) bool { return true }}); err != nil {
			return
		}
		if !bytes.HasPrefix(out.Bytes(), []byte("PAR1")) || !bytes.HasSuffix(out.Bytes(), []byte("PAR1")) {
			t.Fatal("not a plain file")
		}
	})
}

// TestWritePlain reads what it writes of our own files, each shape, and compares every value.
func TestWritePlain(t *testing.T) {
	for i, shape := range shapes() {
		k := newKeyring(testSchema.NumFields())
		s, recs := sealShape(t, k, shape, uint64(i))
		file, err := open(s.bytes, k.keys(), strict)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := file.WritePlain(&out, bytes.NewReader(s.bytes), pme.PlainOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := decode(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		columns := make([]int, len(file.Columns()))
		for c := range columns {
			columns[c] = c
		}
		same(t, got, recs, columns)
		got.Release()
	}
}

// TestWritePlainNoticesChanges flips a bit of every thirtieth byte of a file in AES_GCM_V1: an error each time, or bytes nobody reads.
func TestWritePlainNoticesChanges(t *testing.T) {
	whole := outside.Reference(t, "uniform_encryption")
	o := pme.ReadOptions{Foreign: true}
	plain := func(b []byte) ([]byte, error) {
		file, err := open(b, published, o)
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		err = file.WritePlain(&out, bytes.NewReader(b), pme.PlainOptions{})
		return out.Bytes(), err
	}
	want, err := plain(whole)
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for at := 0; at < len(whole); at += 30 {
		b := bytes.Clone(whole)
		b[at] ^= 4
		got, err := plain(b)
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("a change at %d went unnoticed", at)
		}
		if err != nil {
			noticed++
		}
	}
	if noticed < 100 {
		t.Errorf("%d changes noticed", noticed)
	}
}
