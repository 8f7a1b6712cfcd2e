package devices

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// seal2 makes a link of any payload, signed by the user and by the machine.
func (m *machine) seal2(payload []byte) []byte {
	inner := envelopeOf(m.w, m.d.present.author, authorType, payload)
	raw, err := signed.Marshal(inner)
	if err != nil {
		m.w.Fatal(err)
	}
	return envelopeOf(m.w, m.w.signing.Key, listType, raw)
}

// envelopeOf signs bytes that need not be the CBOR of anything.
func envelopeOf(t tester, key secret.Key, typ string, payload []byte) []byte {
	message := append([]byte("coldframe/v1/"+typ+"\x00"), payload...)
	b, err := signed.Marshal([][]byte{payload, ed25519.Sign(ed25519.NewKeyFromSeed(key.Bytes()), message)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzLink signs any payload with all keys of the one listed device. What is taken follows the list, keeps its rules, and encodes back to
// the same bytes.
func FuzzLink(f *testing.F) {
	w := newWorld(f, f.TempDir())
	a := w.begin("desk")
	n, sealed, p := w.ask("laptop")
	for _, c := range []Changes{{}, {Rotate: true}, {Add: []*Approved{a.approve(n.d.ID, sealed, p.Text())}}} {
		link, _ := a.successor(c)
		payload, err := signed.Marshal(link)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	for _, name := range vectorNames(f) {
		for _, link := range readVector(f, name).Links {
			f.Add(unhex(f, link))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenList(w.owner(), Head{}, [][]byte{b}); err == nil && !bytes.Equal(b, w.links[0]) {
			t.Errorf("opens without a signature: %x", b)
		}
		if len(b) > MaxLink {
			return
		}
		l, err := a.list.Next(a.seal2(b))
		if err != nil {
			if fault.CodeOf(err) == fault.Internal {
				t.Error(err)
			}
			return
		}
		again, err := signed.Marshal(l.Link)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
		if l.Sequence != 2 || l.Previous != a.list.Hash || l.User != w.id || len(l.Devices)+len(l.Removed) < 1 || len(l.Devices) > MaxDevices {
			t.Errorf("taken: %+v", l.Link)
		}
	})
}

// FuzzRecord asks that a record which parses encodes back to the same bytes, and that no other bytes open as the real one.
func FuzzRecord(f *testing.F) {
	w := newWorld(f, f.TempDir())
	a := w.begin("desk")
	real := w.records[a.list.WrapsName()]
	plain, err := w.sealer.Open(a.list.recordContext(), real)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(real)
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenRecord(a.list, w.sealer, b); (err == nil) != bytes.Equal(b, real) {
			t.Errorf("%x: %v", b, err)
		}
		members, err := parseRecord(b)
		if err != nil {
			return
		}
		if again, err := signed.Marshal(members); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
		r := &Record{list: a.list, members: members}
		if r.check() == nil && !bytes.Equal(members[0].Wrap, plain) {
			k, err := r.Unwrap(a.d)
			if want, _ := a.ring.Current(); err == nil && !k.Key.Equal(want.Key) {
				t.Error("another state key")
			}
		}
	})
}

// FuzzRequest asks that a request which parses encodes back to the same bytes, and is approved only if it is the real one.
func FuzzRequest(f *testing.F) {
	w := newWorld(f, f.TempDir())
	w.begin("desk")
	n, sealed, p := w.ask("laptop")
	real, err := w.sealer.Open(requestContext(w.id, n.d.ID), sealed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(real)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenRequest(w.sealer, w.id, n.d.ID, b); (err == nil) != bytes.Equal(b, sealed) {
			t.Errorf("%x: %v", b, err)
		}
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if again, err := signed.Marshal(r.record); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
		if _, err := r.Approve(p); (err == nil) != bytes.Equal(b, real) {
			t.Errorf("%x: %v", b, err)
		}
	})
}

// FuzzKeyFile asks that a key file which parses encodes back to the same bytes.
func FuzzKeyFile(f *testing.F) {
	for _, name := range vectorNames(f) {
		f.Add(unhex(f, readVector(f, name).KeyFile))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseKeyFile(b)
		if err != nil {
			return
		}
		if again := d.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

// FuzzParseCode asks that a code which is read is shown as its digits.
func FuzzParseCode(f *testing.F) {
	code := newCode()
	f.Add(code.Text())
	f.Add([]byte("000000000000000000000000000000"))
	f.Add([]byte("0000 "))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCode(b)
		if err != nil {
			return
		}
		strip := func(b []byte) []byte {
			return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(" "), nil), []byte("-"), nil)
		}
		if got := c.Text(); !bytes.Equal(strip(got), strip(b)) || len(got) != codeDigits+5 {
			t.Errorf("%q is shown as %q", b, got)
		}
	})
}
