package ratchet

import (
	"io"
	"time"

	"coldframe/internal/secret"
	"coldframe/ratchet/internal/kdf"
	"coldframe/ratchet/internal/spqr"
)

var labelHandshake = []byte("WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024") // literal: CRYSTALS-KYBER

// handshakeKeys is what PQXDH comes to (spec section 5).
type handshakeKeys struct{ root, chain, pq [32]byte }

// deriveHandshake makes the keys of the agreements DH1 to DH3 or DH4, in this order, and the KEM's secret.
func deriveHandshake(agreements [][32]byte, kemSecret *[32]byte) handshakeKeys {
	input := make([]byte, 0, 32*6)
	for range 32 {
		input = append(input, 0xff)
	}
	for i := range agreements {
		input = append(input, agreements[i][:]...)
	}
	input = append(input, kemSecret[:]...)
	var okm [96]byte
	kdf.HKDF(okm[:], nil, input, labelHandshake)
	k := handshakeKeys{root: [32]byte(okm[:32]), chain: [32]byte(okm[32:64]), pq: [32]byte(okm[64:])}
	secret.Wipe(input)
	secret.Wipe(okm[:])
	return k
}

// agreementOf is one X25519 of the handshake.
type agreementOf struct{ private, public *[32]byte }

func agreeAll(list []agreementOf) ([][32]byte, error) {
	out := make([][32]byte, 0, len(list))
	for _, a := range list {
		s, err := agree(a.private, a.public)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// initiate is PQXDH as the initiator, with a bundle that was verified.
func initiate(l *Local, rand io.Reader, b *Bundle, now time.Time) (*state, error) {
	var base keyPair
	base.private, base.public = newKeyPair(rand)
	defer secret.Wipe(base.private[:])
	ciphertext, kemSecret, err := kemEncapsulate(b.KEMPreKey.Public, rand)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(kemSecret[:])
	identity, err := l.private()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(identity[:])
	list := []agreementOf{{&identity, &b.SignedPreKey.Public}, {&base.private, &b.IdentityKey}, {&base.private, &b.SignedPreKey.Public}}
	p := &pending{signedPreKeyID: b.SignedPreKey.ID, kemPreKeyID: b.KEMPreKey.ID, kemCiphertext: ciphertext, made: now.Truncate(time.Second)}
	if o := b.OneTimePreKey; o != nil {
		list = append(list, agreementOf{&base.private, &o.Public})
		p.preKeyID, p.hasPreKey = o.ID, true
	}
	agreements, err := agreeAll(list)
	if err != nil {
		return nil, err
	}
	defer clear(agreements)
	keys := deriveHandshake(agreements, &kemSecret)
	defer keys.wipe()

	s := &state{remoteIdentity: b.IdentityKey, baseKey: base.public, registrationID: b.RegistrationID, root: keys.root, pending: p}
	s.addReceiving(b.SignedPreKey.Public, keys.chain)
	s.pq = spqr.New(&keys.pq, spqr.A2B)
	return s, s.newSendingChain(rand, &b.SignedPreKey.Public)
}

// respond is PQXDH as the responder: with the prekeys that a first message names.
func respond(l *Local, m *preKeyMessage, k *namedPreKeys) (*state, error) {
	if err := checkBaseKey(&m.baseKey); err != nil {
		return nil, err
	}
	if err := checkBaseKey(&m.identityKey); err != nil {
		return nil, err
	}
	kemSecret, err := k.kem.decapsulate(m.kemCiphertext)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(kemSecret[:])
	identity, err := l.private()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(identity[:])
	list := []agreementOf{{&k.signed.private, &m.identityKey}, {&identity, &m.baseKey}, {&k.signed.private, &m.baseKey}}
	if m.hasPreKey {
		list = append(list, agreementOf{&k.oneTime, &m.baseKey})
	}
	agreements, err := agreeAll(list)
	if err != nil {
		return nil, err
	}
	defer clear(agreements)
	keys := deriveHandshake(agreements, &kemSecret)
	defer keys.wipe()
	return &state{
		remoteIdentity: m.identityKey, baseKey: m.baseKey, registrationID: m.registrationID, root: keys.root, own: k.signed,
		sending: chain{key: keys.chain}, pq: spqr.New(&keys.pq, spqr.B2A),
	}, nil
}

func (k *handshakeKeys) wipe() {
	secret.Wipe(k.root[:])
	secret.Wipe(k.chain[:])
	secret.Wipe(k.pq[:])
}
