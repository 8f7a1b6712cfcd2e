package messages

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Limits of a body.
const (
	MaxPayload = 128 << 10 // bytes
	MaxHeads   = 64        // and as many echoes
	MaxKind    = 64        // characters

	// KindHeads is the kind of a body without a payload: its heads and echoes are what it carries. It needs no handler.
	KindHeads = "heads"

	maxHeadType = 32
	maxHeadID   = 64

	randomSize = 16
	prefixSize = randomSize + 4
	maxBody    = 160 << 10 // with what it is filled up with
)

// ID names a body, for ever.
type ID [16]byte

// String returns the id as a UUID.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newID returns a random UUID (RFC 9562, version 4).
func newID() (id ID) {
	rand.Read(id[:]) //nolint:errcheck // ends the process instead of failing
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// Head is what somebody says that the newest version of an object is, as seen from where they stand.
type Head struct {
	Type     string // of the object: "vault", "devices", …
	ID       string // of the object: the user's UUID, a dataset
	Sequence uint64
	Hash     [hashSize]byte
}

// Body is what one message carries.
type Body struct {
	ID      ID
	Kind    string // says which handler it is for: a-z, 0-9, "/", "." and "-"
	Heads   []Head // what the sender has
	Echoes  []Head // what the sender was told, by the receiver, that the receiver has
	Payload []byte
}

// wireBody is a body as CBOR: an array of five.
type wireBody struct {
	_       struct{} `cbor:",toarray"`
	ID      []byte
	Kind    string
	Heads   []wireHead
	Echoes  []wireHead
	Payload []byte
}

// wireHead is a head as CBOR: an array of four.
type wireHead struct {
	_        struct{} `cbor:",toarray"`
	Type     string
	ID       string
	Sequence uint64
	Hash     []byte
}

// encode returns the body as it is encrypted: 16 random bytes ‖ BE32(length) ‖ CBOR ‖ zeroes up to a Padmé length. Errors:
// fault.TooLarge, fault.InvalidRequest.
func (b *Body) encode(random [randomSize]byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	inner, err := signed.Marshal(b.wire())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(inner)
	out := make([]byte, padme(prefixSize+len(inner)))
	copy(out, random[:])
	binary.BigEndian.PutUint32(out[randomSize:], uint32(len(inner)))
	copy(out[prefixSize:], inner)
	if len(out) > maxBody {
		return nil, fault.New(fault.TooLarge, "a message's body has at most %d bytes", maxBody)
	}
	return out, nil
}

// parseBody reads a body that was decrypted. A body has one form; another one is fault.NotAuthentic, one beyond a limit fault.TooLarge.
func parseBody(p []byte) (*Body, error) {
	malformed := fault.New(fault.NotAuthentic, "not the body of a message")
	if len(p) > maxBody {
		return nil, fault.New(fault.TooLarge, "a message's body has at most %d bytes", maxBody)
	}
	if len(p) < prefixSize {
		return nil, malformed
	}
	n := int(binary.BigEndian.Uint32(p[randomSize:]))
	if n > len(p)-prefixSize || padme(prefixSize+n) != len(p) || len(bytes.Trim(p[prefixSize+n:], "\x00")) > 0 {
		return nil, malformed
	}
	inner := p[prefixSize : prefixSize+n]
	var w wireBody
	if err := signed.Unmarshal(inner, &w); err != nil {
		return nil, err
	}
	b, ok := w.body()
	if !ok {
		return nil, malformed
	}
	if err := b.check(); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "not the body of a message")
	}
	again, err := signed.Marshal(b.wire())
	defer secret.Wipe(again)
	if err != nil || !bytes.Equal(again, inner) {
		return nil, malformed
	}
	return b, nil
}

func (b *Body) check() error {
	if len(b.Payload) > MaxPayload {
		return fault.New(fault.TooLarge, "a message carries at most %d bytes", MaxPayload)
	}
	if !validName(b.Kind, MaxKind) || !validHeads(b.Heads) || !validHeads(b.Echoes) {
		return fault.New(fault.InvalidRequest, "a kind or a head is not well-formed, or there are more than %d heads", MaxHeads)
	}
	if b.Kind == KindHeads && len(b.Payload) > 0 {
		return fault.New(fault.InvalidRequest, "a message of heads alone has no payload")
	}
	return nil
}

func validHeads(list []Head) bool {
	if len(list) > MaxHeads {
		return false
	}
	for _, h := range list {
		if !validName(h.Type, maxHeadType) || !validName(h.ID, maxHeadID) {
			return false
		}
	}
	return true
}

// validName reports whether s is 1 to limit characters of a-z, 0-9, "/", "." and "-".
func validName(s string, limit int) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '/' && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

func (b *Body) wire() wireBody {
	w := wireBody{ID: b.ID[:], Kind: b.Kind, Heads: wireHeads(b.Heads), Echoes: wireHeads(b.Echoes), Payload: b.Payload}
	if w.Payload == nil {
		w.Payload = []byte{}
	}
	return w
}

func wireHeads(list []Head) []wireHead {
	out := make([]wireHead, len(list))
	for i, h := range list {
		out[i] = wireHead{Type: h.Type, ID: h.ID, Sequence: h.Sequence, Hash: h.Hash[:]}
	}
	return out
}

// body returns what was read, if ids and hashes have their lengths.
func (w *wireBody) body() (*Body, bool) {
	if len(w.ID) != len(ID{}) || len(w.Heads) > MaxHeads || len(w.Echoes) > MaxHeads {
		return nil, false
	}
	heads, ok := headsOf(w.Heads)
	echoes, also := headsOf(w.Echoes)
	return &Body{ID: ID(w.ID), Kind: w.Kind, Heads: heads, Echoes: echoes, Payload: w.Payload}, ok && also
}

func headsOf(list []wireHead) ([]Head, bool) {
	var out []Head
	for _, h := range list {
		if len(h.Hash) != hashSize {
			return nil, false
		}
		out = append(out, Head{Type: h.Type, ID: h.ID, Sequence: h.Sequence, Hash: [hashSize]byte(h.Hash)})
	}
	return out, true
}

// padme returns the length to which n bytes are filled up, so that the length tells little: at most 12 % more (Padmé: Nikitin et al.,
// "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
func padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len64(uint64(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}
