package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
)

// MaxSecret is the length in bytes of the longest secret.
const MaxSecret = contacts.MaxSecret

// Secret is a secret that was sent or received. It prints nothing but its reference and state.
type Secret struct {
	Ref      string // 32 hexadecimal digits, the same on both sides
	From, To string // users
	Title    string
	Body     []byte     // nil in lists; the caller wipes it
	Written  time.Time  // the sender's word; to the end of the year 9999
	Since    time.Time  // when it was queued or received here
	State    string     // "queued", "sent" or "received"
	Delay    fault.Code // why nothing leaves for whom a queued one is for; empty: it was not tried, or this is not the machine that queued it
	Verified bool       // whether the safety number had been compared then
}

// SendSecretRequest is a secret to be sent. Body is wiped. ID, if it is not empty, is 16 bytes in hexadecimal that the caller drew: the same
// request with the same id again has no second effect. Unverified sends to who was never compared, on the coordinator's word.
type SendSecretRequest struct {
	ID         string
	To         string // user
	Title      string
	Body       []byte // MaxSecret at most
	Unverified bool
}

// Format prints the reference and the state.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[secret "+s.Ref+" "+s.State+"]")
}

// LogValue is what structured logs show of the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Format prints whom it is for.
func (r SendSecretRequest) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[secret to "+r.To+"]")
}

// LogValue is what structured logs show of the request.
func (r SendSecretRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Secrets lists the secrets of this user's vault without their bodies, newest first.
func (a *Agent) Secrets(ctx context.Context) ([]Secret, error) {
	var out []Secret
	err := a.withPeople(ctx, false, func(_ context.Context, s *session, b *contacts.Book) error {
		list, err := b.Secrets()
		for _, secret := range list {
			out = append(out, secretOf(secret))
		}
		s.sync.explain(out)
		return err
	})
	return out, err
}

// explain says of secrets that this machine queued why they wait.
func (y *syncer) explain(list []Secret) {
	if !slices.ContainsFunc(list, func(s Secret) bool { return s.State == string(contacts.SecretQueued) }) {
		return
	}
	queued, err := y.queuedSecrets()
	why, also := y.mail.Delays()
	if err = errors.Join(err, also); err != nil {
		y.a.log.Warn("outbox not looked at", failure(err)...)
		return
	}
	here := map[string]bool{}
	for _, ref := range queued {
		here[ref] = true
	}
	for i, s := range list {
		if s.State == string(contacts.SecretQueued) && here[s.Ref] {
			list[i].Delay = why[s.To]
		}
	}
}

// Secret returns a secret with its body; fault.NotFound if there is none.
func (a *Agent) Secret(ctx context.Context, ref string) (Secret, error) {
	var out Secret
	err := a.withPeople(ctx, false, func(_ context.Context, s *session, b *contacts.Book) error {
		secret, err := b.Secret(ref)
		if err != nil {
			return err
		}
		one := []Secret{secretOf(secret)}
		s.sync.explain(one)
		out = one[0]
		return nil
	})
	return out, err
}

// MessageFate is what became of the message of a secret that was removed.
type MessageFate = contacts.MessageFate

// RemoveSecret removes a secret from this user's vault, and its message from what is to be sent; the other side's copy stays.
func (a *Agent) RemoveSecret(ctx context.Context, ref string) (fate MessageFate, err error) {
	err = a.withPeople(ctx, true, func(ctx context.Context, _ *session, b *contacts.Book) (err error) {
		fate, err = b.RemoveSecret(ctx, ref)
		return err
	})
	return fate, err
}

// SendSecret puts a secret into the vault and queues the message that carries it, durably; it leaves when the coordinator is reached.
// repeated says that it was there already and nothing was done. Errors: fault.UntrustedKey for who was never compared; fault.KeyChanged,
// fault.Forked, fault.Forbidden and fault.NotFound by who it is for; fault.Conflict for another secret of the same id; fault.TooLarge;
// fault.InvalidRequest; fault.StorageFull.
func (a *Agent) SendSecret(ctx context.Context, r SendSecretRequest) (sent Secret, repeated bool, err error) {
	defer clear(r.Body)
	d := contacts.Draft{To: r.To, Title: r.Title, Body: r.Body, Unverified: r.Unverified}
	if d.ID, err = parseSecretID(r.ID); err != nil {
		return Secret{}, false, err
	}
	err = a.withPeople(ctx, true, func(ctx context.Context, s *session, b *contacts.Book) error {
		made, err := b.Send(ctx, d)
		if err != nil {
			return err
		}
		if sent, repeated = secretOf(made), made.Repeated; !repeated {
			s.sync.peopleChanged(r.To, secretQueued)
		}
		return nil
	})
	return sent, repeated, err
}

// parseSecretID reads the id that a caller chose; without one it is zero, and the book draws one.
func parseSecretID(s string) (id contacts.SecretID, err error) {
	if s == "" {
		return id, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || contacts.SecretID(b) == id {
		return id, fault.New(fault.InvalidRequest, "the id of a secret is 16 random bytes, as 32 hexadecimal digits")
	}
	return contacts.SecretID(b), nil
}

// latest is the last second that every reader of RFC 3339 takes: the sender's word may be any number.
var latest = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

func secretOf(s contacts.Secret) Secret {
	written := s.WrittenAt()
	if written.After(latest) {
		written = latest
	}
	return Secret{
		Ref: s.Ref(), From: s.From, To: s.To, Title: s.Title, Body: s.Body, Written: written, Since: time.UnixMilli(s.Since).UTC(),
		State: string(s.State), Verified: s.Verified,
	}
}
