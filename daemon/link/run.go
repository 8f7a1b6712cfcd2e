package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"coldframe/internal/fault"
)

const (
	retryMin  = time.Second
	retryMax  = 30 * time.Second
	retrySlow = 5 * time.Minute  // after a refusal
	longLived = 30 * time.Second // a connection that lived so long ended because streams end
)

// errLoginNeeded says that neither tokens nor a login proof are left.
var errLoginNeeded = fault.New(fault.Unauthorized, "the session has ended")

// Run connects, and connects again, until ctx ends. It makes one connection at a time and leaves no goroutine.
func (l *Link) Run(ctx context.Context) {
	defer l.dropProof(false)
	defer l.transport.CloseIdleConnections()
	defer l.offer(nil)
	wait := l.o.retryMin
	for ctx.Err() == nil {
		l.set(Connecting, l.Status().Error)
		lived, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errWoken) || lived >= longLived {
			wait = l.o.retryMin
			l.rest(ctx, rand.N(wait)) //nolint:gosec // spreads agents out, no secret
			continue
		}
		pause := max(wait/2+rand.N(wait/2+1), retryAfter(err)) //nolint:gosec // the same
		wait = min(2*wait, retryMax)
		if l.failed(err) {
			pause = retrySlow/2 + rand.N(retrySlow/2) //nolint:gosec // the same
		}
		if l.rest(ctx, pause) {
			wait = l.o.retryMin
		}
	}
}

// failed sets the state for a failure and reports whether it is a refusal.
func (l *Link) failed(err error) bool {
	l.offer(nil)
	code := fault.CodeOf(Failure(err))
	switch {
	case errors.Is(err, errLoginNeeded):
		l.set(LoginNeeded, code)
	case refuses(err):
		l.set(Refused, code)
		return true
	default:
		l.set(Offline, code)
	}
	return false
}

// rest waits; without an end where nothing but a proof helps. It reports whether it was ended by a poke.
func (l *Link) rest(ctx context.Context, d time.Duration) bool {
	var over <-chan time.Time
	if !l.NeedsProof() {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-l.poked:
		return true
	}
	return false
}

// once makes one connection and follows it to its end. It returns how long it was online, and why it ended.
func (l *Link) once(ctx context.Context) (lived time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.connect = cancel
	l.mu.Unlock()
	if err := l.authenticate(ctx); err != nil {
		return 0, causeOr(ctx, err)
	}
	l.offer(l.session.c)
	var up time.Time
	err = l.follow(ctx, func() {
		up = time.Now()
		l.set(Online, "")
		l.o.Online(ctx)
	})
	if !up.IsZero() {
		lived = time.Since(up)
	}
	return lived, causeOr(ctx, err)
}

// causeOr returns why ctx ended if it did, else err.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// authenticate leaves a session that the coordinator has just taken: with the tokens that there are, or by a login with the proof or the
// credential.
func (l *Link) authenticate(ctx context.Context) error {
	if err := l.load(); err != nil {
		return err
	}
	if err := l.renew(ctx); err != nil {
		return err
	}
	err := error(errLoginNeeded)
	if l.session.loggedIn {
		if err = l.session.check(ctx); fault.CodeOf(Failure(err)) == fault.Unauthorized {
			if err := l.forget(); err != nil {
				return err
			}
			err = errLoginNeeded
		}
	}
	if errors.Is(err, errLoginNeeded) {
		err = l.login(ctx)
	}
	if err != nil {
		return err
	}
	l.dropProof(true)
	return l.settle(ctx)
}

// load makes the session of the stored tokens, if there is none yet.
func (l *Link) load() error {
	if l.session != nil {
		return nil
	}
	stored, err := l.o.Store.Tokens()
	if err != nil {
		return err
	}
	defer clear(stored)
	l.session, err = l.newSession(stored)
	return err
}

// forget drops tokens that are worth nothing any more.
func (l *Link) forget() (err error) {
	l.offer(nil)
	if err := l.o.Store.SaveTokens(nil); err != nil {
		return err
	}
	l.session, err = l.newSession(nil)
	return err
}

// renew logs in with a proof that was given for that. One that the coordinator does not know is dropped, and the session goes on as it was.
func (l *Link) renew(ctx context.Context) error {
	l.mu.Lock()
	proof, due := l.proof, l.renewal
	l.mu.Unlock()
	if !due || proof.IsZero() {
		return nil
	}
	err := l.loginWith(ctx, l.session, proof)
	if err == nil || fault.CodeOf(Failure(err)) == fault.Unauthorized {
		l.renewed(proof)
		return nil
	}
	return err
}

// login begins a new session with the proof, or without one with the credential. A proof that the coordinator does not know is dropped: trying
// it again would look like guessing.
func (l *Link) login(ctx context.Context) error {
	proof, refused := l.takeProof(), error(errLoginNeeded)
	if !proof.IsZero() {
		err := l.loginWith(ctx, l.session, proof)
		if fault.CodeOf(Failure(err)) != fault.Unauthorized {
			return err
		}
		refused = err
	}
	if err := l.loginByCredential(ctx); !errors.Is(err, errLoginNeeded) {
		return err
	}
	return l.giveUp(proof, refused)
}

// loginByCredential is errLoginNeeded where there is none, or where the coordinator does not know it, as that of a machine that was removed.
func (l *Link) loginByCredential(ctx context.Context) error {
	credential, err := l.o.Store.Credential()
	if err != nil {
		return err
	}
	if credential.IsZero() {
		return errLoginNeeded
	}
	defer credential.Wipe()
	err = l.session.loginByCredential(ctx, credential)
	switch {
	case err == nil: // the answer to the login that gave it may have been lost
		return l.o.Store.CredentialTaken()
	case fault.CodeOf(Failure(err)) == fault.Unauthorized:
		return errLoginNeeded
	}
	return err
}

// settle tells the coordinator of changes of password and address that it has not heard of. One that knows none of the former proofs is left alone.
func (l *Link) settle(ctx context.Context) error {
	p, err := l.o.Store.Proofs()
	if err != nil || p == nil {
		return err
	}
	defer p.Wipe()
	last := len(p.List) - 1
	for i := last - 1; i >= 0; i-- {
		err := l.session.changeProof(ctx, p.List[i], p.List[last], p.EmailHash)
		if err == nil {
			return l.o.Store.ForgetProofs(p)
		}
		if fault.CodeOf(Failure(err)) != fault.Forbidden {
			return err
		}
	}
	return nil
}
