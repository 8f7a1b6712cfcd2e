package freespace_test

import (
	"os"
	"path/filepath"
	"testing"

	"coldframe/internal/freespace"
)

// TestFree asks both ways about one folder, and about none.
func TestFree(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only read
	a, err := freespace.Of(dir)
	if err != nil || a == 0 {
		t.Fatal(a, err)
	}
	b, err := freespace.In(root)
	if err != nil || b == 0 {
		t.Fatal(b, err)
	}
	if far := max(a, b) - min(a, b); far > max(a, b)/2 { // others write meanwhile
		t.Errorf("%d and %d", a, b)
	}
	if _, err := freespace.Of(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there")
	}
}
