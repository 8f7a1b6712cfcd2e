package pme

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"unicode/utf8"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// NamedKey is a key that wraps data keys, and the name under which key metadata refers to it (a UUID in Coldframe). The name is
// public: it stands in the file in the clear.
type NamedKey struct {
	ID  string
	Key secret.Key
}

// maxKeyMetadata bounds one key metadata field; ours takes about 260 bytes.
const maxKeyMetadata = 8 << 10

// material is key metadata of type PKMT1 with internal storage and single wrapping.
type material struct {
	Type        string `json:"keyMaterialType"`
	Internal    bool   `json:"internalStorage"`
	Footer      bool   `json:"isFooterKey"`
	InstanceID  string `json:"kmsInstanceID,omitempty"`
	InstanceURL string `json:"kmsInstanceURL,omitempty"`
	MasterKeyID string `json:"masterKeyID"`
	WrappedDEK  string `json:"wrappedDEK"`
	Double      bool   `json:"doubleWrapping"`
}

const (
	materialType    = "PKMT1"
	defaultInstance = "DEFAULT"
)

// wrapKey returns the key metadata of a data key wrapped by mk: form 1 of the format, base64 of nonce ‖ ciphertext ‖ tag under the
// name of mk as associated data. nonce is nil, but for test vectors.
func wrapKey(mk NamedKey, dek, nonce []byte, footer bool) ([]byte, error) {
	if mk.ID == "" || mk.Key.IsZero() || !utf8.ValidString(mk.ID) {
		return nil, fault.New(fault.Policy, "a column without a key is not written")
	}
	box := make([]byte, nonceSize, nonceSize+len(dek)+tagSize)
	if nonce == nil {
		_, _ = rand.Read(box)
	} else {
		copy(box, nonce)
	}
	var err error
	if !mk.Key.Use(func(b []byte) { box, err = sealLocal(b, box, dek, []byte(mk.ID)) }) || err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a data key cannot be wrapped")
	}
	m := material{
		Type: materialType, Internal: true, Footer: footer, MasterKeyID: mk.ID, WrappedDEK: base64.StdEncoding.EncodeToString(box),
	}
	if footer {
		m.InstanceID, m.InstanceURL = defaultInstance, defaultInstance
	}
	return m.encode()
}

func (m material) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "key metadata cannot be encoded")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func sealLocal(key, box, dek, aad []byte) ([]byte, error) {
	aead, err := aesGCM(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(box, box[:nonceSize], dek, aad), nil
}

// unwrapKey opens key metadata with the key that the caller expects to have made it. The name of the key inside the metadata is
// compared with it and chooses nothing. The caller wipes the data key.
func unwrapKey(mk NamedKey, metadata []byte, footer bool) ([]byte, error) {
	m, err := parseMaterial(metadata)
	if err != nil {
		return nil, err
	}
	if m.MasterKeyID != mk.ID || m.Footer != footer {
		return nil, fault.New(fault.NotAuthentic, "key metadata names another key than the one expected")
	}
	return OpenWrapped(mk, m.WrappedDEK)
}

// OpenWrapped returns the key that was wrapped by mk into text, form 1 of the format: 16, 24 or 32 bytes, which the caller wipes.
func OpenWrapped(mk NamedKey, text string) ([]byte, error) {
	var dek []byte
	err := error(fault.New(fault.Internal, "no key to unwrap with"))
	mk.Key.Use(func(b []byte) { dek, err = openBox(b, text, []byte(mk.ID)) })
	return dek, err
}

// openBox opens base64 of nonce ‖ ciphertext ‖ tag, in which there is a key.
func openBox(key []byte, text string, aad []byte) ([]byte, error) {
	box, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(box) <= nonceSize+tagSize {
		return nil, fault.New(fault.NotAuthentic, "a wrapped data key is damaged")
	}
	aead, err := aesGCM(key)
	if err != nil {
		return nil, fault.New(fault.NotAuthentic, "a wrapping key of %d bytes", len(key))
	}
	dek, err := aead.Open(nil, box[:nonceSize], box[nonceSize:], aad)
	if err != nil || !validKeySize(len(dek)) {
		secret.Wipe(dek)
		return nil, fault.New(fault.NotAuthentic, "a wrapped data key does not open")
	}
	return dek, nil
}

func validKeySize(n int) bool { return n == 16 || n == 24 || n == 32 }

// parseMaterial reads key metadata. Everything else than internal storage and single wrapping is refused: we write nothing else.
func parseMaterial(metadata []byte) (material, error) {
	if len(metadata) > maxKeyMetadata {
		return material{}, fault.New(fault.TooLarge, "key metadata of %d bytes, %d allowed", len(metadata), maxKeyMetadata)
	}
	members, err := flatObject(metadata)
	if err != nil {
		return material{}, err
	}
	var m material
	whole := member(members, "keyMaterialType", &m.Type) && member(members, "internalStorage", &m.Internal) &&
		member(members, "isFooterKey", &m.Footer) && member(members, "masterKeyID", &m.MasterKeyID) &&
		member(members, "wrappedDEK", &m.WrappedDEK) && member(members, "doubleWrapping", &m.Double)
	if whole && m.Footer {
		whole = member(members, "kmsInstanceID", &m.InstanceID) && member(members, "kmsInstanceURL", &m.InstanceURL) &&
			m.InstanceID != "" && m.InstanceURL != ""
	}
	if !whole {
		return material{}, fault.New(fault.NotAuthentic, "key metadata lacks a member, or one has another type")
	}
	if m.Type != materialType || !m.Internal || m.Double {
		return material{}, fault.New(fault.Policy, "key metadata of another form than PKMT1 with internal storage and single wrapping")
	}
	return m, nil
}

// member sets *dst to the member of that name and reports whether it is there and has the type of dst.
func member[T string | bool](members map[string]any, name string, dst *T) bool {
	v, ok := members[name].(T)
	*dst = v
	return ok
}

// flatObject reads b, which must be one JSON object of strings and booleans with no name twice. Names are compared to the letter,
// unlike in json.Unmarshal.
func flatObject(b []byte) (map[string]any, error) {
	damaged := fault.New(fault.NotAuthentic, "key metadata is not one flat object")
	if !utf8.Valid(b) {
		return nil, damaged
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, damaged
	}
	members := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, damaged
		}
		name, ok := t.(string)
		if _, twice := members[name]; !ok || twice {
			return nil, damaged
		}
		v, err := d.Token()
		if err != nil {
			return nil, damaged
		}
		switch v.(type) {
		case string, bool:
			members[name] = v
		default:
			return nil, damaged
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, damaged
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, damaged
	}
	return members, nil
}
