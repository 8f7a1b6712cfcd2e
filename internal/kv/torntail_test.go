package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

// tail is a store of three transactions whose last one lies at [from, to) of the write-ahead file.
type tail struct {
	whole    snapshot
	mem      string
	from, to int
}

func makeTail(t *testing.T) tail {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var before snapshot
	for n := range byte(3) {
		before = take(t, dir)
		if err := db.Update(func(tx *Tx) error { return tx.Set("key", bytes.Repeat([]byte{'0' + n}, 20)) }); err != nil {
			t.Fatal(err)
		}
	}
	out := tail{whole: take(t, dir)}
	for name := range out.whole {
		if strings.HasSuffix(name, ".mem") {
			out.mem = name
		}
	}
	old, last := before[out.mem].head(), out.whole[out.mem].head()
	for out.from = 0; old[out.from] == last[out.from]; out.from++ {
	}
	for out.to = len(last); last[out.to-1] == 0; out.to-- {
	}
	return out
}

// with returns the store with another write-ahead file, and with so many transactions acknowledged.
func (s tail) with(mem file, acknowledged uint64) snapshot {
	out := maps.Clone(s.whole)
	out[s.mem] = mem
	b := binary.BigEndian.AppendUint64(nil, acknowledged)
	out[ackName] = fileOf(binary.BigEndian.AppendUint32(b, checksum(b)), ackSize)
	return out
}

// valueAfter opens a store and returns the value of its key.
func valueAfter(t *testing.T, s snapshot) (string, error) {
	t.Helper()
	dir := s.restore(t)
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	var value []byte
	err = db.View(func(tx *Tx) (err error) {
		value, err = tx.Get("key")
		return err
	})
	return string(value), err
}

const (
	lastValue   = "22222222222222222222"
	beforeValue = "11111111111111111111"
)

// Every offset of the last record, cut, zeroed or with a bit flipped. What was acknowledged is there or the error says that it is not;
// what was not may be there or not. Other data never is.
func TestF05_TornTail(t *testing.T) {
	s := makeTail(t)
	mem, size := s.whole[s.mem].head(), s.whole[s.mem].size
	r := seeded(t)
	shapes := map[string]func(at int) file{
		"cut at":    func(at int) file { return fileOf(mem[:at], int64(at)) },
		"zero from": func(at int) file { return fileOf(mem[:at], size) },
		"flipped at": func(at int) file {
			b := bytes.Clone(mem)
			b[at] ^= 1 << r.IntN(8)
			return fileOf(b, size)
		},
	}
	recovered, refused := 0, 0
	for at := s.from; at < s.to; at++ {
		for shape, damage := range shapes {
			switch value, err := valueAfter(t, s.with(damage(at), 3)); {
			case err == nil && value == lastValue:
				recovered++
			case errors.Is(err, fault.RolledBack), errors.Is(err, fault.Unavailable):
				refused++
			default:
				t.Errorf("%s %d, acknowledged: %q, %v", shape, at, value, err)
			}
			if !nightly() && shape != "zero from" { // what a torn write of a mapped file looks like
				continue
			}
			if value, err := valueAfter(t, s.with(damage(at), 2)); err == nil && value != lastValue && value != beforeValue ||
				err != nil && !errors.Is(err, fault.Unavailable) {
				t.Errorf("%s %d, not acknowledged: %q, %v", shape, at, value, err)
			}
		}
	}
	t.Logf("record of %d bytes: %d recovered, %d refused", s.to-s.from, recovered, refused)
	if value, err := valueAfter(t, s.with(fileOf(mem, size), 3)); err != nil || value != lastValue {
		t.Errorf("undamaged: %q, %v", value, err)
	}
}

// Every bit of the header of the write-ahead file, of the value log and of the list of tables.
func TestF05_HeaderBits(t *testing.T) {
	s := makeTail(t)
	for _, name := range slices.Sorted(maps.Keys(s.whole)) {
		size := 0
		switch {
		case strings.HasSuffix(name, ".mem"), strings.HasSuffix(name, ".vlog"):
			size = 20 // key id and IV
		case name == "MANIFEST", name == "KEYREGISTRY":
			size = int(s.whole[name].size)
		}
		whole := s.whole[name].head()
		for bit := range 8 * size {
			if !nightly() && bit%7 != 0 && name != s.mem {
				continue
			}
			b := bytes.Clone(whole)
			b[bit/8] ^= 1 << (bit % 8)
			damaged := maps.Clone(s.whole)
			damaged[name] = fileOf(b, s.whole[name].size)
			value, err := valueAfter(t, damaged)
			if err == nil && value != lastValue || err != nil && !errors.Is(err, fault.RolledBack) && !errors.Is(err, fault.Unavailable) {
				t.Errorf("%s, bit %d: %q, %v", name, bit, value, err)
			}
		}
	}
}

// Badger itself gives an empty value and no error for one whose bytes in the value log are damaged.
func TestF05_DamagedValueIsAnError(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Update(func(tx *Tx) error { return tx.Set("large", bytes.Repeat([]byte{7}, 300<<10)) }); err != nil {
		t.Fatal(err)
	}
	s := take(t, dir)
	tried := 0
	for name, f := range s {
		if !strings.HasSuffix(name, ".vlog") || len(f.pages) == 0 {
			continue
		}
		damaged := f.head()
		damaged[100<<10] ^= 1
		s[name] = fileOf(damaged, f.size)
		tried++
	}
	if tried != 1 {
		t.Fatalf("%d value logs", tried)
	}
	again, err := Open(s.restore(t), Options{})
	if err != nil {
		if !errors.Is(err, fault.RolledBack) && !errors.Is(err, fault.Unavailable) {
			t.Errorf("open: %v", err)
		}
		return
	}
	defer func() { _ = again.Close() }()
	err = again.View(func(tx *Tx) error {
		value, err := tx.Get("large")
		if err == nil {
			t.Errorf("got %d bytes", len(value))
		}
		return err
	})
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("get: %v", err)
	}
}
