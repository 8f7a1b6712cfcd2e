package ratchet_test

import (
	"testing"

	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

func pair(b *testing.B) (alice, bob *ratchettest.Party) {
	b.Helper()
	alice, bob = ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	if err := alice.Start(bob.Bundle(ratchet.BundleOptions{OneTime: true})); err != nil {
		b.Fatal(err)
	}
	exchange(b, alice, bob)
	exchange(b, bob, alice)
	return alice, bob
}

func exchange(b *testing.B, from, to *ratchettest.Party) {
	b.Helper()
	m, err := from.Send(to.Address(), text)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := to.Receive(from.Address(), m); err != nil {
		b.Fatal(err)
	}
}

const text = "A message of one hundred bytes: it is as long as people's messages are, and a key's share is not much."

// The record is sealed and stored at every message.
func BenchmarkEncrypt(b *testing.B) {
	alice, bob := pair(b)
	for b.Loop() {
		if _, err := alice.Send(bob.Address(), text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	alice, bob := pair(b)
	var queue []ratchet.Message
	for b.Loop() {
		if len(queue) == 0 {
			b.StopTimer()
			for range 1000 {
				m, err := alice.Send(bob.Address(), text)
				if err != nil {
					b.Fatal(err)
				}
				queue = append(queue, m)
			}
			b.StartTimer()
		}
		if _, err := bob.Receive(alice.Address(), queue[0]); err != nil {
			b.Fatal(err)
		}
		queue = queue[1:]
	}
}

// Each message brings a new ratchet key.
func BenchmarkPingPong(b *testing.B) {
	alice, bob := pair(b)
	for b.Loop() {
		exchange(b, alice, bob)
		exchange(b, bob, alice)
	}
}
