package spqr

import (
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet/internal/kdf"
)

// Labels of section 7.1.
const (
	labelStart    = "Signal PQ Ratchet V1 Chain  Start" // two blanks
	labelAddEpoch = "Signal PQ Ratchet V1 Chain Add Epoch"
	labelNext     = "Signal PQ Ratchet V1 Chain Next"
)

const (
	maxJump = 25_000 // how far beyond the last key used a message may reach, in keys

	// maxEpochs is how many epochs are held at most: the one before the sending one, the sending one, the one that the answering side
	// knows already, and for a moment, while a message is being sent, one more.
	maxEpochs = 4
)

// line is one direction of an epoch: the number of its last key, and the key of the next step.
type line struct {
	ctr  uint32
	next [32]byte
}

// step moves to the next key and returns it.
func (l *line) step() [32]byte {
	var okm [64]byte
	l.expand(okm[:])
	key := [32]byte(okm[32:])
	secret.Wipe(okm[:])
	return key
}

// pass moves to the next key without deriving it, for a third less work.
func (l *line) pass() {
	var okm [32]byte
	l.expand(okm[:])
	secret.Wipe(okm[:])
}

func (l *line) expand(okm []byte) {
	l.ctr++
	var info [4 + len(labelNext)]byte
	binary.BigEndian.PutUint32(info[:], l.ctr)
	copy(info[4:], labelNext)
	kdf.HKDF(okm, nil, l.next[:], info[:])
	copy(l.next[:], okm)
}

// epochLines is an epoch as one side sees it. Once a later epoch is sent in, the send line is erased.
type epochLines struct{ send, receive line }

// chain derives the message keys from the epochs' secrets (section 7.1). It is a value: a copy stays what it was.
type chain struct {
	direction Direction
	held      uint8  // number of epochs held
	oldest    uint64 // the first of them
	sending   uint64 // the send epoch
	nextRoot  [32]byte
	epochs    [maxEpochs]epochLines // epoch oldest+i at i
	skipped   skippedKeys
}

func newChain(pqkey *[32]byte, d Direction) chain {
	c := chain{direction: d}
	c.derive(nil, pqkey, labelStart)
	return c
}

// newest is the last epoch held.
func (c *chain) newest() uint64 { return c.oldest + uint64(c.held) - 1 }

// at returns the lines of an epoch that is held.
func (c *chain) at(epoch uint64) *epochLines { return &c.epochs[:c.held][epoch-c.oldest] }

// addEpoch adds the epoch after the newest.
func (c *chain) addEpoch(epochSecret *[32]byte) {
	c.derive(c.nextRoot[:], epochSecret, labelAddEpoch)
}

func (c *chain) derive(salt []byte, ikm *[32]byte, label string) {
	var okm [96]byte
	defer secret.Wipe(okm[:])
	kdf.HKDF(okm[:], salt, ikm[:], []byte(label))
	c.nextRoot = [32]byte(okm[:32])
	a2b, b2a := line{next: [32]byte(okm[32:64])}, line{next: [32]byte(okm[64:])}
	e := epochLines{send: a2b, receive: b2a}
	if c.direction == B2A {
		e = epochLines{send: b2a, receive: a2b}
	}
	c.epochs[c.held] = e
	c.held++
}

// sendKey returns the next key to send with in an epoch, and its number. The epoch is held and not below the send epoch.
func (c *chain) sendKey(epoch uint64) (uint32, [32]byte) {
	if epoch < c.sending {
		panic("spqr: send key of an epoch that was left")
	}
	if epoch > c.sending {
		c.sending = epoch
		c.dropBefore(epoch - 1)
		for e := c.oldest; e < epoch; e++ {
			c.at(e).send = line{}
		}
	}
	l := &c.at(epoch).send
	if l.ctr+1 == 0 {
		panic("spqr: 2^32 messages in one epoch")
	}
	key := l.step()
	return l.ctr, key
}

// dropBefore forgets the epochs below the given one.
func (c *chain) dropBefore(epoch uint64) {
	if epoch <= c.oldest {
		return
	}
	n := copy(c.epochs[:], c.epochs[epoch-c.oldest:c.held])
	clear(c.epochs[n:])
	c.oldest, c.held = epoch, uint8(n)
	c.skipped = c.skipped.from(epoch)
}

// receiveKey returns the key of a message. The errors are Replayed if the key was used or is no longer kept, TooLarge if it is too far
// ahead, and NotAuthentic if there is no such key. The keys passed over are taken off steps.
func (c *chain) receiveKey(epoch uint64, number uint32, steps *uint32) ([32]byte, error) {
	switch {
	case number == 0 || epoch > c.newest():
		return [32]byte{}, fault.New(fault.NotAuthentic, "no such post-quantum key")
	case epoch < c.oldest:
		return [32]byte{}, fault.New(fault.Replayed, "the epoch of the post-quantum key is over")
	}
	l := &c.at(epoch).receive
	switch {
	case number < l.ctr:
		key, rest, ok := c.skipped.take(epoch, number)
		if !ok {
			return key, fault.New(fault.Replayed, "the post-quantum key was used or is no longer kept")
		}
		c.skipped = rest
		return key, nil
	case number == l.ctr:
		return [32]byte{}, fault.New(fault.Replayed, "the post-quantum key was used")
	case number-l.ctr-1 > *steps:
		return [32]byte{}, fault.New(fault.TooLarge, "the message is too many post-quantum keys ahead")
	}
	*steps -= number - l.ctr - 1
	c.skipped = c.skipped.advance(epoch, l, number)
	return l.step(), nil
}
