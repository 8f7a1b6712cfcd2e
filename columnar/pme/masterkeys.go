package pme

import (
	"encoding/base64"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// MasterKey is a key of another writer: it wraps keys or, in a file whose key metadata is nothing but a name, it is a data key.
type MasterKey struct {
	ID   string
	key  secret.Key
	size int
}

// NewMasterKey takes a key of 16, 24 or 32 bytes, which the caller wipes.
func NewMasterKey(id string, key []byte) (MasterKey, error) {
	if id == "" || !validKeySize(len(key)) {
		return MasterKey{}, fault.New(fault.InvalidRequest, "a decryption key has an id and 16, 24 or 32 bytes")
	}
	padded := make([]byte, secret.KeySize)
	copy(padded, key)
	k, err := secret.FromBytes(padded)
	return MasterKey{ID: id, key: k, size: len(key)}, err
}

// Wipe overwrites the key.
func (k MasterKey) Wipe() { k.key.Wipe() }

// MaxKeyMaterial bounds key material that lies beside a file.
const MaxKeyMaterial = 8 << 20

// MasterKeys are the keys that a foreign file is opened with. They read PKMT1 key metadata of either storage, single and double wrapping,
// whose wrapped keys are of form 1 or 2 of the format. A name in place of PKMT1 is that of the data key itself.
type MasterKeys struct {
	keys     map[string]MasterKey
	external map[string]any
	missing  []string
}

// NewMasterKeys takes the keys over. external is the content of the file with key material that belongs to the data file; nil: none.
func NewMasterKeys(keys []MasterKey, external []byte) (*MasterKeys, error) {
	m := &MasterKeys{keys: make(map[string]MasterKey, len(keys))}
	for _, k := range keys {
		if _, twice := m.keys[k.ID]; twice {
			return nil, fault.New(fault.InvalidRequest, "two decryption keys of one id")
		}
		m.keys[k.ID] = k
	}
	if external == nil {
		return m, nil
	}
	if len(external) > MaxKeyMaterial {
		return nil, fault.New(fault.TooLarge, "key material of %d bytes, %d allowed", len(external), MaxKeyMaterial)
	}
	var err error
	m.external, err = flatObject(external)
	return m, err
}

// Missing returns the ids of keys that a file asked for and that were not given, sorted.
func (m *MasterKeys) Missing() []string {
	slices.Sort(m.missing)
	m.missing = slices.Compact(m.missing)
	return m.missing
}

// Wipe overwrites the keys.
func (m *MasterKeys) Wipe() {
	for _, k := range m.keys {
		k.Wipe()
	}
}

// DataKey implements DataKeys.
func (m *MasterKeys) DataKey(leaf *Leaf, metadata []byte) ([]byte, error) {
	if len(metadata) == 0 || metadata[0] != '{' {
		k, ok := m.key(string(metadata))
		if !ok {
			return nil, nil
		}
		return slices.Clone(k.bytes()), nil
	}
	members, err := m.material(metadata)
	if err != nil {
		return nil, err
	}
	return m.unwrap(members, leaf == nil)
}

func (k MasterKey) bytes() []byte { return k.key.Bytes()[:k.size] }

func (m *MasterKeys) key(id string) (MasterKey, bool) {
	k, ok := m.keys[id]
	if !ok {
		m.missing = append(m.missing, id)
	}
	return k, ok
}

// material returns the members of the key material that metadata holds or refers to.
func (m *MasterKeys) material(metadata []byte) (map[string]any, error) {
	if len(metadata) > maxKeyMetadata {
		return nil, fault.New(fault.TooLarge, "key metadata of %d bytes, %d allowed", len(metadata), maxKeyMetadata)
	}
	members, err := flatObject(metadata)
	if err != nil {
		return nil, err
	}
	var kind, reference, text string
	var internal bool
	switch {
	case !member(members, "keyMaterialType", &kind) || kind != materialType:
		return nil, fault.New(fault.Policy, "key metadata of another type than PKMT1")
	case !member(members, "internalStorage", &internal):
		return nil, errMaterial
	case internal:
		return members, nil
	case !member(members, "keyReference", &reference):
		return nil, errMaterial
	case m.external == nil:
		return nil, fault.New(fault.InvalidRequest, "the keys of this file are wrapped in a file beside it, _KEY_MATERIAL_FOR_ and its name: it is needed too")
	case !member(m.external, reference, &text) || len(text) > maxKeyMetadata:
		return nil, fault.New(fault.NotAuthentic, "the key material beside the file does not belong to it")
	}
	if members, err = flatObject([]byte(text)); err != nil {
		return nil, err
	}
	if !member(members, "keyMaterialType", &kind) || kind != materialType {
		return nil, fault.New(fault.Policy, "key material of another type than PKMT1")
	}
	return members, nil
}

var errMaterial = fault.New(fault.NotAuthentic, "key metadata lacks a member, or one has another type")

// unwrap returns the data key of key material, or nil if its master key is not had.
func (m *MasterKeys) unwrap(members map[string]any, footer bool) ([]byte, error) {
	var isFooter, double bool
	var id, wrapped, kekID, wrappedKEK string
	whole := member(members, "isFooterKey", &isFooter) && member(members, "masterKeyID", &id) && member(members, "wrappedDEK", &wrapped) &&
		member(members, "doubleWrapping", &double)
	if whole && double {
		whole = member(members, "keyEncryptionKeyID", &kekID) && member(members, "wrappedKEK", &wrappedKEK)
	}
	if !whole || isFooter != footer {
		return nil, errMaterial
	}
	k, ok := m.key(id)
	if !ok {
		return nil, nil
	}
	if !double {
		return openText(k.bytes(), wrapped, []byte(id))
	}
	kek, err := openText(k.bytes(), wrappedKEK, []byte(id))
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(kek)
	aad, err := base64.StdEncoding.DecodeString(kekID)
	if err != nil {
		return nil, errMaterial
	}
	return openBox(kek, wrapped, aad)
}

// openText opens what a key service wrapped: base64, or an object with a version and base64.
func openText(key []byte, text string, aad []byte) ([]byte, error) {
	if strings.HasPrefix(text, "{") {
		members, err := flatObject([]byte(text))
		if err != nil {
			return nil, err
		}
		var version string
		if !member(members, "masterKeyVersion", &version) || version != "NO_VERSION" || !member(members, "encryptedKey", &text) {
			return nil, fault.New(fault.Policy, "a key that was wrapped in an unknown way")
		}
	}
	return openBox(key, text, aad)
}
