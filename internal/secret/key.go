package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
)

// KeySize is the length of every key, in bytes.
const KeySize = 32

// labelPrefix comes before the label of every derived key, so that no other program derives the same ones.
const labelPrefix = "coldframe/v1/"

// Key is a secret of 32 bytes. Copies of a Key share one memory: wiping one wipes all. The zero value is no key.
//
// The two pointers between the value and its bytes keep package fmt, which follows one at most, from ever reaching them.
type Key struct{ h *handle }

type handle struct {
	arena   *arena
	mu      sync.RWMutex
	slot    *[KeySize]byte // nil once wiped
	cleanup runtime.Cleanup
}

var errNotEncodable = errors.New("secret: a key is not encoded")

// Random returns a new key from the system's generator. If that fails, the process ends.
func Random() Key {
	return keys.create(func(b []byte) { _, _ = rand.Read(b) }) // never fails: it ends the process instead
}

// FromBytes moves the 32 bytes of b into a key and wipes b. A b of another length is wiped too, and is an error.
func FromBytes(b []byte) (Key, error) {
	defer Wipe(b)
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("secret: a key has %d bytes, not %d", KeySize, len(b))
	}
	return keys.create(func(dst []byte) { copy(dst, b) }), nil
}

// create returns a key whose bytes fill writes.
func (a *arena) create(fill func(b []byte)) Key {
	slot := a.take()
	fill(slot[:])
	h := &handle{arena: a, slot: slot}
	h.cleanup = runtime.AddCleanup(h, a.dropped, slot)
	return Key{h: h}
}

// Use calls fn with a view of the key's bytes; the key is not wiped before fn returns. It reports whether fn was called: no key,
// or one that was wiped, has no bytes. fn must not wipe the key, and must not keep the view.
func (k Key) Use(fn func(b []byte)) bool {
	if k.h == nil {
		return false
	}
	k.h.mu.RLock()
	defer k.h.mu.RUnlock()
	if k.h.slot == nil {
		return false
	}
	fn(k.h.slot[:])
	return true
}

// Bytes returns a view of the key's memory, or nil if there is no key. Never keep it, never append to it, and hold a Clone where
// another goroutine may wipe the key meanwhile. Use is the guarded form.
func (k Key) Bytes() []byte {
	var view []byte
	k.Use(func(b []byte) { view = b[:KeySize:KeySize] })
	return view
}

// IsZero reports whether there is no key: the zero value, or one that was wiped.
func (k Key) IsZero() bool { return !k.Use(func([]byte) {}) }

// Equal compares in constant time. No key equals nothing, not even another that is not there.
func (k Key) Equal(o Key) bool {
	var other [KeySize]byte // a copy, so that the two locks are never held together
	defer Wipe(other[:])
	if !o.Use(func(b []byte) { copy(other[:], b) }) {
		return false
	}
	equal := 0
	k.Use(func(b []byte) { equal = subtle.ConstantTimeCompare(b, other[:]) })
	return equal == 1
}

// Clone returns a key of its own memory with the same bytes, or no key if there is none.
func (k Key) Clone() Key {
	var c Key
	k.Use(func(b []byte) { c = keys.create(func(dst []byte) { copy(dst, b) }) })
	return c
}

// Wipe zeroes the key. All copies of this Key are no key afterwards. Wiping twice, or nothing, is fine.
func (k Key) Wipe() {
	if k.h == nil {
		return
	}
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	if k.h.slot == nil {
		return
	}
	k.h.cleanup.Stop()
	k.h.arena.give(k.h.slot)
	k.h.slot = nil
}

// Derive returns the subkey HKDF-SHA-256(key, no salt, "coldframe/v1/" ‖ label ‖ 0 ‖ infos), where each info is written as its
// length (4 bytes, big-endian) and its bytes (RFC 5869). It panics if there is no key, or if the label holds a zero byte.
func (k Key) Derive(label string, info ...[]byte) Key {
	full := deriveInfo(label, info)
	d := newHKDF(len(full) + 1)
	defer d.wipe()
	if !k.Use(d.extract) {
		panic("secret: derive from no key")
	}
	return keys.create(func(dst []byte) { copy(dst, d.expand(full)) })
}

func deriveInfo(label string, info [][]byte) []byte {
	b := append([]byte(labelPrefix), label...)
	for i := range b {
		if b[i] == 0 {
			panic("secret: a label holds no zero byte")
		}
	}
	b = append(b, 0)
	for _, part := range info {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// Wipe zeroes b.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(&b)
}

// Format prints that there is a key, for every verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[key]")) }

// LogValue makes slog print that there is a key.
func (k Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// MarshalText refuses: JSON and XML never hold a key.
func (k Key) MarshalText() ([]byte, error) { return nil, errNotEncodable }

// MarshalBinary refuses: gob and CBOR never hold a key.
func (k Key) MarshalBinary() ([]byte, error) { return nil, errNotEncodable }
