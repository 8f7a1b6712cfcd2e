package pme

import (
	"bytes"

	"coldframe/internal/fault"
)

// fileCrypto is FileCryptoMetaData: it stands in the clear before the sealed footer. ctr tells AES_GCM_CTR_V1 from AES_GCM_V1.
type fileCrypto struct {
	prefix       []byte // AAD prefix stored in the file; nil if there is none
	unique       []byte
	supplyPrefix bool
	keyMetadata  []byte
	ctr          bool
}

// parseFileCrypto reads the FileCryptoMetaData at the start of b and returns how many bytes it takes.
func parseFileCrypto(b []byte) (fileCrypto, int, error) {
	var c fileCrypto
	algorithm := false
	n, err := eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			algorithm = true
			err = c.parseAlgorithm(f)
		case 2:
			c.keyMetadata, err = f.binary()
		}
		return err
	})
	if err == nil && (!algorithm || len(c.unique) == 0) {
		err = errThrift("a footer without an encryption algorithm")
	}
	if err == nil && len(c.keyMetadata) > maxKeyMetadata {
		err = fault.New(fault.TooLarge, "key metadata of %d bytes, %d allowed", len(c.keyMetadata), maxKeyMetadata)
	}
	return c, n, err
}

// parseAlgorithm reads the union EncryptionAlgorithm: member 1 is AES_GCM_V1, member 2 AES_GCM_CTR_V1, which leaves pages unprotected.
func (c *fileCrypto) parseAlgorithm(f field) error {
	b, err := f.nested()
	if err != nil {
		return err
	}
	members := 0
	err = fields(b, func(f field) error {
		members++
		if f.id != 1 && f.id != 2 {
			return fault.New(fault.Policy, "the file is encrypted with another algorithm than AES_GCM_V1")
		}
		c.ctr = f.id == 2
		gcm, err := f.nested()
		if err != nil {
			return err
		}
		return fields(gcm, c.parseGCM)
	})
	if err == nil && members != 1 {
		err = errThrift("an encryption algorithm is not one")
	}
	return err
}

func (c *fileCrypto) parseGCM(f field) (err error) {
	switch f.id {
	case 1:
		if c.prefix, err = f.binary(); c.prefix == nil {
			c.prefix = []byte{}
		}
	case 2:
		c.unique, err = f.binary()
	case 3:
		c.supplyPrefix, err = f.boolean()
	}
	return err
}

func (c *fileCrypto) encode() []byte {
	var e encoder
	e.begin(1)
	if c.ctr {
		e.begin(2)
	} else {
		e.begin(1)
	}
	if c.prefix != nil {
		e.binary(1, c.prefix)
	}
	e.binary(2, c.unique)
	e.boolean(3, c.supplyPrefix)
	e.end()
	e.end()
	e.binary(2, c.keyMetadata)
	e.end()
	return e.b
}

// asWritten reports whether b, from which c was read, is what this package writes, to the letter. The crypto header is under no tag, so
// that is how a change in those parts of it is seen that nothing depends on.
func (c *fileCrypto) asWritten(b []byte) bool {
	m, err := parseMaterial(c.keyMetadata)
	if err != nil || m.InstanceID != defaultInstance || m.InstanceURL != defaultInstance || c.supplyPrefix {
		return false
	}
	text, err := m.encode()
	return err == nil && bytes.Equal(text, c.keyMetadata) && bytes.Equal(c.encode(), b)
}

// aadPrefix returns what the associated data of every module of the file begins with. want is the prefix that the caller expects: a
// file that holds another one, or none, is another file.
func (c *fileCrypto) aadPrefix(want []byte) ([]byte, error) {
	stored := c.prefix
	if c.prefix == nil && c.supplyPrefix {
		stored = want
	}
	if !bytes.Equal(stored, want) || c.supplyPrefix && len(want) == 0 {
		return nil, fault.New(fault.NotAuthentic, "the file belongs to another place than the one expected")
	}
	return append(append([]byte(nil), want...), c.unique...), nil
}
