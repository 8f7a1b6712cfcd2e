package contacts_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// vector is one case of docs/vectors/contacts. Byte strings are hexadecimal.
type vector struct {
	Comment string     `json:"comment"`
	Kind    string     `json:"kind"` // bundle or secret
	User    string     `json:"user"` // who published or sent it
	Now     string     `json:"now,omitempty"`
	Bundle  string     `json:"bundle,omitempty"`
	OneTime string     `json:"one_time,omitempty"`
	Seen    string     `json:"seen,omitempty"` // a bundle that was pinned before this one
	Payload string     `json:"payload,omitempty"`
	Refused fault.Code `json:"refused,omitempty"`

	Identity string `json:"identity,omitempty"`
	Signing  string `json:"signing,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Hash     string `json:"hash,omitempty"`
	OnceID   uint32 `json:"one_time_id,omitempty"`
	ID       string `json:"id,omitempty"`
	Ref      string `json:"ref,omitempty"`
	Title    string `json:"title,omitempty"`
	Body     string `json:"body,omitempty"`
	Written  int64  `json:"written,omitempty"`
}

const vectorDir = "../../docs/vectors/contacts"

func TestVectors(t *testing.T) {
	if os.Getenv("COLDFRAME_WRITE_VECTORS") != "" {
		writeVectors(t)
	}
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	refused := 0
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			wants(t, "read", err, "")
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			var v vector
			wants(t, "decode", d.Decode(&v), "")
			wants(t, v.Comment, v.run(t), v.Refused)
			if v.Refused != "" {
				refused++
			}
		})
	}
	if refused == 0 || refused == len(files) {
		t.Errorf("%d of %d refused", refused, len(files))
	}
}

func (v *vector) run(t *testing.T) error {
	if v.Kind == "secret" {
		return v.runSecret(t)
	}
	offer, err := v.offer(t, v.Bundle, v.OneTime)
	if err != nil {
		return err
	}
	if v.Seen != "" {
		seen, err := v.offer(t, v.Seen, "")
		wants(t, "seen", err, "")
		c := contacts.Contact{User: v.User, State: contacts.StateAccepted, Pinned: pinOf(seen), Mark: seen.Mark}
		if _, err := c.See(contacts.Sighting{Pin: pinOf(offer), Mark: offer.Mark, Previous: offer.Previous}); err != nil {
			return err
		}
	}
	var once uint32
	if offer.Bundle.OneTimePreKey != nil {
		once = offer.Bundle.OneTimePreKey.ID
	}
	if hexOf(offer.Card.Identity[:]) != v.Identity || hexOf(offer.Card.Signing[:]) != v.Signing || offer.Mark.Sequence != v.Sequence ||
		hexOf(offer.Mark.Hash[:]) != v.Hash || once != v.OnceID {
		t.Errorf("%+v", offer)
	}
	return nil
}

func (v *vector) offer(t *testing.T, bundle, oneTime string) (*contacts.Offer, error) {
	now, err := time.Parse(time.RFC3339, v.Now)
	wants(t, "now", err, "")
	p := contacts.Published{Bundle: unhex(t, bundle)}
	if oneTime != "" {
		p.OneTime = unhex(t, oneTime)
	}
	return contacts.Verify(v.User, p, now)
}

func pinOf(o *contacts.Offer) contacts.Pin {
	return contacts.Pin{Identity: o.Card.Identity, Signing: o.Card.Signing}
}

func (v *vector) runSecret(t *testing.T) error {
	p, err := contacts.ParsePayload(unhex(t, v.Payload))
	if err != nil {
		return err
	}
	s := contacts.Secret{ID: p.ID, From: v.User}
	if hexOf(p.ID[:]) != v.ID || s.Ref() != v.Ref || p.Title != v.Title || hexOf(p.Body) != v.Body || p.Written != v.Written {
		t.Errorf("%+v", p)
	}
	return nil
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	wants(t, "hexadecimal", err, "")
	return b
}

func save(t *testing.T, name string, v vector) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	wants(t, "marshal", err, "")
	wants(t, "folder", os.MkdirAll(vectorDir, 0o755), "")
	wants(t, "write", os.WriteFile(filepath.Join(vectorDir, name+".json"), append(b, '\n'), 0o644), "")
}

// writeVectors makes the vectors anew. Keys are random: they differ each time.
func writeVectors(t *testing.T) {
	p := newPerson(t)
	first := p.publish(t, noon)
	firstMark := p.mark
	second := p.publish(t, noon.Add(time.Hour))
	own := p.own()
	base := func(comment string, b contacts.Published) vector {
		return vector{Comment: comment, Kind: "bundle", User: p.User, Now: noon.Format(time.RFC3339), Bundle: hexOf(b.Bundle)}
	}
	good := func(v vector, m contacts.Mark) vector {
		v.Identity, v.Signing, v.Sequence, v.Hash = hexOf(own.Identity[:]), hexOf(own.Signing), m.Sequence, hexOf(m.Hash[:])
		return v
	}
	refused := func(name, comment string, code fault.Code, b contacts.Published, change func(*vector)) {
		v := base(comment, b)
		v.Refused = code
		if change != nil {
			change(&v)
		}
		save(t, "refused-"+name, v)
	}
	v := good(base("a bundle with a one-time prekey", first), firstMark)
	var once contacts.OneTimeBody
	wants(t, "peek", signed.Peek(first.OneTime, &once), "")
	v.OneTime, v.OnceID = hexOf(first.OneTime), once.ID
	save(t, "with-one-time", v)
	save(t, "last-resort", good(base("the same, all one-time prekeys used up", first), firstMark))
	v = good(base("the second of the chain, the first seen before", second), p.mark)
	v.Seen = hexOf(first.Bundle)
	save(t, "second", v)

	seen := func(b contacts.Published) func(*vector) { return func(v *vector) { v.Seen = hexOf(b.Bundle) } }
	refused("rolled-back", "the first of the chain, the second seen before", fault.RolledBack, first, seen(second))
	p.mark = contacts.Mark{}
	refused("forked", "another first", fault.Forked, p.publish(t, noon), seen(first))
	p.mark = contacts.Mark{Sequence: 1, Hash: contacts.Hash{1}}
	refused("forked-next", "a second that follows another first", fault.Forked, p.publish(t, noon), seen(first))
	refused("key-changed", "another identity under the same id", fault.KeyChanged, newPersonOf(t, p.User).publish(t, noon), seen(first))
	other := newPerson(t).publish(t, noon)
	refused("other-user", "the bundle of another user", fault.NotAuthentic, other, nil)
	refused("one-time-of-other-user", "the one-time prekey of another user", fault.NotAuthentic, first, func(v *vector) { v.OneTime = hexOf(other.OneTime) })
	refused("expired", "a second after its end", fault.Stale, first, func(v *vector) { v.Now = noon.Add(contacts.BundleLife + time.Second).Format(time.RFC3339) })
	refused("future", "dated more than a day ahead", fault.Stale, first, func(v *vector) { v.Now = noon.Add(-contacts.ClockError - time.Second).Format(time.RFC3339) })
	p.mark = contacts.Mark{}
	refused("no-post-quantum", "no KEM prekey, signed so", fault.Policy, resigned(t, p, func(b *contacts.BundleBody) { b.LastResort.Public = []byte{} }), nil)
	refused("suite", "other algorithms, signed so", fault.Policy, resigned(t, p, func(b *contacts.BundleBody) { b.Suite = "pqxdh-x25519-mlkem1024-xeddsa" }), nil)
	refused("long-life", "good for 31 days, signed so", fault.Policy, resigned(t, p, func(b *contacts.BundleBody) { b.NotAfter += 24 * 60 * 60 }), nil)
	refused("card", "the identity did not sign the signing key", fault.NotAuthentic, resigned(t, p, func(b *contacts.BundleBody) { b.Card.Signature[0] ^= 1 }), nil)
	refused("signed-prekey", "the identity did not sign the prekey", fault.NotAuthentic, resigned(t, p, func(b *contacts.BundleBody) { b.Signed.Signature[0] ^= 1 }), nil)
	flipped := contacts.Published{Bundle: bytes.Clone(first.Bundle)}
	flipped.Bundle[100] ^= 1
	refused("flipped", "a bit flipped", fault.NotAuthentic, flipped, nil)
	writeSecretVectors(t, p)
}

func writeSecretVectors(t *testing.T, p *person) {
	id := contacts.SecretID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	s := contacts.Secret{ID: id, From: p.User}
	secret := func(title, body string) vector {
		b, err := contacts.SecretPayload(id, title, []byte(body), noon.UnixMilli())
		wants(t, "payload", err, "")
		return vector{
			Kind: "secret", User: p.User, Payload: hexOf(b), ID: hexOf(id[:]), Ref: s.Ref(), Title: title, Body: hexOf([]byte(body)), Written: noon.UnixMilli(),
		}
	}
	v := secret("Schlüssel", "hunter2")
	v.Comment = "a secret"
	save(t, "secret", v)
	v = secret("", "")
	v.Comment = "an empty one"
	save(t, "secret-empty", v)
	for name, c := range map[string]struct {
		payload string
		comment string
		code    fault.Code
	}{
		"version": {strings.Replace(v.Payload, "a50101", "a50102", 1), "version 2", fault.Policy},
		"cut":     {v.Payload[:len(v.Payload)-2], "last byte missing", fault.NotAuthentic},
		"title":   {secret("a\nb", "").Payload, "a line end in the title", fault.NotAuthentic},
	} {
		save(t, "refused-secret-"+name, vector{Comment: c.comment, Kind: "secret", User: p.User, Payload: c.payload, Refused: c.code})
	}
}
