package pme

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"

	"coldframe/internal/fault"
)

// Sizes of a module frame: length (4, little endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16). The length counts all that follows it.
const (
	lengthSize    = 4
	nonceSize     = 12
	tagSize       = 16
	frameHead     = lengthSize + nonceSize
	frameOverhead = frameHead + tagSize
)

// What one data key may seal. Both are far below what AES-GCM allows, and far above what a column of a file needs.
const (
	maxKeyModules = 1 << 31
	maxKeyBytes   = 64 << 30
)

// dataKey is the cipher of one data key, made once, and the count of what it sealed. It may be used by several goroutines at once.
//
// A nonce is a 4-byte count of the key's modules ‖ 8 random bytes. The count makes it unique for as long as the process lives, which
// is as long as the key lives: data keys are drawn when a file is begun and never loaded again to go on writing. The random part
// guards against the one thing that a count alone does not survive, a copy of the running machine (snapshot, clone) going on twice.
type dataKey struct {
	aead    cipher.AEAD
	block   cipher.Block // of a foreign file in AES_GCM_CTR_V1, else nil
	modules atomic.Uint64
	bytes   atomic.Uint64
}

func newDataKey(key []byte) (*dataKey, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, fault.New(fault.NotAuthentic, "a data key of %d bytes", len(key))
	}
	return &dataKey{aead: aead}, nil
}

// use counts n more bytes and returns the number of the module among those of the key.
func (k *dataKey) use(n int) (uint64, error) {
	module := k.modules.Add(1)
	if module > maxKeyModules || k.bytes.Add(uint64(n)) > maxKeyBytes {
		return 0, fault.New(fault.TooLarge, "one data key seals at most %d modules and %d GiB", maxKeyModules, maxKeyBytes>>30)
	}
	return module, nil
}

// seal appends the module of plaintext to dst. dst has room for len(plaintext)+frameOverhead bytes more, or is moved.
func (k *dataKey) seal(dst, plaintext, aad []byte) ([]byte, error) {
	module, err := k.use(len(plaintext))
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(nonceSize+len(plaintext)+tagSize))
	dst = binary.BigEndian.AppendUint32(dst, uint32(module))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	nonce := dst[start+lengthSize : start+frameHead]
	_, _ = rand.Read(nonce[4:]) // Read never fails: it ends the process instead.
	return k.aead.Seal(dst, nonce, plaintext, aad), nil
}

// open decrypts the module that frame holds, in place, and returns its plaintext, a part of frame.
func (k *dataKey) open(frame, aad []byte) ([]byte, error) {
	box := frame[frameHead:]
	plain, err := k.aead.Open(box[:0], frame[lengthSize:frameHead], box, aad)
	if err != nil {
		return nil, errNotAuthentic
	}
	return plain, nil
}

var errNotAuthentic = fault.New(fault.NotAuthentic, "a module of the file does not open under its key and place")

// nextFrame splits b after its first module frame.
func nextFrame(b []byte) (frame, rest []byte, err error) {
	if len(b) < frameOverhead {
		return nil, nil, fault.New(fault.NotAuthentic, "a module is cut short")
	}
	n := binary.LittleEndian.Uint32(b)
	if n < nonceSize+tagSize || uint64(n) > uint64(len(b)-lengthSize) {
		return nil, nil, fault.New(fault.NotAuthentic, "a module claims %d bytes where %d are left", n, len(b)-lengthSize)
	}
	end := lengthSize + int(n)
	return b[:end:end], b[end:], nil
}
