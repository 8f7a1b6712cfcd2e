package messages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"coldframe/ratchet"
)

// used notes which message key a ciphertext was made with: its chain, by the ratchet key, and its number in it.
func (w *world) used(body []byte) {
	chain, number := chainOf(w.t, body)
	w.mu.Lock()
	defer w.mu.Unlock()
	key, hash := fmt.Sprintf("%s/%d", chain, number), sha256.Sum256(signalOf(w.t, body))
	if before, there := w.sent[key]; there && before != hash {
		if w.reuse++; w.lies {
			return
		}
		w.t.Errorf("the key of message %d of a chain made two messages", number)
	}
	w.sent[key] = hash
}

// signalOf returns the SignalMessage in a message as the mailbox holds it.
func signalOf(t testing.TB, body []byte) []byte {
	m := body[1:]
	if ratchet.MessageType(body[0]) == ratchet.TypePreKey {
		m = fieldOf(t, m[1:], 4)
	}
	return m
}

// chainOf returns ratchet key and number of a message.
func chainOf(t testing.TB, body []byte) (chain string, number uint64) {
	m := signalOf(t, body)
	inner := m[1 : len(m)-8]
	return hex.EncodeToString(fieldOf(t, inner, 1)), varintOf(t, inner, 2)
}

// fields calls fn with the fields of a protobuf message.
func fields(t testing.TB, b []byte, fn func(number uint64, value uint64, bytes []byte)) {
	take := func() (n uint64) {
		for shift := 0; len(b) > 0; shift += 7 {
			c := b[0]
			b = b[1:]
			if n |= uint64(c&0x7f) << shift; c < 0x80 {
				return n
			}
		}
		t.Fatal("a varint ends early")
		return 0
	}
	for len(b) > 0 {
		tag := take()
		switch tag & 7 {
		case 0:
			fn(tag>>3, take(), nil)
		case 2:
			n := take()
			fn(tag>>3, 0, b[:n])
			b = b[n:]
		default:
			t.Fatalf("a field of wire type %d", tag&7)
		}
	}
}

func fieldOf(t testing.TB, b []byte, number uint64) (out []byte) {
	fields(t, b, func(n, _ uint64, v []byte) {
		if n == number {
			out = v
		}
	})
	if out == nil {
		t.Fatalf("no field %d", number)
	}
	return out
}

func varintOf(t testing.TB, b []byte, number uint64) (out uint64) {
	fields(t, b, func(n, v uint64, _ []byte) {
		if n == number {
			out = v
		}
	})
	return out
}
