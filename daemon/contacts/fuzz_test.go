package contacts_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// signRaw signs bytes that need not be the payload of anything.
func signRaw(t testing.TB, p *person, typ string, payload []byte) []byte {
	t.Helper()
	var e []byte
	p.Signing.Use(func(seed []byte) {
		message := append([]byte("coldframe/v1/"+typ+"\x00"), payload...)
		var err error
		e, err = signed.Marshal([][]byte{payload, ed25519.Sign(ed25519.NewKeyFromSeed(seed), message)})
		if err != nil {
			e = nil
		}
	})
	return e
}

// payloadOf takes the payload out of an envelope.
func payloadOf(t testing.TB, envelope []byte) []byte {
	t.Helper()
	var parts [][]byte
	wants(t, "envelope", signed.Unmarshal(envelope, &parts), "")
	return parts[0]
}

// FuzzBundle signs whatever it is given, as a hostile owner would: nothing is taken but the payload that encodes to the same bytes, of this
// user, with a post-quantum part.
func FuzzBundle(f *testing.F) {
	p := newPerson(f)
	f.Add(payloadOf(f, p.publish(f, noon).Bundle))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		e := signRaw(t, p, contacts.BundleType, payload)
		for _, published := range [][]byte{e, payload} {
			offer, err := contacts.Verify(p.User, contacts.Published{Bundle: published}, noon)
			if err != nil {
				if fault.CodeOf(err) == fault.Internal {
					t.Error(err)
				}
				continue
			}
			var body contacts.BundleBody
			wants(t, "peek", signed.Peek(published, &body), "")
			again, err := signed.Marshal(body)
			if err != nil || !bytes.Equal(again, payload) || offer.Card.User != p.User || len(offer.Bundle.KEMPreKey.Public) != 1568 {
				t.Errorf("%x was taken", payload)
			}
		}
	})
}

// FuzzOneTimePreKey does the same with one-time prekeys.
func FuzzOneTimePreKey(f *testing.F) {
	p := newPerson(f)
	genuine := p.publish(f, noon)
	f.Add(payloadOf(f, genuine.OneTime))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		e := signRaw(t, p, contacts.OneTimeType, payload)
		for _, published := range [][]byte{e, payload} {
			offer, err := contacts.Verify(p.User, contacts.Published{Bundle: genuine.Bundle, OneTime: published}, noon)
			if err == nil && published != nil && (offer.Weak || offer.Bundle.OneTimePreKey == nil || len(offer.Bundle.KEMPreKey.Public) != 1568) {
				t.Errorf("%x was taken", payload)
			}
		}
	})
}

// FuzzSecretPayload asks that what is taken encodes back to the same bytes, within the bounds.
func FuzzSecretPayload(f *testing.F) {
	for _, body := range []string{"", "b", strings.Repeat("x", 300)} {
		b, err := contacts.SecretPayload(contacts.SecretID{1}, "title", []byte(body), 7)
		wants(f, "payload", err, "")
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := contacts.ParsePayload(b)
		if err != nil {
			return
		}
		again, err := contacts.SecretPayload(p.ID, p.Title, p.Body, p.Written)
		if err != nil || !bytes.Equal(again, b) || len(p.Body) > contacts.MaxSecret || len(p.Title) > contacts.MaxName {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
	})
}

// FuzzContactRecord does so with contacts' items.
func FuzzContactRecord(f *testing.F) {
	for _, c := range []contacts.Contact{
		{State: contacts.StateAccepted, Name: "bob", Email: "bob@example.org", Known: true, Verified: contacts.Verification{Date: 1, Number: "1"}},
		{State: contacts.StateChanged, Before: contacts.StateAsked, Candidate: &contacts.Sighting{}, History: []contacts.Former{{Until: 2}}},
	} {
		c.User, c.Pinned = uuid.NewString(), contacts.Pin{Identity: contacts.Key{1}}
		b, err := signed.Marshal(contacts.Record{Contact: c})
		wants(f, "marshal", err, "")
		if _, err := contacts.ParseRecord(b); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := contacts.ParseRecord(b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

// FuzzSafetyNumber asks that whatever counts as a number has its 60 digits, in order.
func FuzzSafetyNumber(f *testing.F) {
	f.Add(strings.Repeat("12345 ", 12))
	f.Add(strings.Repeat("1", 60))
	f.Fuzz(func(t *testing.T, s string) {
		digits, err := contacts.ParseNumber(s)
		if err != nil {
			return
		}
		if len(digits) != 60 || strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "-", "").Replace(s) != digits {
			t.Errorf("%q is %q", s, digits)
		}
	})
}
