package mailbox

import (
	"context"
	"path/filepath"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const kindText = "text"

// ours is our end: the messages of an agent, as daemon runs them.
type ours struct {
	*account
	*messages.Messages
	config messages.Config
	folder string
	blobs  *remote.Blobs
	heads  []head // to tell
	got    []*messages.Received
	events map[messages.EventType]int
}

func newOurs(t *testing.T, c *coordinatortest.Coordinator) *ours {
	t.Helper()
	a := newAccount(t, c, "ada")
	o := &ours{
		account: a, folder: filepath.Join(t.TempDir(), "db"), blobs: remote.NewBlobs(a.remote, a.user), events: map[messages.EventType]int{},
	}
	o.config = messages.Config{
		Local:    &ratchet.Local{Identity: a.keys.Identity, Address: ratchet.Address{Name: a.user, Device: 1}, RegistrationID: 77},
		LocalKey: secret.Random(), LocalID: seal.RandomKeyID(), StateKeys: stateKey{secret.Random()},
		Blobs: o.blobs, Mailbox: remote.Mailbox{Client: a.remote}, Bundles: a.book, Contacts: a.book, Gate: gate{a.book},
		MaySend:  func(_ context.Context, peer string) error { return a.book.MaySend(peer) },
		Handlers: map[string]messages.Handler{kindText: o.take},
		Heads:    func(context.Context, string) ([]head, error) { return o.heads, nil },
		Event:    func(e messages.Event) { o.events[e.What]++ },
	}
	t.Cleanup(func() { _ = o.config.DB.Close() })
	o.restart()
	return o
}

// restart begins with nothing in memory.
func (o *ours) restart() {
	o.t.Helper()
	if o.config.DB != nil {
		must(o.t, o.config.DB.Close())
	}
	db, err := kv.Open(o.folder, kv.Options{})
	must(o.t, err)
	o.config.DB = db
	o.Messages = messages.New(o.config)
}

// take is the handler of texts.
func (o *ours) take(ctx context.Context, r *messages.Received) error {
	if err := o.blobs.Swap(ctx, []messages.BlobChange{r.Removal()}); err != nil {
		return err
	}
	o.got = append(o.got, r)
	return nil
}

// offer publishes prekeys.
func (o *ours) offer(oneTime int) {
	o.t.Helper()
	last, err := o.NewBundles(o.t.Context(), 1, ratchet.BundleOptions{LastResort: true})
	must(o.t, err)
	var list []ratchet.Bundle
	if oneTime > 0 {
		list, err = o.NewBundles(o.t.Context(), oneTime, ratchet.BundleOptions{OneTime: true})
		must(o.t, err)
	}
	o.publish(last[0], list)
}

// stateKey is one state key, of epoch 1: the user's devices share no other here.
type stateKey struct{ key secret.Key }

// Current implements messages.StateKeys.
func (s stateKey) Current(context.Context) (uint64, secret.Key, error) { return 1, s.key, nil }

// At implements messages.StateKeys.
func (s stateKey) At(_ context.Context, epoch uint64) (secret.Key, error) {
	if epoch != 1 {
		return secret.Key{}, fault.New(fault.NotFound, "no such epoch")
	}
	return s.key, nil
}

// gate lets contacts in who were consented to.
type gate struct{ book *contacts.Book }

// Admit implements messages.Gate.
func (g gate) Admit(_ context.Context, sender string) (messages.Verdict, error) {
	c, err := g.book.Get(sender)
	if err != nil || c.State != contacts.StateAccepted {
		return messages.Hold, err
	}
	return messages.Accept, nil
}
