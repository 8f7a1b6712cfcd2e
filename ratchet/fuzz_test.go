package ratchet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// joined puts the parts of a record into one input: id, length and bytes of each.
func joined(parts []ratchet.Part) (b []byte) {
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(p.ID))
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Body)))
		b = append(b, p.Body...)
	}
	return b
}

// cut is the reverse. The head's table gets the right hashes, so that what is behind them is reached.
func cut(b []byte) (parts []ratchet.Part) {
	for len(b) >= 6 {
		id, n := ratchet.PartID(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])
		b = b[6:]
		n = min(n, uint32(len(b)))
		parts = append(parts, ratchet.Part{ID: id, Body: bytes.Clone(b[:n])})
		b = b[n:]
	}
	return parts
}

// FuzzRecord opens records whose hashes are right. What opens is encoded back to the same parts, and using it panics nowhere.
func FuzzRecord(f *testing.F) {
	alice, bob := ratchettest.NewTwin("alice"), ratchettest.NewTwin("bob")
	start(f, alice, bob, oneTime)
	var last ratchet.Message
	for i := range 60 {
		if i == 0 || i == 2 || i%9 == 8 {
			f.Add(joined(stored(f, bob, alice)), true)
			send(f, alice, bob, "skipped")
		}
		if i == 30 {
			start(f, bob, alice, lastResort)
		}
		say(f, alice, bob, "a")
		say(f, bob, alice, "b")
		last = send(f, alice, bob, "c")
		read(f, alice, bob, last, "c")
	}
	f.Add(joined(stored(f, bob, alice)), false)
	next := send(f, alice, bob, "next")
	f.Fuzz(func(t *testing.T, b []byte, rehash bool) {
		parts := cut(b)
		if rehash {
			ratchet.Rehash(parts)
		}
		s, err := ratchet.OpenSession(bob.Local, alice.Address(), parts, 0)
		if err != nil {
			if c := fault.CodeOf(err); s != nil || c != fault.NotAuthentic && c != fault.Policy && c != fault.Incomplete {
				t.Fatal(err)
			}
			return
		}
		ratchet.SortParts(parts)
		sameParts(t, "the opened record", s.Record(), parts)
		store := &plain{}
		for _, m := range []ratchet.Message{last, next} {
			if _, err := s.Decrypt(m, nil, store.save); err == nil {
				if _, err := ratchet.HeadCounter(store.parts[ratchet.HeadPart]); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// FuzzPreKeysRecord opens records of prekeys. What opens is encoded back to the same bytes.
func FuzzPreKeysRecord(f *testing.F) {
	alice, bob := ratchettest.NewTwin("alice"), ratchettest.NewTwin("bob")
	bob.Bundle(oneTime)
	f.Add(bob.PreKeys.Record())
	start(f, alice, bob, lastResort)
	say(f, alice, bob, "hello")
	f.Add(bob.PreKeys.Record())
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ratchet.OpenPreKeys(bob.Local, b, 0)
		if err != nil {
			if c := fault.CodeOf(err); keys != nil || c != fault.NotAuthentic && c != fault.Policy {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(keys.Record(), b) {
			t.Fatal("the record is another one when it is encoded again")
		}
		if n, err := ratchet.PreKeysCounter(b); err != nil || n != keys.Counter() {
			t.Fatal(n, err)
		}
	})
}

// FuzzDecrypt gives a session bytes as either kind of message. What it refuses changes nothing; it reads only what was sent.
func FuzzDecrypt(f *testing.F) {
	alice, bob := ratchettest.NewTwin("alice"), ratchettest.NewTwin("bob")
	bob.Bundle(oneTime)
	start(f, alice, bob, oneTime)
	first := send(f, alice, bob, "first")
	f.Add(first.Body, true, false)
	f.Add(first.Body, true, true)
	read(f, alice, bob, first, "first")
	say(f, bob, alice, "answer")
	for i := range 3 {
		m := send(f, alice, bob, "text")
		f.Add(m.Body, false, false)
		if i == 1 {
			read(f, alice, bob, m, "text")
		}
	}
	start(f, alice, bob, lastResort)
	f.Add(send(f, alice, bob, "anew").Body, true, false)
	parts, keys := stored(f, bob, alice), bob.PreKeys.Record()
	f.Fuzz(func(t *testing.T, body []byte, first, alone bool) {
		s, err := ratchet.OpenSession(bob.Local, alice.Address(), parts, 0)
		if alone {
			s, err = ratchet.NewSession(bob.Local, alice.Address(), 0), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := ratchet.OpenPreKeys(bob.Local, keys, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := ratchet.Message{Type: ratchet.TypeMessage, Body: body}
		if first {
			m.Type = ratchet.TypePreKey
		}
		saved := false
		b, err := s.Decrypt(m, p, func(ratchet.Change) error { saved = true; return nil })
		if err == nil {
			if text := string(b); !saved || text != "first" && text != "text" && text != "anew" {
				t.Fatalf("read %q, saved: %v", b, saved)
			}
			return
		}
		if errors.Is(err, fault.Internal) || saved || b != nil || !bytes.Equal(p.Record(), keys) {
			t.Fatalf("%v, saved: %v", err, saved)
		}
		if !alone {
			sameParts(t, "the session", s.Record(), parts)
		} else if s.Info().Exists {
			t.Fatal("a session is there after an error")
		}
	})
}

// FuzzBundle gives Start bundles of every kind. What it accepts has the signatures of the identity in it, and makes a session.
func FuzzBundle(f *testing.F) {
	alice, bob := ratchettest.NewTwin("alice"), ratchettest.NewTwin("bob")
	add := func(b *ratchet.Bundle) {
		one := []byte{}
		if b.OneTimePreKey != nil {
			one = b.OneTimePreKey.Public[:]
		}
		f.Add(b.IdentityKey[:], b.SignedPreKey.Public[:], b.SignedPreKey.Signature[:], b.KEMPreKey.Public, b.KEMPreKey.Signature[:], one)
	}
	add(bob.Bundle(oneTime))
	add(bob.Bundle(lastResort))
	add(&ratchet.Bundle{})
	f.Fuzz(func(t *testing.T, identity, signed, signature, kem, kemSignature, one []byte) {
		b := ratchet.Bundle{Address: bob.Address()}
		copy(b.IdentityKey[:], identity)
		copy(b.SignedPreKey.Public[:], signed)
		copy(b.SignedPreKey.Signature[:], signature)
		copy(b.KEMPreKey.Signature[:], kemSignature)
		b.KEMPreKey.Public = kem
		if len(one) > 0 {
			b.OneTimePreKey = &ratchet.OneTimePreKey{}
			copy(b.OneTimePreKey.Public[:], one)
		}
		s := ratchet.NewSession(alice.Local, bob.Address(), 0)
		err := s.Start(&b, ratchettest.Day)
		if s.Info().Exists != (err == nil) || errors.Is(err, fault.Internal) {
			t.Fatalf("%v, %+v", err, s.Info())
		}
		if err != nil {
			return
		}
		if !ratchet.Verify(b.IdentityKey, append([]byte{5}, b.SignedPreKey.Public[:]...), b.SignedPreKey.Signature) {
			t.Fatal("accepted without a signature")
		}
		if _, err := s.Encrypt(nil, ratchettest.Day, (&plain{}).save); err != nil {
			t.Fatal(err)
		}
	})
}
