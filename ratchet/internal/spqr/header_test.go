package spqr

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"coldframe/internal/fault"
)

func TestHeaderRoundTrip(t *testing.T) {
	for _, epoch := range []uint64{1, 127, 128, math.MaxUint64} {
		for _, number := range []uint32{0, 1, 300, math.MaxUint32} {
			for p := range payloadEnd {
				for _, chunk := range []uint16{0, 128, math.MaxUint16} {
					h := header{epoch: epoch, number: number, payload: p}
					if p.hasChunk() {
						h.chunk, h.data = chunk, *rep32(7)
					}
					b := append(h.appendTo(nil), "ignored"...)
					if got, err := parseHeader(b); err != nil || got != h {
						t.Errorf("%+v came back as %+v, %v", h, got, err)
					}
				}
			}
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	chunk := rep(7, 32)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for what, b := range map[string][]byte{
		"version alone":        {1},
		"no key number":        {1, 1},
		"no type":              {1, 1, 1},
		"epoch 0":              {1, 0, 1, 0},
		"epoch of 11 bytes":    join([]byte{1}, rep(0x80, 10), []byte{1, 1, 0}),
		"epoch over 64 bits":   join([]byte{1}, rep(0xff, 9), []byte{2, 1, 0}),
		"key number over 32":   {1, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0},
		"unknown type":         join([]byte{1, 1, 1, 7, 0}, chunk),
		"type of two bytes":    {1, 1, 1, 0x80, 0},
		"no chunk number":      {1, 1, 1, 1},
		"no chunk":             {1, 1, 1, 1, 0},
		"short chunk":          join([]byte{1, 1, 1, 1, 0}, chunk[1:]),
		"chunk number over 16": join([]byte{1, 1, 1, 1, 0x80, 0x80, 4}, chunk),
		"chunk number cut off": {1, 1, 1, 1, 0x80},
	} {
		if _, err := parseHeader(b); err == nil {
			t.Errorf("%s: parsed", what)
		}
		s := New(rep32(1), B2A)
		next, key, hasKey, err := s.Receive(b)
		if !errors.Is(err, fault.NotAuthentic) || hasKey || key != [32]byte{} || !unchanged(s, next) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A header that is missing is refused; one of a newer version leaves the State alone and gives no key.
func TestS10_OtherVersions(t *testing.T) {
	for kind, s := range states(t, 2) {
		before := store(s)
		for _, b := range [][]byte{nil, {}, {0}, {0, 1, 1, 0}} {
			if next, _, hasKey, err := s.Receive(b); !errors.Is(err, fault.Policy) || hasKey || !sameParts(store(next), before) {
				t.Errorf("kind %d: header %x gave %v", kind, b, err)
			}
		}
		for _, b := range [][]byte{{2}, {2, 2, 1, 0}, {255, 0, 0}} {
			if next, _, hasKey, err := s.Receive(b); err != nil || hasKey || !sameParts(store(next), before) {
				t.Errorf("kind %d: header %x gave %v", kind, b, err)
			}
		}
	}
}

// A peer that still negotiates sends no key, but its chunks count.
func TestNoKey(t *testing.T) {
	s := New(rep32(1), B2A)
	b := (&header{epoch: 1, payload: payloadHeader}).appendTo(nil)
	next, _, hasKey, err := s.Receive(b)
	if err != nil || hasKey || next.SameIntake(s) || next.chain.epochs != s.chain.epochs {
		t.Errorf("%v, %v", hasKey, err)
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range states(f, 2) {
		p := peer{State: s, rand: newRand(9)}
		f.Add(p.send().header)
	}
	f.Add([]byte{})
	f.Add([]byte{2, 1})
	f.Add([]byte{1, 1, 0, 0})
	all := states(f, 2)
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind, s := range all {
			before := store(s)
			next, _, hasKey, err := s.Receive(b)
			if (err != nil || !hasKey) && next.chain.epochs != s.chain.epochs {
				t.Fatalf("kind %d: no key, but the lines moved", kind)
			}
			if !sameParts(store(s), before) || err != nil && !sameParts(store(next), before) {
				t.Fatalf("kind %d: the older State changed", kind)
			}
			if stored := store(next); err == nil {
				again, err := stored.parse()
				if err != nil || !sameParts(store(again), stored) {
					t.Fatalf("kind %d: the next State is not stored well: %v", kind, err)
				}
			}
		}
		if len(b) == 0 || b[0] != version {
			return
		}
		if h, err := parseHeader(b); err == nil {
			encoded := h.appendTo(nil)
			if again, err := parseHeader(encoded); err != nil || again != h || len(encoded) > len(b) {
				t.Fatalf("%+v came back as %+v, %v", h, again, err)
			}
		}
	})
}
