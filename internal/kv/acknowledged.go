package kv

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"coldframe/internal/fault"
)

// Badger reads its write-ahead file up to the first record that is damaged and takes that for the end: a flipped bit would silently
// undo acknowledged transactions. So every transaction counts itself in a record of its own (state), and after it is durable the count is
// written to a small file beside the store. That file is not synced: it may be behind after a power loss, but never ahead. A store
// that is behind it lost what it had acknowledged.

const (
	ackName  = "ACKNOWLEDGED"
	ackSize  = 12          // count, 8 bytes big-endian; CRC-32C of it, 4 bytes
	countKey = "\x00count" // of the state; before every key of a caller
)

// state is what every transaction records of the store after it: count, 8 bytes big-endian, and sum.
type state struct {
	count uint64 // transactions so far
	sum   sum    // of all records but this one
}

func (s state) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, s.count), s.sum[:]...)
}

// judge compares a recorded state with the sum of the records that are there, and with the count that was acknowledged.
func (s state) judge(found sum, acknowledged uint64) error {
	switch {
	case s.count < acknowledged:
		return fault.New(fault.RolledBack, "the store lost %d acknowledged transactions", acknowledged-s.count)
	case s.sum != found:
		return fault.New(fault.RolledBack, "the store's records are not those of its last transaction: some are lost")
	}
	return nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// ackFile is the open file of the highest acknowledged count.
type ackFile struct{ f *os.File }

// openAck opens the file, or makes it durably with a count of 0, and returns the count in it. A file that is torn says 0.
func openAck(dir string) (ackFile, uint64, error) {
	path := filepath.Join(dir, ackName)
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		a, err := createAck(dir, path)
		return a, 0, err
	}
	if err != nil {
		return ackFile{}, 0, err
	}
	var b [ackSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return ackFile{}, 0, errors.Join(err, f.Close())
	}
	if checksum(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return ackFile{f}, 0, nil
	}
	return ackFile{f}, binary.BigEndian.Uint64(b[:8]), nil
}

func createAck(dir, path string) (ackFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return ackFile{}, err
	}
	a := ackFile{f}
	if err := errors.Join(a.write(0), f.Sync(), syncDir(dir)); err != nil {
		return ackFile{}, errors.Join(err, f.Close())
	}
	return a, nil
}

func (a ackFile) write(count uint64) error {
	b := binary.BigEndian.AppendUint64(nil, count)
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	_, err := a.f.WriteAt(b, 0)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir)) //nolint:gosec // the directory is the user's choice
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readState returns the recorded state; that of a new store if there is none.
func readState(b *badger.DB) (s state, err error) {
	err = b.View(func(t *badger.Txn) error {
		item, err := t.Get([]byte(countKey))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != 8+len(s.sum) {
				return errors.New("malformed state")
			}
			s = state{binary.BigEndian.Uint64(v), sum(v[8:])}
			return nil
		})
	})
	return s, err
}

// checkKey refuses keys that are not a caller's: they never start with a zero byte.
func checkKey(key string) {
	if key == "" || key[0] == 0 || strings.HasPrefix(key, "!badger!") {
		panic("kv: malformed key")
	}
}
