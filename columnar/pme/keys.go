package pme

import "coldframe/internal/fault"

// DataKeys hands out the data keys of a file that is opened. Keys is the one for files of this project.
type DataKeys interface {
	// DataKey returns the data key of the footer (leaf is nil) or of a leaf, 16, 24 or 32 bytes that the caller wipes. nil without an
	// error: that key is not had, and the column is hidden. metadata is what the file says about the key; it comes from outside, that of
	// the footer is not even under a tag, so it is compared with what was expected and chooses nothing.
	DataKey(leaf *Leaf, metadata []byte) ([]byte, error)
}

// Keys are the wrapping keys that the caller expects a file to be sealed with.
type Keys struct {
	Footer NamedKey
	// Column returns the key expected for a leaf. Not had: false, and the column is hidden.
	Column func(Leaf) (NamedKey, bool)
}

// DataKey unwraps the data key in metadata with the expected key. Metadata that names another key is fault.NotAuthentic.
func (k Keys) DataKey(leaf *Leaf, metadata []byte) ([]byte, error) {
	if leaf == nil {
		if k.Footer.Key.IsZero() {
			return nil, nil
		}
		return unwrapKey(k.Footer, metadata, true)
	}
	mk, ok := k.Column(*leaf)
	if !ok {
		return nil, nil
	}
	if mk.Key.IsZero() || mk.ID == "" {
		return nil, fault.New(fault.Internal, "no key for a column that is said to be readable")
	}
	return unwrapKey(mk, metadata, false)
}
