package ratchet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// What a peer writes under a right MAC is still hostile.
func TestInsiderSendsNoCiphertext(t *testing.T) {
	alice, bob := meet(t)
	for name, body := range map[string][]byte{
		"nothing":          {},
		"a byte":           {1},
		"a block less one": make([]byte, 15),
		"a block and one":  make([]byte, 17),
		"a block of noise": []byte("0123456789abcdef"), // its padding is right once in 256 times
		"blocks of noise":  bytes.Repeat([]byte("0123456789abcdef"), 100),
	} {
		m := session(t, alice, bob).Forge(body, false)
		if name[len(name)-5:] == "noise" {
			if got, err := bob.Receive(alice.Address(), m); err != nil && !errors.Is(err, fault.NotAuthentic) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			alice, bob = meet(t)
			continue
		}
		refuse(t, alice, bob, m, fault.NotAuthentic)
	}
	say(t, alice, bob, "an honest one")
}

// A message without a post-quantum key is accepted while peers may still negotiate, and never later.
func TestS10_MessageWithoutPostQuantumKey(t *testing.T) {
	alice, bob := meet(t)
	early := bob.Store.Copy()
	read(t, alice, bob, session(t, alice, bob).Forge([]byte("early"), true), "early")
	bob.Restore(early)
	for session(t, bob, alice).Info().Epoch < 4 {
		say(t, alice, bob, "text")
		say(t, bob, alice, "text")
	}
	refuse(t, alice, bob, session(t, alice, bob).Forge([]byte("late"), true), fault.Policy)
	say(t, alice, bob, "text")
}

// Ratchet keys that no honest peer makes.
func TestWeakRatchetKeys(t *testing.T) {
	alice, bob := meet(t)
	m := send(t, alice, bob, "text")
	minusOne := [32]byte(append(append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f))
	for name, key := range map[string][32]byte{"zero": {}, "one": {1}, "minus one": minusOne} {
		body := slices.Clone(m.Body)
		copy(body[4:], key[:])
		t.Run(name, func(t *testing.T) {
			refuse(t, alice, bob, ratchet.Message{Type: m.Type, Body: body}, fault.NotAuthentic)
		})
	}
	read(t, alice, bob, m, "text")
}

// Keys that are weak, and properly signed.
func TestS09_WeakKeysSigned(t *testing.T) {
	alice, bob := meet(t)
	sign := func(kind byte, key []byte) [64]byte { return bob.Local.Identity.Sign(append([]byte{kind}, key...)) }
	signed := func(key [32]byte) func(b *ratchet.Bundle) {
		return func(b *ratchet.Bundle) {
			b.SignedPreKey.Public, b.SignedPreKey.Signature = key, sign(5, key[:])
		}
	}
	kem := func(edit func(key []byte) []byte) func(b *ratchet.Bundle) {
		return func(b *ratchet.Bundle) {
			b.KEMPreKey.Public = edit(b.KEMPreKey.Public)
			b.KEMPreKey.Signature = sign(8, b.KEMPreKey.Public)
		}
	}
	honest := bob.Bundle(oneTime).SignedPreKey.Public
	notCanonical := honest
	notCanonical[31] |= 0x80
	tryBundles(t, alice, bob, []bundleCase{
		{"signed prekey zero", fault.NotAuthentic, signed([32]byte{})},
		{"signed prekey of small order", fault.NotAuthentic, signed([32]byte{1})},
		{"signed prekey that is not canonical", fault.NotAuthentic, signed(notCanonical)},
		{"KEM prekey zero", fault.NotAuthentic, kem(func(key []byte) []byte { return make([]byte, len(key)) })},
		{"KEM prekey of one coefficient", fault.NotAuthentic, kem(func(key []byte) []byte { clear(key[:1536]); return key })},
		{"KEM prekey that is not reduced", fault.NotAuthentic, kem(func(key []byte) []byte { key[0], key[1] = 0xff, 0xff; return key })},
		{"short KEM prekey", fault.NotAuthentic, kem(func(key []byte) []byte { return key[:1184] })},
		{"long KEM prekey", fault.NotAuthentic, kem(func(key []byte) []byte { return append(key, 0) })},
	})
}

// A last-resort prekey serves a bounded number of first messages, and is replaced before that.
func TestLastResortIsUsedUp(t *testing.T) {
	const most = 4_096
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	b := bob.Bundle(lastResort)
	if err := alice.Start(b); err != nil {
		t.Fatal(err)
	}
	m := send(t, alice, bob, "one too many")
	bob.PreKeys.FillFirsts(most)
	full := len(bob.PreKeys.Record())
	refuse(t, alice, bob, m, fault.Stale)
	bob.PreKeys.FillFirsts(most/2 - 1)
	if bob.Bundle(lastResort).KEMPreKey.ID != b.KEMPreKey.ID {
		t.Error("replaced too early")
	}
	read(t, alice, bob, m, "one too many")
	if bob.Bundle(lastResort).KEMPreKey.ID == b.KEMPreKey.ID {
		t.Error("a last-resort prekey that half is used of is not replaced")
	}
	t.Logf("a record with a last-resort prekey that is used up has %d bytes", full)
}

// Parts that say what no session is, though their hashes are right.
func TestRecordsThatNobodyWrites(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	send(t, alice, bob, "archived")
	start(t, alice, bob, ratchet.BundleOptions{})
	send(t, alice, bob, "hello")
	unacknowledged := stored(t, alice, bob)
	say(t, alice, bob, "hello")
	send(t, bob, alice, "skipped")
	say(t, bob, alice, "hello")
	skipped := stored(t, alice, bob)
	const head, archivedLines, archive, currentSlot = 0, 1, 7, 1
	part := func(parts []ratchet.Part, kind ratchet.PartID) *ratchet.Part {
		for i := range parts {
			if parts[i].ID == kind {
				return &parts[i]
			}
		}
		t.Fatalf("no part %d in a record of %d", kind, len(parts))
		return nil
	}
	const pending, seeds = currentSlot*8 + 2, currentSlot*8 + 3
	const table = 1 + 8 + 16 // in the head
	for name, c := range map[string]struct {
		parts []ratchet.Part
		edit  func(parts []ratchet.Part)
	}{
		"as they are":           {unacknowledged, func([]ratchet.Part) {}},
		"pending too short":     {unacknowledged, func(p []ratchet.Part) { b := part(p, pending); b.Body = b.Body[:len(b.Body)-1] }},
		"pending too long":      {unacknowledged, func(p []ratchet.Part) { b := part(p, pending); b.Body = append(b.Body, 0) }},
		"pending, no boolean":   {unacknowledged, func(p []ratchet.Part) { part(p, pending).Body[0] = 2 }},
		"an id of no prekey":    {unacknowledged, func(p []ratchet.Part) { part(p, pending).Body[4] = 1 }},
		"half a seed":           {skipped, func(p []ratchet.Part) { b := part(p, seeds); b.Body = b.Body[:20] }},
		"2,001 seeds":           {skipped, func(p []ratchet.Part) { b := part(p, seeds); b.Body = bytes.Repeat(b.Body[:40], 2001) }},
		"a slot twice":          {unacknowledged, func(p []ratchet.Part) { part(p, archive).Body[1] = currentSlot }},
		"a slot too high":       {unacknowledged, func(p []ratchet.Part) { part(p, archive).Body[1] = 41 }},
		"no archived session":   {unacknowledged, func(p []ratchet.Part) { b := part(p, archive); b.Body = append([]byte{0}, b.Body[2:]...) }},
		"a longer archive":      {unacknowledged, func(p []ratchet.Part) { b := part(p, archive); b.Body = append(b.Body, 0) }},
		"a shorter archive":     {unacknowledged, func(p []ratchet.Part) { b := part(p, archive); b.Body = b.Body[:len(b.Body)-1] }},
		"another slot":          {unacknowledged, func(p []ratchet.Part) { part(p, archivedLines).Body[0] = 7 }},
		"lines cut off":         {unacknowledged, func(p []ratchet.Part) { b := part(p, archivedLines); b.Body = b.Body[:100] }},
		"six chains":            {unacknowledged, func(p []ratchet.Part) { part(p, archivedLines).Body[1+32+32+4+32+64+36+8] = 6 }},
		"more lines":            {unacknowledged, func(p []ratchet.Part) { b := part(p, archivedLines); b.Body = append(b.Body, 0) }},
		"a head that is longer": {unacknowledged, func(p []ratchet.Part) { p[head].Body = append(p[head].Body, 0) }},
		"41 archived sessions": {unacknowledged, func(p []ratchet.Part) {
			b := part(p, archive)
			b.Body = append([]byte{41}, append(make([]byte, 40), b.Body[1:]...)...)
		}},
		"500 parts": {unacknowledged, func(p []ratchet.Part) { binary.BigEndian.PutUint16(p[head].Body[table:], 500) }},
		"ids out of order": {unacknowledged, func(p []ratchet.Part) {
			first, second := p[head].Body[table+2:][:34], p[head].Body[table+2+34:][:34]
			c := slices.Clone(first)
			copy(first, second)
			copy(second, c)
		}},
		"a hash in the wrong table": {unacknowledged, func(p []ratchet.Part) {
			a := part(p, archive)
			entry := slices.Clone(a.Body[4:][:34])
			a.Body = append(slices.Clone(a.Body[:2]), append([]byte{0, a.Body[3] - 1}, a.Body[4+34:]...)...)
			p[head].Body[table+1]++
			p[head].Body = slices.Insert(p[head].Body, table+2, entry...)
		}},
		"a hash in both tables": {unacknowledged, func(p []ratchet.Part) {
			p[head].Body[table+1]++
			p[head].Body = slices.Insert(p[head].Body, table+2, part(p, archive).Body[4:][:34]...)
		}},
		"a part of no session": {unacknowledged, func(p []ratchet.Part) {
			last := table + 2 + 34*(int(p[head].Body[table+1])-1)
			binary.BigEndian.PutUint16(p[head].Body[last:], 8*9+4)
			p[len(p)-1].ID = 8*9 + 4
		}},
	} {
		parts := slices.Clone(c.parts)
		for i := range parts {
			parts[i].Body = slices.Clone(parts[i].Body)
		}
		c.edit(parts)
		ratchet.Rehash(parts)
		s, err := ratchet.OpenSession(alice.Local, bob.Address(), parts, 0)
		if name == "as they are" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantFault(t, name, err, fault.NotAuthentic)
		if s != nil {
			t.Errorf("%s: a session beside the error", name)
		}
	}
}

// No format prints keys.
func TestNothingIsPrinted(t *testing.T) {
	alice, bob := meet(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, session(t, alice, bob)); got != "[session]" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, alice.PreKeys); got != "[prekeys]" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ S *ratchet.Session }{session(t, alice, bob)}); !strings.Contains(got, "[session]") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// Malformed bytes, and first messages where there are no prekeys.
func TestMessagesThatAreNone(t *testing.T) {
	alice, bob := meet(t)
	for _, kind := range []ratchet.MessageType{ratchet.TypeMessage, ratchet.TypePreKey} {
		for _, body := range [][]byte{nil, {0x44}, []byte("Dear Bob"), bytes.Repeat([]byte{0x44}, 300)} {
			if _, err := bob.Receive(alice.Address(), ratchet.Message{Type: kind, Body: body}); err == nil {
				t.Errorf("%q is read", body)
			}
		}
	}
	large := bytes.Repeat([]byte{0x44}, ratchet.MaxMessageSize+1)
	_, err := bob.Receive(alice.Address(), ratchet.Message{Type: ratchet.TypeMessage, Body: large})
	wantFault(t, "a message too large", err, fault.TooLarge)
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "anew")
	_, err = session(t, bob, alice).Decrypt(m, nil, bob.Store.Save(alice.Address()))
	wantFault(t, "without prekeys", err, fault.Stale)
	inner := ratchet.EditFirst(m, func(f *ratchet.First) { f.Message = f.Message[:9] })
	refuse(t, alice, bob, inner, fault.NotAuthentic)
	read(t, alice, bob, m, "anew")
}
