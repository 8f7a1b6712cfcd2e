package daemon

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

const kmsTable = "id,name,secret\n1,a,canary\n2,b,canary\n"

// kmsApp makes a token of the scope kms and returns its caller.
func (r *running) kmsApp(change func(*AppRequest)) Caller {
	r.t.Helper()
	req := AppRequest{Name: "pyarrow", Scopes: []Scope{ScopeKMS}, Password: []byte(testPassword)}
	change(&req)
	_, token, err := r.CreateApp(r.t.Context(), user, req)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.Authenticate(string(token))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// footerMaterial returns what a foreign reader finds in the clear in a file: the id of the footer's key, and the wrapped data key.
func footerMaterial(t *testing.T, path string) (id, wrapped string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\{"keyMaterialType":"PKMT1"[^}]*\}`).Find(b)
	var m struct{ MasterKeyID, WrappedDEK string }
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m.MasterKeyID, m.WrappedDEK
}

func TestUnwrapKeyOfAColumn(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id, other := a.create("x"), a.create("y")
	a.mustWrite(WriteRequest{Dataset: id, Format: format.CSV}, kmsTable)
	a.mustWrite(WriteRequest{Dataset: id, Format: format.CSV, Append: true}, kmsTable)
	a.mustWrite(WriteRequest{Dataset: other, Format: format.CSV}, kmsTable)
	some := a.kmsApp(func(r *AppRequest) { r.Datasets, r.Columns = []string{id}, []string{"name"} })
	files, err := a.Files(t.Context(), some, FilesRequest{Dataset: id})
	if err != nil || len(files.Files) != 2 || files.Rows != 4 || files.Version != 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	readable := slices.DeleteFunc(files.Columns, func(c FileColumn) bool { return !c.Readable })
	if len(readable) != 1 || readable[0].Name != "name" {
		t.Fatalf("readable: %+v", readable)
	}
	for i, f := range files.Files { // the key of a part's own version opens it
		key, wrapped := footerMaterial(t, f.Path)
		got, err := a.UnwrapKey(t.Context(), some, UnwrapRequest{Dataset: id, KeyID: key, Wrapped: wrapped})
		if err != nil || len(got) != 32 {
			t.Fatalf("footer of part %d: %d bytes, %v", i, len(got), err)
		}
		_, err = a.UnwrapKey(t.Context(), some, UnwrapRequest{Dataset: id, KeyID: key, Wrapped: flip(wrapped)})
		wantCode(t, "a wrapped key that was changed", err, fault.NotAuthentic)
		_, err = a.UnwrapKey(t.Context(), some, UnwrapRequest{Dataset: other, KeyID: key, Wrapped: wrapped})
		wantCode(t, "a dataset that the token does not cover", err, fault.NotFound)
		_, err = a.UnwrapKey(t.Context(), user, UnwrapRequest{Dataset: other, KeyID: key, Wrapped: wrapped})
		wantCode(t, "the key of another dataset", err, fault.NotFound)
	}
	a.wantOnly(some, id, "name")
	if _, err := a.Files(t.Context(), some, FilesRequest{Dataset: other}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("files of another dataset: %v", err)
	}
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = a.UnwrapKey(t.Context(), some, UnwrapRequest{Dataset: id, KeyID: "x", Wrapped: "x"})
	wantCode(t, "locked", err, fault.Locked)
}

// flip changes the first character of base64.
func flip(text string) string {
	if text[0] == 'A' {
		return "B" + text[1:]
	}
	return "A" + text[1:]
}

// wantOnly asks for each column's key with a wrapped key that opens under none: the named columns get as far as that, others are forbidden.
func (r *running) wantOnly(c Caller, dataset string, columns ...string) {
	r.t.Helper()
	d, err := r.Dataset(r.t.Context(), user, dataset)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, column := range d.Columns {
		want := fault.Forbidden
		if slices.Contains(columns, column.Name) {
			want = fault.NotAuthentic
		}
		id := r.columnKey(dataset, d.Version, column.ID)
		_, err := r.UnwrapKey(r.t.Context(), c, UnwrapRequest{Dataset: dataset, KeyID: id, Wrapped: "AAAA"})
		wantCode(r.t, column.Name, err, want)
	}
	if len(d.Columns) == 0 {
		r.t.Fatal("no column was tried")
	}
}

func TestTokensOfTheScopeKMS(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id, Format: format.CSV}, kmsTable)
	kms, read := []Scope{ScopeKMS}, []Scope{ScopeKMS, ScopeRead}
	for name, r := range map[string]AppRequest{
		"columns of all datasets":      {Scopes: kms, Columns: []string{"name"}},
		"columns and another scope":    {Scopes: read, Datasets: []string{id}, Columns: []string{"name"}},
		"a column that is not there":   {Scopes: kms, Datasets: []string{id}, Columns: []string{"nobody"}},
		"a column that is there twice": {Scopes: kms, Datasets: []string{id}, Columns: []string{"name", "name"}},
	} {
		r.Name, r.Password = "n", []byte(testPassword)
		_, _, err := a.CreateApp(t.Context(), user, r)
		wantCode(t, name, err, fault.InvalidRequest)
	}
	some := a.kmsApp(func(r *AppRequest) { r.Datasets, r.Columns = []string{id}, []string{"name", "id"} })
	apps, err := a.Apps(t.Context())
	if err != nil || len(apps) != 1 || !slices.Equal(apps[0].Columns, []string{"name", "id"}) {
		t.Fatalf("%+v, %v", apps, err)
	}
	a.wantOnly(some, id, "name", "id")

	// A column that comes under the name of one that is covered is another column; the same column in a new version is the same.
	a.mustWrite(WriteRequest{Dataset: id, Format: format.CSV, AllowNewLayout: true}, "id,extra\n1,2\n")
	a.wantOnly(some, id, "id")
}

// columnKey returns the id of the key of a column in a version.
func (r *running) columnKey(dataset string, version uint64, column string) string {
	r.t.Helper()
	keys, err := versionKeys{r.vault}.VersionKeys(r.t.Context(), columnar.DatasetID(dataset), columnar.Version(version))
	if err != nil {
		r.t.Fatal(err)
	}
	defer keys.Wipe()
	return keys.Columns[columnar.ColumnID(column)].ID
}
