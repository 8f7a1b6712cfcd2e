package contacts

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// Draft is a secret to be sent.
type Draft struct {
	ID    SecretID // chosen by the caller, so that it can be sent again when an answer was lost; zero: a new one
	To    string   // user
	Title string
	Body  []byte

	// Unverified sends to a contact whose safety number nobody compared: that the key is theirs is the coordinator's word then.
	Unverified bool
}

// Send puts a secret into the vault and queues the message that carries it, in one transaction. The same draft sent again is there once, and
// comes back as Repeated. Errors: those of MayTrust, or of MaySend if it may go unverified; fault.InvalidRequest; fault.TooLarge;
// fault.Conflict for another draft of the same id; fault.StorageFull beyond MaxSecrets.
func (b *Book) Send(ctx context.Context, d Draft) (Secret, error) {
	if err := checkDraft(&d); err != nil {
		return Secret{}, err
	}
	to, err := userID(d.To)
	if err != nil {
		return Secret{}, err
	}
	now := b.o.Clock().UnixMilli()
	var s Secret
	err = b.o.Vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		r, err := b.load(tx, to)
		if err != nil {
			return err
		}
		s = Secret{
			ID: d.ID, From: b.o.Own.User, To: d.To, Title: d.Title, Body: d.Body, Written: now, Since: now, State: SecretQueued,
			Identity: r.Contact.Pinned.Identity, Verified: r.Contact.Verified.Date != 0,
		}
		if known, err := b.sentBefore(tx, &s); known || err != nil {
			return err
		}
		if err := r.Contact.sendable(d.Unverified); err != nil {
			return err
		}
		return b.queue(tx, &s)
	})
	if err != nil {
		return Secret{}, err
	}
	s.Body = nil
	return s, nil
}

func checkDraft(d *Draft) error {
	if d.ID == (SecretID{}) {
		rand.Read(d.ID[:]) //nolint:errcheck // never fails: it ends the process instead
	}
	if len(d.Body) > MaxSecret {
		return fault.New(fault.TooLarge, "a secret has at most %d bytes", MaxSecret)
	}
	if d.Body == nil {
		d.Body = []byte{}
	}
	return checkLabel(d.Title)
}

func (c *Contact) sendable(unverified bool) error {
	if unverified {
		return c.MaySend()
	}
	return c.MayTrust()
}

// sentBefore reports whether this very secret is in the vault, and then makes s what is there.
func (b *Book) sentBefore(tx *keystore.Tx, s *Secret) (bool, error) {
	before, err := getSecret(tx, s.Ref())
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(before.Body)
	if before.To != s.To || before.Title != s.Title || !bytes.Equal(before.Body, s.Body) {
		return false, fault.New(fault.Conflict, "another secret was sent under this id")
	}
	*s, s.Repeated = before, true
	return true, nil
}

func (b *Book) queue(tx *keystore.Tx, s *Secret) error {
	if err := b.put(tx, s); err != nil {
		return err
	}
	message, err := s.payload()
	if err != nil {
		return err
	}
	defer clear(message)
	id, err := b.o.Sender.Queue(tx, Outgoing{Kind: KindSecret, To: s.To, Payload: message})
	if err != nil {
		return err
	}
	return tx.KV().Set(QueuedRecord(id), []byte(s.Ref()))
}

// QueuedRecord is the record of this device that says which secret a queued message carries.
func QueuedRecord(id MessageID) string { return QueuedPrefix + hex.EncodeToString(id[:]) }

// QueuedPrefix begins the names of the records of messages that were queued and of which Sent was not called.
const QueuedPrefix = "contacts/out/"

// QueuedID returns the message that a record under QueuedPrefix is about.
func QueuedID(record string) (id MessageID, ok bool) {
	b, err := hex.DecodeString(strings.TrimPrefix(record, QueuedPrefix))
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return MessageID(b), true
}

// put puts a secret that is not there yet: fault.StorageFull beyond MaxSecrets.
func (b *Book) put(tx *keystore.Tx, s *Secret) error {
	ids, err := b.o.Vault.List(kindSecretItem)
	if err != nil {
		return err
	}
	if len(ids) >= MaxSecrets {
		return fault.New(fault.StorageFull, "at most %d secrets are kept; remove some", MaxSecrets)
	}
	return putSecret(tx, s)
}

func putSecret(tx *keystore.Tx, s *Secret) error {
	body, err := signed.Marshal(s)
	if err != nil {
		return err
	}
	defer clear(body)
	return tx.Put(keystore.Item{ID: secretItem(s.Ref()), Kind: kindSecretItem, Body: body})
}

func getSecret(from items, ref string) (Secret, error) {
	it, err := from.Get(secretItem(ref))
	if err != nil {
		return Secret{}, err
	}
	defer clear(it.Body)
	return parseSecret(ref, it.Body)
}

// Sent notes that a queued message is with the coordinator. It is no error if that is known, the message carries no secret, or the secret
// was removed meanwhile.
func (b *Book) Sent(tx *keystore.Tx, id MessageID) error {
	ref, err := tx.KV().Get(QueuedRecord(id))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := tx.KV().Delete(QueuedRecord(id)); err != nil {
		return err
	}
	s, err := getSecret(tx, string(ref))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer clear(s.Body)
	s.State = SecretSent
	return putSecret(tx, &s)
}

var refForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Secret returns a secret with its body, which the caller wipes; fault.NotFound if there is none.
func (b *Book) Secret(ref string) (Secret, error) {
	if !refForm.MatchString(ref) {
		return Secret{}, errRef()
	}
	return getSecret(b.o.Vault, ref)
}

// Secrets returns all secrets without their bodies, newest first.
func (b *Book) Secrets() ([]Secret, error) {
	ids, err := b.o.Vault.List(kindSecretItem)
	if err != nil {
		return nil, err
	}
	out := make([]Secret, 0, len(ids))
	for _, id := range ids {
		s, err := getSecret(b.o.Vault, strings.TrimPrefix(id, kindSecretItem+"/"))
		if errors.Is(err, fault.NotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		clear(s.Body)
		s.Body = nil
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(b.Since, a.Since), strings.Compare(a.Ref(), b.Ref()))
	})
	return out, nil
}
