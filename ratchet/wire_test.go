package ratchet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/kdf"
)

// wireRep is n bytes x.
func wireRep(x byte, n int) []byte { return bytes.Repeat([]byte{x}, n) }

// wireSeq is n bytes a, a+1, ….
func wireSeq(a byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = a + byte(i)
	}
	return b
}

// knownSignalMessage is that of section 14.
const knownSignalMessage = "440a2105232323232323232323232323232323232323232323232323232323232323232310ac02180022105536a343f3" +
	"e1e0c9e77e743732f3487e2a250101010100242424242424242424242424242424242424242424242424242424242424" +
	"2424b04d3bfcabd35bca"

// knownSignalFields are what it is made of, by way of the primitives alone, and its MAC key.
func knownSignalFields(t *testing.T) (m signalMessage, macKey [32]byte) {
	t.Helper()
	seed := kdf.HMAC(wireRep(8, 32), []byte{1})
	var okm [80]byte
	kdf.HKDF(okm[:], wireRep(9, 32), seed[:], []byte("WhisperMessageKeys"))
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		t.Fatal(err)
	}
	m = signalMessage{version: versionByte, ratchetKey: [32]byte(wireRep(0x23, 32)), counter: 300}
	m.ciphertext = append([]byte("hello"), wireRep(11, 11)...)
	cipher.NewCBCEncrypter(block, okm[64:]).CryptBlocks(m.ciphertext, m.ciphertext)
	m.pqRatchet = append([]byte{1, 1, 1, 1, 0}, wireRep(0x24, 32)...)
	return m, [32]byte(okm[32:64])
}

func TestKnownAnswersOfSignalMessage(t *testing.T) {
	m, macKey := knownSignalFields(t)
	sender, receiver := [32]byte(wireRep(0x21, 32)), [32]byte(wireRep(0x22, 32))
	b := appendSignalMessage(nil, &m)
	m.signed, m.mac = slices.Clone(b), messageMAC(&macKey, &sender, &receiver, b)
	b = append(b, m.mac[:]...)
	if hex.EncodeToString(b) != knownSignalMessage {
		t.Fatalf("got %x, want %s", b, knownSignalMessage)
	}
	got, err := parseSignalMessage(b)
	if err != nil || !wireSameSignal(&got, &m) || !bytes.Equal(got.signed, m.signed) {
		t.Fatalf("got %+v, %v, want %+v", got, err, m)
	}
}

func wireSameSignal(a, b *signalMessage) bool {
	return a.version == b.version && a.ratchetKey == b.ratchetKey && a.counter == b.counter && a.previousCounter == b.previousCounter &&
		bytes.Equal(a.ciphertext, b.ciphertext) && bytes.Equal(a.pqRatchet, b.pqRatchet) && bytes.Equal(a.addresses, b.addresses) &&
		(a.addresses == nil) == (b.addresses == nil) && a.mac == b.mac
}

func wireDrawKey(t *rapid.T) [32]byte {
	return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
}

func wireDrawSignal(t *rapid.T) signalMessage {
	m := signalMessage{
		version: versionByte, ratchetKey: wireDrawKey(t), counter: rapid.Uint32().Draw(t, "counter"),
		previousCounter: rapid.Uint32().Draw(t, "previous"), ciphertext: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "ciphertext"),
		pqRatchet: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "pq"),
	}
	if rapid.Bool().Draw(t, "has addresses") {
		m.addresses = rapid.SliceOfN(rapid.Byte(), 36, 36).Draw(t, "addresses")
	}
	return m
}

func TestSignalMessageThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := wireDrawSignal(t)
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "prefix")
		b := appendSignalMessage(slices.Clone(prefix), &m)
		if !bytes.HasPrefix(b, prefix) || cap(b)-len(b) < wireMACSize {
			t.Fatal("prefix lost, or no room for the MAC")
		}
		signed := b[len(prefix):]
		m.mac = [wireMACSize]byte(rapid.SliceOfN(rapid.Byte(), wireMACSize, wireMACSize).Draw(t, "mac"))
		whole := append(slices.Clone(signed), m.mac[:]...)
		got, err := parseSignalMessage(whole)
		if err != nil || !wireSameSignal(&got, &m) || !bytes.Equal(got.signed, signed) {
			t.Fatalf("got %+v, %v, want %+v", got, err, m)
		}
		_, _ = append(got.ciphertext, '!'), append(got.signed, '!')
		if !bytes.Equal(whole, append(signed, m.mac[:]...)) {
			t.Fatal("appending to a field writes into the message")
		}
	})
}

// Whatever else a later version puts into a message is under the MAC, and skipped.
func TestUnknownFieldsAreSkippedAndSigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := wireDrawSignal(t)
		signed := slices.Concat(appendSignalMessage(nil, &m), wireUnknown(t, 0))
		got, err := parseSignalMessage(append(slices.Clone(signed), m.mac[:]...))
		if err != nil || !wireSameSignal(&got, &m) || !bytes.Equal(got.signed, signed) {
			t.Fatalf("got %+v, %v, want %+v", got, err, m)
		}
	})
}

// A MAC is for one key, one direction and these very bytes.
func TestS11_MACTellsDirectionsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, a, b := wireDrawKey(t), wireDrawKey(t), wireDrawKey(t)
		signed := rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "signed")
		mac := messageMAC(&key, &a, &b, signed)
		if a != b && messageMAC(&key, &b, &a, signed) == mac {
			t.Fatal("the same in the other direction")
		}
		signed[rapid.IntRange(0, len(signed)-1).Draw(t, "at")] ^= 1
		if messageMAC(&key, &a, &b, signed) == mac {
			t.Fatal("the same for another message")
		}
	})
}

// wireFault checks that a message is refused with this code, by its parser.
func wireFault(t *testing.T, name string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v, want %s", name, err, code)
	}
}

func TestMalformedSignalMessages(t *testing.T) {
	key := append([]byte{10, 33, 5}, wireRep(7, 32)...)
	counter, ciphertext := []byte{16, 0}, []byte{34, 1, 9}
	message := func(parts ...[]byte) []byte {
		return append(append([]byte{versionByte}, slices.Concat(parts...)...), wireRep(0, wireMACSize)...)
	}
	addresses := func(n int) []byte { return appendProtoBytes(nil, fieldAddresses, wireRep(1, n)) }
	cases := []struct {
		name string
		b    []byte
		want fault.Code // "" for none
	}{
		{"least", message(key, counter, ciphertext), ""},
		{"lower half of the version byte", append([]byte{0x4f}, message(key, counter, ciphertext)[1:]...), ""},
		{"key with bytes after it", message(append([]byte{10, 35, 5}, wireRep(7, 34)...), counter, ciphertext), ""},
		{"second key counts, first is none", message([]byte{10, 0}, key, counter, ciphertext), ""},
		{"first key is one, second is none", message(key, []byte{10, 0}, counter, ciphertext), fault.NotAuthentic},
		{"empty", nil, fault.NotAuthentic},
		{"version byte alone", []byte{versionByte}, fault.NotAuthentic},
		{"no fields", message(), fault.NotAuthentic},
		{"no key", message(counter, ciphertext), fault.NotAuthentic},
		{"no counter", message(key, ciphertext), fault.NotAuthentic},
		{"no ciphertext", message(key, counter), fault.NotAuthentic},
		{"key too short", message(append([]byte{10, 32, 5}, wireRep(7, 31)...), counter, ciphertext), fault.NotAuthentic},
		{"key of another type", message(append([]byte{10, 33, 6}, wireRep(7, 32)...), counter, ciphertext), fault.NotAuthentic},
		{"addresses", message(key, counter, ciphertext, addresses(36)), ""},
		{"empty addresses", message(key, counter, ciphertext, addresses(0)), fault.NotAuthentic},
		{"long addresses", message(key, counter, ciphertext, addresses(37)), fault.NotAuthentic},
	}
	for _, c := range cases {
		_, err := parseSignalMessage(c.b)
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if c.want != "" {
			wireFault(t, c.name, err, c.want)
		}
	}
}

func TestMessageSizeIsBounded(t *testing.T) {
	m := signalMessage{version: versionByte}
	m.ciphertext = make([]byte, MaxMessageSize-len(appendSignalMessage(nil, &m))-wireMACSize-2)
	b := append(appendSignalMessage(nil, &m), m.mac[:]...)
	if _, err := parseSignalMessage(b); err != nil || len(b) != MaxMessageSize {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	_, err := parseSignalMessage(append(b, 0))
	wireFault(t, "message", err, fault.TooLarge)
	_, err = parsePreKeyMessage(append(b, 0))
	wireFault(t, "first message", err, fault.TooLarge)
}

func wireDrawPreKey(t *rapid.T) preKeyMessage {
	m := preKeyMessage{
		hasPreKey: rapid.Bool().Draw(t, "has prekey"), baseKey: wireDrawKey(t), identityKey: wireDrawKey(t),
		message: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "message"), registrationID: rapid.Uint32().Draw(t, "registration"),
		signedPreKeyID: rapid.Uint32().Draw(t, "signed"), kemPreKeyID: rapid.Uint32().Draw(t, "kem"),
		kemCiphertext: wireRep(rapid.Byte().Draw(t, "ciphertext"), kemCiphertextSize),
	}
	if m.hasPreKey {
		m.preKeyID = rapid.Uint32().Draw(t, "prekey") // may be 0
	}
	return m
}

func wireSamePreKey(a, b *preKeyMessage) bool {
	return a.preKeyID == b.preKeyID && a.hasPreKey == b.hasPreKey && a.baseKey == b.baseKey && a.identityKey == b.identityKey &&
		bytes.Equal(a.message, b.message) && a.registrationID == b.registrationID && a.signedPreKeyID == b.signedPreKeyID &&
		a.kemPreKeyID == b.kemPreKeyID && bytes.Equal(a.kemCiphertext, b.kemCiphertext)
}

func TestPreKeyMessageThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := wireDrawPreKey(t)
		got, err := parsePreKeyMessage(append(appendPreKeyMessage(nil, &m), wireUnknown(t, 0)...))
		if err != nil || !wireSamePreKey(&got, &m) {
			t.Fatalf("got %+v, %v, want %+v", got, err, m)
		}
	})
}

// wirePreKeyFields are the fields of a first message, by number.
func wirePreKeyFields() [][]byte {
	key := append([]byte{5}, wireRep(7, 32)...)
	return [][]byte{
		{versionByte},
		appendProtoNumber(nil, fieldPreKeyID, 0), appendProtoBytes(nil, fieldBaseKey, key), appendProtoBytes(nil, fieldIdentityKey, key),
		appendProtoBytes(nil, fieldMessage, []byte("message")), appendProtoNumber(nil, fieldRegistrationID, 1),
		appendProtoNumber(nil, fieldSignedPreKeyID, 2), appendProtoNumber(nil, fieldKEMPreKeyID, 3),
		appendProtoBytes(nil, fieldKEMCiphertext, append([]byte{typeKyber1024}, make([]byte, kemCiphertextSize)...)),
	}
}

// A first message without its post-quantum part, of an older version or for another KEM is a lowered protocol, whoever lowered it.
func TestS10_LoweredProtocolIsPolicy(t *testing.T) {
	for _, drop := range []int{fieldKEMPreKeyID, fieldKEMCiphertext} {
		f := wirePreKeyFields()
		f[drop] = nil
		_, err := parsePreKeyMessage(slices.Concat(f...))
		wireFault(t, "post-quantum field missing", err, fault.Policy)
	}
	for _, kind := range []byte{typeKyber768, typeMLKEM1024} {
		for _, size := range []int{1088, kemCiphertextSize} {
			f := wirePreKeyFields()
			f[fieldKEMCiphertext] = appendProtoBytes(nil, fieldKEMCiphertext, append([]byte{kind}, make([]byte, size)...))
			_, err := parsePreKeyMessage(slices.Concat(f...))
			wireFault(t, "another KEM", err, fault.Policy)
		}
	}
	message, err := hex.DecodeString(knownSignalMessage)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []byte{0x00, 0x24, 0x33, 0x34, 0x3f, 0x54, 0xff} {
		f := wirePreKeyFields()
		f[0] = []byte{version}
		_, err := parsePreKeyMessage(slices.Concat(f...))
		wireFault(t, "first message of another version", err, fault.Policy)
		message[0] = version
		_, err = parseSignalMessage(message)
		wireFault(t, "message of another version", err, fault.Policy)
	}
}

func TestMalformedPreKeyMessages(t *testing.T) {
	for _, drop := range []int{fieldBaseKey, fieldIdentityKey, fieldMessage, fieldSignedPreKeyID} {
		f := wirePreKeyFields()
		f[drop] = nil
		_, err := parsePreKeyMessage(slices.Concat(f...))
		wireFault(t, "required field missing", err, fault.NotAuthentic)
	}
	for _, number := range []byte{fieldBaseKey, fieldIdentityKey, fieldKEMCiphertext} {
		for _, value := range [][]byte{nil, {5}, {8}, wireRep(5, 32), append([]byte{6}, wireRep(7, 32)...), wireRep(8, 1568), wireRep(8, 1570)} {
			f := wirePreKeyFields()
			f[number] = appendProtoBytes(nil, number, value)
			_, err := parsePreKeyMessage(slices.Concat(f...))
			wireFault(t, "malformed key", err, fault.NotAuthentic)
		}
	}
	f := wirePreKeyFields()
	f[fieldPreKeyID], f[fieldRegistrationID] = nil, nil
	m, err := parsePreKeyMessage(slices.Concat(f...))
	if err != nil || m.hasPreKey || m.registrationID != 0 {
		t.Errorf("without the optional fields: %+v, %v", m, err)
	}
	slices.Reverse(f[1:])
	if again, err := parsePreKeyMessage(slices.Concat(f...)); err != nil || !wireSamePreKey(&m, &again) {
		t.Errorf("in descending order: %+v, %v", again, err)
	}
	_, err = parsePreKeyMessage(nil)
	wireFault(t, "empty", err, fault.NotAuthentic)
}

func TestParsingAllocatesNothing(t *testing.T) {
	b, err := hex.DecodeString(knownSignalMessage)
	if err != nil {
		t.Fatal(err)
	}
	var key, sender, receiver [32]byte
	n := testing.AllocsPerRun(100, func() {
		m, err := parseSignalMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		key[0] = messageMAC(&key, &sender, &receiver, m.signed)[0]
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
