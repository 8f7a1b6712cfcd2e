package pme

import (
	"crypto/aes"
	"crypto/subtle"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// judgeCrypto holds what the file says of its encryption against the options, and sets what all associated data begins with.
func (f *File) judgeCrypto() (err error) {
	if f.crypto.ctr && (!f.options.Foreign || !f.options.AllowCTR) {
		return fault.New(fault.Policy, "the file is encrypted with AES_GCM_CTR_V1, which leaves its pages open to changes")
	}
	want := f.options.AADPrefix
	if f.options.TakePrefix && len(want) == 0 && f.crypto.prefix != nil {
		want = f.crypto.prefix
	}
	f.aad, err = f.crypto.aadPrefix(want)
	return err
}

// footerDataKey returns the data key of the footer, which the caller wipes.
func (f *File) footerDataKey(keys DataKeys) ([]byte, error) {
	dek, err := keys.DataKey(nil, f.crypto.keyMetadata)
	if err == nil && dek == nil {
		err = fault.New(fault.Forbidden, "the key of the file's footer is not had")
	}
	return dek, err
}

func (f *File) newKey(dek []byte) (*dataKey, error) {
	k, err := newDataKey(dek)
	if err == nil && f.crypto.ctr {
		k.block, err = aes.NewCipher(dek)
	}
	return k, err
}

// openPlain returns the FileMetaData at the start of b after checking its signature, the nonce and tag behind it: those of sealing it
// with the footer's key.
func (f *File) openPlain(b []byte, keys DataKeys) ([]byte, error) {
	if len(b) < nonceSize+tagSize {
		return nil, fault.New(fault.Policy, "a plaintext Parquet file where an encrypted one belongs")
	}
	at := len(b) - nonceSize - tagSize
	if err := f.parsePlainCrypto(b, at); err != nil {
		return nil, err
	}
	if err := f.judgeCrypto(); err != nil {
		return nil, err
	}
	dek, err := f.footerDataKey(keys)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(dek)
	if f.footerKey, err = f.newKey(dek); err != nil {
		return nil, err
	}
	footer, nonce, tag := b[:at], b[at:at+nonceSize], b[at+nonceSize:]
	sealed := f.footerKey.aead.Seal(nil, nonce, footer, footerAAD(f.aad))
	if subtle.ConstantTimeCompare(sealed[len(sealed)-tagSize:], tag) != 1 {
		return nil, fault.New(fault.NotAuthentic, "the signature of the file's footer is not that of its key")
	}
	return footer, nil
}

// parsePlainCrypto finds out how the file is encrypted from its plaintext footer, which must take the first at bytes of b.
func (f *File) parsePlainCrypto(b []byte, at int) error {
	encrypted := false
	n, err := eachField(b, func(fd field) (err error) {
		switch fd.id {
		case fmEncryption:
			encrypted = true
			err = f.crypto.parseAlgorithm(fd)
		case fmSigningKey:
			f.crypto.keyMetadata, err = fd.binary()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !encrypted:
		return fault.New(fault.Policy, "a plaintext Parquet file where an encrypted one belongs")
	case n != at || len(f.crypto.unique) == 0:
		return errThrift("a plaintext footer that is not one")
	case len(f.crypto.keyMetadata) > maxKeyMetadata:
		return fault.New(fault.TooLarge, "key metadata of %d bytes, %d allowed", len(f.crypto.keyMetadata), maxKeyMetadata)
	}
	return nil
}
