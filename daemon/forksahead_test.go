package daemon

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// heardOf writes down that a contact was told of a version of this account's vault so many changes from now, which never comes here, and returns
// its number.
func (r *running) heardOf(contact *running, ahead int, hash byte) uint64 {
	r.t.Helper()
	counter, _, err := r.vault.Head()
	if err != nil {
		r.t.Fatal(err)
	}
	at := counter + uint64(ahead) //nolint:gosec // a few
	b, err := signed.Marshal([]any{[]any{at, bytes.Repeat([]byte{hash}, 32), time.Now().Unix()}})
	if err != nil {
		r.t.Fatal(err)
	}
	key := fmt.Sprintf("messages/echo/%s/%s/%s", headVault, r.vault.UserID(), contact.vault.UserID())
	if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set(key, b) }); err != nil {
		r.t.Fatal(err)
	}
	list, err := r.session.sync.mail.Echoed(headVault, r.vault.UserID())
	if err != nil || len(list) == 0 {
		r.t.Fatal("no echo is kept", err)
	}
	return at
}

// reaches changes the vault until it is beyond a version, and compares.
func (r *running) reaches(at uint64) {
	r.t.Helper()
	for counter := uint64(0); counter <= at; {
		r.create("one more")
		counter, _, _ = r.vault.Head() //nolint:errcheck // create has it open
	}
	if err := r.session.sync.checkHeads(r.t.Context()); err != nil {
		r.t.Error(err)
	}
}

// passes is reaches, and expects that the account goes on.
func (r *running) passes(at uint64) {
	r.t.Helper()
	r.reaches(at)
	if err := r.session.writable(); err != nil {
		r.t.Errorf("stopped by what was heard before the user's word: %v", err)
	}
}

// A user says that an older vault is the right one. The versions that contacts heard of before, and that are not reached yet, stop nothing when
// something else comes under their numbers.
func TestTrustedVaultPassesWhatWasHeard(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	f.compares(grace)
	f.settled()
	at := f.heardOf(grace, 6, 7)
	f.session.forked.Store(true)
	if err := f.TrustVault(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	f.passes(at)

	at = f.heardOf(grace, 3, 8) // after the user's word
	f.reaches(at)
	wantCode(t, "another version, heard of later", f.session.writable(), fault.Forked)
}

// A recovery is such a word, too.
func TestRecoveredVaultPassesWhatWasHeard(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	f.compares(grace)
	f.settled()
	b, _ := f.newDeviceOf(c)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	at := b.heardOf(grace, 12, 7)
	if err := b.RecoverDevices(t.Context(), "cellar", []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the vault passes for the newest", func() bool { return b.session.writable() == nil })
	b.settled()
	if list, err := b.session.sync.mail.Echoed(headVault, b.vault.UserID()); err != nil || len(list) == 0 {
		t.Fatal("nothing is tested", err)
	}
	b.passes(at)
}
