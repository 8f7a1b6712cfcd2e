package daemon

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/messages"
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
	r.heard(contact, messages.Head{Type: headVault, ID: r.vault.UserID(), Sequence: at, Hash: [32]byte(bytes.Repeat([]byte{hash}, 32))})
	return at
}

// heard writes down that a contact echoed a head of this account's, and no other of that object.
func (r *running) heard(contact *running, h messages.Head) {
	r.t.Helper()
	b, err := signed.Marshal([]any{[]any{h.Sequence, h.Hash[:], time.Now().Unix()}})
	if err != nil {
		r.t.Fatal(err)
	}
	key := fmt.Sprintf("messages/echo/%s/%s/%s", h.Type, h.ID, contact.vault.UserID())
	if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set(key, b) }); err != nil {
		r.t.Fatal(err)
	}
	if list, err := r.session.sync.mail.Echoed(h.Type, h.ID); err != nil || len(list) == 0 {
		r.t.Fatal("no echo is kept", err)
	}
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

// So it is with device lists, and what was accepted is not found again once the contact echoes so much else that this is forgotten.
func TestTrustedListPassesWhatWasHeard(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	f.compares(grace)
	f.settled()
	b := f.secondMachine(c)
	code := b.ask("attic")
	other := messages.Head{Type: headDevices, ID: f.vault.UserID(), Sequence: f.session.sync.member.Head().Sequence + 1, Hash: [32]byte{7}}
	f.heard(grace, other)
	f.session.forked.Store(true)
	if err := f.TrustVault(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), code, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	found := func() []messages.Finding {
		t.Helper()
		if err := f.session.sync.checkHeads(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.session.sync.mu.Lock()
		defer f.session.sync.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(f.session.sync.findings), func(g messages.Finding) bool { return g.Code != fault.Forked })
	}
	if list := found(); len(list) > 0 || f.session.writable() != nil {
		t.Errorf("%v after the user's word, %v", list, f.session.writable())
	}
	other.Sequence, other.Hash = 1<<40, [32]byte{9}
	f.heard(grace, other) // and nothing else
	if list := found(); len(list) > 0 || f.session.writable() != nil {
		t.Errorf("%v once it is forgotten, %v", list, f.session.writable())
	}
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
