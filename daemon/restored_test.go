package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// backup is a copy of what a coordinator has now.
func (c *coordinatorRig) backup() []byte {
	c.t.Helper()
	var b bytes.Buffer
	if err := c.state.Backup(c.t.Context(), &b); err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

// restore ends the coordinator and starts another one in its place that was restored from a backup.
func (c *coordinatorRig) restore(backup []byte) {
	c.t.Helper()
	c.down()
	c.dir = c.t.TempDir()
	st, err := badgerstore.Open(c.dir, badgerstore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := state.Restore(c.t.Context(), st, bytes.NewReader(backup)); err != nil {
		c.t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.up()
}

// pair are two people at one coordinator who know each other; what they post is written down.
type pair struct {
	t      *testing.T
	c      *coordinatorRig
	posts  posts
	people [2]*running
	dirs   [2]string
	kits   [2][]byte
	sent   [2][]string // titles of the secrets whose sending was acknowledged
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, c: newCoordinator(t, state.Open)}
	p.posts.keys = map[messageKey]map[string]bool{}
	p.posts.reach(p.c.address)
	for who := range p.people {
		p.dirs[who] = t.TempDir()
		a := startAgent(t, p.dirs[who], local)
		res, err := a.Register(t.Context(), RegisterRequest{Email: mailOf(who), Password: []byte(testPassword)})
		if err != nil {
			t.Fatal(err)
		}
		url := p.posts.front(t, who)
		if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{Password: []byte(testPassword), URL: url, Kit: slices.Clone(res.Kit)}); err != nil {
			t.Fatal(err)
		}
		a.settled()
		p.people[who], p.kits[who] = a, res.Kit
	}
	for who, a := range p.people {
		if _, err := a.AddContact(t.Context(), AddContactRequest{User: p.people[1-who].vault.UserID()}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// send sends a secret, which is acknowledged when this returns.
func (p *pair) send(who int) {
	p.t.Helper()
	title := strconv.Itoa(len(p.sent[who]))
	p.sendFrom(p.people[who], who, title)
	p.sent[who] = append(p.sent[who], title)
}

func (p *pair) sendFrom(a *running, who int, title string) {
	p.t.Helper()
	to := p.people[1-who].vault.UserID()
	body := []byte(fmt.Sprint(mailOf(who), title))
	if _, _, err := a.SendSecret(p.t.Context(), SendSecretRequest{To: to, Title: title, Body: body, Unverified: true}); err != nil {
		p.t.Fatal(err)
	}
}

// accepted waits until the coordinator took what a person sent.
func (p *pair) accepted(who int) {
	p.t.Helper()
	eventually(p.t, "accepted by the coordinator", func() bool {
		waiting, err := p.people[who].session.sync.mail.Waiting()
		return err == nil && len(waiting) == 0
	})
}

// titles of the secrets that an agent has from somebody.
func titlesFrom(t *testing.T, a *running, from string) (list []string) {
	t.Helper()
	all, err := a.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.From == from {
			list = append(list, s.Title)
		}
	}
	slices.Sort(list)
	return list
}

// complete waits until everybody has what was sent, once, and nothing was set aside or encrypted twice with one key.
func (p *pair) complete() {
	p.t.Helper()
	for who, a := range p.people {
		want := slices.Sorted(slices.Values(p.sent[1-who]))
		from := p.people[1-who].vault.UserID()
		defer func() {
			if got := titlesFrom(p.t, a, from); !slices.Equal(got, want) {
				p.t.Errorf("%s has %q, want %q", mailOf(who), got, want)
			}
		}()
		eventually(p.t, mailOf(who)+" has everything", func() bool { return len(titlesFrom(p.t, a, from)) >= len(want) })
		a.settled()
		if asides, err := a.session.sync.mail.Asides(); err != nil || len(asides) > 0 {
			p.t.Errorf("set aside by %s: %v, %v", mailOf(who), asides, err)
		}
		if faults, err := a.session.sync.mail.Faults(); err != nil || len(faults) > 0 {
			p.t.Errorf("faults at %s: %v, %v", mailOf(who), faults, err)
		}
	}
	if n := p.posts.twice(); n > 0 || p.posts.bad != nil {
		p.t.Errorf("%d message keys twice, %v", n, p.posts.bad)
	}
}

// putBack has an agent give the coordinator what it lost.
func (r *running) putBack() CoordinatorRestored {
	r.t.Helper()
	done, err := r.RestoreCoordinator(r.t.Context(), RestoreCoordinatorRequest{Password: []byte(testPassword)})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(done.Left) > 0 {
		r.t.Errorf("left as they are: %v", done.Left)
	}
	return done
}

func repeats(t *testing.T, n int) int {
	if s := os.Getenv("COLDFRAME_RESTORES"); s != "" {
		return atoi(t, s)
	}
	if testing.Short() {
		return 1
	}
	return min(n, 4) // all of them in a step of .ci/run of their own
}

// TestF14_CoordinatorLosesItsLastSeconds has a coordinator restored from a backup, 20 times, while two people send each other secrets: of what it
// took, and what the two received, since the backup it knows nothing. Everything that was acknowledged is there in the end, once, and no message key
// made two messages.
func TestF14_CoordinatorLosesItsLastSeconds(t *testing.T) {
	p := newPair(t)
	p.send(0)
	p.send(1)
	p.complete()
	for i := range repeats(t, 20) {
		backup := p.c.backup()
		for who := range p.people {
			p.send(who)
			p.send(who)
		}
		if i%3 > 0 {
			p.complete() // received as well
		} else {
			p.accepted(0)
			p.accepted(1)
		}
		p.send(i % 2) // taken, or still in the outbox
		p.c.restore(backup)
		for _, a := range p.people {
			if done := a.putBack(); !done.Vault {
				t.Errorf("%+v", done)
			}
		}
		p.complete()
		p.send(0)
		p.send(1)
		p.complete()
		if t.Failed() {
			t.Fatalf("in round %d", i)
		}
	}
	for _, a := range p.people {
		if n := a.countEvents(EventCoordinatorOlder); n < 1 {
			t.Errorf("%d events of the restore", n)
		}
	}
}

// laptop makes a second machine of the first person, approved by the first one.
func (p *pair) laptop() *running {
	p.t.Helper()
	desk := p.people[0]
	a := startAgent(p.t, p.t.TempDir(), local)
	item, err := desk.coordinatorItem()
	if err != nil {
		p.t.Fatal(err)
	}
	desk.admit(a, item.URL, p.kits[0])
	return a
}

// headOfVault is how often a vault was written, as a machine knows it.
func headOfVault(t *testing.T, a *running) uint64 {
	t.Helper()
	n, _, err := a.vault.Head()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestF14_DeviceAndContactSinceTheBackup loses the approval of a device, a contact and what the device sent: the device brings it all back, and then
// the first machine finds nothing missing.
func TestF14_DeviceAndContactSinceTheBackup(t *testing.T) {
	p := newPair(t)
	p.send(0)
	p.send(1)
	p.complete()
	bob := newPerson(t, p.c, "bob@example.org")
	backup := p.c.backup()
	laptop := p.laptop()
	if _, err := laptop.AddContact(t.Context(), AddContactRequest{User: bob.vault.UserID(), Name: "Bob"}); err != nil {
		t.Fatal(err)
	}
	p.sendFrom(laptop, 0, "of the laptop")
	p.sent[0] = append(p.sent[0], "of the laptop")
	p.send(1)
	p.complete()
	eventually(t, "both machines have the same vault", func() bool {
		return p.people[0].session.sync.idle() == nil && laptop.session.sync.idle() == nil && headOfVault(t, laptop) == headOfVault(t, p.people[0])
	})
	p.c.restore(backup)
	if done := laptop.putBack(); !done.Vault || done.Links < 1 || done.Records < 2 {
		t.Errorf("%+v", done)
	}
	if done := p.people[0].putBack(); done.Vault || done.Links > 0 {
		t.Errorf("once more: %+v", done)
	}
	p.people[1].putBack()
	bob.putBack()
	p.complete()
	p.sendFrom(laptop, 0, "after it")
	p.sent[0] = append(p.sent[0], "after it")
	p.send(0)
	p.send(1)
	p.complete()
	from := p.people[1].vault.UserID()
	eventually(t, "the laptop has it", func() bool { return len(titlesFrom(t, laptop, from)) == len(p.sent[1]) })
	for _, a := range []*running{laptop, p.people[0]} {
		list, err := a.Devices(t.Context())
		if err != nil || len(list.Devices) != 2 {
			t.Errorf("devices %v, %v", list, err)
		}
		contacts, err := a.Contacts(t.Context())
		if err != nil || len(contacts) != 2 {
			t.Errorf("contacts %v, %v", contacts, err)
		}
	}
}

// TestF14_OlderMachineFirst has the machine that knows less give its state back first, and go on: what the other one sent meanwhile, with keys that this one
// does not know of, comes, and no key is used twice. The other one says that it was overtaken, and overwrites nothing.
func TestF14_OlderMachineFirst(t *testing.T) {
	p := newPair(t)
	desk := p.people[0]
	laptop := p.laptop()
	p.send(0)
	p.send(1)
	p.complete()
	laptop.settled()
	if err := desk.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	backup := p.c.backup()
	for _, title := range []string{"x", "y", "z"} {
		p.sendFrom(laptop, 0, title)
		p.sent[0] = append(p.sent[0], title)
	}
	eventually(t, "taken by the coordinator", func() bool {
		waiting, err := laptop.session.sync.mail.Waiting()
		return err == nil && len(waiting) == 0
	})
	laptop.settled()
	p.c.restore(backup)
	desk.unlock()
	desk.putBack()
	p.people[1].putBack()
	for range 3 {
		p.send(0)
	}
	p.accepted(0)
	_, err := laptop.RestoreCoordinator(t.Context(), RestoreCoordinatorRequest{Password: []byte(testPassword)})
	wantCode(t, "the machine that was overtaken", err, fault.Forked)
	desk.settled()
	grace := p.people[1]
	eventually(t, "what both sent", func() bool { return len(titlesFrom(t, grace, desk.vault.UserID())) >= len(p.sent[0]) })
	grace.settled()
	if got := titlesFrom(t, grace, desk.vault.UserID()); !slices.Equal(got, slices.Sorted(slices.Values(p.sent[0]))) {
		t.Errorf("she has %q, want %q", got, p.sent[0])
	}
	if n := p.posts.twice(); n > 0 || p.posts.bad != nil {
		t.Errorf("%d message keys twice, %v", n, p.posts.bad)
	}
}

// TestF14_PasswordSinceTheBackup has a restored coordinator know the former password only.
func TestF14_PasswordSinceTheBackup(t *testing.T) {
	p := newPair(t)
	p.send(0)
	p.send(1)
	p.complete()
	backup := p.c.backup()
	ada := p.people[0]
	ada.changePasswordTo(testPassword, nextPassword)
	ada.settled()
	p.send(0)
	p.accepted(0)
	p.c.restore(backup)
	request := RestoreCoordinatorRequest{Password: []byte(nextPassword)}
	_, err := ada.RestoreCoordinator(t.Context(), request)
	wantCode(t, "a coordinator that knows the former password", err, fault.Forbidden)
	request = RestoreCoordinatorRequest{Password: []byte(nextPassword), Kit: slices.Clone(p.kits[0])}
	if _, err := ada.RestoreCoordinator(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.people[1].putBack()
	p.complete()
	item, err := ada.coordinatorItem()
	if err != nil {
		t.Fatal(err)
	}
	proof, err := ada.vault.LoginProof(t.Context(), []byte(nextPassword))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.c.login(ada.vault.UserID(), proof.For(item.URL).Bytes()); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

// TestF24_OlderLocalStore starts an agent from an older copy of its folder at a coordinator that is further on: it takes over what the coordinator has,
// sends nothing twice, and uses no key twice.
func TestF24_OlderLocalStore(t *testing.T) {
	p := newPair(t)
	p.send(0)
	p.send(1)
	p.complete()
	for range repeats(t, 3) {
		older := filepath.Join(t.TempDir(), "older")
		p.restart(0, func(data string) {
			if err := os.CopyFS(older, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
		})
		p.send(0)
		p.send(1)
		p.complete()
		p.send(1)
		p.send(0)
		p.accepted(0)
		p.restart(0, func(data string) {
			if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(older)), private(data)); err != nil {
				t.Fatal(err)
			}
		})
		p.complete()
		p.send(0)
		p.send(1)
		p.complete()
	}
}

// private takes a copied folder's modes from others, as the agent wants it.
func private(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return errors.Join(err, os.Chmod(path, 0o600))
	})
}

// restart ends an agent, does something with its data folder, and starts it again.
func (p *pair) restart(who int, between func(data string)) {
	p.t.Helper()
	if err := p.people[who].stop(); err != nil {
		p.t.Fatal(err)
	}
	between(p.people[who].Config().Folders.Data)
	p.people[who] = startAgent(p.t, p.dirs[who], local)
	p.people[who].unlock()
	p.people[who].settled()
}

// Where there are two of the vault nothing is posted again, until a person decided.
func TestNothingIsRepostedWhileForked(t *testing.T) {
	p := newPair(t)
	p.send(0)
	p.complete()
	y := p.people[0].session.sync
	asked := func() bool {
		err := y.a.db.View(func(tx *kv.Tx) error { _, err := tx.Get("messages/repost"); return err })
		if err != nil && !errors.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	y.s.forked.Store(true)
	if err := y.mail.Restored(); err != nil {
		t.Fatal(err)
	}
	if y.repost(t.Context()); !asked() {
		t.Error("posted again by a machine with two of the vault")
	}
	y.s.forked.Store(false)
	if y.repost(t.Context()); asked() {
		t.Error("not posted again")
	}
}
