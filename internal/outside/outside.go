// Package outside hands tests the data of others that lies beside the checkout, not in it.
package outside

import (
	"os"
	"path/filepath"
	"testing"
)

// Wycheproof returns a file of Project Wycheproof's vectors, as File does.
func Wycheproof(t testing.TB, name string) []byte {
	t.Helper()
	return File(t, "wycheproof", name)
}

// Reference returns an encrypted file of Apache's parquet-testing set, as File does.
func Reference(t testing.TB, name string) []byte {
	t.Helper()
	return File(t, "parquet-testing", name+".parquet.encrypted")
}

// File returns a file of $COLDFRAME_TESTDATA or ../shared/testdata beside the module's root. Without it the test is skipped, and fails if CI
// is "true".
func File(t testing.TB, path ...string) []byte {
	t.Helper()
	dir := os.Getenv("COLDFRAME_TESTDATA")
	if dir == "" {
		dir = filepath.Join(root(t), "../shared/testdata")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, path...)...))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no data of others: ", err)
	}
	return b
}

// root returns the folder of go.mod, at or above the test's own.
func root(t testing.TB) string {
	t.Helper()
	for dir := "."; len(dir) < 100; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod at or above the test's folder")
	return ""
}
