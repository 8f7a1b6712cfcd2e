package ratchet

import (
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet/internal/kdf"
)

// Limits of the Double Ratchet (spec section 10). maxSkipped counts all receiving chains of a session together, which is stricter than
// the reference's 2,000 for each chain.
const (
	maxJump    = 25_000 // messages that may be missing before the one that came; with SPQR one less
	maxSkipped = 2_000  // seeds kept for messages that may still come
	maxChains  = 5      // receiving chains kept: ratchet keys of the peer
)

var (
	labelRatchet     = []byte("WhisperRatchet")
	labelMessageKeys = []byte("WhisperMessageKeys")
	stepSeed         = []byte{1}
	stepChain        = []byte{2}
)

// rootStep mixes an agreement into the root key: the new root key and a chain key (spec section 6, RootStep).
func rootStep(root, agreement *[32]byte) (newRoot, chainKey [32]byte) {
	var okm [64]byte
	kdf.HKDF(okm[:], root[:], agreement[:], labelRatchet)
	newRoot, chainKey = [32]byte(okm[:32]), [32]byte(okm[32:])
	secret.Wipe(okm[:])
	return newRoot, chainKey
}

// chain is a symmetric ratchet: the key of message number index and the way to those after it.
type chain struct {
	key   [32]byte
	index uint32
}

// seed is what the keys of the chain's next message are made of.
func (c *chain) seed() [32]byte { return kdf.HMAC(c.key[:], stepSeed) }

// step goes on to the next message; the key of the one before cannot be had again.
func (c *chain) step() {
	c.key = kdf.HMAC(c.key[:], stepChain)
	c.index++
}

// receivingChain is the chain of one ratchet key of the peer. serial tells the chains of a session apart.
type receivingChain struct {
	ratchetKey [32]byte
	serial     uint32
	chain
}

// skippedSeed is the seed of a message that has not come yet. The post-quantum key is mixed in when it does.
type skippedSeed struct {
	serial, index uint32
	seed          [32]byte
}

// messageKeys are the keys of one message.
type messageKeys struct {
	cipher, mac [32]byte
	iv          [16]byte
}

// deriveMessageKeys makes the keys of a message of its seed and its post-quantum key, which may be nil (spec section 6, MessageKeys).
func deriveMessageKeys(seed *[32]byte, pq []byte) messageKeys {
	var okm [80]byte
	kdf.HKDF(okm[:], pq, seed[:], labelMessageKeys)
	k := messageKeys{cipher: [32]byte(okm[:32]), mac: [32]byte(okm[32:64]), iv: [16]byte(okm[64:])}
	secret.Wipe(okm[:])
	return k
}

func (k *messageKeys) wipe() {
	secret.Wipe(k.cipher[:])
	secret.Wipe(k.mac[:])
}

// effort is how many keys of each ratchet may still be passed over for a message. A message that no session is known for is tried with all
// of them, and anyone can send one.
type effort struct{ seeds, keys uint32 }

func newEffort() effort { return effort{seeds: maxJump, keys: maxJump - 1} }

// seedOf returns the seed of message counter on chain number i of the state, and removes it: it can be had once. Seeds that are passed
// over are kept, and taken off the effort. Errors: fault.Replayed, fault.TooLarge.
func (s *state) seedOf(i int, counter uint32, e *effort) ([32]byte, error) {
	c := &s.receiving[i]
	if counter < c.index {
		return s.takeSkipped(c.serial, counter)
	}
	jump := counter - c.index
	if jump > e.seeds {
		return [32]byte{}, fault.New(fault.TooLarge, "too many messages are missing before this one; at most %d may be", maxJump)
	}
	e.seeds -= jump
	if jump > 0 { // into an array of its own: that of the state this one was copied from is wiped
		s.skipped = append(make([]skippedSeed, 0, len(s.skipped)+int(min(jump, maxSkipped))), s.skipped...)
	}
	for ; c.index < counter; c.step() {
		if counter-c.index <= maxSkipped {
			s.skipped = append(s.skipped, skippedSeed{c.serial, c.index, c.seed()})
		}
	}
	if n := len(s.skipped) - maxSkipped; n > 0 {
		s.skipped = append([]skippedSeed(nil), s.skipped[n:]...)
	}
	seed := c.seed()
	c.step()
	return seed, nil
}

// takeSkipped returns the kept seed of a message, and removes it. The slice that an older copy of the state sees stays as it is.
func (s *state) takeSkipped(serial, index uint32) ([32]byte, error) {
	for i := range s.skipped {
		if k := &s.skipped[i]; k.serial == serial && k.index == index {
			seed := k.seed
			rest := make([]skippedSeed, 0, len(s.skipped)-1)
			s.skipped = append(append(rest, s.skipped[:i]...), s.skipped[i+1:]...)
			return seed, nil
		}
	}
	return [32]byte{}, fault.New(fault.Replayed, "this message was read before, or its key is gone")
}

// addReceiving puts a new receiving chain at the end. The first one goes if there are too many, with the seeds that were kept for it.
func (s *state) addReceiving(ratchetKey, key [32]byte) int {
	if s.chains == maxChains {
		s.dropSkipped(s.receiving[0].serial)
		copy(s.receiving[:], s.receiving[1:])
		s.chains--
	}
	s.receiving[s.chains] = receivingChain{ratchetKey: ratchetKey, serial: s.serial, chain: chain{key: key}}
	s.serial++
	s.chains++
	return s.chains - 1
}

func (s *state) dropSkipped(serial uint32) {
	var rest []skippedSeed
	for _, k := range s.skipped {
		if k.serial != serial {
			rest = append(rest, k)
		}
	}
	s.skipped = rest
}
