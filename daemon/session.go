package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/columnar"
	"coldframe/daemon/membership"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// purposeLocal is what the local key is for: small records of this agent that never leave it (names of tokens, stored answers).
const purposeLocal = "daemon/local"

// drainTime is how long locking and stopping wait for calls to end after their contexts were cancelled. A stop does it twice and must be
// done within 10 s (L24).
const drainTime = 4 * time.Second

// namedKey is a key and the id that sealed values name it by.
type namedKey struct {
	id  seal.KeyID
	key secret.Key
}

// session is what exists while the vault is open.
type session struct {
	user     string
	signer   signed.Signer
	identity [32]byte // public
	local    namedKey
	readOnly bool
	fresh    atomic.Bool // nobody but the coordinator says that this vault is the newest
	forked   atomic.Bool // contacts were told of another vault or device list, and no person has looked

	unattended bool       // under Agent.mu: locking leaves the session open
	credential secret.Key // under Agent.mu: what opens the vault without a person, if this process has it

	wrapping keyPlaces
	imports  imports

	mu        sync.RWMutex
	store     columnar.Store
	storeErr  error // why there is none
	settings  storeItem
	storeSum  [32]byte         // of the whole setting
	storeKept fault.Code       // why it is not the one that the vault names; empty: it is
	retired   []columnar.Store // replaced while transfers may still use them; closed with the session
	link      runningLink      // to the coordinator; none if none is set
	linkURL   string
	linkErr   fault.Code // why there is no link although a coordinator is set
	opened    time.Time

	joining     sync.Mutex // held while the coordinator is changed
	storing     sync.Mutex // held while the store is exchanged
	storeFailed failedStore

	sync *syncer
}

func (s *session) context(typ, id, field string) seal.Context {
	return seal.Context{Owner: s.user, Type: typ, ID: id, Field: field, Version: 1}
}

func (s *session) sealLocal(typ, id, field string, plaintext []byte) []byte {
	return seal.Seal(s.local.key, s.local.id, purposeLocal, s.context(typ, id, field), plaintext)
}

// objects returns the store, which SetStore may change between two calls, or why it could not be opened.
func (s *session) objects() (columnar.Store, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.store, s.storeErr
}

// member returns this machine's place among the user's devices.
func (s *session) member() (*membership.Member, error) { return s.sync.member, s.sync.memberErr }

func (s *session) wipe() {
	if s.sync != nil {
		s.sync.wipe()
	}
	s.signer.Key.Wipe()
	s.credential.Wipe()
	s.local.key.Wipe()
	s.imports.wipe()
}

// gate counts the calls that use an open agent and ends them: one gate from an unlock to the next lock.
type gate struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup
}

func newGate() *gate {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &gate{ctx: ctx, cancel: cancel}
}

// drain cancels all calls with cause and waits for them, at most drainTime. It reports whether all have ended.
func (g *gate) drain(cause error) bool {
	g.cancel(cause)
	done := make(chan struct{})
	go func() {
		g.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(drainTime):
		return false
	}
}

func errLocked() error {
	return fault.New(fault.Locked, "the agent is locked: it needs the password to unlock")
}
func errStopping() error { return fault.New(fault.Unavailable, "the agent is stopping") }

// enter starts a call that needs the open vault. The context it returns ends with ctx, and when the agent locks or stops; leave must
// be called when the call is over. Errors: fault.Locked, or fault.Unavailable while stopping.
func (a *Agent) enter(ctx context.Context) (*session, context.Context, func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.stopping:
		return nil, nil, nil, errStopping()
	case a.gate == nil && a.vault.State() == keystore.None:
		return nil, nil, nil, fault.New(fault.Locked, "nobody is registered here yet: register, login, or restore a backup")
	case a.gate == nil:
		return nil, nil, nil, errLocked()
	}
	s, ctx, leave := a.enterGate(ctx, a.gate)
	return s, ctx, leave, nil
}

// enterGate is enter for a gate that is known to be open; a.mu is held.
func (a *Agent) enterGate(ctx context.Context, g *gate) (*session, context.Context, func()) {
	g.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	return a.session, ctx, func() {
		stop()
		cancel(nil)
		g.calls.Done()
	}
}

// ended gives err the reason why ctx ended if that is ours (locked, stopping): the caller of a transfer cut short learns which.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if f, ok := errors.AsType[*fault.Error](cause); ok {
		return f
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Incomplete, err, "the request ended before it was done")
	}
	return err
}

// writable is editable, and fault.Revoked, fault.UntrustedKey or fault.Stale on a machine that is none of the account's devices at its coordinator: it would
// change what the others have.
func (s *session) writable() error {
	if err := s.editable(); err != nil {
		return err
	}
	return s.oneOfTheDevices()
}

// oneOfTheDevices is nil on a machine that is one of the account's devices at its coordinator, or may be; also without a coordinator.
func (s *session) oneOfTheDevices() error {
	y := s.sync
	if y == nil || y.member == nil || !y.a.hasCoordinator() {
		return nil
	}
	switch state, _ := y.member.State(); state {
	case membership.Removed, membership.Recovered:
		return errNotListed(state)
	case membership.Unlisted, membership.Asking:
		return fault.New(fault.Stale, "this machine is not one of the account's devices yet, and changes nothing until another one approves it")
	}
	return nil
}

// editable is confirmed, and fault.Forked while contacts know of another vault or device list, until a person has looked. It is enough for what changes
// nothing of other machines.
func (s *session) editable() error {
	if err := s.confirmed(); err != nil {
		return err
	}
	if s.forked.Load() {
		return errForked()
	}
	return nil
}

// confirmed returns fault.RolledBack while an overridden rollback keeps the account read-only, and fault.Stale on a new machine until
// another device or its user vouched for its vault.
func (s *session) confirmed() error {
	if s.readOnly {
		return fault.New(fault.RolledBack, "an older vault was accepted at unlock: the account is read-only")
	}
	if s.fresh.Load() {
		return errFresh()
	}
	return nil
}
