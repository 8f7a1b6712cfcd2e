package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"coldframe/coordinator"
	"coldframe/daemon/contacts"
	"coldframe/daemon/devices"
	"coldframe/daemon/link"
	"coldframe/daemon/membership"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// newSyncer makes what works with the coordinator for a session whose keys are loaded. own is taken over.
func (a *Agent) newSyncer(s *session, own ratchet.Local) (y *syncer, err error) {
	y = &syncer{a: a, s: s, own: own, client: s.client, poked: make(chan struct{}, 1), failures: map[task]fault.Code{}, due: allTasks}
	y.records = remote.NewRecords(s.awaitClient)
	y.directory = remote.NewDirectory(s.awaitClient)
	y.book, err = contacts.New(contacts.Options{
		Own:   contacts.Own{User: s.user, Identity: s.identity, Signing: s.signer.Public()},
		Vault: a.vault, Directory: y.directory, Sender: queue{y}, EmailHash: keystore.EmailHash,
		Clock: a.clock.Now, Notify: a.contactEvent,
	})
	if err != nil {
		return nil, err
	}
	if y.member, y.memberErr = a.newMember(s, s.awaitClient); y.memberErr != nil { // which must not keep the account closed
		a.log.Warn("this machine is no device of its user", failure(y.memberErr)...)
	}
	y.mail = messages.New(messages.Config{
		Local: &y.own, DB: a.db, LocalKey: s.local.key, LocalID: s.local.id, StateKeys: stateKeys{y},
		Blobs: remote.NewBlobs(y.client, s.user), Mailbox: remote.Mailbox{Client: y.client}, Bundles: y.book, Contacts: y.book, Gate: gateOf{y.book},
		Handlers: map[string]messages.Handler{contacts.KindSecret: y.takeSecret},
		MaySend:  func(_ context.Context, peer string) error { return y.book.MaySend(peer) },
		Standing: standingOf(y.book), Heads: y.ownHeads, Event: a.messageEvent, Now: a.clock.Now,
	})
	a.vault.Connect(a.replica(s.awaitClient))
	return y, nil
}

func (a *Agent) newMember(s *session, client remote.Client) (*membership.Member, error) {
	name, err := os.Hostname()
	if err != nil || name == "" || len(name) > devices.MaxName {
		name = "agent"
	}
	user, err := uuid.Parse(s.user)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the user's id is none")
	}
	if _, err := a.deviceID(s.user); err != nil { // makes the key of a machine that has none
		return nil, err
	}
	return membership.New(membership.Options{
		User: devices.UserID(user), Signer: s.signer, Sealer: seal.NewSealer(s.local.key, s.local.id, devices.Purpose),
		KeyFile: a.deviceFile(), Files: atomicfile.OS,
		Links: remote.Links{Client: client}, Records: remote.NewRecords(client),
		Memory: deviceMemory{a, s, membershipKey, "kept"}, History: deviceMemory{a, s, historyKey, "history"},
		Remembered: a.notedDevices, Note: a.noteDevices, Name: name, Now: a.clock.Now,
		MayBegin: func(context.Context) error { return a.mayBegin(s) },
	})
}

// stateKeys are those of the device list; there are none on a machine whose device key cannot be read.
type stateKeys struct{ y *syncer }

// Current implements messages.StateKeys.
func (k stateKeys) Current(ctx context.Context) (uint64, secret.Key, error) {
	if k.y.member == nil {
		return 0, secret.Key{}, fault.Wrap(fault.Locked, k.y.memberErr, "there is no state key")
	}
	return k.y.member.Current(ctx)
}

// At implements messages.StateKeys.
func (k stateKeys) At(ctx context.Context, epoch uint64) (secret.Key, error) {
	if k.y.member == nil {
		return secret.Key{}, fault.Wrap(fault.Locked, k.y.memberErr, "there is no state key")
	}
	return k.y.member.At(ctx, epoch)
}

// client returns the coordinator's client of the present connection: fault.Unavailable without one.
func (s *session) client() (*coordinator.Client, error) {
	l := s.currentLink()
	if l.Link == nil {
		return nil, fault.New(fault.Unavailable, "no coordinator is set")
	}
	return l.Client()
}

// runSync lets the rounds of a session run until it closes.
func (a *Agent) runSync(s *session) {
	_, ctx, leave, ok := a.enterWork(context.Background())
	if !ok {
		return
	}
	go func() {
		defer leave()
		s.sync.run(ctx)
	}()
}

// notice asks for what an event of the coordinator is about; name is that of the blob, if it is about one.
func (y *syncer) notice(kind, name string) {
	if kind == "resync" {
		y.rescan.Store(true)
	}
	if strings.HasPrefix(name, freshPrefix) || strings.HasPrefix(name, vaultHeadPrefix) {
		y.add(taskDevices)
	}
	y.poke(noticed[kind])
}

// online asks for everything, over a connection that was just made.
func (y *syncer) online(context.Context) {
	y.connected.Store(true)
	y.arrivals.Add(1)
	y.poke(allTasks)
}

// peopleChanged asks for what a change of a contact lets go or come.
func (y *syncer) peopleChanged(user string, kind peopleChange) {
	var err error
	switch kind {
	case contactTookNew:
		err = errors.Join(y.mail.Restart(user), y.mail.Hurry(user))
	case contactAdded, contactAccepted, contactVerified, contactKeptOld:
		err = y.mail.Hurry(user)
	}
	if err != nil {
		y.a.log.Warn("what waits for a contact is not hurried", failure(err)...)
	}
	if kind != secretQueued {
		y.rescan.Store(true)
	}
	y.poke(taskReceive | taskSend)
}

// connectTime is how long a call waits for a connection that is being made, as right after an unlock; less than drainTime.
const connectTime = 3 * time.Second

// awaitClient is client for calls of a person, who may be faster than the link: it waits while that connects.
func (s *session) awaitClient() (*coordinator.Client, error) {
	for until := time.Now().Add(connectTime); ; time.Sleep(20 * time.Millisecond) {
		l := s.currentLink()
		if c, err := s.client(); err == nil {
			return c, nil
		}
		if l.Link == nil || l.stopped() || l.Status().State != link.Connecting || time.Now().After(until) {
			return s.client()
		}
	}
}

// wipe ends the use of all keys.
func (y *syncer) wipe() {
	y.mail.Wipe()
	if y.member != nil {
		y.member.Close()
	}
	y.own.Identity.Wipe()
}

// localOf returns the user's end of all sessions. Every device of the user has the same registration id (14 bits, not 0), which is made of
// the identity key: SHA-256("coldframe/v1/registration-id" ‖ 0 ‖ public key).
func localOf(user string, identity ratchet.Identity) ratchet.Local {
	public := identity.Public()
	sum := sha256.Sum256(append([]byte("coldframe/v1/registration-id\x00"), public[:]...))
	id := binary.BigEndian.Uint32(sum[:])&0x3fff | 1
	return ratchet.Local{Identity: identity, Address: ratchet.Address{Name: user, Device: 1}, RegistrationID: id}
}

// gateOf lets everybody's messages be opened but those of who is blocked. What strangers send waits in the book, for consent.
type gateOf struct{ book *contacts.Book }

// Admit implements messages.Gate.
func (g gateOf) Admit(_ context.Context, sender string) (messages.Verdict, error) {
	c, err := g.book.Get(sender)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return messages.Accept, nil
	case err != nil:
		return messages.Hold, err
	case c.State == contacts.StateBlocked:
		return messages.Drop, nil
	}
	return messages.Accept, nil
}
