package link

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// State is what a link is doing.
type State string

// The states.
const (
	Connecting  State = "connecting"
	Online      State = "online"
	Offline     State = "offline"
	LoginNeeded State = "login_needed"
	Refused     State = "refused"
)

// Status of a link.
type Status struct {
	State State
	Since time.Time
	Error fault.Code // why it is not online; empty: nothing has gone wrong
}

// Store keeps what must outlive the process, sealed, for one coordinator. Its methods return once that is durable.
type Store interface {
	Tokens() ([]byte, error)    // nil: there are none
	SaveTokens(b []byte) error  // nil: removes them; b is wiped afterwards
	Proofs() (*Proofs, error)   // of password changes that the coordinator may not know of; nil: there are none
	ForgetProofs(*Proofs) error // the coordinator knows the last; changes made since stay

	// Credential is what this machine logs in with where there is no proof; no key if it has none. NewCredential is what a login with the
	// proof gives the coordinator for that: the one that is there, or a new one; no key for a machine that is to have none. The caller wipes both.
	// CredentialTaken notes that the coordinator has it.
	Credential() (secret.Key, error)
	NewCredential() (secret.Key, error)
	CredentialTaken() error
}

// Proofs are login proofs of before and after changes of the password, oldest first.
type Proofs struct {
	List      []secret.Key
	Seal      []byte // tells one record from another
	EmailHash []byte // of the present address, which may have changed with a proof; empty: it stays
}

// Wipe zeroes the proofs.
func (p *Proofs) Wipe() {
	if p == nil {
		return
	}
	for _, k := range p.List {
		k.Wipe()
	}
}

// Options of a link. All but the functions Changed, Notice and Online are needed. Those are called one at a time, must return soon and not
// call Wake, Give or Join.
type Options struct {
	Settings  Settings // normal
	Policy    Policy
	User      string // UUID
	Device    string // UUID of this machine, always the same
	EmailHash []byte
	Store     Store
	Now       func() time.Time
	Changed   func(Status)                     // after each change of the state
	Online    func(connection context.Context) // the stream of events is open: what was missed is to be fetched. The context ends with it
	Notice    func(kind, name string)          // an event of the coordinator: message, blobs (name: of the one, if it was one), prekeys_low, devices or resync

	retryMin time.Duration // default retryMin
}

// Link is the connection of one user to one coordinator. Its methods may be called by several goroutines; Run and Join by one at a time.
type Link struct {
	o         Options
	transport *http.Transport
	poked     chan struct{} // asks Run to try now

	mu      sync.Mutex
	status  Status
	proof   secret.Key              // until the coordinator took the session
	renewal bool                    // the proof is for a new login, whether or not the session has ended
	lost    error                   // neither tokens nor a proof are left, and why
	connect context.CancelCauseFunc // ends the present connection
	client  *coordinator.Client     // logged in; nil while there is no connection

	session *session // of Run and Join
	after   string   // id of the last event
}

// New returns a link that does nothing yet. It fails as Settings.Normal does.
func New(o Options) (*Link, error) {
	t, err := o.Settings.newTransport(o.Policy)
	if err != nil {
		return nil, err
	}
	if o.Changed == nil {
		o.Changed = func(Status) {}
	}
	if o.Notice == nil {
		o.Notice = func(string, string) {}
	}
	if o.Online == nil {
		o.Online = func(context.Context) {}
	}
	if o.retryMin == 0 {
		o.retryMin = retryMin
	}
	return &Link{o: o, transport: t, poked: make(chan struct{}, 1), status: Status{State: Connecting, Since: o.Now().UTC()}}, nil
}

// Status returns the present state.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Client returns the client of the present session, for any number of goroutines, or fault.Unavailable while there is no connection. Its
// calls end with their own contexts; its tokens are kept by the link. It is good until the link's next failure: ask again for each piece of
// work.
func (l *Link) Client() (*coordinator.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return nil, fault.New(fault.Unavailable, "there is no connection to the coordinator")
	}
	return l.client, nil
}

// offer sets what Client returns.
func (l *Link) offer(c *coordinator.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = c
}

func (l *Link) set(state State, code fault.Code) {
	l.mu.Lock()
	next := Status{State: state, Since: l.status.Since, Error: code}
	if state != l.status.State {
		next.Since = l.o.Now().UTC()
	}
	changed := next != l.status
	l.status = next
	l.mu.Unlock()
	if changed {
		l.o.Changed(next)
	}
}

// Give hands over a login proof, which the link wipes. Run uses it if the session has ended.
func (l *Link) Give(proof secret.Key) {
	l.mu.Lock()
	l.proof.Wipe()
	l.proof, l.lost = proof, nil
	l.poke()
	l.mu.Unlock()
}

// Renew is Give for a machine that is to have another credential, or none: Run logs in anew with the proof.
func (l *Link) Renew(proof secret.Key) {
	l.mu.Lock()
	l.renewal = true
	l.mu.Unlock()
	l.Give(proof)
	l.Wake()
}

// NeedsProof reports whether only a login proof helps.
func (l *Link) NeedsProof() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost != nil
}

// Wake ends the present connection, which may be dead, and tries again at once: after a sleep of the machine, or a change of the password.
func (l *Link) Wake() {
	l.mu.Lock()
	if l.connect != nil {
		l.connect(errWoken)
	}
	l.mu.Unlock()
	l.transport.CloseIdleConnections() // they may be as dead
	l.poke()
}

var errWoken = errors.New("woken")

func (l *Link) poke() {
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// giveUp drops the proof that was tried: nothing but another one helps. One that was handed over meanwhile stays. It returns why there is none
// any more: of several reasons the first, as the refusal of a proof is followed by the lack of one.
func (l *Link) giveUp(tried secret.Key, why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proof != tried {
		return why
	}
	l.proof.Wipe()
	l.proof = secret.Key{}
	if l.lost == nil {
		l.lost = why
	}
	return l.lost
}

// takeProof returns the proof that there is, which stays the link's until dropProof. That there is one is known then.
func (l *Link) takeProof() secret.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.poked:
	default:
	}
	return l.proof
}

// dropProof ends the use of the proof, or of the one that is no longer needed as the coordinator took the session: not of one for a new login.
func (l *Link) dropProof(taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if taken && l.renewal {
		return
	}
	l.proof.Wipe()
	l.proof = secret.Key{}
}

// renewed ends a renewal, unless there is another proof for one by now.
func (l *Link) renewed(tried secret.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proof == tried {
		l.proof.Wipe()
		l.proof, l.renewal = secret.Key{}, false
	}
}

// joinTime bounds a Join.
const joinTime = 30 * time.Second

// Join makes the account at the coordinator, or logs in if this account is there already, and stores the tokens. The error is for the
// caller: it has a code of this program and none of the coordinator's text.
func (l *Link) Join(ctx context.Context, proof secret.Key, invitation string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	defer l.transport.CloseIdleConnections()
	s, err := l.newSession(nil)
	if err != nil {
		return Failure(err)
	}
	if err = s.register(ctx, l.o.EmailHash, proof, invitation); err == nil {
		err = l.trust(ctx, s, proof)
	} else if notRegistered(err) {
		if login := l.loginWith(ctx, s, proof); fault.CodeOf(Failure(login)) != fault.Unauthorized {
			err = login
		}
	}
	if l.session = s; err == nil {
		l.offer(s.c)
	}
	return Failure(err)
}

// trust gives the coordinator the credential of this machine, if it is to have one: a registration takes none.
func (l *Link) trust(ctx context.Context, s *session, proof secret.Key) error {
	credential, err := l.o.Store.NewCredential()
	if err != nil || credential.IsZero() {
		return err
	}
	defer credential.Wipe()
	return l.loginOnce(ctx, s, proof, credential)
}

// loginOnce logs in with one proof, and notes that the coordinator has the credential, if it was given one.
func (l *Link) loginOnce(ctx context.Context, s *session, proof, credential secret.Key) error {
	err := s.login(ctx, proof, credential)
	if err == nil && !credential.IsZero() {
		err = l.o.Store.CredentialTaken()
	}
	return err
}

// SetRecovery tells the coordinator what the recovery kit proves. It is called after Join, with the proof that it joined with.
func (l *Link) SetRecovery(ctx context.Context, proof, recovery secret.Key) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	if err := l.settle(ctx); err != nil { // it may have logged in with a proof of before
		return Failure(err)
	}
	return Failure(l.session.setRecovery(ctx, proof, recovery))
}

// notRegistered reports whether the coordinator makes no such account, which it may have already: where nobody may register it does not say.
func notRegistered(err error) bool {
	code := fault.CodeOf(Failure(err))
	return fromCoordinator(err) && (code == fault.Conflict || code == fault.Forbidden || code == fault.Policy)
}

// loginWith logs in with the proof or, if the coordinator does not take it, with one of before a password change that it has not heard of.
func (l *Link) loginWith(ctx context.Context, s *session, proof secret.Key) error {
	credential, err := l.o.Store.NewCredential()
	if err != nil {
		return err
	}
	defer credential.Wipe()
	refused := l.loginOnce(ctx, s, proof, credential)
	if fault.CodeOf(Failure(refused)) != fault.Unauthorized {
		return refused
	}
	p, err := l.o.Store.Proofs()
	if err != nil {
		return err
	}
	if p == nil {
		return refused
	}
	defer p.Wipe()
	for i := len(p.List) - 2; i >= 0; i-- {
		if err := l.loginOnce(ctx, s, p.List[i], credential); err == nil || fault.CodeOf(Failure(err)) != fault.Unauthorized {
			return err
		}
	}
	return refused
}

// Logout ends the session at the coordinator, if it can be told, and forgets the tokens. It is called after Run or Join.
func (l *Link) Logout(ctx context.Context) error {
	defer l.transport.CloseIdleConnections()
	err := l.load()
	if err == nil && l.session.loggedIn {
		err = Failure(l.session.logout(ctx))
	}
	return errors.Join(err, l.o.Store.SaveTokens(nil))
}
