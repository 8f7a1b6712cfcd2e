package kv

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed after it made a log file, and before it gave it a length, leaves a store that opens.
func TestF01_LogWithoutLength(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[data] of *") // no pattern
	db := open(t, dir)
	if err := db.Update(func(tx *Tx) error { return tx.Set("a", []byte("kept")) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00077.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again after that
		db = open(t, dir)
		err := db.Update(func(tx *Tx) error {
			if v, err := tx.Get("a"); err != nil || string(v) != "kept" {
				t.Errorf("%q, %v", v, err)
			}
			return tx.Set("b", []byte("new"))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
