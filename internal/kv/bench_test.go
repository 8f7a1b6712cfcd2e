package kv

import (
	"fmt"
	"slices"
	"testing"
	"time"
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

// BenchmarkDurableWriteTail reports the slowest hundredth of small durable writes, in milliseconds.
func BenchmarkDurableWriteTail(b *testing.B) {
	db, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	value := make([]byte, 1<<10)
	var took []time.Duration
	for i := range b.N {
		start := time.Now()
		if err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%d", i%1000), value) }); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
}
