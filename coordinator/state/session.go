package state

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// Tokens are what a caller of a session needs: an access token with every request, and a refresh token, good once, for the next two.
type Tokens struct {
	User    UserID
	Session string
	Access  string
	Refresh string

	AccessTTL, RefreshTTL time.Duration
}

func newTokens(user UserID) Tokens {
	return Tokens{User: user, Session: rand.Text(), Access: "cfa_" + rand.Text() + rand.Text(), Refresh: "cfr_" + rand.Text() + rand.Text()}
}

// with completes tokens of a change that was made, and hides those of one that was not.
func (t Tokens) with(o Options, err error) (Tokens, error) {
	if err != nil {
		return Tokens{}, err
	}
	t.AccessTTL, t.RefreshTTL = o.Limits.AccessTTL, o.Limits.RefreshTTL
	return t, nil
}

// Caller is who sent a request.
type Caller struct {
	User    UserID
	Session string
}

type (
	// session is one login; without its record none of its tokens is good.
	session struct {
		Expires time.Time `cbor:"1,keyasint"`
	}
	accessToken struct {
		User    UserID    `cbor:"1,keyasint"`
		Session string    `cbor:"2,keyasint"`
		Expires time.Time `cbor:"3,keyasint"`
	}
	refreshToken struct {
		User    UserID    `cbor:"1,keyasint"`
		Session string    `cbor:"2,keyasint"`
		Expires time.Time `cbor:"3,keyasint"`
		Request string    `cbor:"4,keyasint,omitempty"` // whoever used it; empty: nobody
		Next    string    `cbor:"5,keyasint,omitempty"` // key of the refresh token that it was exchanged for
		Access  string    `cbor:"6,keyasint"`           // key of the access token that came with it
	}
)

// begin records a new session.
func (t *tx) begin(k Tokens) error {
	if err := t.makeRoom(k.User); err != nil {
		return err
	}
	return t.issue(k)
}

// makeRoom ends the session that would end first if the user has too many.
func (t *tx) makeRoom(user UserID) error {
	n, first, oldest := 0, "", time.Time{}
	_, err := scan(t, key("session", string(user), ""), "", 1<<20, func(k string, v []byte) error {
		var s session
		if err := decode(v, &s); err != nil {
			return err
		}
		if n++; first == "" || s.Expires.Before(oldest) {
			first, oldest = k, s.Expires
		}
		return nil
	})
	if err != nil || n < t.s.o.Limits.Sessions {
		return err
	}
	return t.Delete(first)
}

// issue records tokens of a session and makes it last as long as they do.
func (t *tx) issue(k Tokens) error {
	accessEnd, refreshEnd := t.now.Add(t.s.o.Limits.AccessTTL), t.now.Add(t.s.o.Limits.RefreshTTL)
	access, refresh, own := secretKey("access", k.Access), secretKey("refresh", k.Refresh), key("session", string(k.User), k.Session)
	return errors.Join(
		save(t, access, accessToken{k.User, k.Session, accessEnd}), t.expire(accessEnd, access),
		save(t, refresh, refreshToken{User: k.User, Session: k.Session, Expires: refreshEnd, Access: access}), t.expire(refreshEnd, refresh),
		save(t, own, session{refreshEnd}), t.expire(refreshEnd, own),
	)
}

// Authenticate returns who holds an access token, or fault.Unauthorized.
func (s *State) Authenticate(ctx context.Context, access string) (c Caller, err error) {
	err = s.view(ctx, func(t *tx) error {
		a, err := load[accessToken](t, secretKey("access", access))
		if err != nil {
			return err
		}
		if !t.now.Before(a.Expires) {
			return fault.NotFound
		}
		c = Caller{a.User, a.Session}
		return t.checkSession(c)
	})
	if errors.Is(err, fault.NotFound) {
		return Caller{}, fault.Unauthorized
	}
	return c, err
}

// checkSession returns fault.NotFound if the session has ended or the account is off.
func (t *tx) checkSession(c Caller) error {
	if _, err := t.Get(key("session", string(c.User), c.Session)); err != nil {
		return err
	}
	_, err := t.account(c.User)
	return err
}

// Refresh exchanges a refresh token for new tokens. The request's id makes a lost answer harmless: asked again with the same one before the new tokens
// were used, it gives others in their place. A token that was exchanged under another id has been stolen from one of the two who have it: the session ends
// for both. Every failure of the token is fault.Unauthorized.
func (s *State) Refresh(ctx context.Context, refresh, request string) (Tokens, error) {
	var tokens Tokens
	good := false
	err := s.update(ctx, func(t *tx) error {
		good = false
		own := secretKey("refresh", refresh)
		r, err := load[refreshToken](t, own)
		if err != nil {
			return err
		}
		c := Caller{r.User, r.Session}
		if !t.now.Before(r.Expires) {
			return fault.NotFound
		}
		if err := t.checkSession(c); err != nil {
			return err
		}
		if good, err = t.takeBack(r, request); err != nil {
			return err
		}
		if !good {
			return t.Delete(key("session", string(c.User), c.Session))
		}
		tokens = newTokens(r.User)
		tokens.Session = r.Session
		r.Request, r.Next = request, secretKey("refresh", tokens.Refresh)
		return errors.Join(save(t, own, r), t.issue(tokens))
	})
	if errors.Is(err, fault.NotFound) || err == nil && !good {
		return Tokens{}, fault.Unauthorized
	}
	return tokens.with(s.o, err)
}

// takeBack reports whether a refresh token may be exchanged, and makes the tokens worthless that it was exchanged for by the same request.
func (t *tx) takeBack(r refreshToken, request string) (bool, error) {
	if r.Request == "" {
		return true, nil
	}
	next, there, err := loadOr[refreshToken](t, r.Next)
	if err != nil || !there || r.Request != request || next.Request != "" {
		return false, err
	}
	return true, errors.Join(t.Delete(r.Next), t.Delete(next.Access))
}

// Logout ends the caller's session, or all sessions of the user.
func (s *State) Logout(ctx context.Context, c Caller, all bool) error {
	return s.update(ctx, func(t *tx) error {
		if all {
			return t.endSessions(c.User, "")
		}
		return t.Delete(key("session", string(c.User), c.Session))
	})
}

// endSessions ends all sessions of a user but one.
func (t *tx) endSessions(user UserID, but string) error {
	var ended []string
	_, err := scan(t, key("session", string(user), ""), "", 1<<20, func(k string, _ []byte) error {
		if !strings.HasSuffix(k, "/"+but) || but == "" {
			ended = append(ended, k)
		}
		return nil
	})
	for _, k := range ended {
		if err == nil {
			err = t.Delete(k)
		}
	}
	return err
}
