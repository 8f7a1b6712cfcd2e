package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"coldframe/internal/fault"
)

// A backup is: magic; for each record, ascending by key: length of the key (4 bytes, big-endian, not 0) ‖ length of the value (4) ‖ key ‖ value;
// four zero bytes; SHA-256 of all that. The hash finds damage, not people: who can write the file can make it fit.
const (
	backupMagic = "coldframe coordinator backup 1\n"
	restoreTx   = MaxSmallTx / 2 // bytes in one transaction of a restore, before the last record
)

type backupWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	err error
}

func newBackupWriter(w io.Writer) *backupWriter {
	sum := sha256.New()
	b := &backupWriter{w: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), sum: sum}
	_, b.err = b.w.WriteString(backupMagic)
	return b
}

func (b *backupWriter) record(key string, value []byte) error {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], uint32(len(key)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(value)))
	for _, part := range [][]byte{head[:], []byte(key), value} {
		if b.err == nil {
			_, b.err = b.w.Write(part)
		}
	}
	return b.err
}

func (b *backupWriter) end() error {
	if b.err != nil {
		return b.err
	}
	if _, err := b.w.Write(make([]byte, 4)); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	if _, err := b.w.Write(b.sum.Sum(nil)); err != nil {
		return err
	}
	return b.w.Flush()
}

// ReadBackup calls fn with each record of a backup. A backup that is cut or damaged is an error at its end, after fn saw what came before:
// what fn did with that is to be thrown away. Failures: fault.Incomplete, fault.TooLarge, fault.Policy (no backup, or of another format).
func ReadBackup(r io.Reader, fn func(key string, value []byte) error) error {
	sum := sha256.New()
	b := &backupReader{raw: bufio.NewReaderSize(r, 64<<10), sum: sum}
	magic, err := b.read(len(backupMagic))
	if err != nil || string(magic) != backupMagic {
		return fault.New(fault.Policy, "not a backup of a coordinator, or of a newer one")
	}
	last := ""
	for {
		key, value, err := b.record()
		if err != nil {
			return err
		}
		if key == "" {
			break
		}
		if key <= last {
			return fault.New(fault.Incomplete, "the backup's records are out of order")
		}
		last = key
		if err := fn(key, value); err != nil {
			return err
		}
	}
	want := sum.Sum(nil)
	got, err := b.read(sha256.Size)
	if err != nil || string(got) != string(want) {
		return fault.New(fault.Incomplete, "the backup is damaged")
	}
	if _, err := b.raw.ReadByte(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Incomplete, "the backup goes on after its end")
	}
	return nil
}

type backupReader struct {
	raw *bufio.Reader
	sum hash.Hash
}

func (b *backupReader) read(n int) ([]byte, error) {
	p := make([]byte, n)
	if _, err := io.ReadFull(b.raw, p); err != nil {
		return nil, fault.Wrap(fault.Incomplete, err, "the backup is cut off")
	}
	b.sum.Write(p)
	return p, nil
}

// record returns the next record, or an empty key at the end.
func (b *backupReader) record() (string, []byte, error) {
	head, err := b.read(4)
	if err != nil {
		return "", nil, err
	}
	keyLen := binary.BigEndian.Uint32(head)
	if keyLen == 0 {
		return "", nil, nil
	}
	if head, err = b.read(4); err != nil {
		return "", nil, err
	}
	valueLen := binary.BigEndian.Uint32(head)
	if keyLen > MaxKey || valueLen > MaxValue {
		return "", nil, fault.New(fault.TooLarge, "a record of the backup is too large")
	}
	key, err := b.read(int(keyLen))
	if err != nil {
		return "", nil, err
	}
	if key[0] == 0 {
		return "", nil, fault.New(fault.Incomplete, "a key of the backup is malformed")
	}
	value, err := b.read(int(valueLen))
	return string(key), value, err
}

// Restore writes the records of a backup that keep wants into s, which must be empty and is of no use after a failure.
func Restore(ctx context.Context, s Store, r io.Reader, keep func(key string) bool) error {
	type record struct {
		key   string
		value []byte
	}
	var batch []record
	size := 0
	flush := func() error {
		err := s.Update(ctx, func(tx Tx) error {
			for _, r := range batch {
				if err := tx.Set(r.key, r.value); err != nil {
					return err
				}
			}
			return nil
		})
		batch, size = nil, 0
		return err
	}
	err := s.View(ctx, func(tx Tx) error {
		return tx.ScanFrom("", "", func(string, []byte) error { return fault.New(fault.Conflict, "the store is not empty") })
	})
	if err != nil {
		return err
	}
	err = ReadBackup(r, func(key string, value []byte) error {
		if !keep(key) {
			return nil
		}
		batch = append(batch, record{key, value})
		if size += len(key) + len(value); size < restoreTx && len(batch) < 1000 {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}
