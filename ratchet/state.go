package ratchet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"io"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet/internal/spqr"
)

// state is one session in the sense of the spec: what one handshake made, and what the messages since then made of it. It is a value:
// a message is opened on a copy, and slices and pointers in it are replaced, never written to, so that a failure leaves the original.
type state struct {
	slot           uint8 // names its parts in the record
	remoteIdentity [32]byte
	baseKey        [32]byte // of the initiator: names the handshake
	registrationID uint32   // of the peer

	root      [32]byte
	own       keyPair // current ratchet key
	sending   chain
	previous  uint32 // length of the sending chain before, less one
	receiving [maxChains]receivingChain
	chains    int    // of receiving, oldest first
	serial    uint32 // of the next receiving chain
	skipped   []skippedSeed
	pq        spqr.State

	pending *pending // nil once the peer has answered
	stored  bool     // an archived state whose parts are in the record
}

// keyPair is an X25519 pair: the clamped scalar and the u-coordinate.
type keyPair struct{ private, public [32]byte }

// pending is what goes with every message until the peer has answered (spec section 5).
type pending struct {
	preKeyID       uint32
	hasPreKey      bool
	signedPreKeyID uint32
	kemPreKeyID    uint32
	kemCiphertext  []byte
	made           time.Time
}

// encrypt advances the state by one message to the peer and returns its body (spec section 9).
func (s *state) encrypt(l *Local, remote Address, rand io.Reader, plaintext []byte) []byte {
	m := signalMessage{version: versionByte, ratchetKey: s.own.public, counter: s.sending.index, previousCounter: s.previous}
	var pqKey, seed [32]byte
	s.pq, m.pqRatchet, pqKey = s.pq.Send(rand, nil)
	seed = s.sending.seed()
	s.sending.step()
	keys := deriveMessageKeys(&seed, pqKey[:])
	secret.Wipe(seed[:])
	secret.Wipe(pqKey[:])
	defer keys.wipe()

	m.ciphertext = encryptCBC(&keys, plaintext)
	if s.pending != nil {
		m.addresses = addressField(l.Address, remote)
	}
	body := appendSignalMessage(nil, &m)
	self := l.Identity.Public()
	mac := messageMAC(&keys.mac, &self, &s.remoteIdentity, body)
	body = append(body, mac[:]...)
	if s.pending == nil {
		return body
	}
	return appendPreKeyMessage(nil, &preKeyMessage{
		preKeyID: s.pending.preKeyID, hasPreKey: s.pending.hasPreKey, baseKey: s.baseKey, identityKey: self, message: body,
		registrationID: l.RegistrationID, signedPreKeyID: s.pending.signedPreKeyID, kemPreKeyID: s.pending.kemPreKeyID,
		kemCiphertext: s.pending.kemCiphertext,
	})
}

// decrypt opens a message of the peer. s must be a copy: it is of no use after an error. What is done for a message before its MAC is
// right is one agreement, if it brings a new ratchet key, and passing over so many keys as it claims are missing, within the effort.
func (s *state) decrypt(l *Local, remote Address, rand io.Reader, m *signalMessage, e *effort) ([]byte, error) {
	i, stepped, err := s.chainOf(&m.ratchetKey)
	if err != nil {
		return nil, err
	}
	seed, err := s.seedOf(i, m.counter, e)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(seed[:])
	keys, err := s.keysOf(&seed, m, e)
	// With a new ratchet key it may as well be a message of another session: nothing can be said of it but that it has no such part.
	if err != nil && stepped && !errors.Is(err, fault.Policy) {
		return nil, errNotAuthentic()
	}
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	if err := s.verify(l, remote, &keys, m); err != nil {
		return nil, err
	}
	plaintext, err := decryptCBC(&keys, m.ciphertext)
	if err != nil {
		return nil, err
	}
	if stepped {
		if err := s.newSendingChain(rand, &m.ratchetKey); err != nil {
			return nil, err
		}
	}
	s.pending = nil
	return plaintext, nil
}

// receivingChainOf returns the number of the receiving chain of a ratchet key, -1 if there is none.
func (s *state) receivingChainOf(ratchetKey *[32]byte) int {
	i := s.chains - 1
	for i >= 0 && s.receiving[i].ratchetKey != *ratchetKey {
		i--
	}
	return i
}

func (s *state) knows(ratchetKey *[32]byte) bool { return s.receivingChainOf(ratchetKey) >= 0 }

// chainOf returns the number of the receiving chain of the peer's ratchet key. A new key makes one, the first half of a DH step.
func (s *state) chainOf(ratchetKey *[32]byte) (i int, stepped bool, err error) {
	if i = s.receivingChainOf(ratchetKey); i >= 0 {
		return i, false, nil
	}
	agreement, err := agree(&s.own.private, ratchetKey)
	if err != nil {
		return 0, false, err
	}
	defer secret.Wipe(agreement[:])
	var key [32]byte
	s.root, key = rootStep(&s.root, &agreement)
	return s.addReceiving(*ratchetKey, key), true, nil
}

// newSendingChain is the second half of a DH step: a new ratchet key of our own (spec section 6).
func (s *state) newSendingChain(rand io.Reader, ratchetKey *[32]byte) error {
	s.own.private, s.own.public = newKeyPair(rand)
	agreement, err := agree(&s.own.private, ratchetKey)
	if err != nil {
		return err
	}
	defer secret.Wipe(agreement[:])
	next := chain{}
	s.root, next.key = rootStep(&s.root, &agreement)
	if s.sending == retiredChain {
		clear(next.key[:])
		return nil
	}
	s.previous = max(s.sending.index, 1) - 1
	s.sending = next
	return nil
}

// keylessEpochs is up to which epoch of the post-quantum ratchet a message may come without its key. Peers that still negotiate send their
// first messages so (spec section 7.6); later it would only serve whoever can break X25519 alone.
const keylessEpochs = 2

func (s *state) keysOf(seed *[32]byte, m *signalMessage, e *effort) (messageKeys, error) {
	next, pqKey, has, err := s.pq.ReceiveWithin(m.pqRatchet, &e.keys)
	if err != nil {
		return messageKeys{}, err
	}
	if s.pq = next; !has && next.Epoch() > keylessEpochs {
		return messageKeys{}, fault.New(fault.Policy, "a message without post-quantum key, late in a session that has them")
	}
	if !has {
		return deriveMessageKeys(seed, nil), nil
	}
	defer secret.Wipe(pqKey[:])
	return deriveMessageKeys(seed, pqKey[:]), nil
}

// verify is the one place that binds a message to its sender, its receiver and this session: both identity keys are under the MAC, and
// the addresses, where the message has them, must be ours and the peer's.
func (s *state) verify(l *Local, remote Address, keys *messageKeys, m *signalMessage) error {
	self := l.Identity.Public()
	mac := messageMAC(&keys.mac, &s.remoteIdentity, &self, m.signed)
	ok := subtle.ConstantTimeCompare(mac[:], m.mac[:]) == 1
	if !ok || m.addresses != nil && !bytes.Equal(m.addresses, addressField(remote, l.Address)) {
		return errNotAuthentic()
	}
	return nil
}

// errNotAuthentic is the answer to a message whose MAC, addresses or padding is wrong, whichever it is.
func errNotAuthentic() error {
	return fault.New(fault.NotAuthentic, "no session with this peer opens the message")
}

// encryptCBC is AES-256-CBC with PKCS #7 padding.
func encryptCBC(k *messageKeys, plaintext []byte) []byte {
	pad := aes.BlockSize - len(plaintext)%aes.BlockSize
	b := make([]byte, len(plaintext)+pad)
	for i := copy(b, plaintext); i < len(b); i++ {
		b[i] = byte(pad)
	}
	cipher.NewCBCEncrypter(blockCipher(k), k.iv[:]).CryptBlocks(b, b)
	return b
}

func decryptCBC(k *messageKeys, ciphertext []byte) ([]byte, error) {
	n := len(ciphertext)
	if n == 0 || n%aes.BlockSize != 0 {
		return nil, errNotAuthentic()
	}
	b := make([]byte, n)
	cipher.NewCBCDecrypter(blockCipher(k), k.iv[:]).CryptBlocks(b, ciphertext)
	pad := int(b[n-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, errNotAuthentic()
	}
	for _, v := range b[n-pad:] {
		if int(v) != pad {
			return nil, errNotAuthentic()
		}
	}
	return b[:n-pad], nil
}

func blockCipher(k *messageKeys) cipher.Block {
	block, err := aes.NewCipher(k.cipher[:])
	if err != nil {
		panic("ratchet: " + err.Error())
	}
	return block
}

// wipe overwrites the keys of a state that will not be used again, but for what it shares with one that goes on. No other state may
// share anything with it.
func (s *state) wipe(kept *state) {
	if !s.same(kept, partSkipped) {
		clear(s.skipped)
	}
	s.pq.WipeExcept(&kept.pq)
	*s = state{}
}
