package kv

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// A disk of 220 MiB on which somebody rewrites 20 values of 300 KiB for ever, and never stops when writes are refused: dead values are given back even
// then, and writes go on. Three times the disk is written.
func TestF06_DeadValuesDoNotFillTheDisk(t *testing.T) {
	const disk, size, want = 220 << 20, 300 << 10, 3 * 220 << 20
	dir := t.TempDir()
	db, err := Open(dir, Options{CleanEvery: time.Second, MinFree: 16 << 20, memTable: 4 << 20, FreeSpace: func(string) (uint64, error) {
		return uint64(max(0, disk-diskUse(t, dir))), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r := seeded(t)
	value := make([]byte, size)
	written, refused := 0, 0
	for deadline := time.Now().Add(4 * time.Minute); written < want; {
		value[r.IntN(size)]++
		err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%d", r.IntN(20)), value) })
		switch {
		case err == nil:
			written += size
		case !errors.Is(err, fault.StorageFull):
			t.Fatal(err)
		case time.Now().After(deadline):
			t.Fatalf("after %d MiB writes are refused for good", written>>20)
		default:
			refused++
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Logf("%d MiB written to a disk of %d MiB, %d writes refused", written>>20, disk>>20, refused)
}
