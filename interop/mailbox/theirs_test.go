package mailbox

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/contacts"
	"coldframe/interop/lines"
	"coldframe/ratchet"
)

// theirs is the official client, with an account.
type theirs struct {
	*account
	*lines.Peer
}

func newTheirs(t *testing.T, c *coordinatortest.Coordinator, p *lines.Peer) *theirs {
	t.Helper()
	a := newAccount(t, c, "bob")
	private := a.keys.Identity.Key().Bytes()
	public := a.keys.Identity.Public()
	about := p.Must(t, "init", lines.Fields{"name": a.user, "identity_private": hex.EncodeToString(private)})
	if about.IdentityKey != ecKey(public) {
		t.Fatal("libsignal has another identity")
	}
	return &theirs{a, p}
}

// reload has the client go on from what it dumps.
func (p *theirs) reload() {
	p.t.Helper()
	p.Must(p.t, "load", lines.Fields{"state": p.Must(p.t, "dump", nil).State})
}

// offer publishes prekeys that libsignal made and signed.
func (p *theirs) offer(oneTime int) {
	p.t.Helper()
	last := p.bundle(lines.Fields{"kyber_last_resort": true})
	var list []ratchet.Bundle
	for range oneTime {
		list = append(list, p.bundle(lines.Fields{"one_time": true}))
	}
	p.publish(last, list)
}

// starts gives libsignal what the coordinator has of a user, after everything about it was verified.
func (p *theirs) starts(user string) {
	p.t.Helper()
	published, err := p.directory.FetchBundle(p.t.Context(), user)
	must(p.t, err)
	offer, err := contacts.Verify(user, published, time.Now())
	must(p.t, err)
	p.Must(p.t, "process_bundle", lines.Fields{"bundle": wireBundleOf(&offer.Bundle)})
}

// encrypt returns a message as it is in a mailbox: its type, and libsignal's bytes.
func (p *theirs) encrypt(to string, plaintext []byte) []byte {
	p.t.Helper()
	a := p.Must(p.t, "encrypt", lines.Fields{"remote": remoteOf(to), "plaintext": hex.EncodeToString(plaintext)})
	return append([]byte{byte(a.Type)}, unhex(p.t, a.Ciphertext)...)
}

func (p *theirs) decrypt(from string, message []byte) lines.Answer {
	p.t.Helper()
	f := lines.Fields{"remote": remoteOf(from), "type": message[0], "ciphertext": hex.EncodeToString(message[1:])}
	return p.Call(p.t, "decrypt", f)
}

// post puts a message into a mailbox.
func (p *theirs) post(to, id string, message []byte) {
	p.t.Helper()
	must(p.t, p.client.Send(p.t.Context(), to, coordinator.OutgoingMessage{Id: id, Body: message}))
}

func remoteOf(user string) lines.Fields { return lines.Fields{"name": user, "device": 1} }

// wireBundle is a bundle in the lines of signalpeer: bytes as hex, each public key with its type byte.
type wireBundle struct {
	Name         string   `json:"name"`
	Device       uint8    `json:"device_id"`
	Registration uint32   `json:"registration_id"`
	Identity     string   `json:"identity_key"`
	Signed       wireKey  `json:"signed_prekey"`
	Kyber        wireKey  `json:"kyber_prekey"`
	OneTime      *wireKey `json:"one_time_prekey,omitempty"`
}

type wireKey struct {
	ID        uint32 `json:"id"`
	Public    string `json:"public"`
	Signature string `json:"signature,omitempty"`
}

// Type bytes of public keys.
const (
	typeEC  = 5
	typeKEM = 8
)

func ecKey(k [32]byte) string { return hex.EncodeToString(append([]byte{typeEC}, k[:]...)) }

func wireBundleOf(b *ratchet.Bundle) wireBundle {
	w := wireBundle{
		Name: b.Address.Name, Device: b.Address.Device, Registration: b.RegistrationID, Identity: ecKey(b.IdentityKey),
		Signed: wireKey{b.SignedPreKey.ID, ecKey(b.SignedPreKey.Public), hex.EncodeToString(b.SignedPreKey.Signature[:])},
		Kyber: wireKey{
			b.KEMPreKey.ID, hex.EncodeToString(append([]byte{typeKEM}, b.KEMPreKey.Public...)), hex.EncodeToString(b.KEMPreKey.Signature[:]),
		},
	}
	if o := b.OneTimePreKey; o != nil {
		w.OneTime = &wireKey{ID: o.ID, Public: ecKey(o.Public)}
	}
	return w
}

// bundle has libsignal make a bundle, and returns it as its owner signs it.
func (p *theirs) bundle(options lines.Fields) ratchet.Bundle {
	p.t.Helper()
	var w wireBundle
	d := json.NewDecoder(bytes.NewReader(p.Must(p.t, "bundle", options).Bundle))
	d.DisallowUnknownFields()
	must(p.t, d.Decode(&w))
	key := func(text string, typ byte) []byte {
		b := unhex(p.t, text)
		if len(b) == 0 || b[0] != typ {
			p.t.Fatalf("a key of libsignal without its type: %s", text)
		}
		return b[1:]
	}
	signature := func(k wireKey) [ratchet.SignatureSize]byte {
		return [ratchet.SignatureSize]byte(unhex(p.t, k.Signature))
	}
	b := ratchet.Bundle{
		Address: ratchet.Address{Name: w.Name, Device: w.Device}, RegistrationID: w.Registration, IdentityKey: [32]byte(key(w.Identity, typeEC)),
		SignedPreKey: ratchet.SignedPreKey{
			ID: w.Signed.ID, Public: [32]byte(key(w.Signed.Public, typeEC)), Signature: signature(w.Signed), Made: time.Now(),
		},
		KEMPreKey: ratchet.KEMPreKey{ID: w.Kyber.ID, Public: key(w.Kyber.Public, typeKEM), Signature: signature(w.Kyber)},
	}
	if w.OneTime != nil {
		b.OneTimePreKey = &ratchet.OneTimePreKey{ID: w.OneTime.ID, Public: [32]byte(key(w.OneTime.Public, typeEC))}
	}
	return b
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	return b
}
