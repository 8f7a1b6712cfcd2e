package keystore

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// The backup file, integers big-endian:
//
//	magic "CFBK" ‖ format version (1) ‖ file id (16)
//	‖ length (4) ‖ vault header
//	‖ length (4) ‖ file key, sealed under the vault key
//	‖ { length (4) ‖ chunk }…
//
// A chunk is a sealed value under the file key (random, for this file alone). Its context holds the file id, the chunk's number from 0
// as version, and "more" or, for the one after which the file ends, "last": chunks that are missing, moved, repeated or added do not
// open. Inside the chunks is one stream of records:
//
//	{ kind (1) ‖ length of key (2) ‖ length of value (4) ‖ key ‖ value }… ‖ 0
const (
	backupMagic   = "CFBK"
	backupVersion = 1
	backupChunk   = 256 << 10 // bytes of the stream in a chunk

	recordOfVault = 1
	recordOfAgent = 2

	maxRecordKey = 1 << 10
)

type backupID [16]byte

func backupContext(user uuid.UUID, id backupID, field string, n uint64) seal.Context {
	return seal.Context{Owner: user.String(), Type: "backup", ID: hex.EncodeToString(id[:]), Field: field, Version: n}
}

// backupWriter seals a stream into chunks. The file is complete once close returned nil.
type backupWriter struct {
	w    io.Writer
	user uuid.UUID
	id   backupID
	key  secret.Key
	buf  []byte
	n    uint64
}

func newBackupWriter(w io.Writer, h *header, vaultKey secret.Key) (*backupWriter, error) {
	b := &backupWriter{w: w, user: h.user, key: secret.Random(), buf: make([]byte, 0, backupChunk)}
	_, _ = rand.Read(b.id[:]) // never fails: it ends the process instead
	wrapped := seal.Seal(vaultKey, h.keyID, "vault/backup", backupContext(h.user, b.id, "key", backupVersion), b.key.Bytes())
	head := append([]byte(backupMagic), backupVersion)
	head = append(head, b.id[:]...)
	if _, err := w.Write(head); err != nil {
		return b, err
	}
	return b, errors.Join(b.framed(h.raw), b.framed(wrapped))
}

func (b *backupWriter) framed(part []byte) error {
	if _, err := b.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
		return err
	}
	_, err := b.w.Write(part)
	return err
}

func (b *backupWriter) flush(field string) error {
	chunk := seal.Seal(b.key, seal.KeyID(b.id), "vault/backup-chunk", backupContext(b.user, b.id, field, b.n), b.buf)
	b.n++
	b.buf = b.buf[:0]
	return b.framed(chunk)
}

// Write adds to the stream.
func (b *backupWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(b.buf) == backupChunk {
			if err := b.flush("more"); err != nil {
				return 0, err
			}
		}
		n := min(len(p), backupChunk-len(b.buf))
		b.buf = append(b.buf, p[:n]...)
		p = p[n:]
	}
	return total, nil
}

func (b *backupWriter) record(kind byte, key string, value []byte) error {
	head := append([]byte{kind}, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(head[1:], uint16(len(key)))
	binary.BigEndian.PutUint32(head[3:], uint32(len(value)))
	for _, part := range [][]byte{head, []byte(key), value} {
		if _, err := b.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (b *backupWriter) close() error {
	if _, err := b.Write([]byte{0}); err != nil {
		return err
	}
	return b.flush("last")
}

// backupReader opens the chunks of a backup one after the other; nothing unverified is ever read from it.
type backupReader struct {
	r    io.Reader
	head *header
	id   backupID
	wrap []byte

	key  secret.Key
	n    uint64
	rest []byte
	done bool
}

var errBackup = fault.New(fault.NotAuthentic, "this is no backup, or it was changed")

// errCut is for a backup that ends too early.
var errCut = fault.New(fault.Incomplete, "the backup ends too early")

// readBackupHead reads what comes before the chunks. Nothing of it is authentic yet.
func readBackupHead(r io.Reader) (*backupReader, error) {
	b := &backupReader{r: bufio.NewReaderSize(r, 64<<10)}
	head := make([]byte, len(backupMagic)+1+len(b.id))
	if _, err := io.ReadFull(b.r, head); err != nil {
		return nil, cut(err)
	}
	if !strings.HasPrefix(string(head), backupMagic) {
		return nil, errBackup
	}
	if v := head[len(backupMagic)]; v != backupVersion {
		return nil, fault.New(fault.Policy, "the backup has format version %d, this program has %d", v, backupVersion)
	}
	copy(b.id[:], head[len(backupMagic)+1:])
	raw, err := b.framed(maxHeader)
	if err != nil {
		return nil, err
	}
	if b.head, err = parseHeader(raw); err != nil {
		return nil, err
	}
	b.wrap, err = b.framed(seal.Overhead("vault/backup") + secret.KeySize)
	return b, err
}

// unlock opens the file key.
func (b *backupReader) unlock(vaultKey secret.Key) error {
	raw, err := seal.Open(vaultKey, "vault/backup", backupContext(b.head.user, b.id, "key", backupVersion), b.wrap)
	if err != nil {
		return err
	}
	if b.key, err = secret.FromBytes(raw); err != nil {
		return errBackup
	}
	return nil
}

// framed reads a part of at most limit bytes.
func (b *backupReader) framed(limit int) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return nil, cut(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > uint32(limit) {
		return nil, errBackup
	}
	part := make([]byte, n)
	if _, err := io.ReadFull(b.r, part); err != nil {
		return nil, cut(err)
	}
	return part, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// next opens the next chunk. The last one must be the end of the file.
func (b *backupReader) next() error {
	chunk, err := b.framed(seal.Overhead("vault/backup-chunk") + backupChunk)
	if err != nil {
		return err
	}
	b.rest, err = seal.Open(b.key, "vault/backup-chunk", backupContext(b.head.user, b.id, "more", b.n), chunk)
	if errors.Is(err, fault.NotAuthentic) {
		b.rest, err = seal.Open(b.key, "vault/backup-chunk", backupContext(b.head.user, b.id, "last", b.n), chunk)
		b.done = err == nil
	}
	if err != nil {
		return err
	}
	b.n++
	if !b.done {
		return nil
	}
	if _, err := io.ReadFull(b.r, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fault.New(fault.NotAuthentic, "something follows the end of the backup")
	}
	return nil
}

// Read reads the stream; io.EOF only after the last chunk was verified.
func (b *backupReader) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.done {
			return 0, io.EOF
		}
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// records calls fn with each record, and returns nil only if the stream ended where its end mark says.
func (b *backupReader) records(fn func(kind byte, key string, value []byte) error) error {
	for {
		kind, key, value, err := readRecord(b)
		if err != nil {
			return err
		}
		if kind == 0 {
			break
		}
		if err := fn(kind, key, value); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(b, make([]byte, 1)); !errors.Is(err, io.EOF) {
		if err == nil {
			return errBackup
		}
		return err
	}
	return nil
}

func readRecord(r io.Reader) (kind byte, key string, value []byte, err error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return 0, "", nil, cut(err)
	}
	if head[0] == 0 {
		return 0, "", nil, nil
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return 0, "", nil, cut(err)
	}
	keyLength, valueLength := binary.BigEndian.Uint16(head[1:]), binary.BigEndian.Uint32(head[3:])
	if head[0] > recordOfAgent || keyLength == 0 || keyLength > maxRecordKey || valueLength > kv.MaxValue {
		return 0, "", nil, errBackup
	}
	both := make([]byte, int(keyLength)+int(valueLength))
	if _, err := io.ReadFull(r, both); err != nil {
		return 0, "", nil, cut(err)
	}
	return head[0], string(both[:keyLength]), both[keyLength:], nil
}
