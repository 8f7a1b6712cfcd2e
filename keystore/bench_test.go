package keystore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// benchItems is how many items the vault of a benchmark holds.
const benchItems = 10_000

func benchVault(b *testing.B) *keystore.Vault {
	b.Helper()
	dir := b.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	v := keystore.New(db, keystore.Options{Dir: dir, Profile: keystoretest.Cheap()})
	if _, err := v.Register(b.Context(), keystore.Registration{Email: email, Password: []byte(password)}); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < benchItems; n += 500 {
		err := v.Update(func(tx *keystore.Tx) error {
			for i := n; i < n+500; i++ {
				if err := tx.Put(keystore.Item{ID: benchID(i), Kind: "version-keys", Body: make([]byte, 600)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return v
}

func benchID(i int) string { return fmt.Sprintf("version-keys/%08d", i) }

// reportP99 reports the 99th percentile of the calls, which is what the aims are about.
func reportP99(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkSmallWrite changes one of 10,000 items. Aim: p99 at most 20 ms.
func BenchmarkSmallWrite(b *testing.B) {
	v := benchVault(b)
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		begin := time.Now()
		err := v.Update(func(tx *keystore.Tx) error {
			return tx.Put(keystore.Item{ID: benchID(i * 7919 % benchItems), Kind: "version-keys", Body: make([]byte, 600)})
		})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	reportP99(b, took)
}

// BenchmarkSmallRead reads one of 10,000 items. Aim: p99 at most 5 ms.
func BenchmarkSmallRead(b *testing.B) {
	v := benchVault(b)
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		begin := time.Now()
		if _, err := v.Get(benchID(i * 7919 % benchItems)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	reportP99(b, took)
}

// BenchmarkUnlock opens a vault of 10,000 items, all of them checked, after a derivation that costs nothing.
func BenchmarkUnlock(b *testing.B) {
	v := benchVault(b)
	b.ResetTimer()
	for range b.N {
		v.Lock()
		if err := v.Unlock(b.Context(), []byte(password), keystore.UnlockOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
