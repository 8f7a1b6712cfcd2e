package daemon

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
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
	kits   [2][]byte
	sent   [2][]string // titles of the secrets whose sending was acknowledged
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, c: newCoordinator(t, state.Open)}
	p.posts.keys = map[messageKey]map[string]bool{}
	p.posts.reach(p.c.address)
	for who := range p.people {
		a := startAgent(t, t.TempDir(), local)
		res, err := a.Register(t.Context(), RegisterRequest{Email: mailOf(who), Password: []byte(testPassword)})
		if err != nil {
			t.Fatal(err)
		}
		url := p.posts.front(t, who)
		if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{Password: []byte(testPassword), URL: url}); err != nil {
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
	done, err := r.RestoreCoordinator(r.t.Context(), []byte(testPassword))
	if err != nil {
		r.t.Fatal(err)
	}
	if len(done.Wrong) > 0 {
		r.t.Errorf("left as they are: %v", done.Wrong)
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
	return n
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
