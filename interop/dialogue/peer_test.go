package dialogue

import (
	"encoding/hex"
	"testing"

	"coldframe/interop/lines"
)

// ours is the kind of a peer that is package ratchet; any other kind is a version of libsignal.
const ours = "ratchet"

// versions of libsignal that are tried, the newest first.
var versions = lines.Versions

// peer is one end of a dialogue.
type peer struct {
	*lines.Peer
	kind, name string
	identity   string // 33 bytes as hex
}

// fields is a request.
type fields = lines.Fields

// answer is what any command may answer.
type answer = lines.Answer

// start runs a peer of a kind, with a fresh identity and the given name.
func start(t testing.TB, kind, name string) *peer {
	t.Helper()
	p := connect(t, kind)
	p.name = name
	p.identity = p.must(t, "init", fields{"name": name}).IdentityKey
	return p
}

// connect runs a peer of a kind that holds nothing yet.
func connect(t testing.TB, kind string) *peer {
	t.Helper()
	if kind == ours {
		return connectOurs(t)
	}
	return &peer{Peer: lines.Libsignal(t, kind), kind: kind}
}

// call sends a request and returns the answer, which may be a refusal.
func (p *peer) call(t testing.TB, cmd string, f fields) answer {
	t.Helper()
	return p.Call(t, cmd, f)
}

// must is call for a request that has to succeed.
func (p *peer) must(t testing.TB, cmd string, f fields) answer {
	t.Helper()
	return p.Must(t, cmd, f)
}

// address is how p is named in a request to another peer.
func (p *peer) address() fields { return fields{"name": p.name, "device": 1} }

// message is one that a peer sent.
type message struct {
	kind      int    // 2 or 3
	body      []byte // as it travels
	plaintext string // hex
	held      bool   // left out of one delivery already
}

func (p *peer) encrypt(t testing.TB, to *peer, plaintext []byte) message {
	t.Helper()
	a := p.must(t, "encrypt", fields{"remote": to.address(), "plaintext": hex.EncodeToString(plaintext)})
	body, err := hex.DecodeString(a.Ciphertext)
	if err != nil || len(body) == 0 {
		t.Fatalf("%s: ciphertext %q", p.kind, a.Ciphertext)
	}
	return message{kind: a.Type, body: body, plaintext: hex.EncodeToString(plaintext)}
}

func (p *peer) decrypt(t testing.TB, from *peer, m message) answer {
	t.Helper()
	return p.call(t, "decrypt", fields{"remote": from.address(), "type": m.kind, "ciphertext": hex.EncodeToString(m.body)})
}

// opens asks that p can read m, once.
func (p *peer) opens(t testing.TB, from *peer, m message) {
	t.Helper()
	if a := p.decrypt(t, from, m); !a.OK || a.Plaintext != m.plaintext {
		t.Fatalf("%s could not read a message of %s: %s %s %q", p.kind, from.kind, a.Error, a.Detail, a.Plaintext)
	}
}

// refuses asks that p refuses m, with one of the codes.
func (p *peer) refuses(t testing.TB, from *peer, m message, codes ...string) {
	t.Helper()
	a := p.decrypt(t, from, m)
	if a.OK {
		t.Fatalf("%s took a message of %s that it should refuse with %v", p.kind, from.kind, codes)
	}
	for _, code := range codes {
		if a.Error == code {
			return
		}
	}
	t.Fatalf("%s refused with %s (%s), not %v", p.kind, a.Error, a.Detail, codes)
}

// starts makes p hold a new session with to, from a bundle of to.
func (p *peer) starts(t testing.TB, to *peer, options fields) {
	t.Helper()
	bundle := to.must(t, "bundle", options).Bundle
	p.must(t, "process_bundle", fields{"bundle": bundle})
}

// reload has p go on from what it dumps.
func (p *peer) reload(t testing.TB) {
	t.Helper()
	state := p.must(t, "dump", nil).State
	if a := p.must(t, "load", fields{"state": state}); a.IdentityKey != p.identity {
		t.Fatalf("%s has another identity after load", p.kind)
	}
	if again := p.must(t, "dump", nil).State; p.kind == ours && again != state {
		t.Fatalf("%s dumps another state after load", p.kind)
	}
}
