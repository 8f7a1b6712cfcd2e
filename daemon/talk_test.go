package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
)

// Children of TestF03_KilledWhileTheySend, by the value of childVariable.
const (
	childIsTalker      = "talker"
	childIsCoordinator = "coordinator"
)

// childCoordinator serves the store in a folder until it is killed, and says where.
func childCoordinator(in io.Reader, out io.Writer) error {
	var dir string
	if err := json.NewDecoder(in).Decode(&dir); err != nil {
		return err
	}
	st, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	all, err := state.New(ctx, st, state.Options{Registration: state.Open, Cost: storetest.CheapCost})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "listening", l.Addr())
	return server.New(all, server.Options{Rates: server.Rates{}, Heartbeat: time.Second}).Serve(ctx, l)
}

// talk is what an agent that sends secrets is told first.
type talk struct {
	Dir, Mail, URL string
	Peer           string // user to send to; empty: none is known yet
	Doubt          int    // number of a secret whose sending was not acknowledged, or 0
	Next           int    // number of the next new one
}

// command is what it is told later.
type command struct {
	Do   string // "contact", "wake", "stop" or "report"
	Mail string // of the contact
}

// talkReport is what an agent has, and whether it has more to do.
type talkReport struct {
	Busy          string // why it is not done; empty: it is
	Outbox, Aside int
	Secrets       []heldSecret
	Events        map[string]int
}

type heldSecret struct {
	From, Title, State string
	Sum                [32]byte // SHA-256 of the body
}

// talkSecret is the nth secret that a user sends: its id and its body.
func talkSecret(user string, n int) (id string, body []byte) {
	seed := sha256.Sum256(fmt.Appendf(nil, "secret %d of %s", n, user))
	body = bytes.Repeat(seed[16:], n%40)
	return fmt.Sprintf("%x", seed[:16]), append(body, seed[:n%16]...)
}

// talker is an agent that sends secrets until it is killed.
type talker struct {
	*Agent
	ctx      context.Context
	stopping atomic.Bool

	mu  sync.Mutex
	out io.Writer
}

func (t *talker) say(what ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.out, what...)
}

func childTalker(in io.Reader, out io.Writer) error {
	var o talk
	dec := json.NewDecoder(in)
	if err := dec.Decode(&o); err != nil {
		return err
	}
	config := testConfig(o.Dir)
	local(&config, nil)
	a, err := New(config, Options{Profile: cheap})
	if err != nil {
		return err
	}
	t := &talker{Agent: a, ctx: context.Background(), out: out}
	go a.Run(t.ctx) //nolint:errcheck // it ends with the process
	<-a.Ready()
	if err := t.open(o); err != nil {
		return err
	}
	t.say("open", a.vault.UserID())
	if o.Peer != "" {
		go t.send(o)
	}
	for {
		var c command
		if err := dec.Decode(&c); err != nil {
			return err
		}
		if err := t.obey(c); err != nil {
			return err
		}
	}
}

func (t *talker) open(o talk) error {
	if t.vaultState() != StateUnregistered {
		return t.Unlock(t.ctx, UnlockRequest{Password: []byte(testPassword)})
	}
	if _, err := t.Register(t.ctx, RegisterRequest{Email: o.Mail, Password: []byte(testPassword)}); err != nil {
		return err
	}
	_, err := t.ConnectCoordinator(t.ctx, CoordinatorRequest{Password: []byte(testPassword), URL: o.URL})
	return err
}

func (t *talker) obey(c command) error {
	switch c.Do {
	case "contact":
		if _, err := t.AddContact(t.ctx, AddContactRequest{Email: c.Mail}); err != nil {
			t.say("stranger", fault.CodeOf(err))
			return nil
		}
		t.say("contact")
	case "wake":
		if l := t.session.currentLink(); l.Link != nil {
			l.Wake()
		}
	case "stop":
		t.stopping.Store(true)
	case "report":
		return t.report()
	}
	return nil
}

// send sends one secret after the other, each until it is acknowledged, and waits while some have not left: that is a person who sees that
// what they sent is still there.
func (t *talker) send(o talk) {
	n := o.Doubt
	if n == 0 {
		n = o.Next
	}
	for ; ; n++ {
		t.say("begin", n)
		for err := t.sendOne(o.Peer, n); err != nil; err = t.sendOne(o.Peer, n) {
			if !errors.Is(err, fault.Unavailable) { // the coordinator is not there
				t.say("error sending", n, err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.say("ack", n)
		for t.manyWait() && !t.stopping.Load() {
			time.Sleep(2 * time.Millisecond)
		}
		if t.stopping.Load() {
			t.say("stopped")
			return
		}
	}
}

func (t *talker) sendOne(peer string, n int) error {
	id, body := talkSecret(t.vault.UserID(), n)
	_, _, err := t.SendSecret(t.ctx, SendSecretRequest{ID: id, To: peer, Title: strconv.Itoa(n), Body: body, Unverified: true})
	return err
}

func (t *talker) manyWait() bool {
	out, err := t.session.sync.mail.Waiting()
	return err == nil && len(out) > 2
}

func (t *talker) report() error {
	r := talkReport{Events: map[string]int{}}
	if err := t.session.sync.idle(); err != nil {
		r.Busy = err.Error()
	}
	out, err := t.session.sync.mail.Waiting()
	if err != nil {
		return err
	}
	aside, err := t.session.sync.mail.Asides()
	if err != nil {
		return err
	}
	r.Outbox, r.Aside = len(out), len(aside)
	list, err := t.Secrets(t.ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		full, err := t.Secret(t.ctx, s.Ref)
		if err != nil {
			return err
		}
		r.Secrets = append(r.Secrets, heldSecret{full.From, full.Title, full.State, sha256.Sum256(full.Body)})
	}
	events, err := t.events.after(0)
	if err != nil {
		return err
	}
	for _, e := range events {
		r.Events[e.Type]++
	}
	b, err := json.Marshal(r)
	t.say("report", string(b))
	return err
}

// child runs what childVariable says.
func child(what string, in io.Reader, out io.Writer) error {
	switch what {
	case childIsTalker:
		return childTalker(in, out)
	case childIsCoordinator:
		return childCoordinator(in, out)
	}
	return childAgent(in, out)
}
