package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// tables is a store with several tables, and the places in its list of tables where an entry ends.
func tables(t *testing.T) (snapshot, []int) {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 120 {
		value := make([]byte, 60<<10)
		for i := range value {
			value[i] = byte(r.Uint32())
		}
		if err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%04d", n), value) }); err != nil {
			t.Fatal(err)
		}
	}
	s := take(t, dir)
	const magic, head = 8, 8 // length and checksum of an entry
	list := s["MANIFEST"].head()
	var ends []int
	for at := magic; at+head <= len(list); {
		at += head + int(binary.BigEndian.Uint32(list[at:]))
		ends = append(ends, at)
	}
	return s, ends
}

// A list of tables that ends too early is taken by Badger for a shorter list: it removes the tables that are missing in it and says
// nothing. The count of transactions does not tell, as the newest one is in the write-ahead file.
func TestF05_LostTable(t *testing.T) {
	s, ends := tables(t)
	count := func(s snapshot) (int, error) {
		db, err := Open(s.restore(t), Options{memTable: 2 << 20})
		if err != nil {
			return 0, err
		}
		defer func() { _ = db.Close() }()
		n := 0
		err = db.View(func(tx *Tx) error { return tx.Scan("k/", func(string, []byte) error { n++; return nil }) })
		return n, errors.Join(err, db.Update(func(tx *Tx) error { return tx.Set("more", nil) }))
	}
	if n, err := count(s); n != 120 || err != nil {
		t.Fatalf("undamaged: %d records, %v", n, err)
	}
	lost := 0
	for _, end := range ends[:len(ends)-1] {
		cut := maps.Clone(s)
		cut["MANIFEST"] = fileOf(s["MANIFEST"].head()[:end], int64(end))
		n, err := count(cut)
		if err == nil && n != 120 || err != nil && !errors.Is(err, fault.RolledBack) && !errors.Is(err, fault.Unavailable) {
			t.Errorf("list cut at %d: %d of 120 records, %v", end, n, err)
		}
		if errors.Is(err, fault.RolledBack) {
			lost++
		}
	}
	t.Logf("list of %d entries: %d cuts lost tables", len(ends), lost)
	if lost == 0 {
		t.Error("no table was lost")
	}
}

// The sum follows every kind of write: else a store that is whole would not open.
func TestSumFollowsWrites(t *testing.T) {
	dir := t.TempDir()
	stop := errors.New("stop")
	large := make([]byte, 300<<10) // in the value log
	for i, fn := range []func(tx *Tx) error{
		func(tx *Tx) error { return errors.Join(tx.Set("a", nil), tx.Set("b", large), tx.Set("c", nil)) },
		func(tx *Tx) error {
			return errors.Join(tx.Set("a", large), tx.Set("a", nil), tx.Delete("c"), tx.Delete("none"))
		},
		func(tx *Tx) error {
			return errors.Join(tx.Delete("a"), tx.Set("a", []byte("again")), tx.Set("d", nil), tx.Delete("d"))
		},
		func(tx *Tx) error { return errors.Join(tx.Set("a", nil), tx.Set("e", nil), stop) },
		func(tx *Tx) error { return errors.Join(tx.Set("c", nil), tx.Delete("b")) },
		func(tx *Tx) error { return errors.Join(tx.Delete("a"), tx.Delete("c")) },
	} {
		db, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("before transaction %d: %v", i, err)
		}
		for range 2 {
			if err := db.Update(fn); err != nil && !errors.Is(err, stop) {
				t.Error(err)
			}
		}
		if found, err := sumOf(db.b); err != nil || found != db.state.sum {
			t.Errorf("after transaction %d: %x, %v, want %x", i, found, err, db.state.sum)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := open(t, dir)
	if db.state.sum != (sum{}) {
		t.Errorf("the sum of nothing is %x", db.state.sum)
	}
}

// BenchmarkOpenRecords is opening a store of 10,000 records of 1 KiB. Aim: at most 100 ms more than opening an empty one.
func BenchmarkOpenRecords(b *testing.B) {
	dir := b.TempDir()
	for n := range 21 {
		db, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if n < 20 {
			err = db.Update(func(tx *Tx) error {
				for i := range 500 {
					if err := tx.Set(fmt.Sprintf("k/%02d/%04d", n, i), make([]byte, 1<<10)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := errors.Join(err, db.Close()); err != nil {
			b.Fatal(err)
		}
	}
	var adding time.Duration
	for b.Loop() {
		db, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := sumOf(db.b); err != nil {
			b.Fatal(err)
		}
		adding += time.Since(start)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(adding.Seconds()*1000/float64(b.N), "sum-ms")
}
