package seal

import (
	"crypto/aes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"testing"

	tink "github.com/tink-crypto/tink-go/v2/aead/subtle"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// rawKeys are what RFC 8452 section 4 derives from a key and a nonce.
type rawKeys struct{ auth, enc [32]byte }

func deriveRaw(t *testing.T, key, nonce []byte) (k rawKeys) {
	t.Helper()
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var in, out [16]byte
	copy(in[4:], nonce)
	for i := range 6 {
		binary.LittleEndian.PutUint32(in[:], uint32(i))
		c.Encrypt(out[:], in[:])
		if i < 2 {
			copy(k.auth[8*i:], out[:8])
		} else {
			copy(k.enc[8*(i-2):], out[:8])
		}
	}
	return k
}

const craftedSize = 32 // two blocks: 256 free bits, and 256 conditions

// digest is POLYVAL over the associated data, the plaintext that ciphertext has under this key with this tag, and the lengths.
func (k rawKeys) digest(t *testing.T, ad, ciphertext, tag []byte) [16]byte {
	t.Helper()
	c, err := aes.NewCipher(k.enc[:])
	if err != nil {
		t.Fatal(err)
	}
	var counter, stream [16]byte
	copy(counter[:], tag)
	counter[15] |= 0x80
	plaintext := make([]byte, len(ciphertext))
	for at := 0; at < len(ciphertext); at += 16 {
		c.Encrypt(stream[:], counter[:])
		subtle.XORBytes(plaintext[at:], ciphertext[at:at+16], stream[:])
		binary.LittleEndian.PutUint32(counter[:], binary.LittleEndian.Uint32(counter[:])+1)
	}
	p, err := tink.NewPolyval(k.auth[:16])
	if err != nil {
		t.Fatal(err)
	}
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[:], uint64(len(ad))*8)
	binary.LittleEndian.PutUint64(lengths[8:], uint64(len(plaintext))*8)
	p.Update(ad)
	p.Update(plaintext)
	p.Update(lengths[:])
	return p.Finish()
}

// target is the digest that makes tag the right one, or false if there is none.
func (k rawKeys) target(t *testing.T, nonce, tag []byte) (out [16]byte, ok bool) {
	t.Helper()
	c, err := aes.NewCipher(k.enc[:])
	if err != nil {
		t.Fatal(err)
	}
	c.Decrypt(out[:], tag)
	ok = out[15]&0x80 == 0
	subtle.XORBytes(out[:], out[:], nonce)
	return out, ok
}

// craft returns nonce ‖ ciphertext ‖ tag that AES-256-GCM-SIV opens under both keys: for a chosen tag the two digests are affine in the
// bits of the ciphertext, so it is a linear system over GF(2).
func craft(t *testing.T, key1, key2, ad []byte) []byte {
	t.Helper()
	nonce, tag := make([]byte, nonceSize), make([]byte, tagSize)
	for range 1000 {
		_, _ = rand.Read(nonce)
		_, _ = rand.Read(tag)
		keys := [2]rawKeys{deriveRaw(t, key1, nonce), deriveRaw(t, key2, nonce)}
		target1, ok1 := keys[0].target(t, nonce, tag)
		target2, ok2 := keys[1].target(t, nonce, tag)
		if !ok1 || !ok2 {
			continue
		}
		digests := func(ciphertext []byte) (out [32]byte) {
			d1, d2 := keys[0].digest(t, ad, ciphertext, tag), keys[1].digest(t, ad, ciphertext, tag)
			copy(out[:], d1[:])
			copy(out[16:], d2[:])
			return out
		}
		want := [32]byte(append(target1[:], target2[:]...))
		if ciphertext, ok := solve(digests, want); ok {
			return append(append(nonce, ciphertext...), tag...)
		}
	}
	t.Fatal("no such bytes found")
	return nil
}

// solve finds an x with f(x) = want for an affine f of 256 bits, by Gaussian elimination.
func solve(f func([]byte) [32]byte, want [32]byte) ([]byte, bool) {
	var x [craftedSize]byte
	base := f(x[:])
	type row struct{ image, combination [32]byte } // f of a combination of unit vectors, without the constant part
	var pivots [256]*row
	reduce := func(r *row) int {
		for bit := range 256 {
			if r.image[bit/8]>>(bit%8)&1 == 0 {
				continue
			}
			if pivots[bit] == nil {
				return bit
			}
			subtle.XORBytes(r.image[:], r.image[:], pivots[bit].image[:])
			subtle.XORBytes(r.combination[:], r.combination[:], pivots[bit].combination[:])
		}
		return -1
	}
	for bit := range 256 {
		r := &row{}
		r.combination[bit/8] = 1 << (bit % 8)
		r.image = f(r.combination[:])
		subtle.XORBytes(r.image[:], r.image[:], base[:])
		if pivot := reduce(r); pivot >= 0 {
			pivots[pivot] = r
		}
	}
	rest := &row{image: want}
	subtle.XORBytes(rest.image[:], rest.image[:], base[:])
	return rest.combination[:], reduce(rest) < 0
}

// twoKeys returns bytes that are a sealed value of key1 in every respect, and whose ciphertext opens under key2 as well.
func twoKeys(t *testing.T, key1, key2 secret.Key, id KeyID, purpose string, c Context) []byte {
	t.Helper()
	header := appendHeader(nil, key1, id, purpose)
	ad := associate(header, c)
	sub1, sub2 := key1.Derive(labelKey, []byte(purpose), id[:]), key2.Derive(labelKey, []byte(purpose), id[:])
	body := craft(t, sub1.Bytes(), sub2.Bytes(), ad)
	for i, sub := range []secret.Key{sub1, sub2} {
		raw, err := tink.NewAESGCMSIV(sub.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Decrypt(body, ad); err != nil {
			t.Fatalf("the crafted bytes do not open under key %d: %v", i+1, err)
		}
	}
	return append(header, body...)
}

// AES-GCM-SIV opens these bytes under two keys. The commitment in the header is of one of them, so the other one is refused.
func TestD12_ObjectThatOpensUnderTwoKeys(t *testing.T) {
	key1, key2, id := secret.Random(), secret.Random(), RandomKeyID()
	sealed := twoKeys(t, key1, key2, id, "vault/item", place)
	if _, err := Open(key1, "vault/item", place, sealed); err != nil {
		t.Errorf("under the key it commits to: %v", err)
	}
	if got, err := Open(key2, "vault/item", place, sealed); !errors.Is(err, fault.NotAuthentic) || got != nil {
		t.Errorf("under the other key: %d bytes, %v", len(got), err)
	}
	// With the other key's commitment the associated data differs, and neither key opens it.
	swapped := append(appendHeader(nil, key2, id, "vault/item"), sealed[headerSize("vault/item"):]...)
	for i, key := range []secret.Key{key1, key2} {
		if _, err := Open(key, "vault/item", place, swapped); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("key %d with the commitment swapped: %v", i+1, err)
		}
	}
}
