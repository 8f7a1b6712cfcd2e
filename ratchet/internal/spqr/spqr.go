// Package spqr is the Sparse Post-Quantum Ratchet, version 1 (protocol notes, section 7). It runs beside the Double Ratchet and gives
// each message a 32-byte key. Its own exchange of ML-KEM-768 keys is cut into 32-byte chunks, at most one of which travels in the header
// of each message.
//
// # Terms
//
// An epoch is one such exchange, counted from 1; its secret begins a line of message keys in each direction. Epoch 0 begins with the
// secret of the handshake. One side owns the key of an epoch and the other answers it; the initiator owns the first, and they take turns.
// A message says which epoch its sender is in; its key is one of the epoch before.
//
// # Values
//
// A State is a value: Send and Receive return the next one and never change what an older one sees. So a caller keeps the old State until
// the message has proven authentic, and goes back to it if it has not.
package spqr

import (
	"io"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/erasure"
)

// Direction is the role of a side in the handshake.
type Direction uint8

// A is the initiator, B the responder.
const (
	A2B Direction = iota
	B2A
)

// State is one side's ratchet. Only New and Parse make one; the zero State is good for WipeExcept alone.
type State struct {
	chain     chain
	machine   *machine
	intake    erasure.Decoder // what comes in, the zero Decoder if nothing does
	nextChunk uint16          // number of the next chunk to be sent of the machine's stream, 0 if there is none
}

// New returns the State after a handshake that gave pqkey.
func New(pqkey *[32]byte, d Direction) State {
	s := State{chain: newChain(pqkey, d), machine: &machine{}}
	m := machine{kind: keysUnsampled, epoch: 1, auth: newAuthenticator(pqkey)}
	if d == B2A {
		m.kind = noHeader
	}
	s.enter(m)
	return s
}

// Epoch is the epoch the State is in, from 1. So many less one are complete.
func (s State) Epoch() uint64 { return s.machine.epoch }

// Send returns the next State, out with the header of a message appended (4 to 52 bytes), and the message's key.
// It reads 64 bytes of rand when it makes a key pair, 32 when it answers one, and none otherwise, and panics if rand fails or if 2^32
// messages were sent in one epoch. The next State must be stored before the message leaves: the same State sends the same key again.
func (s State) Send(rand io.Reader, out []byte) (next State, message []byte, key [32]byte) {
	h := s.produce(rand)
	h.number, key = s.chain.sendKey(h.epoch - 1)
	return s, h.appendTo(out), key
}

// Receive returns the next State and the key of a message with this header. There is no key, and hasKey is false, if a peer that still
// negotiates sent none (epoch 1, number 0), or if the header is of a newer version; the latter leaves the State as it was.
//
// The errors are Policy if there is no header or one of an older version, Replayed if the key was used or is no longer kept, TooLarge
// if it is more than 25,000 ahead, and NotAuthentic for everything else. With an error the State returned is s. All of this is said
// before anything proved the header authentic: Replayed too may be a forger's, or mean that the message is another session's.
func (s State) Receive(message []byte) (next State, key [32]byte, hasKey bool, err error) {
	steps := uint32(maxJump - 1)
	return s.ReceiveWithin(message, &steps)
}

// ReceiveWithin is Receive where at most so many keys may be passed over; those that are, are taken off steps. It bounds what a message
// costs whose session is not known.
func (s State) ReceiveWithin(message []byte, steps *uint32) (next State, key [32]byte, hasKey bool, err error) {
	switch {
	case len(message) == 0 || message[0] < version:
		return s, key, false, fault.New(fault.Policy, "the message has no post-quantum header")
	case message[0] > version:
		return s, key, false, nil
	}
	h, err := parseHeader(message)
	if err != nil {
		return s, key, false, err
	}
	next = s
	if err := next.consume(&h); err != nil {
		return s, key, false, err
	}
	if h.epoch == 1 && h.number == 0 {
		return next, key, false, nil
	}
	if key, err = next.chain.receiveKey(h.epoch-1, h.number, steps); err != nil {
		return s, key, false, err
	}
	return next, key, true, nil
}

// Wipe erases the State. Nothing that shares its past may be used afterwards.
func (s *State) Wipe() { s.WipeExcept(&State{}) }

// WipeExcept erases the State but for what it shares with one that goes on. No other State with the same past may be used afterwards.
func (s *State) WipeExcept(kept *State) {
	if s.machine != nil && s.machine != kept.machine {
		s.machine.wipe()
	}
	if !s.chain.skipped.same(kept.chain.skipped) {
		clear(s.chain.skipped)
	}
	*s = State{}
}
