package pme_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// block is an element of GF(2^128) as GCM writes it: the first bit is the coefficient of x^0 (NIST SP 800-38D).
type block [2]uint64

func blockOf(b []byte) block {
	return block{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (a block) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a[0]), a[1])
}

func (a block) xor(b block) block { return block{a[0] ^ b[0], a[1] ^ b[1]} }

func (a block) mul(b block) (z block) {
	for i := range 128 {
		if a[i/64]>>(63-i%64)&1 == 1 {
			z = z.xor(b)
		}
		carry := b[1] & 1
		b[1] = b[1]>>1 | b[0]<<63
		b[0] >>= 1
		if carry == 1 {
			b[0] ^= 0xe1 << 56
		}
	}
	return z
}

// inverse is a to the power 2^128 - 2.
func (a block) inverse() block {
	z, p := block{1 << 63, 0}, a
	for range 127 {
		p = p.mul(p)
		z = z.mul(p)
	}
	return z
}

// gcmParts are the values that AES-GCM makes of a key and a nonce: the hash key and the mask of the tag.
func gcmParts(t *testing.T, key, nonce []byte) (h, mask block) {
	t.Helper()
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 16)
	c.Encrypt(out, make([]byte, 16))
	h = blockOf(out)
	c.Encrypt(out, append(append([]byte(nil), nonce...), 0, 0, 0, 1))
	return h, blockOf(out)
}

func ghash(h block, aad, text []byte) (y block) {
	for _, part := range [][]byte{aad, text} {
		part = append(append([]byte(nil), part...), make([]byte, (16-len(part)%16)%16)...)
		for ; len(part) > 0; part = part[16:] {
			y = y.xor(blockOf(part)).mul(h)
		}
	}
	return y.xor(block{uint64(len(aad)) * 8, uint64(len(text)) * 8}).mul(h)
}

// openUnderTwo changes the last block of a sealed frame, and its tag, so that it opens under both keys. Under the first the text stays
// as it was but for that block.
func openUnderTwo(t *testing.T, frame, key1, key2, aad []byte) []byte {
	t.Helper()
	frame = bytes.Clone(frame)
	nonce, text, tag := frame[4:16], frame[16:len(frame)-16], frame[len(frame)-16:]
	if len(text)%16 != 0 {
		t.Fatal("the text is not whole blocks")
	}
	last := text[len(text)-16:]
	clear(last)
	h1, m1 := gcmParts(t, key1, nonce)
	h2, m2 := gcmParts(t, key2, nonce)
	// The last block c counts as c·h² in each tag: c·h1² + g1 + m1 = c·h2² + g2 + m2.
	g := ghash(h1, aad, text).xor(m1).xor(ghash(h2, aad, text)).xor(m2)
	copy(last, g.mul(h1.mul(h1).xor(h2.mul(h2)).inverse()).bytes())
	copy(tag, ghash(h1, aad, text).xor(m1).bytes())
	return frame
}

// TestD12_OpensUnderTwoKeys makes a footer that opens under the right data key and under another one, and gives the reader the other,
// properly wrapped: only the commitment tells them apart.
func TestD12_OpensUnderTwoKeys(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 51)
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	right, other := bytes.Clone(f.DEK), randomKey()
	aad := f.AAD(testPrefix)
	// A footer may be padded behind its end; that is where the block goes that makes both tags agree.
	padded := append(bytes.Clone(f.Footer), make([]byte, 32-len(f.Footer)%16)...)
	frame := openUnderTwo(t, pme.Frame(right, padded, aad), right, other, aad)
	for name, key := range map[string][]byte{"right": right, "other": other} {
		if _, err := pme.OpenFrame(key, bytes.Clone(frame), aad); err != nil {
			t.Fatalf("the crafted footer does not open under the %s key: %v", name, err)
		}
	}
	if _, err := open(f.SealWith(testPrefix, frame), k.keys(), strict); err != nil {
		t.Fatal("under the right key: ", err)
	}
	f.KeyMetadata, err = pme.WrapKey(k.footer, other, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(f.SealWith(testPrefix, frame), k.keys(), strict)
	if !errors.Is(err, fault.NotAuthentic) || !bytes.Contains([]byte(err.Error()), []byte("commits")) {
		t.Fatalf("under the other key: %v", err)
	}
}

// TestD12_ColumnKeyExchanged gives a column another data key, properly wrapped, with its metadata sealed anew under it. The footer's
// commitments still are to the old one.
func TestD12_ColumnKeyExchanged(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 52)
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	edited, oldDEK, newDEK := exchangeKey(t, f, k)
	if bytes.Equal(oldDEK, newDEK) {
		t.Fatal("the keys are the same")
	}
	f.Footer = edited
	b := f.Seal(testPrefix)
	if _, err := open(b, k.keys(), strict); !errors.Is(err, fault.NotAuthentic) || !bytes.Contains([]byte(err.Error()), []byte("commits")) {
		t.Fatalf("want not_authentic for the commitment, got %v", err)
	}
	// The same file is well formed: nothing but the commitment refuses it.
	if _, err := open(b, k.keys(), pme.ReadOptions{AADPrefix: testPrefix, Foreign: true}); err != nil {
		t.Fatalf("without commitments: %v", err)
	}
}

func randomKey() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return b
}

// exchangeKey gives leaf 0 another data key in a footer: key metadata and sealed chunk metadata are replaced by ones of equal length.
func exchangeKey(t *testing.T, f *pme.Forged, k *keyring) (footer, oldDEK, newDEK []byte) {
	t.Helper()
	start := bytes.Index(f.Footer, []byte(`{"keyMaterialType"`))
	end := start + bytes.IndexByte(f.Footer[start:], '}') + 1
	old := bytes.Clone(f.Footer[start:end])
	oldDEK, err := k.keys().DataKey(&pme.Leaf{}, old)
	if err != nil {
		t.Fatal(err)
	}
	newDEK = randomKey()
	metadata, err := pme.WrapKey(k.columns[0], newDEK, nil, false)
	if err != nil || len(metadata) != len(old) {
		t.Fatal("metadata of another length", err)
	}
	footer = bytes.Clone(f.Footer)
	copy(footer[start:], metadata)
	// Behind the metadata: the ends of two structs, the header of field 9, the length of the frame, the frame.
	at := end + 3
	n, size := binary.Uvarint(footer[at:])
	at += size
	aad := pme.ModuleAAD(append(bytes.Clone(testPrefix), f.Unique...), 1, 0, 0)
	plain, err := pme.OpenFrame(oldDEK, bytes.Clone(footer[at:at+int(n)]), aad)
	if err != nil {
		t.Fatal("the sealed metadata is not where it was expected: ", err)
	}
	copy(footer[at:], pme.Frame(newDEK, plain, aad))
	return footer, oldDEK, newDEK
}
