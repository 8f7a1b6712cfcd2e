package contacts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Bounds of secrets.
const (
	MaxSecret  = 64 << 10                    // bytes of a body
	MaxSecrets = 10_000                      // of a user, sent and received
	MaxFromOne = MaxSecrets / 8              // of one contact, received
	maxPayload = MaxSecret + MaxName + 1<<10 // bytes of a message's payload
)

// KindSecret is the kind of a message that carries a secret.
const KindSecret = "secret"

const payloadVersion = 1

// SecretID names a secret: its sender chose it. Two senders may choose the same.
type SecretID = [16]byte

// payload is what a message of KindSecret carries. Who sent it, and to whom, the session says.
type payload struct {
	Version uint64   `cbor:"1,keyasint"`
	ID      SecretID `cbor:"2,keyasint"`
	Title   string   `cbor:"3,keyasint"`
	Body    []byte   `cbor:"4,keyasint"`
	Written int64    `cbor:"5,keyasint"` // Unix milliseconds, the sender's word
}

// parsePayload reads a payload. Errors: fault.TooLarge; fault.Policy for another version; fault.NotAuthentic.
func parsePayload(b []byte) (payload, error) {
	if len(b) > maxPayload {
		return payload{}, fault.New(fault.TooLarge, "a secret's message has at most %d bytes", maxPayload)
	}
	var p payload
	if err := unmarshalExact(b, &p); err != nil {
		return payload{}, err
	}
	return p, p.check()
}

func (p *payload) check() error {
	switch {
	case p.Version != payloadVersion:
		return errVersion()
	case len(p.Body) > MaxSecret:
		return fault.New(fault.TooLarge, "a secret has at most %d bytes", MaxSecret)
	case p.Body == nil || p.Written < 0 || checkLabel(p.Title) != nil:
		return fault.New(fault.NotAuthentic, "the secret is not in order")
	}
	return nil
}

func errVersion() error {
	return fault.New(fault.Policy, "a secret of another version than %d", payloadVersion)
}

// SecretState is where a secret is.
type SecretState string

// The states of secrets.
const (
	SecretQueued   SecretState = "queued" // durable here, not yet with the coordinator
	SecretSent     SecretState = "sent"
	SecretReceived SecretState = "received"
)

// Secret is a secret that was sent or received. It prints nothing but its reference and state.
type Secret struct {
	ID       SecretID    `cbor:"1,keyasint"`
	From     string      `cbor:"2,keyasint"` // users
	To       string      `cbor:"3,keyasint"`
	Title    string      `cbor:"4,keyasint"`
	Body     []byte      `cbor:"5,keyasint"`
	Written  int64       `cbor:"6,keyasint"` // Unix milliseconds, the sender's word
	Since    int64       `cbor:"7,keyasint"` // Unix milliseconds, when it was queued or received here
	State    SecretState `cbor:"8,keyasint"`
	Identity Key         `cbor:"9,keyasint"`  // of the other one then
	Verified bool        `cbor:"10,keyasint"` // whether their safety number had been compared

	Repeated bool `cbor:"-"` // of what Send returns: it was there already
}

// Ref names the secret among all of everybody: hex of SHA-256("coldframe/v1/secret" ‖ 0 ‖ sender's UUID ‖ id), first 16 bytes. It is the
// same on both sides; empty if the sender is no user.
func (s *Secret) Ref() string { return secretRef(s.From, s.ID) }

// Format prints the reference and the state.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[secret "+s.Ref()+" "+string(s.State)+"]")
}

// LogValue is what structured logs show of the secret.
func (s Secret) LogValue() slog.Value {
	return slog.GroupValue(slog.String("ref", s.Ref()), slog.String("state", string(s.State)))
}

// WrittenAt returns when the sender says to have written it.
func (s *Secret) WrittenAt() time.Time { return time.UnixMilli(s.Written).UTC() }

// kindSecretItem is the kind of items that hold secrets. Their ids are kind ‖ "/" ‖ reference.
const kindSecretItem = "secret"

func secretRef(from string, id SecretID) string {
	user, err := userID(from)
	if err != nil {
		return ""
	}
	b := append([]byte("coldframe/v1/secret\x00"), user[:]...)
	sum := sha256.Sum256(append(b, id[:]...))
	return hex.EncodeToString(sum[:16])
}

func secretItem(ref string) string { return kindSecretItem + "/" + ref }

// parseSecret reads the body of a secret's item.
func parseSecret(ref string, b []byte) (Secret, error) {
	var s Secret
	if err := unmarshalExact(b, &s); err != nil {
		return Secret{}, err
	}
	_, fromErr := userID(s.From)
	_, toErr := userID(s.To)
	if fromErr != nil || toErr != nil || s.Ref() != ref {
		return Secret{}, fault.New(fault.NotAuthentic, "a secret in the vault is not where it belongs")
	}
	return s, nil
}

// same reports whether a secret says what a message says.
func (s *Secret) same(p *payload) bool {
	return s.ID == p.ID && s.Title == p.Title && s.Written == p.Written && bytes.Equal(s.Body, p.Body)
}

func (s *Secret) payload() ([]byte, error) {
	return signed.Marshal(payload{Version: payloadVersion, ID: s.ID, Title: s.Title, Body: s.Body, Written: s.Written})
}
