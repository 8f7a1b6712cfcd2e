package daemon

import (
	"bytes"
	"strings"
	"testing"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// A column whose key the account does not have is hidden from those who do not name it, forbidden to those who do, and the others read.
func TestColumnWithoutItsKey(t *testing.T) {
	w := startAttacked(t)
	k := w.keys[w.id].Clone()
	word := k.Columns[w.columns[w.id][1]]
	delete(k.Columns, w.columns[w.id][1])
	w.putKeys(k)

	first := func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line }
	all := w.mustRead(ReadRequest{Dataset: w.id})
	if n := strings.Count(all, "\n"); first(all) != "n,price" || n != attackedRows+1 {
		t.Errorf("all columns: %d lines of %q", n, first(all))
	}
	one := int64(1)
	if got := w.mustRead(ReadRequest{Dataset: w.id, Columns: []string{"price"}, Where: "n >= 0", Limit: &one}); first(got) != "price" {
		t.Errorf("one column: %q", got)
	}
	for _, r := range []ReadRequest{{Columns: []string{"word"}}, {Columns: []string{"n", "word"}}, {Where: "word > 'w'"}, {Columns: []string{"n"}, Where: "word IS NULL"}} {
		r.Dataset = w.id
		got, err := w.read(r)
		wantCode(t, "by name", err, fault.Forbidden)
		if got != "" {
			t.Errorf("%v: %q came", r, got)
		}
	}
	if got, err := w.query("SELECT * FROM mine ORDER BY n LIMIT 1"); err != nil || first(got) != "n,price" {
		t.Errorf("query: %q, %v", got, err)
	}
	if got, err := w.query("SELECT max(word) AS m FROM mine"); err == nil || got != "" {
		t.Errorf("query of the hidden column: %q", got)
	}
	_, err := w.UnwrapKey(t.Context(), user, UnwrapRequest{Dataset: w.id, KeyID: word.ID, Wrapped: "AAAA"})
	wantCode(t, "the key service", err, fault.NotFound)

	// One part without the key is enough, though the newest version has it.
	w.mustWrite(WriteRequest{Dataset: w.id, Append: true}, "n,word,price\n1,later,2\n")
	for _, r := range []ReadRequest{{}, {Limit: new(int64)}, {Limit: &one}} {
		r.Dataset = w.id
		if got := w.mustRead(r); first(got) != "n,price" || r.Limit == nil && strings.Count(got, "\n") != attackedRows+2 {
			t.Errorf("a newer version: %q", first(got))
		}
	}

	for id := range k.Columns {
		delete(k.Columns, id)
	}
	w.putKeys(k)
	_, err = w.read(ReadRequest{Dataset: w.id})
	wantCode(t, "without the key of any column", err, fault.Forbidden)
}

func (w *attacked) query(sql string) (string, error) {
	s, err := w.Query(w.t.Context(), user, QueryRequest{SQL: sql})
	if err != nil {
		return "", err
	}
	defer s.Close() //nolint:errcheck // it returns nil
	var b bytes.Buffer
	err = s.WriteTo(w.t.Context(), &b, format.CSV)
	return b.String(), err
}
