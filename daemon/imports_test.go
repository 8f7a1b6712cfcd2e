package daemon

import (
	"bytes"
	"strings"
	"testing"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/internal/outside"
)

// foreignFile is a file that parquet-java encrypted, and the keys that open it.
func foreignFile(t *testing.T) (body []byte, keys func() ImportRequest) {
	t.Helper()
	body = outside.Reference(t, "encrypt_columns_and_footer_bloom_filter")
	return body, func() ImportRequest {
		return ImportRequest{Keys: []format.DecryptionKey{
			{ID: "kf", Key: []byte("0123456789012345")}, {ID: "kc1", Key: []byte("1234567890123450")}, {ID: "kc2", Key: []byte("1234567890123451")},
		}}
	}
}

func TestImport(t *testing.T) {
	body, keys := foreignFile(t)
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("theirs")
	prepare := func(c Caller, r ImportRequest) string {
		t.Helper()
		announced, _, err := a.PrepareImport(t.Context(), c, r)
		if err != nil {
			t.Fatal(err)
		}
		return announced
	}
	put := func(c Caller, announced string) error {
		_, err := a.WriteData(t.Context(), c, WriteRequest{Dataset: id, Format: format.Parquet, Import: announced}, bytes.NewReader(body))
		return err
	}
	r := keys()
	one := prepare(user, r)
	if !bytes.Equal(r.Keys[0].Key, make([]byte, 16)) {
		t.Error("the caller's copy of a key is there still")
	}
	if err := put(user, one); err != nil {
		t.Fatal(err)
	}
	if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"name"}}); strings.Count(got, "\n") != 2001 || !strings.Contains(got, "name_1999\n") {
		t.Errorf("%d bytes", len(got))
	}
	wantCode(t, "the keys a second time", put(user, one), fault.InvalidRequest)
	wantCode(t, "no keys", put(user, ""), fault.InvalidRequest)
	other := Caller{ID: "someone", Scopes: []Scope{ScopeWrite}}
	wantCode(t, "another caller's keys", put(other, prepare(user, keys())), fault.InvalidRequest)
	few := keys()
	few.Keys = few.Keys[:2]
	wantCode(t, "a key is missing", put(user, prepare(user, few)), fault.Forbidden)
	few = keys()
	few.Keys, few.SkipHidden = few.Keys[:2], true
	wantCode(t, "another layout", put(user, prepare(user, few)), fault.InvalidRequest)

	waiting := prepare(user, keys())
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.unlock()
	wantCode(t, "keys of before the lock", put(user, waiting), fault.InvalidRequest)
	for range maxImports {
		prepare(user, keys())
	}
	_, _, err := a.PrepareImport(t.Context(), user, keys())
	wantCode(t, "too many at once", err, fault.Busy)
	_, _, err = a.PrepareImport(t.Context(), user, ImportRequest{Keys: []format.DecryptionKey{{ID: "a", Key: make([]byte, 15)}}})
	wantCode(t, "a key of 15 bytes", err, fault.InvalidRequest)
}
