package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
)

// Types of events about what a person decided of sessions and findings.
const (
	EventSessionRestarted = "session.restarted" // the record of a session was given up
	EventHeadsCleared     = "heads.cleared"     // what contacts said of an object was forgotten
)

// doubts fills in what contacts say that does not agree, and which sessions are refused.
func (y *syncer) doubts(st *SyncStatus) error {
	forks, err := y.mail.Forks()
	faults, also := y.mail.Faults()
	y.mu.Lock()
	found := slices.Clone(y.findings)
	y.mu.Unlock()
	for _, f := range found {
		st.Findings = append(st.Findings, HeadFinding{Object: f.Type, Code: f.Code, Contact: f.Peer, Verified: y.verified(f.Peer)})
	}
	for _, f := range forks {
		st.Findings = append(st.Findings, HeadFinding{
			Object: f.Type, Owner: f.ID, Code: fault.Forked, Contact: f.Peer, Verified: y.verified(f.Peer),
		})
	}
	for peer, code := range faults {
		st.Refused = append(st.Refused, SessionFault{peer, code})
	}
	slices.SortFunc(st.Refused, func(a, b SessionFault) int { return cmp.Compare(a.Contact, b.Contact) })
	return errors.Join(err, also)
}

// stuck reports whether something with messages waits for more than another try: prekeys or the mailbox are refused or have no room, or a session's record is.
func (y *syncer) stuck() bool {
	if !y.a.hasCoordinator() {
		return false
	}
	for _, t := range []task{taskPreKeys, taskReceive} {
		if code := y.failure(t); isRefusal(code) || code == fault.StorageFull || code == fault.Conflict && t == taskPreKeys {
			return true
		}
	}
	faults, err := y.mail.Faults()
	return err == nil && len(faults) > 0
}

// verified reports whether the safety number of a contact was compared.
func (y *syncer) verified(user string) bool {
	if user == "" {
		return false
	}
	c, err := y.book.Known(user)
	return err == nil && c.Verified.Date != 0
}

// RestartSession gives up the record of the session with a contact that was refused, or that of the prekeys without one: the next message
// begins another. Prekeys are removed at the coordinator first, whoever uploaded them. It asks for the password again (L23), and wipes it. Errors: those of
// contacts.Book.MaySend; without a contact fault.Unavailable if the coordinator is not reached, and fault.Forbidden if it knows another password.
func (a *Agent) RestartSession(ctx context.Context, contact string, password []byte) error {
	return a.decide(ctx, password, func(s *session) error {
		y := s.sync
		if err := s.oneOfTheDevices(); err != nil {
			return err
		}
		if err := y.restart(ctx, contact, password); err != nil {
			return err
		}
		y.rescan.Store(true)
		y.poke(taskPreKeys | taskReceive | taskSend)
		a.event(Event{Type: EventSessionRestarted, Contact: contact})
		return nil
	})
}

func (y *syncer) restart(ctx context.Context, contact string, password []byte) error {
	if contact == "" {
		return y.restartPreKeys(ctx, password)
	}
	if err := y.book.MaySend(contact); err != nil {
		return err
	}
	return y.mail.Restart(contact)
}

// restartPreKeys gives the prekeys up, here and at the coordinator: no bundle of before can be answered any more.
func (y *syncer) restartPreKeys(ctx context.Context, password []byte) error {
	y.offering.Lock()
	defer y.offering.Unlock()
	if err := y.withdrawPreKeys(ctx, password); err != nil {
		return err
	}
	if err := y.forgetOffered(); err != nil {
		return err
	}
	return y.mail.Restart("")
}

// withdrawPreKeys removes what the coordinator hands out for the account, with the proof of its login: whoever stole a token has none.
func (y *syncer) withdrawPreKeys(ctx context.Context, password []byte) error {
	_, err := y.a.coordinatorItem()
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	proof, err := y.a.vault.LoginProof(ctx, password)
	if err != nil {
		return err
	}
	defer proof.Wipe()
	return y.directory.Withdraw(ctx, proof)
}

// ClearFindingRequest names what is forgotten: what contacts say of an object. Password is wiped.
type ClearFindingRequest struct {
	Object   string
	Owner    string // user; empty: this account
	Contact  string // whose word; empty: everybody's
	Password []byte
}

// ClearFinding forgets what contacts say of an object, as a person has looked who is in the right. What they still say is found again. It
// asks for the password again (L23). fault.NotFound: nobody says anything.
func (a *Agent) ClearFinding(ctx context.Context, r ClearFindingRequest) error {
	return a.decide(ctx, r.Password, func(s *session) error {
		owner := cmp.Or(r.Owner, s.user)
		if err := s.sync.mail.ClearFork(r.Object, owner, r.Contact); err != nil {
			return err
		}
		if err := errors.Join(s.sync.findOwn(ctx), s.sync.liftFork()); err != nil {
			return err
		}
		s.sync.poke(allTasks)
		a.event(Event{Type: EventHeadsCleared, Contact: r.Contact})
		return nil
	})
}

// decide runs a decision of a person who gives the password again. It is wiped.
func (a *Agent) decide(ctx context.Context, password []byte, fn func(s *session) error) error {
	defer clear(password)
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.confirmed(), passwordGiven(password)); err != nil {
		return err
	}
	if err := a.vault.CheckPassword(ctx, password); err != nil {
		return err
	}
	return forCaller(ended(ctx, fn(s)))
}

// AsideMessage is a message that could not be read.
type AsideMessage = messages.Aside

// AsideMessages lists the messages that could not be read, oldest first.
func (a *Agent) AsideMessages(ctx context.Context) (list []AsideMessage, err error) {
	err = a.withPeople(ctx, false, func(_ context.Context, s *session, _ *contacts.Book) error {
		list, err = s.sync.mail.Asides()
		return err
	})
	return list, err
}

// ForgetAside removes one; fault.NotFound if it is not there.
func (a *Agent) ForgetAside(ctx context.Context, number uint64) error {
	return a.withPeople(ctx, false, func(_ context.Context, s *session, _ *contacts.Book) error { return s.sync.mail.Forget(number) })
}
