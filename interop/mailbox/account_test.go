package mailbox

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/contacts"
	"coldframe/daemon/remote"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
	"coldframe/ratchet"
)

// account is what a user of either end has: a vault with the book of contacts in it, and a place at the coordinator.
type account struct {
	t         *testing.T
	user      string
	keys      contacts.Keys
	client    *coordinator.Client
	directory *remote.Directory
	book      *contacts.Book
}

func newAccount(t *testing.T, c *coordinatortest.Coordinator, name string) *account {
	t.Helper()
	dir := t.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	vault := keystore.New(db, keystore.Options{Dir: dir, Profile: keystoretest.Cheap()})
	email, password := name+"@example.org", []byte("tundra-violet-47-anvil-orbit")
	_, err = vault.Register(t.Context(), keystore.Registration{Email: email, Password: password})
	must(t, err)
	proof, err := vault.LoginProof(t.Context(), password)
	must(t, err)
	hash, err := keystore.EmailHash(email)
	must(t, err)
	a := &account{t: t, user: vault.UserID(), client: c.Client(coordinator.Options{})}
	must(t, a.client.Register(t.Context(), coordinator.Registration{User: a.user, EmailHash: hash[:], Proof: proof.For(c.URL).Bytes()}))
	a.keys = contacts.Keys{User: a.user, Identity: ratchet.NewIdentity(), Signing: secret.Random()}
	a.directory = remote.NewDirectory(a.remote)
	a.book, err = contacts.New(contacts.Options{
		Own:   contacts.Own{User: a.user, Identity: a.keys.Identity.Public(), Signing: signed.Signer{Key: a.keys.Signing}.Public()},
		Vault: vault, Directory: a.directory, Clock: time.Now,
	})
	must(t, err)
	return a
}

// remote is a remote.Client.
func (a *account) remote() (*coordinator.Client, error) { return a.client, nil }

// publish signs prekeys as their owner, and has the coordinator hand them out.
func (a *account) publish(last ratchet.Bundle, oneTime []ratchet.Bundle) {
	a.t.Helper()
	u, err := a.book.Publish(a.t.Context(), a.keys, last, oneTime)
	must(a.t, err)
	left, err := a.directory.Publish(a.t.Context(), u, true)
	if err != nil || left != len(oneTime) {
		a.t.Fatalf("%d one-time prekeys are left of %d, %v", left, len(oneTime), err)
	}
	must(a.t, a.book.Uploaded(a.t.Context(), u))
}

// left is how many one-time prekeys the coordinator has of the account.
func (a *account) left() int {
	a.t.Helper()
	s, err := a.directory.Status(a.t.Context())
	must(a.t, err)
	return s.Left
}

// inbox returns all that is in the mailbox.
func (a *account) inbox() (all []coordinator.Message) {
	a.t.Helper()
	for after, more := int64(0), true; more; {
		in, err := a.client.Inbox(a.t.Context(), after)
		must(a.t, err)
		for _, m := range in.Messages {
			after = m.Sequence
		}
		all, more = append(all, in.Messages...), in.More
	}
	return all
}

// head returns version n of an object of the account's.
func (a *account) head(typ string, n int) (h head) {
	h.Type, h.ID, h.Sequence = typ, a.user, uint64(n)
	copy(h.Hash[:], fmt.Sprintf("version %d of %s", n, typ))
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
