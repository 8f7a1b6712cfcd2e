package link

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/secret"
)

// All calls of the coordinator's client are in this file.

// tokens are what the Store keeps of a session, sealed.
type tokens struct {
	Refresh string `json:"refresh"`
	Request string `json:"request"` // id under which Refresh will be exchanged
}

// session is one client and what the rest of the package asks of it.
type session struct {
	c        *coordinator.Client
	user     string
	loggedIn bool // there is a refresh token
}

// newSession returns a client that goes on with the tokens of an earlier one, if there are any.
func (l *Link) newSession(stored []byte) (*session, error) {
	s := &session{user: l.o.User}
	before := coordinator.Session{}
	var t tokens
	if len(stored) > 0 && json.Unmarshal(stored, &t) == nil && t.Refresh != "" {
		before = coordinator.Session{User: l.o.User, Device: l.o.Device, Refresh: t.Refresh, Request: t.Request}
		s.loggedIn = true
	}
	var err error
	s.c, err = coordinator.New(l.o.Settings.URL, coordinator.Options{
		HTTP: &http.Client{Transport: l.transport}, Session: before, Device: l.o.Device, Now: l.o.Now,
		Save: func(n coordinator.Session) error {
			if n.Refresh == "" {
				return l.o.Store.SaveTokens(nil)
			}
			b, err := json.Marshal(tokens{Refresh: n.Refresh, Request: n.Request})
			if err != nil {
				return err
			}
			defer clear(b)
			return l.o.Store.SaveTokens(b)
		},
	})
	return s, err
}

// register makes an account, or logs in if it is there already with this proof.
func (s *session) register(ctx context.Context, emailHash []byte, proof secret.Key, invitation string) error {
	r := coordinator.Registration{User: s.user, EmailHash: emailHash}
	if invitation != "" {
		r.Invitation = &invitation
	}
	return s.with(proof, func(b []byte) error {
		r.Proof = b
		return s.c.Register(ctx, r)
	})
}

// login logs in with the login proof. The credential, if it is a key, is what logs this device in from then on; without one nothing else does.
func (s *session) login(ctx context.Context, proof, credential secret.Key) error {
	l := coordinator.Login{User: &s.user}
	if !credential.IsZero() {
		c := bytesOf(credential)
		defer secret.Wipe(c)
		l.Credential = &c
	}
	return s.with(proof, func(b []byte) error {
		l.Proof = b
		return s.c.Login(ctx, l)
	})
}

// loginByCredential logs in with what an earlier login gave.
func (s *session) loginByCredential(ctx context.Context, credential secret.Key) error {
	kind := coordinator.LoginKindDevice
	return s.with(credential, func(b []byte) error {
		return s.c.Login(ctx, coordinator.Login{User: &s.user, Proof: b, Kind: &kind})
	})
}

// begin logs in with the login proof or, with recovery, that of the recovery key.
func (s *session) begin(ctx context.Context, proof secret.Key, recovery bool) error {
	kind := coordinator.LoginKindPassword
	if recovery {
		kind = coordinator.LoginKindRecovery
	}
	return s.with(proof, func(b []byte) error {
		return s.c.Login(ctx, coordinator.Login{User: &s.user, Proof: b, Kind: &kind})
	})
}

func (s *session) with(proof secret.Key, fn func([]byte) error) error {
	b := bytesOf(proof)
	defer secret.Wipe(b)
	err := fn(b)
	s.loggedIn = s.loggedIn || err == nil
	return err
}

// bytesOf copies a key for the client, which asks for bytes; none if the key was wiped meanwhile.
func bytesOf(k secret.Key) []byte {
	b := make([]byte, 0, secret.KeySize)
	k.Use(func(view []byte) { b = append(b, view...) })
	return b
}

// check makes one call with the session, which exchanges the refresh token if need be.
func (s *session) check(ctx context.Context) error {
	_, err := s.c.Account(ctx)
	return err
}

// changeProof replaces the login proof, and the address if there is a hash of it; again, after they were replaced, it changes nothing.
func (s *session) changeProof(ctx context.Context, before, after secret.Key, emailHash []byte) error {
	b, a := bytesOf(before), bytesOf(after)
	defer secret.Wipe(b)
	defer secret.Wipe(a)
	p := coordinator.ProofChange{Proof: b, NewProof: a}
	if len(emailHash) > 0 {
		p.EmailHash = &emailHash
	}
	return s.c.ChangeProof(ctx, p)
}

// setRecovery sets what logs in where the password is lost.
func (s *session) setRecovery(ctx context.Context, proof, recovery secret.Key) error {
	p, r := bytesOf(proof), bytesOf(recovery)
	defer secret.Wipe(p)
	defer secret.Wipe(r)
	return s.c.SetRecovery(ctx, coordinator.RecoveryChange{Proof: p, RecoveryProof: r})
}

func (s *session) deleteAccount(ctx context.Context, proof secret.Key) error {
	p := bytesOf(proof)
	defer secret.Wipe(p)
	return s.c.DeleteAccount(ctx, p)
}

func (s *session) logout(ctx context.Context) error { return s.c.Logout(ctx, false) }

// kinds are the events that this agent knows.
var kinds = map[string]bool{"message": true, "blobs": true, "prekeys_low": true, "devices": true, "resync": true}

// follow hands out the events of one connection until it ends, and returns why it did.
func (l *Link) follow(ctx context.Context, opened func()) (err error) {
	for n, failed := range l.session.c.Follow(ctx, l.after, opened) {
		if l.after, err = n.ID, failed; err == nil && kinds[n.Event.Type] {
			name := ""
			if n.Event.Name != nil {
				name = *n.Event.Name
			}
			l.o.Notice(n.Event.Type, name)
		}
	}
	return err
}

// retryAfter is how long the coordinator asks to wait, at most a few minutes.
func retryAfter(err error) time.Duration {
	if e, ok := asError(err); ok {
		return min(e.RetryAfter(), retrySlow)
	}
	return 0
}
