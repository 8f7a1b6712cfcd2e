package spqr

import (
	"crypto/subtle"
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet/internal/kdf"
)

// Labels of section 7.2. BE64 of the epoch follows each.
const (
	labelUpdate        = "Signal_PQCKA_V1_MLKEM768:Authenticator Update"
	labelMACHeader     = "Signal_PQCKA_V1_MLKEM768:ekheader"
	labelMACCiphertext = "Signal_PQCKA_V1_MLKEM768:ciphertext"
	labelEpochSecret   = "Signal_PQCKA_V1_MLKEM768:SCKA Key"
)

const macSize = 32 // bytes of a MAC over a header or a ciphertext

// authenticator vouches for the keys that the two sides exchange: each epoch's secret is mixed into the keys of the MACs of the next.
type authenticator struct{ root, mac [32]byte }

// newAuthenticator is Start of section 7.2.
func newAuthenticator(pqkey *[32]byte) authenticator {
	return authenticator{}.update(1, pqkey)
}

// update returns the authenticator with the secret of an epoch mixed in.
func (a authenticator) update(epoch uint64, key *[32]byte) authenticator {
	var okm [64]byte
	defer secret.Wipe(okm[:])
	ikm := append(append(make([]byte, 0, 64), a.root[:]...), key[:]...)
	defer secret.Wipe(ikm)
	kdf.HKDF(okm[:], nil, ikm, labelled(labelUpdate, epoch))
	return authenticator{root: [32]byte(okm[:32]), mac: [32]byte(okm[32:])}
}

// macHeader authenticates the first 64 bytes of an encapsulation key. Its keys are those before the epoch's own update.
func (a *authenticator) macHeader(epoch uint64, header []byte) [macSize]byte {
	return kdf.HMAC(a.mac[:], labelled(labelMACHeader, epoch), header)
}

// macCiphertext authenticates both halves of a ciphertext. Its keys are those after the epoch's own update.
func (a *authenticator) macCiphertext(epoch uint64, c1, c2 []byte) [macSize]byte {
	return kdf.HMAC(a.mac[:], labelled(labelMACCiphertext, epoch), c1, c2)
}

// epochSecret is S_e: what the secret of the KEM gives to the chain and to the authenticator.
func epochSecret(epoch uint64, shared *[32]byte) [32]byte {
	var out [32]byte
	kdf.HKDF(out[:], nil, shared[:], labelled(labelEpochSecret, epoch))
	return out
}

func labelled(label string, epoch uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(label), epoch)
}

// checkMAC compares in constant time.
func checkMAC(want [macSize]byte, got []byte) error {
	if subtle.ConstantTimeCompare(want[:], got) != 1 {
		return fault.New(fault.NotAuthentic, "a post-quantum key is not the peer's")
	}
	return nil
}
