package kv

import (
	"fmt"
	"testing"
)

// BenchmarkDurableWrite is one small record a transaction, synced.
func BenchmarkDurableWrite(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 10 << 10} {
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			db, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			value := make([]byte, size)
			for i := range b.N {
				if err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%d", i%1000), value) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is opening and closing a small store.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for i := range b.N {
		db, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Update(func(tx *Tx) error { return tx.Set("k", []byte{byte(i)}) }); err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
