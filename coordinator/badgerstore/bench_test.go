package badgerstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"coldframe/coordinator/store"
)

// BenchmarkWriters is 32 writers, each waiting for its own record of 1 KiB to be durable: this store, and bare Badger with SyncWrites on the same disk.
func BenchmarkWriters(b *testing.B) {
	value := make([]byte, 1<<10)
	b.Run("store", func(b *testing.B) {
		s := open(b, b.TempDir())
		defer s.Close()
		writers(b, func(key string) error {
			return s.Update(b.Context(), func(tx store.Tx) error { return tx.Set(key, value) })
		})
	})
	b.Run("badger", func(b *testing.B) {
		db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil))
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		writers(b, func(key string) error {
			return db.Update(func(tx *badger.Txn) error { return tx.Set([]byte(key), value) })
		})
	})
}

func writers(b *testing.B, write func(key string) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := write(fmt.Sprintf("k/%d", i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}
