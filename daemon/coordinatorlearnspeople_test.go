package daemon

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/keystore"
)

// TestG03_CoordinatorLearnsNothingOfPeople looks through all that a coordinator was sent, has stored and has logged while two people with
// three machines did everything that goes through it: contacts, a stranger's secret, others, a second machine, its removal, a new password.
func TestG03_CoordinatorLearnsNothingOfPeople(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, grace := newFirstMachine(t, c, "canary.ada@example.org"), newFirstMachine(t, c, "canary.grace@example.org")
	planted := ada.plants()
	hidden := map[string]string{"the address' domain": "@example.org"}
	for _, text := range []string{ // all that people write below
		"canary weather", "canary_column", "canary rainfall", "canary called grace", "canary called ada",
		"canary first title", "canary first body", "canary second title", "canary second body", "canary third title", "canary third body",
		"canary kitchen", "canary laptop",
		ada.vault.Email(), grace.vault.Email(), testPassword, otherPassword,
	} {
		hidden[text] = text
	}
	for whose, f := range map[string]*firstMachine{"ada's": ada, "grace's": grace} {
		f.hides(hidden, whose+" first")
		f.hidesKeyFile(hidden, whose)
		f.hidesKit(hidden, whose)
	}

	ada.mustWrite(WriteRequest{Dataset: ada.create("canary weather")}, "canary_column,n\ncanary rainfall,1\n")
	if err := ada.RenameDevice(t.Context(), ada.keyFileID(), "canary kitchen"); err != nil {
		t.Fatal(err)
	}
	ada.befriends(grace)
	laptop := ada.secondListed(c, "canary laptop", hidden)
	grace.sends(ada.user, "canary second title", "canary second body")
	laptop.receives("canary second title")
	laptop.hidesKeyFile(hidden, "the laptop's")
	ada.withoutDevice(laptop)
	grace.sends(ada.user, "canary third title", "canary third body")
	ada.receives("canary third title")
	if err := ada.ChangePassword(t.Context(), []byte(testPassword), []byte(otherPassword)); err != nil {
		t.Fatal(err)
	}
	ada.settled()
	grace.settled()
	ada.hides(hidden, "ada's last")
	grace.hides(hidden, "grace's last")
	nowhere(t, c, hidden)
	controls(t, c, ada, planted)
}

// befriends sends a secret to somebody who does not know this user yet, who consents; both compare the safety number.
func (f *firstMachine) befriends(other *firstMachine) {
	t := f.t
	t.Helper()
	if _, err := f.AddContact(t.Context(), AddContactRequest{Email: other.vault.Email(), Name: "canary called grace"}); err != nil {
		t.Fatal(err)
	}
	f.verifies(other.user)
	f.sends(other.user, "canary first title", "canary first body")
	eventually(t, "a stranger who asks", func() bool {
		who, err := other.Contact(t.Context(), f.user)
		return err == nil && who.State == ContactAsked
	})
	_, err := other.AcceptContact(t.Context(), f.user)
	if err == nil {
		_, err = other.RenameContact(t.Context(), f.user, "canary called ada")
	}
	if err != nil {
		t.Fatal(err)
	}
	other.verifies(f.user)
	other.receives("canary first title")
}

func (r *running) verifies(user string) {
	r.t.Helper()
	n, err := r.SafetyNumbers(r.t.Context(), user)
	if err == nil {
		_, err = r.VerifyContact(r.t.Context(), user, Comparison{Number: n.Digits})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) sends(to, title, body string) {
	r.t.Helper()
	if _, _, err := r.SendSecret(r.t.Context(), SendSecretRequest{To: to, Title: title, Body: []byte(body)}); err != nil {
		r.t.Fatal(err)
	}
}

// receives waits for a secret of a title.
func (r *running) receives(title string) {
	r.t.Helper()
	eventually(r.t, title, func() bool {
		list, err := r.Secrets(r.t.Context())
		for _, s := range list {
			if err == nil && s.Title == title && s.State == "received" {
				return true
			}
		}
		return false
	})
}

// secondListed is a second machine that this one approved, with a code that the coordinator must not see either.
func (f *firstMachine) secondListed(c *coordinatortest.Coordinator, name string, hidden map[string]string) *running {
	f.t.Helper()
	b := f.secondMachine(c)
	code := b.ask(name)
	hidden["the code"], hidden["the code's digits"] = string(code), strings.ReplaceAll(string(code), " ", "")
	if err := f.ApproveDevice(f.t.Context(), b.keyFileID(), code, []byte(testPassword)); err != nil {
		f.t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	b.settled()
	return b
}

// withoutDevice removes a machine, and waits until everything is sealed under another state key.
func (f *firstMachine) withoutDevice(b *running) {
	f.t.Helper()
	m := f.session.sync.member
	before, _, err := m.Current(f.t.Context())
	if err == nil {
		err = f.RemoveDevice(f.t.Context(), b.keyFileID(), []byte(testPassword))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "sealed anew", func() bool {
		after, _, err := m.Current(f.t.Context())
		_, needed := m.NeedsReseal()
		return err == nil && after > before && !needed
	})
}

// hides notes what only this user's machines may have: keys of the vault, of the kit, of now, and of the machine.
func (r *running) hides(hidden map[string]string, whose string) {
	r.t.Helper()
	s := r.session
	identity := s.sync.own.Identity.Key()
	_, state, err := s.sync.member.Current(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for name, key := range map[string][]byte{
		"identity key": identity.Bytes(), "signing key": s.signer.Key.Bytes(), "local key": s.local.key.Bytes(), "state key": state.Bytes(),
	} {
		if len(key) < 32 {
			r.t.Fatalf("%s: %d bytes", name, len(key))
		}
		hidden[whose+" "+name] = string(key[:32])
	}
}

// hidesKeyFile notes the keys of this machine, which are where docs/devices.md says; behind them is a hash of a public key, no secret.
func (r *running) hidesKeyFile(hidden map[string]string, whose string) {
	r.t.Helper()
	file, err := os.ReadFile(r.deviceFile())
	if err != nil || len(file) != 39+105+32 || file[37] != 3 || file[38] != 1 {
		r.t.Fatalf("the device key file has %d bytes, %v", len(file), err)
	}
	hidden[whose+" HPKE key"], hidden[whose+" author key"] = string(file[48:80]), string(file[80:112])
}

// hidesKit notes the keys of a recovery kit, as they are and as they are printed.
func (f *firstMachine) hidesKit(hidden map[string]string, whose string) {
	f.t.Helper()
	for line := range strings.Lines(string(f.kit)) {
		label, value, _ := strings.Cut(line, ": ")
		if value, _, _ = strings.Cut(value, " "); !strings.HasSuffix(label, "key") {
			continue
		}
		plain := strings.ReplaceAll(value, "-", "")
		key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
		if err != nil || len(key) < 16 {
			f.t.Fatalf("%s of %d bytes, %v", label, len(key), err)
		}
		hidden[whose+" "+label], hidden[whose+" printed "+label], hidden[whose+" "+label+" in base32"] = string(key), value, plain
	}
}

// nowhere fails if the coordinator has any of these.
func nowhere(t *testing.T, c *coordinatortest.Coordinator, hidden map[string]string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(hidden))
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = hidden[name]
	}
	for _, found := range c.Leaks(texts...) {
		var i int
		if _, err := fmt.Sscanf(found, "canary %d:", &i); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: %s", names[i], found)
	}
}

// plants puts a key where the coordinator sees it.
func (f *firstMachine) plants() string {
	f.t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	swap := coordinator.Swap{
		Name: "a-planted-one", Counter: 1, Previous: make([]byte, coordinator.HashSize), Nonce: make([]byte, coordinator.NonceSize), Body: key,
	}
	if _, err := f.client.Swap(f.t.Context(), swap); err != nil {
		f.t.Fatal(err)
	}
	return string(key)
}

// controls fails unless what the coordinator has is found: a search that finds nothing shows nothing.
func controls(t *testing.T, c *coordinatortest.Coordinator, f *firstMachine, planted string) {
	t.Helper()
	hash, err := keystore.EmailHash(f.vault.Email())
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(c.Leaks(f.user, string(hash[:]), string(f.identity[:]), planted), "\n")
	for i, places := range [][]string{
		{"received bytes", "store of branch 0", "files"},
		{"request", "store of branch 0", "files"},
		{"request", "store of branch 0"},
		{"request", "store of branch 0", "files"},
	} {
		for _, place := range places {
			if !strings.Contains(found, fmt.Sprintf("canary %d: %s", i, place)) {
				t.Errorf("control %d was not found in %s:\n%s", i, place, found)
			}
		}
	}
	if c.Log() == "" {
		t.Error("nothing was logged")
	}
}
