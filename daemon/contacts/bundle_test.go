package contacts_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

// An offer starts a session whose first message its owner reads.
func TestOfferStartsSession(t *testing.T) {
	bob, ada := newPerson(t), newPerson(t)
	for _, weak := range []bool{false, true} {
		p := bob.publish(t, noon)
		if weak {
			p.OneTime = nil
		}
		offer, err := contacts.Verify(bob.User, p, noon)
		wants(t, "verify", err, "")
		if offer.Weak != weak || offer.Card.User != bob.User || offer.Card.Identity != bob.Identity.Public() || offer.Mark != bob.mark {
			t.Fatalf("%+v", offer)
		}
		s := ratchet.NewSession(&ratchet.Local{Identity: ada.Identity, Address: ratchet.Address{Name: ada.User, Device: 1}}, offer.Bundle.Address, 0)
		wants(t, "start", s.Start(&offer.Bundle, noon), "")
		m, err := s.Encrypt([]byte("hello"), noon, func(ratchet.Change) error { return nil })
		wants(t, "encrypt", err, "")
		r := ratchet.NewSession(&ratchet.Local{
			Identity: bob.Identity, Address: ratchet.Address{Name: bob.User, Device: 1}, RegistrationID: 77,
		}, ratchet.Address{Name: ada.User, Device: 1}, 0)
		got, err := r.Decrypt(m, bob.prekeys, func(ratchet.Change) error { return nil })
		if err != nil || string(got) != "hello" {
			t.Fatal(string(got), err)
		}
	}
}

// fields calls fn with each leaf of a struct, by its path.
func fields(v reflect.Value, path string, fn func(path string, v reflect.Value)) {
	if v.Kind() != reflect.Struct {
		fn(path, v)
		return
	}
	for i := range v.NumField() {
		fields(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
	}
}

// edit changes a leaf a little.
func edit(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		b := []byte(v.String())
		b[len(b)-1] ^= 1
		v.SetString(string(b))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Array:
		v.Index(0).SetUint(v.Index(0).Uint() ^ 1)
	case reflect.Slice:
		b := bytes.Clone(v.Bytes())
		b[0] ^= 1
		v.SetBytes(b)
	default:
		t.Fatal(v.Kind())
	}
}

// sealedAs is the envelope of v under another's signature.
func sealedAs(t *testing.T, v any, signature []byte) []byte {
	t.Helper()
	payload, err := signed.Marshal(v)
	wants(t, "marshal", err, "")
	e, err := signed.Marshal([][]byte{payload, signature})
	wants(t, "marshal", err, "")
	return e
}

// Each field of a bundle and of a one-time prekey edited in turn, the genuine signature kept; and signed anew by somebody else.
func TestK12_EditedBundle(t *testing.T) {
	bob, mallory := newPerson(t), newPerson(t)
	p := bob.publish(t, noon)
	var body contacts.BundleBody
	wants(t, "peek", signed.Peek(p.Bundle, &body), "")
	var once contacts.OneTimeBody
	wants(t, "peek", signed.Peek(p.OneTime, &once), "")
	n := 0
	fields(reflect.ValueOf(&body).Elem(), "bundle", func(path string, v reflect.Value) {
		n++
		was := reflect.ValueOf(v.Interface())
		edit(t, v)
		e := sealedAs(t, body, p.Bundle[len(p.Bundle)-64:])
		_, err := contacts.Verify(bob.User, contacts.Published{Bundle: e, OneTime: p.OneTime}, noon)
		wants(t, path, err, fault.NotAuthentic)
		e, err = signed.Sign(signed.Signer{Key: mallory.Signing}, contacts.BundleType, body)
		wants(t, "sign", err, "")
		_, err = contacts.Verify(bob.User, contacts.Published{Bundle: e}, noon)
		wants(t, path+", signed by another", err, fault.NotAuthentic)
		v.Set(was)
	})
	fields(reflect.ValueOf(&once).Elem(), "one-time", func(path string, v reflect.Value) {
		n++
		was := reflect.ValueOf(v.Interface())
		edit(t, v)
		_, err := contacts.Verify(bob.User, contacts.Published{Bundle: p.Bundle, OneTime: sealedAs(t, once, p.OneTime[len(p.OneTime)-64:])}, noon)
		wants(t, path, err, fault.NotAuthentic)
		v.Set(was)
	})
	if n != 24 {
		t.Fatalf("%d fields edited", n)
	}
	_, err := contacts.Verify(bob.User, p, noon)
	wants(t, "unedited", err, "")
}

// Every third byte of a bundle flipped is refused, and every seventh of a one-time prekey.
func TestK12_FlippedBytes(t *testing.T) {
	bob := newPerson(t)
	p := bob.publish(t, noon)
	for i := 0; i < len(p.Bundle); i += 3 {
		b := bytes.Clone(p.Bundle)
		b[i] ^= 1
		if _, err := contacts.Verify(bob.User, contacts.Published{Bundle: b}, noon); err == nil {
			t.Fatalf("bundle byte %d", i)
		}
	}
	for i := 0; i < len(p.OneTime); i += 7 {
		b := bytes.Clone(p.OneTime)
		b[i] ^= 1
		if _, err := contacts.Verify(bob.User, contacts.Published{Bundle: p.Bundle, OneTime: b}, noon); err == nil {
			t.Fatalf("one-time prekey byte %d", i)
		}
	}
}

// resigned is a bundle of bob's that he himself signed, with something wrong in it.
func resigned(t *testing.T, p *person, change func(*contacts.BundleBody)) contacts.Published {
	t.Helper()
	var body contacts.BundleBody
	wants(t, "peek", signed.Peek(p.publish(t, noon).Bundle, &body), "")
	change(&body)
	e, err := signed.Sign(signed.Signer{Key: p.Signing}, contacts.BundleType, body)
	wants(t, "sign", err, "")
	return contacts.Published{Bundle: e}
}

// What an owner signed and should not have.
func TestBundleRules(t *testing.T) {
	day := int64(24 * 60 * 60)
	other := newPerson(t)
	for _, c := range []struct {
		what   string
		want   fault.Code
		change func(*contacts.BundleBody)
	}{
		{"other algorithms", fault.Policy, func(b *contacts.BundleBody) { b.Suite = "x3dh-x25519-xeddsa" }},
		{"31 days", fault.Policy, func(b *contacts.BundleBody) { b.NotAfter += day }},
		{"ends before it begins", fault.Policy, func(b *contacts.BundleBody) { b.NotAfter = b.Date }},
		{"no date", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Date = 0; b.NotAfter = day }},
		{"number 0", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Sequence = 0 }},
		{"first with one before", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Previous[3] = 1 }},
		{"second with none before", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Sequence = 2 }},
		{"registration id of 15 bits", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Registration = 1 << 14 }},
		{"short prekey", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Signed.Public = b.Signed.Public[:31] }},
		{"prekey made later", fault.NotAuthentic, func(b *contacts.BundleBody) { b.SignedMade = b.Date + 1 }},
		{"short KEM prekey", fault.NotAuthentic, func(b *contacts.BundleBody) { b.LastResort.Public = b.LastResort.Public[:1567] }},
		{"KEM prekey of another", fault.NotAuthentic, func(b *contacts.BundleBody) { b.LastResort = otherKEM(t, other) }},
		{"user in capitals", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Card.User = "A" + b.Card.User[1:] }},
		{"another's card", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Card.Identity = other.Identity.Public() }},
		{"signing key for another user", fault.NotAuthentic, func(b *contacts.BundleBody) { b.Card.User = other.User }},
	} {
		p := newPerson(t)
		_, err := contacts.Verify(p.User, resigned(t, p, c.change), noon)
		wants(t, c.what, err, c.want)
	}
}

func otherKEM(t *testing.T, p *person) (k contacts.SignedKey) {
	var body contacts.BundleBody
	wants(t, "peek", signed.Peek(p.publish(t, noon).Bundle, &body), "")
	return body.LastResort
}

// One value has one encoding: a byte string too long for its field also decodes.
func TestOneEncoding(t *testing.T) {
	p := newPerson(t)
	genuine := p.publish(t, noon)
	var body map[int]any
	wants(t, "bundle", signed.Unmarshal(payloadOf(t, genuine.Bundle), &body), "")
	body[10] = make([]byte, 33)
	payload, err := signed.Marshal(body)
	wants(t, "marshal", err, "")
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: signRaw(t, p, contacts.BundleType, payload)}, noon)
	wants(t, "33 bytes for a hash", err, fault.NotAuthentic)
	body = nil
	wants(t, "one-time prekey", signed.Unmarshal(payloadOf(t, genuine.OneTime), &body), "")
	body[5] = append(body[5].([]byte), 0)
	payload, err = signed.Marshal(body)
	wants(t, "marshal", err, "")
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: genuine.Bundle, OneTime: signRaw(t, p, contacts.OneTimeType, payload)}, noon)
	wants(t, "33 bytes for a key", err, fault.NotAuthentic)
}

// What the signing key signed for another user, or over another's keys, is not taken; nor does a good one-time prekey excuse a bad last
// resort.
func TestOneTimePreKeyRules(t *testing.T) {
	p, other := newPerson(t), newPerson(t)
	genuine := p.publish(t, noon)
	for what, c := range map[string]struct {
		want   fault.Code
		change func(*contacts.OneTimeBody)
	}{
		"another user":     {fault.NotAuthentic, func(b *contacts.OneTimeBody) { b.User = other.User }},
		"other algorithms": {fault.Policy, func(b *contacts.OneTimeBody) { b.Suite = "x3dh" }},
		"another's KEM":    {fault.NotAuthentic, func(b *contacts.OneTimeBody) { b.KEM = otherKEM(t, other) }},
		"a key of order 1": {fault.NotAuthentic, func(b *contacts.OneTimeBody) { b.Public = contacts.Key{} }},
	} {
		var once contacts.OneTimeBody
		wants(t, "peek", signed.Peek(genuine.OneTime, &once), "")
		c.change(&once)
		e, err := signed.Sign(signed.Signer{Key: p.Signing}, contacts.OneTimeType, once)
		wants(t, "sign", err, "")
		_, err = contacts.Verify(p.User, contacts.Published{Bundle: genuine.Bundle, OneTime: e}, noon)
		wants(t, what, err, c.want)
	}
	bad := resigned(t, p, func(b *contacts.BundleBody) {
		b.LastResort.Signature[0] ^= 1
		b.Sequence, b.Previous = 1, contacts.Hash{}
	})
	bad.OneTime = genuine.OneTime
	_, err := contacts.Verify(p.User, bad, noon)
	wants(t, "bad last resort", err, fault.NotAuthentic)
}

// A prekey that was made while the clock was ahead is dated with its bundle.
func TestClockWasAhead(t *testing.T) {
	p := newPerson(t)
	b := p.bundle(t, noon.Add(72*time.Hour), ratchet.BundleOptions{LastResort: true})
	e, _, err := contacts.SignBundle(p.Keys, b, contacts.Mark{}, noon)
	wants(t, "sign", err, "")
	offer, err := contacts.Verify(p.User, contacts.Published{Bundle: e}, noon)
	if err != nil || !offer.Bundle.SignedPreKey.Made.Equal(noon) {
		t.Fatal(offer, err)
	}
}

// K09, as far as users go: the bundle of one served under the id of another.
func TestK09_AnotherUsersBundle(t *testing.T) {
	bob, eve := newPerson(t), newPerson(t)
	p := bob.publish(t, noon)
	_, err := contacts.Verify(eve.User, p, noon)
	wants(t, "bundle", err, fault.NotAuthentic)
	_, err = contacts.Verify(eve.User, contacts.Published{Bundle: eve.publish(t, noon).Bundle, OneTime: p.OneTime}, noon)
	wants(t, "one-time prekey", err, fault.NotAuthentic)
	// One thing for another: signatures of one type never verify as another (R8).
	_, err = contacts.Verify(bob.User, contacts.Published{Bundle: p.OneTime}, noon)
	wants(t, "one-time prekey as bundle", err, fault.NotAuthentic)
	_, err = contacts.Verify(bob.User, contacts.Published{Bundle: p.Bundle, OneTime: p.Bundle}, noon)
	wants(t, "bundle as one-time prekey", err, fault.NotAuthentic)
}

// S09: signed prekey replaced, with a bad signature, and too old, in a bundle that its owner signed; and the bundle past its own end.
func TestS09_SignedPreKey(t *testing.T) {
	other := newPerson(t)
	for _, c := range []struct {
		what   string
		want   fault.Code
		now    time.Time
		change func(*contacts.BundleBody)
	}{
		{"replaced", fault.NotAuthentic, noon, func(b *contacts.BundleBody) {
			key := other.Identity.Public()
			b.Signed.Public = key[:]
		}},
		{"bad signature", fault.NotAuthentic, noon, func(b *contacts.BundleBody) { b.Signed.Signature[9] ^= 4 }},
		{"older than 30 days", fault.Stale, noon, func(b *contacts.BundleBody) { b.SignedMade = noon.Add(-30*24*time.Hour - time.Second).Unix() }},
		{"30 days", "", noon, func(b *contacts.BundleBody) { b.SignedMade = noon.Add(-30 * 24 * time.Hour).Unix() }},
		{"after not-after", fault.Stale, noon.Add(30*24*time.Hour + time.Second), func(*contacts.BundleBody) {}},
		{"at not-after", "", noon.Add(30 * 24 * time.Hour), func(*contacts.BundleBody) {}},
		{"two days ahead", fault.Stale, noon.Add(-48 * time.Hour), func(*contacts.BundleBody) {}},
		{"a clock error ahead", "", noon.Add(-contacts.ClockError), func(*contacts.BundleBody) {}},
	} {
		p := newPerson(t)
		_, err := contacts.Verify(p.User, resigned(t, p, c.change), c.now)
		wants(t, c.what, err, c.want)
	}
}

// S10: without the post-quantum part, signed so by its owner, and stripped on the way.
func TestS10_NoPostQuantumPart(t *testing.T) {
	strip := func(b *contacts.BundleBody) { b.LastResort.Public = []byte{} }
	p := newPerson(t)
	_, err := contacts.Verify(p.User, resigned(t, p, strip), noon)
	wants(t, "signed", err, fault.Policy)
	genuine := p.publish(t, noon)
	var body contacts.BundleBody
	wants(t, "peek", signed.Peek(genuine.Bundle, &body), "")
	strip(&body)
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: sealedAs(t, body, genuine.Bundle[len(genuine.Bundle)-64:])}, noon)
	wants(t, "stripped", err, fault.NotAuthentic)
	var once contacts.OneTimeBody
	wants(t, "peek", signed.Peek(genuine.OneTime, &once), "")
	once.KEM.Public = []byte{}
	e, err := signed.Sign(signed.Signer{Key: p.Signing}, contacts.OneTimeType, once)
	wants(t, "sign", err, "")
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: genuine.Bundle, OneTime: e}, noon)
	wants(t, "one-time prekey without it", err, fault.Policy)
}

// K05: a key too many, wherever an answer could carry one, is not read as anything, let alone believed.
func TestK05_RecoveryKeyOffered(t *testing.T) {
	p := newPerson(t)
	genuine := p.publish(t, noon)
	type withKey struct {
		contacts.BundleBody
		Recovery []byte `cbor:"99,keyasint"`
	}
	var body contacts.BundleBody
	wants(t, "peek", signed.Peek(genuine.Bundle, &body), "")
	key := secret.Random()
	added := withKey{body, key.Bytes()}
	_, err := contacts.Verify(p.User, contacts.Published{Bundle: sealedAs(t, added, genuine.Bundle[len(genuine.Bundle)-64:])}, noon)
	wants(t, "in the bundle", err, fault.NotAuthentic)
	e, err := signed.Sign(signed.Signer{Key: p.Signing}, contacts.BundleType, added)
	wants(t, "sign", err, "")
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: e}, noon)
	wants(t, "in the bundle, signed", err, fault.NotAuthentic)
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: append(bytes.Clone(genuine.Bundle), key.Bytes()...)}, noon)
	wants(t, "behind the bundle", err, fault.NotAuthentic)
	_, err = contacts.Verify(p.User, contacts.Published{Bundle: genuine.Bundle, OneTime: append(bytes.Clone(genuine.OneTime), key.Bytes()...)}, noon)
	wants(t, "behind the one-time prekey", err, fault.NotAuthentic)
}

// C15: sizes and depths of answers.
func TestC15_HostileSizes(t *testing.T) {
	p := newPerson(t)
	genuine := p.publish(t, noon)
	if len(genuine.Bundle) > contacts.MaxBundle/2 || len(genuine.OneTime) > contacts.MaxOneTime {
		t.Fatalf("%d and %d bytes", len(genuine.Bundle), len(genuine.OneTime))
	}
	huge := make([]byte, 64<<20)
	deep := bytes.Repeat([]byte{0x81}, contacts.MaxBundle)
	for what, c := range map[string]struct {
		published contacts.Published
		want      fault.Code
	}{
		"huge bundle":     {contacts.Published{Bundle: huge}, fault.TooLarge},
		"huge one-time":   {contacts.Published{Bundle: genuine.Bundle, OneTime: huge}, fault.TooLarge},
		"deep bundle":     {contacts.Published{Bundle: deep}, fault.TooLarge},
		"deep one-time":   {contacts.Published{Bundle: genuine.Bundle, OneTime: deep[:contacts.MaxOneTime]}, fault.TooLarge},
		"claims 4 GiB":    {contacts.Published{Bundle: []byte{0x82, 0x5a, 0xff, 0xff, 0xff, 0xff}}, fault.NotAuthentic},
		"nothing":         {contacts.Published{}, fault.NotAuthentic},
		"empty one-time":  {contacts.Published{Bundle: genuine.Bundle, OneTime: []byte{}}, fault.NotAuthentic},
		"a map of a byte": {contacts.Published{Bundle: []byte{0xa0}}, fault.NotAuthentic},
	} {
		t.Run(what, func(t *testing.T) {
			allocated := testing.AllocsPerRun(1, func() {
				_, err := contacts.Verify(p.User, c.published, noon)
				if err == nil || fault.CodeOf(err) != c.want {
					t.Errorf("%v, want %s", err, c.want)
				}
			})
			if allocated > 10_000 {
				t.Errorf("%v allocations", allocated)
			}
		})
	}
}

func TestUserIDs(t *testing.T) {
	p := newPerson(t)
	for _, user := range []string{"", "x", p.User + " ", "{" + p.User + "}", "urn:uuid:" + p.User, strings.ToUpper(p.User), p.User[:14] + "1" + p.User[15:]} {
		_, err := contacts.Verify(user, contacts.Published{}, noon)
		wants(t, user, err, fault.InvalidRequest)
	}
}
