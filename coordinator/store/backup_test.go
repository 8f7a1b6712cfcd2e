package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"coldframe/internal/fault"
)

type record struct {
	key   string
	value []byte
}

func write(t testing.TB, list []record) []byte {
	var out bytes.Buffer
	w := newBackupWriter(&out)
	for _, r := range list {
		if err := w.record(r.key, r.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(b []byte) (list []record, err error) {
	err = ReadBackup(bytes.NewReader(b), func(key string, value []byte) error {
		list = append(list, record{key, value})
		return nil
	})
	return list, err
}

// Every cut, and every flipped bit, of a backup is refused.
func TestDamagedBackups(t *testing.T) {
	whole := write(t, []record{{"a", []byte("1")}, {"b", nil}, {"c", []byte("three")}})
	if list, err := read(whole); err != nil || fmt.Sprint(list) != "[{a [49]} {b []} {c [116 104 114 101 101]}]" {
		t.Fatal(list, err)
	}
	for n := range whole {
		if _, err := read(whole[:n]); !errors.Is(err, fault.Incomplete) && !errors.Is(err, fault.Policy) {
			t.Errorf("cut at %d: %v", n, err)
		}
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[n] ^= 1 << bit
			if _, err := read(b); err == nil {
				t.Errorf("bit %d of byte %d flipped: taken", bit, n)
			}
		}
	}
	if _, err := read(append(bytes.Clone(whole), 0)); !errors.Is(err, fault.Incomplete) {
		t.Errorf("longer: %v", err)
	}
}

// FuzzBackup: whatever is taken for a backup is written back to the same bytes.
func FuzzBackup(f *testing.F) {
	f.Add([]byte(backupMagic))
	f.Add(write(f, nil))
	f.Add(write(f, []record{{"a", []byte("1")}, {"b", nil}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := read(b)
		if err == nil && !bytes.Equal(write(t, list), b) {
			t.Fatalf("%x is written back otherwise", b)
		}
	})
}
