package mlkem768

import (
	"crypto/mlkem"
	"crypto/sha3"
	"io"
	"sync"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Sizes in bytes (FIPS 203, table 3; the halves are those of the protocol notes, section 7.3).
const (
	SeedSize   = 64 // d ‖ z
	HeaderSize = 64
	VectorSize = 1152
	C1Size     = 960
	C2Size     = 128
	MSize      = 32
	SecretSize = 32

	rhoSize = 32
)

// DecapsulationKey is the key that opens ciphertexts. Several goroutines may use it at once. It does not change until Wipe.
//
// The pointers between the value and its bytes keep package fmt, which follows one at most, from ever reaching them.
type DecapsulationKey struct{ h *handle }

type handle struct {
	seed *[SeedSize]byte

	expand sync.Once // a key that is read from a store with every message is seldom used
	key    *mlkem.DecapsulationKey768
}

func newKey(seed *[SeedSize]byte) *DecapsulationKey {
	return &DecapsulationKey{h: &handle{seed: seed}}
}

// Generate returns a new key from the next 64 bytes of rand. It panics if there are none.
func Generate(rand io.Reader) *DecapsulationKey {
	seed := new([SeedSize]byte)
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		panic("mlkem768: no random bytes: " + err.Error())
	}
	return newKey(seed)
}

// FromSeed returns the key of a copy of seed, 64 bytes. Another length is fault.NotAuthentic.
func FromSeed(seed []byte) (*DecapsulationKey, error) {
	if len(seed) != SeedSize {
		return nil, fault.New(fault.NotAuthentic, "the seed of a decapsulation key has %d bytes, not %d", len(seed), SeedSize)
	}
	own := [SeedSize]byte(seed)
	return newKey(&own), nil
}

// Seed returns the 64 bytes that FromSeed takes. They are the key's own: never write to them, and wipe every copy.
func (k *DecapsulationKey) Seed() []byte { return k.h.seed[:] }

// Wipe zeroes the seed. What the standard library expanded from it is dropped, not zeroed. Nobody may use the key meanwhile or later.
func (k *DecapsulationKey) Wipe() {
	secret.Wipe(k.h.seed[:])
	k.h.expand.Do(func() {}) // never the key of a seed of zeros
	k.h.key = nil
}

// expanded returns the standard library's form of the key.
func (k *DecapsulationKey) expanded() *mlkem.DecapsulationKey768 {
	k.h.expand.Do(func() {
		key, err := mlkem.NewDecapsulationKey768(k.h.seed[:])
		if err != nil {
			panic("mlkem768: 64 bytes are no seed: " + err.Error()) // every 64 bytes are one
		}
		k.h.key = key
	})
	return k.h.key
}

// Header returns the public header, ρ ‖ SHA3-256(t ‖ ρ).
func (k *DecapsulationKey) Header() [HeaderSize]byte {
	public := k.expanded().EncapsulationKey().Bytes()
	hash := sha3.Sum256(public)
	var header [HeaderSize]byte
	copy(header[:], public[VectorSize:])
	copy(header[rhoSize:], hash[:])
	return header
}

// Vector returns the public vector, t.
func (k *DecapsulationKey) Vector() [VectorSize]byte {
	return [VectorSize]byte(k.expanded().EncapsulationKey().Bytes())
}

// Decapsulate returns the shared secret that is in a ciphertext. Lengths other than 960 and 128 bytes are fault.NotAuthentic. Any other
// ciphertext gives a secret: one that was not made for this key gives 32 bytes that nobody else knows (FIPS 203, implicit rejection).
func (k *DecapsulationKey) Decapsulate(c1, c2 []byte) (shared [SecretSize]byte, err error) {
	if len(c1) != C1Size || len(c2) != C2Size {
		return shared, fault.New(fault.NotAuthentic, "a ciphertext of %d and %d bytes", len(c1), len(c2))
	}
	var ciphertext [C1Size + C2Size]byte
	copy(ciphertext[:], c1)
	copy(ciphertext[C1Size:], c2)
	opened, err := k.expanded().Decapsulate(ciphertext[:])
	if err != nil {
		return shared, fault.Wrap(fault.NotAuthentic, err, "a ciphertext")
	}
	copy(shared[:], opened)
	secret.Wipe(opened)
	return shared, nil
}
