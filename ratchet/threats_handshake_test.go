package ratchet_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// Prekeys run out: the session is still made, of the signed and the last-resort prekey, and is marked until the first answer.
func TestS08_Drained(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	list, err := bob.PreKeys.Bundles(25, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		other := ratchettest.NewParty("other")
		if err := other.Start(&list[i]); err != nil {
			t.Fatal(err)
		}
		if session(t, other, bob).Info().Weak {
			t.Error("a session with a one-time prekey is marked weak")
		}
		bob.Drop(other.Address())
		say(t, other, bob, "hello")
		if n := bob.PreKeys.Remaining(); n != 24-i {
			t.Fatalf("%d prekeys remain after %d were used", n, i+1)
		}
	}
	start(t, alice, bob, lastResort)
	for range 2 {
		if info := session(t, alice, bob).Info(); !info.Weak || !info.Unacknowledged {
			t.Errorf("%+v", info)
		}
		say(t, alice, bob, "hello")
		alice.Reload()
	}
	say(t, bob, alice, "hello back")
	if info := session(t, alice, bob).Info(); info.Weak || info.Unacknowledged {
		t.Errorf("after the answer: %+v", info)
	}
	if session(t, bob, alice).Info().Weak {
		t.Error("the responder's side is marked")
	}
}

// bundleCase is something that a server does to a bundle.
type bundleCase struct {
	name string
	code fault.Code
	edit func(b *ratchet.Bundle)
}

// tryBundles wants each case refused, without a session and with one, and nothing changed by it.
func tryBundles(t *testing.T, alice, bob *ratchettest.Party, cases []bundleCase) {
	t.Helper()
	for _, c := range cases {
		b := bob.Bundle(oneTime)
		b.KEMPreKey.Public = slices.Clone(b.KEMPreKey.Public)
		c.edit(b)
		s := ratchet.NewSession(alice.Local, bob.Address(), 0)
		wantFault(t, c.name, s.Start(b, ratchettest.Day), c.code)
		if info := s.Info(); info.Exists || info.RemoteIdentity != [32]byte{} {
			t.Errorf("%s: %+v", c.name, info)
		}
		before, keys := stored(t, alice, bob), alice.PreKeys.Record()
		if err := alice.Start(b); err == nil {
			t.Errorf("%s: accepted beside a session", c.name)
		}
		unchanged(t, alice, bob, before, keys)
	}
}

func TestS09_Bundles(t *testing.T) {
	alice, bob := meet(t)
	mallory := ratchettest.NewParty("bob").Bundle(oneTime)
	tryBundles(t, alice, bob, []bundleCase{
		{"signed prekey replaced", fault.NotAuthentic, func(b *ratchet.Bundle) { b.SignedPreKey.Public = mallory.SignedPreKey.Public }},
		{"signed prekey and signature replaced", fault.NotAuthentic, func(b *ratchet.Bundle) { b.SignedPreKey = mallory.SignedPreKey }},
		{"bit of the signature", fault.NotAuthentic, func(b *ratchet.Bundle) { b.SignedPreKey.Signature[40] ^= 1 }},
		{"sign bit of the signature", fault.NotAuthentic, func(b *ratchet.Bundle) { b.SignedPreKey.Signature[63] ^= 0x80 }},
		{"no signature", fault.NotAuthentic, func(b *ratchet.Bundle) { b.SignedPreKey.Signature = [64]byte{} }},
		{"KEM prekey replaced", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey.Public = mallory.KEMPreKey.Public }},
		{"KEM prekey and signature replaced", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey = mallory.KEMPreKey }},
		{"bit of the KEM signature", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey.Signature[3] ^= 1 }},
		{"bit of the KEM prekey", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey.Public[700] ^= 1 }},
		{"short KEM prekey", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey.Public = b.KEMPreKey.Public[:1567] }},
		{"long KEM prekey", fault.NotAuthentic, func(b *ratchet.Bundle) { b.KEMPreKey.Public = append(b.KEMPreKey.Public, 0) }},
		{"signatures swapped", fault.NotAuthentic, func(b *ratchet.Bundle) {
			b.SignedPreKey.Signature, b.KEMPreKey.Signature = b.KEMPreKey.Signature, b.SignedPreKey.Signature
		}},
		{"identity swapped", fault.NotAuthentic, func(b *ratchet.Bundle) { b.IdentityKey = mallory.IdentityKey }},
		{"no identity", fault.NotAuthentic, func(b *ratchet.Bundle) { b.IdentityKey = [32]byte{} }},
		{"one-time prekey of small order", fault.NotAuthentic, func(b *ratchet.Bundle) { b.OneTimePreKey.Public = [32]byte{1} }},
		{"one-time prekey that is not canonical", fault.NotAuthentic, func(b *ratchet.Bundle) { b.OneTimePreKey.Public[31] |= 0x80 }},
		{"older than 30 days", fault.Stale, func(b *ratchet.Bundle) {
			b.SignedPreKey.Made = ratchettest.Day.Add(-ratchet.MaxPreKeyAge - time.Second)
		}},
	})
	for name, edit := range map[string]func(b *ratchet.Bundle){
		"30 days old":        func(b *ratchet.Bundle) { b.SignedPreKey.Made = ratchettest.Day.Add(-ratchet.MaxPreKeyAge) },
		"of an unknown date": func(b *ratchet.Bundle) { b.SignedPreKey.Made = time.Time{} },
		"of tomorrow":        func(b *ratchet.Bundle) { b.SignedPreKey.Made = ratchettest.Day.Add(24 * time.Hour) },
	} {
		b := bob.Bundle(oneTime)
		edit(b)
		if err := ratchet.NewSession(alice.Local, bob.Address(), 0).Start(b, ratchettest.Day); err != nil {
			t.Errorf("a bundle %s: %v", name, err)
		}
	}
}

// A one-time prekey is not signed. A server that replaces it gets a session that the responder does not take part in.
func TestS09_OneTimePreKeyReplaced(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	b := bob.Bundle(oneTime)
	b.OneTimePreKey.Public = ratchettest.NewParty("mallory").Bundle(oneTime).OneTimePreKey.Public
	if err := alice.Start(b); err != nil {
		t.Fatal(err)
	}
	refuse(t, alice, bob, send(t, alice, bob, "hello"), fault.NotAuthentic)
}

func TestS10_BundleWithoutPostQuantumKey(t *testing.T) {
	alice, bob := meet(t)
	tryBundles(t, alice, bob, []bundleCase{
		{"no KEM prekey", fault.Policy, func(b *ratchet.Bundle) { b.KEMPreKey = ratchet.KEMPreKey{} }},
		{"no key in the KEM prekey", fault.Policy, func(b *ratchet.Bundle) { b.KEMPreKey.Public = nil }},
	})
}

// First messages and others that were lowered. Nothing changes, and the prekeys serve the message as it was.
func TestS10_LoweredMessages(t *testing.T) {
	const fieldPQRatchet, fieldKEMID, fieldKEMCiphertext = 5, 7, 8
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "first")
	without := func(fields ...uint64) ratchet.Message {
		body := m.Body
		for _, f := range fields {
			body = ratchet.WithoutField(body, f)
		}
		return ratchet.Message{Type: m.Type, Body: body}
	}
	version := func(b byte) ratchet.Message {
		body := slices.Clone(m.Body)
		body[0] = b
		return ratchet.Message{Type: m.Type, Body: body}
	}
	inner := func(edit func(b []byte) []byte) ratchet.Message {
		return ratchet.EditFirst(m, func(f *ratchet.First) { f.Message = edit(f.Message) })
	}
	for name, lowered := range map[string]ratchet.Message{
		"no KEM part":        without(fieldKEMID, fieldKEMCiphertext),
		"no KEM ciphertext":  without(fieldKEMCiphertext),
		"no KEM prekey's id": without(fieldKEMID),
		"version 3":          version(0x33),
		"version 3 of 4":     version(0x34),
		"version 5":          version(0x55),
		"version 2":          version(0x22),
		"inner version 3":    inner(func(b []byte) []byte { b[0] = 0x34; return b }),
		"no header of SPQR": inner(func(b []byte) []byte {
			return append(ratchet.WithoutField(b[:len(b)-8], fieldPQRatchet), b[len(b)-8:]...)
		}),
		"header of version 0": inner(func(b []byte) []byte { return withHeader(t, b, []byte{0}) }),
	} {
		t.Run(name, func(t *testing.T) { refuse(t, alice, bob, lowered, fault.Policy) })
	}
	read(t, alice, bob, m, "first")
	say(t, bob, alice, "answer")
	m = send(t, alice, bob, "no longer the first")
	signed, mac := m.Body[:len(m.Body)-8], m.Body[len(m.Body)-8:]
	stripped := append(ratchet.WithoutField(signed, fieldPQRatchet), mac...)
	refuse(t, alice, bob, ratchet.Message{Type: m.Type, Body: stripped}, fault.Policy)
	// A header that says: no key for this message. Only the MAC tells, since older peers may begin so.
	refuse(t, alice, bob, ratchet.Message{Type: m.Type, Body: withHeader(t, m.Body, []byte{1, 1, 0, 0})}, fault.NotAuthentic)
	refuse(t, alice, bob, ratchet.Message{Type: m.Type, Body: withHeader(t, m.Body, []byte{2, 1, 1, 0})}, fault.NotAuthentic)
	read(t, alice, bob, m, "no longer the first")
}

// withHeader puts another post-quantum header into a SignalMessage.
func withHeader(t tester, body, header []byte) []byte {
	t.Helper()
	const fieldPQRatchet = 5
	b := ratchet.WithoutField(body[:len(body)-8], fieldPQRatchet)
	b = append(b, fieldPQRatchet<<3|2, byte(len(header)))
	return append(append(b, header...), body[len(body)-8:]...)
}

// A first message that fails consumes no prekeys, whatever is wrong with it, and the true one is read after it.
func TestFailedFirstMessages(t *testing.T) {
	for name, o := range map[string]ratchet.BundleOptions{"one-time": oneTime, "last resort": lastResort} {
		t.Run(name, func(t *testing.T) {
			alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
			bob.Bundle(oneTime)
			start(t, alice, bob, o)
			m, keys := send(t, alice, bob, "first"), bob.PreKeys.Record()
			mallory := ratchettest.NewParty("mallory").Local.Identity.Public()
			for what, c := range map[string]struct {
				code fault.Code
				edit func(f *ratchet.First)
			}{
				"base key":            {fault.NotAuthentic, func(f *ratchet.First) { f.BaseKey = mallory }},
				"no base key":         {fault.NotAuthentic, func(f *ratchet.First) { f.BaseKey = [32]byte{} }},
				"base key with a bit": {fault.NotAuthentic, func(f *ratchet.First) { f.BaseKey[31] |= 0x80 }},
				"base key of order 1": {fault.NotAuthentic, func(f *ratchet.First) { f.BaseKey = [32]byte{1} }},
				"identity":            {fault.NotAuthentic, func(f *ratchet.First) { f.IdentityKey = mallory }},
				"no identity":         {fault.NotAuthentic, func(f *ratchet.First) { f.IdentityKey = [32]byte{} }},
				"KEM ciphertext":      {fault.NotAuthentic, func(f *ratchet.First) { f.KEMCiphertext[9] ^= 1 }},
				"MAC":                 {fault.NotAuthentic, func(f *ratchet.First) { f.Message[len(f.Message)-1] ^= 1 }},
				"signed prekey's id":  {fault.Stale, func(f *ratchet.First) { f.SignedPreKeyID ^= 1 << 20 }},
				"KEM prekey's id":     {fault.Stale, func(f *ratchet.First) { f.KEMPreKeyID ^= 1 << 20 }},
				"one-time prekey's":   {fault.Stale, func(f *ratchet.First) { f.HasPreKey, f.PreKeyID = true, 1<<20 }},
			} {
				t.Run(what, func(t *testing.T) { refuse(t, alice, bob, ratchet.EditFirst(m, c.edit), c.code) })
			}
			if o.OneTime {
				stripped := ratchet.EditFirst(m, func(f *ratchet.First) { f.HasPreKey = false })
				refuse(t, alice, bob, stripped, fault.NotAuthentic)
			}
			before, unbound := bob.Store.Copy(), 0
			for i := 1; i < len(m.Body); i += 7 { // and any byte
				body := slices.Clone(m.Body)
				body[i] ^= 0x10
				bob.Restore(before.Copy())
				got, err := bob.Receive(alice.Address(), ratchet.Message{Type: m.Type, Body: body})
				switch {
				case err == nil && got == "first":
					unbound++ // the registration id is under no MAC
				case err == nil:
					t.Fatalf("byte %d: read %q", i, got)
				case !bytes.Equal(bob.PreKeys.Record(), keys):
					t.Fatalf("byte %d: a message that failed consumed prekeys", i)
				}
			}
			if unbound > 1 {
				t.Errorf("%d bytes are bound by nothing", unbound)
			}
			bob.Restore(before)
			read(t, alice, bob, m, "first")
		})
	}
}
