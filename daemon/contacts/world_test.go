package contacts_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
	"coldframe/ratchet"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A person is somebody with keys and prekeys. Their bundles are signed by contacts' own code.
type person struct {
	contacts.Keys
	prekeys *ratchet.PreKeys
	mark    contacts.Mark
}

func newPerson(t testing.TB) *person { return newPersonOf(t, uuid.NewString()) }

func newPersonOf(t testing.TB, user string) *person {
	t.Helper()
	p := &person{Keys: contacts.Keys{User: user, Identity: ratchet.NewIdentity(), Signing: secret.Random()}}
	p.prekeys = ratchet.NewPreKeys(&ratchet.Local{
		Identity: p.Identity, Address: ratchet.Address{Name: user, Device: 1}, RegistrationID: 77,
	}, 0)
	return p
}

func (p *person) bundle(t testing.TB, now time.Time, o ratchet.BundleOptions) ratchet.Bundle {
	t.Helper()
	bundles, err := p.prekeys.Bundles(1, o, now, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return bundles[0]
}

// publish signs the next bundle and a one-time prekey.
func (p *person) publish(t testing.TB, now time.Time) contacts.Published {
	t.Helper()
	e, mark, err := contacts.SignBundle(p.Keys, p.bundle(t, now, ratchet.BundleOptions{LastResort: true}), p.mark, now)
	if err != nil {
		t.Fatal(err)
	}
	p.mark = mark
	return contacts.Published{Bundle: e, OneTime: p.oneTime(t, now)}
}

func (p *person) oneTime(t testing.TB, now time.Time) []byte {
	t.Helper()
	e, err := contacts.SignOneTime(p.Keys, p.bundle(t, now, ratchet.BundleOptions{OneTime: true}))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (p *person) own() contacts.Own {
	return contacts.Own{User: p.User, Identity: p.Identity.Public(), Signing: signed.Signer{Key: p.Signing}.Public()}
}

// fingerprint returns the safety number as the other side's screen shows it to us.
func (p *person) fingerprint(other *person) ratchet.Fingerprint {
	a, b := uuid.MustParse(p.User), uuid.MustParse(other.User)
	return ratchet.SafetyNumber(p.Identity.Public(), a[:], other.Identity.Public(), b[:])
}

// world is one user's book over a real vault, and a coordinator that may say anything.
type world struct {
	t     testing.TB
	db    *kv.DB
	vault *keystore.Vault
	book  *contacts.Book
	me    *person

	now    time.Time
	events []contacts.Event
	found  map[contacts.Hash]string
	served map[string]contacts.Published
	asked  []string // of the directory
	broken error    // of the sender
	queued contacts.MessageID
	killed bool   // what comes in the moment in which a transaction becomes durable does not
	during func() // what happens while a bundle is fetched
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, now: noon, found: map[contacts.Hash]string{}, served: map[string]contacts.Published{}}
	w.vault = keystore.New(db, keystore.Options{Dir: dir, Profile: keystoretest.Cheap(), Clock: w.clock})
	kit, err := w.vault.Register(t.Context(), keystore.Registration{Email: "ada@example.org", Password: []byte("tundra-violet-47-anvil-orbit")})
	if err != nil {
		t.Fatal(err)
	}
	kit.Wipe()
	w.me = newPersonOf(t, w.vault.UserID())
	w.book = w.newBook()
	return w
}

// newBook returns a book over the same vault, as after a restart.
func (w *world) newBook() *contacts.Book { return w.bookOver(w.vault) }

func (w *world) bookOver(v contacts.Vault) *contacts.Book {
	w.t.Helper()
	b, err := contacts.New(contacts.Options{
		Own: w.me.own(), Vault: v, Directory: w, Sender: w, EmailHash: emailHash, Clock: w.clock,
		Notify: func(e contacts.Event) { w.events = append(w.events, e) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) clock() time.Time { return w.now }

// emailHash stands for the account's own function, which the joined agent hands in.
func emailHash(address string) (contacts.Hash, error) {
	if !strings.Contains(address, "@") {
		return contacts.Hash{}, fault.New(fault.InvalidRequest, "no address")
	}
	return sha256.Sum256([]byte("test\x00" + strings.ToLower(address))), nil
}

func (w *world) FindUser(_ context.Context, hash contacts.Hash) (string, error) {
	w.asked = append(w.asked, "find")
	if user, ok := w.found[hash]; ok {
		return user, nil
	}
	return "", fault.New(fault.NotFound, "nobody")
}

func (w *world) FetchBundle(_ context.Context, user string) (contacts.Published, error) {
	w.asked = append(w.asked, user)
	if w.during != nil {
		w.during()
	}
	if p, ok := w.served[user]; ok {
		return p, nil
	}
	return contacts.Published{}, fault.New(fault.NotFound, "nobody")
}

// Queue writes the message as a record of the transaction.
func (w *world) Queue(tx *keystore.Tx, m contacts.Outgoing) (contacts.MessageID, error) {
	if w.broken != nil {
		return contacts.MessageID{}, w.broken
	}
	w.queued = contacts.MessageID(uuid.New())
	return w.queued, tx.KV().Set("outbox/"+m.To+"/"+m.Kind+"/"+hex.EncodeToString(w.queued[:]), m.Payload)
}

// Cancel implements contacts.Sender: what is in the outbox has not left.
func (w *world) Cancel(tx *keystore.Tx, id contacts.MessageID, tell func(left bool)) {
	if w.killed {
		return
	}
	tx.OnCommit(func(tx *kv.Tx) error {
		var found []string
		err := tx.Keys("outbox/", func(key string) error {
			if strings.HasSuffix(key, "/"+hex.EncodeToString(id[:])) {
				found = append(found, key)
			}
			return nil
		})
		for _, key := range found {
			err = errors.Join(err, tx.Delete(key))
		}
		tell(len(found) == 0)
		return errors.Join(err, tx.Delete(contacts.QueuedRecord(id)))
	})
}

// outbox returns the payloads that are queued for somebody.
func (w *world) outbox(to string) [][]byte {
	w.t.Helper()
	var out [][]byte
	err := w.db.View(func(tx *kv.Tx) error {
		return tx.Scan("outbox/"+to+"/", func(_ string, v []byte) error {
			out = append(out, v)
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// forget removes records of this device.
func (w *world) forget(t testing.TB, prefix string) {
	t.Helper()
	err := w.db.Update(func(tx *kv.Tx) error {
		var keys []string
		err := tx.Keys(prefix, func(key string) error { keys = append(keys, key); return nil })
		for _, key := range keys {
			err = errors.Join(err, tx.Delete(key))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// meet publishes a person's bundle and adds them.
func (w *world) meet(p *person) {
	w.t.Helper()
	w.served[p.User] = p.publish(w.t, w.now)
	if _, err := w.book.Add(w.t.Context(), contacts.Addition{User: p.User, Name: "bob"}); err != nil {
		w.t.Fatal(err)
	}
}

// befriend meets a person and compares the safety number.
func (w *world) befriend(p *person) {
	w.t.Helper()
	w.meet(p)
	if err := w.book.SetVerified(w.t.Context(), p.User, contacts.Comparison{Number: p.fingerprint(w.me).Digits()}); err != nil {
		w.t.Fatal(err)
	}
}

// receive hands in a message as the one transaction that takes it in.
func (w *world) receive(in contacts.Incoming) (e contacts.Event, err error) {
	commit := w.vault.Update(func(tx *keystore.Tx) error {
		e, err = w.book.Receive(tx, in)
		return nil
	})
	if commit != nil {
		w.t.Fatal(commit)
	}
	return e, err
}

// secret makes the message of a secret that a person sends.
func (p *person) secret(t testing.TB, id byte, title, body string) contacts.Incoming {
	t.Helper()
	payload, err := contacts.SecretPayload(contacts.SecretID{id}, title, []byte(body), noon.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	return contacts.Incoming{From: p.User, Identity: p.Identity.Public(), Payload: payload}
}

func (w *world) contact(p *person) contacts.Contact {
	w.t.Helper()
	c, err := w.book.Get(p.User)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) secrets() []contacts.Secret {
	w.t.Helper()
	all, err := w.book.Secrets()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// lastEvent returns the newest event, and forgets all.
func (w *world) lastEvent() (e contacts.Event) {
	if n := len(w.events); n > 0 {
		e = w.events[n-1]
	}
	w.events = nil
	return e
}

// wants asks for a code, or for none.
func wants(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	switch {
	case code == "" && err != nil:
		t.Fatalf("%s: %v", what, err)
	case code != "" && (err == nil || fault.CodeOf(err) != code):
		t.Fatalf("%s: %v, want %s", what, err, code)
	}
}
