package spqr

import "testing"

// A message there and one back, over whole epochs: chunks, keys and all.
func BenchmarkDialogue(b *testing.B) {
	alice, bob := newPeers(1)
	var buffer [64]byte
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range [2][2]*peer{{alice, bob}, {bob, alice}} {
			var header []byte
			p[0].State, header, _ = p[0].Send(p[0].rand, buffer[:0])
			next, _, _, err := p[1].Receive(header)
			if err != nil {
				b.Fatal(err)
			}
			p[1].State = next
		}
	}
}

func BenchmarkSend(b *testing.B) {
	alice, _ := newPeers(1)
	var buffer [64]byte
	b.ReportAllocs()
	for b.Loop() {
		alice.State, _, _ = alice.Send(alice.rand, buffer[:0])
	}
}

func BenchmarkReceive(b *testing.B) {
	_, bob := newPeers(1)
	h := header{epoch: 1}
	var buffer [64]byte
	b.ReportAllocs()
	for b.Loop() {
		h.number++
		next, _, _, err := bob.Receive(h.appendTo(buffer[:0]))
		if err != nil {
			b.Fatal(err)
		}
		bob.State = next
	}
}

// The longest jump, which a header can ask for before anything proved it authentic.
func BenchmarkReceiveJump(b *testing.B) {
	_, bob := newPeers(1)
	message := (&header{epoch: 1, number: maxJump}).appendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := bob.Receive(message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	alice, _ := newPeers(1)
	buffer := make([]byte, 0, MaxLines)
	b.ReportAllocs()
	for b.Loop() {
		alice.AppendLines(buffer)
	}
}

func BenchmarkParse(b *testing.B) {
	for kind, s := range states(b, 2) {
		if kind != ct1Received {
			continue
		}
		stored := store(s)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := stored.parse(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
