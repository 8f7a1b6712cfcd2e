package state

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// DeviceID is the UUID that an agent chose for its device.
type DeviceID string

// Tokens are what a caller of a session needs: an access token with every request, and a refresh token, good once, for the next two.
type Tokens struct {
	User    UserID
	Device  DeviceID
	Access  string
	Refresh string

	AccessTTL, RefreshTTL time.Duration
}

// tokens returns what the holder of two tokens gets.
func (o Options) tokens(access, refresh token) Tokens {
	return Tokens{
		User: access.user, Device: access.device, Access: access.text(accessKind), Refresh: refresh.text(refreshKind),
		AccessTTL: o.Limits.AccessTTL, RefreshTTL: o.Limits.RefreshTTL,
	}
}

// Caller is who sent a request.
type Caller struct {
	User     UserID
	Device   DeviceID
	Session  string // names the login
	Recovery bool   // it was one with the recovery proof, and the login proof was not replaced since
}

type (
	// deviceRecord is one device of a user: the session of its last login, and the credential with which it may begin another. A user has few of them,
	// and each is one record however many tokens it gets.
	deviceRecord struct {
		Begun    time.Time     `cbor:"1,keyasint"` // last login
		Used     time.Time     `cbor:"2,keyasint"` // last login or exchange of tokens
		Expires  time.Time     `cbor:"3,keyasint"` // of the session
		Recovery bool          `cbor:"4,keyasint,omitempty"`
		Family   []byte        `cbor:"5,keyasint,omitempty"` // hash of what the session's refresh tokens have in common; empty: it was ended
		Refresh  []byte        `cbor:"6,keyasint,omitempty"` // hash of the secret of the refresh token that is good
		Before   []byte        `cbor:"7,keyasint,omitempty"` // that of the one that was exchanged for it,
		Request  string        `cbor:"8,keyasint,omitempty"` // under this id
		Access   []accessToken `cbor:"9,keyasint,omitempty"` // newest first; the second came with the refresh token before

		Credential      []byte    `cbor:"10,keyasint,omitempty"` // its hash
		CredentialUntil time.Time `cbor:"11,keyasint"`
		Ends            time.Time `cbor:"12,keyasint"` // when the record goes
	}
	accessToken struct {
		Hash    []byte    `cbor:"1,keyasint"`
		Expires time.Time `cbor:"2,keyasint"`
	}
)

func deviceKey(user UserID, device DeviceID) string {
	return key("session", string(user), string(device))
}

// live reports whether the session has not ended.
func (r *deviceRecord) live(now time.Time) bool { return len(r.Family) > 0 && now.Before(r.Expires) }

// trusted reports whether the device has a credential that is good.
func (r *deviceRecord) trusted(now time.Time) bool {
	return len(r.Credential) > 0 && now.Before(r.CredentialUntil)
}

// end ends the session and leaves the credential.
func (r *deviceRecord) end() {
	*r = deviceRecord{Begun: r.Begun, Used: r.Used, Credential: r.Credential, CredentialUntil: r.CredentialUntil, Ends: r.Ends}
}

// saveDevice writes a device, or removes it if it has neither session nor credential.
func (t *tx) saveDevice(user UserID, device DeviceID, r deviceRecord) error {
	ends := time.Time{}
	if r.live(t.now) {
		ends = r.Expires
	}
	if r.trusted(t.now) && r.CredentialUntil.After(ends) {
		ends = r.CredentialUntil
	}
	own, before := deviceKey(user, device), r.Ends
	if err := t.unexpire(before, own); err != nil {
		return err
	}
	if ends.IsZero() {
		return t.Delete(own)
	}
	r.Ends = ends
	return errors.Join(save(t, own, r), t.expire(ends, own))
}

// issue gives a device new tokens and makes its session last as long as they do.
func (t *tx) issue(r *deviceRecord, access, refresh token) {
	l := t.s.o.Limits
	r.Used, r.Expires, r.Family, r.Refresh = t.now, t.now.Add(l.RefreshTTL), hashOf(refresh.family), hashOf(refresh.secret)
	r.Access = append([]accessToken{{hashOf(access.family + access.secret), t.now.Add(l.AccessTTL)}}, r.Access...)
	r.Access = r.Access[:min(2, len(r.Access))]
	if r.trusted(t.now) {
		r.CredentialUntil = t.now.Add(l.CredentialTTL)
	}
}

// Authenticate returns who holds an access token, or fault.Unauthorized.
func (s *State) Authenticate(ctx context.Context, access string) (c Caller, err error) {
	k, ok := parseToken(accessKind, access)
	if !ok {
		return Caller{}, fault.Unauthorized
	}
	err = s.view(ctx, func(t *tx) error {
		r, err := load[deviceRecord](t, deviceKey(k.user, k.device))
		if err != nil {
			return err
		}
		if !r.opens(k, t.now) {
			return fault.NotFound
		}
		c = Caller{k.user, k.device, hex.EncodeToString(r.Family), r.Recovery}
		_, err = t.account(k.user)
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return Caller{}, fault.Unauthorized
	}
	return c, err
}

// opens reports whether an access token is good.
func (r *deviceRecord) opens(k token, now time.Time) bool {
	good := false
	for _, a := range r.Access {
		if fits(k.family+k.secret, a.Hash) && now.Before(a.Expires) {
			good = true
		}
	}
	return good && r.live(now)
}

// Refresh exchanges a refresh token for new tokens. The request's id makes a lost answer harmless: asked again with the same one before the new refresh
// token was used, it gives others in their place. Any other refresh token of the session that is not the present one, used up or taken back, is held by
// somebody beside its owner: the session ends for both. Every failure of the token is fault.Unauthorized.
func (s *State) Refresh(ctx context.Context, refresh, request string) (Tokens, error) {
	k, ok := parseToken(refreshKind, refresh)
	if !ok {
		return Tokens{}, fault.Unauthorized
	}
	var tokens Tokens
	good := false
	err := s.urgent(ctx, func(t *tx) error {
		r, err := load[deviceRecord](t, deviceKey(k.user, k.device))
		if err != nil {
			return err
		}
		if !r.live(t.now) || !fits(k.family, r.Family) {
			return fault.NotFound
		}
		if _, err := t.account(k.user); err != nil {
			return err
		}
		t.woken = append(t.woken, k.user) // the session ends, or former tokens do
		if good = r.exchange(k, request); !good {
			r.end()
			return t.saveDevice(k.user, k.device, r)
		}
		next, access := newToken(k.user, k.device), newToken(k.user, k.device)
		next.family = k.family
		t.issue(&r, access, next)
		tokens = s.o.tokens(access, next)
		return t.saveDevice(k.user, k.device, r)
	})
	if errors.Is(err, fault.NotFound) || err == nil && !good {
		return Tokens{}, fault.Unauthorized
	}
	if err != nil {
		return Tokens{}, err
	}
	return tokens, nil
}

// exchange reports whether a refresh token may be exchanged. The tokens that the same request got before are worthless from then on.
func (r *deviceRecord) exchange(k token, request string) bool {
	switch {
	case fits(k.secret, r.Refresh):
		r.Before, r.Request = r.Refresh, request
		return true
	case fits(k.secret, r.Before) && r.Request == request:
		r.Access = r.Access[min(1, len(r.Access)):]
		return true
	}
	return false
}

// Logout ends the caller's session with its credential, or all of the user's.
func (s *State) Logout(ctx context.Context, c Caller, all bool) error {
	return s.urgent(ctx, func(t *tx) error {
		if all {
			return t.endSessions(c.User, allSessions)
		}
		r, _, err := loadOr[deviceRecord](t, deviceKey(c.User, c.Device))
		if err != nil || hex.EncodeToString(r.Family) != c.Session {
			return err
		}
		return t.removeDevice(c.User, c.Device, r)
	})
}

// EndSession ends the session of a device and its credential. One that is not there is no failure.
func (s *State) EndSession(ctx context.Context, user UserID, device DeviceID) error {
	return s.urgent(ctx, func(t *tx) error {
		r, there, err := loadOr[deviceRecord](t, deviceKey(user, device))
		if err != nil || !there {
			return err
		}
		return t.removeDevice(user, device, r)
	})
}

func (t *tx) removeDevice(user UserID, device DeviceID, r deviceRecord) error {
	t.woken = append(t.woken, user)
	return t.saveDevice(user, device, deviceRecord{Ends: r.Ends})
}

// DeviceSession is what a user sees of one of their devices.
type DeviceSession struct {
	Device     DeviceID
	Begun      time.Time
	Used       time.Time
	Expires    time.Time // of the session; zero if only the credential is left
	Credential bool
	Recovery   bool // the session began with the recovery proof, and the login proof was not replaced since
}

// Sessions lists the devices of a user that have a session or a credential, by id.
func (s *State) Sessions(ctx context.Context, user UserID) (list []DeviceSession, err error) {
	err = s.view(ctx, func(t *tx) error {
		list = nil
		return t.eachDevice(user, func(d DeviceID, r deviceRecord) {
			v := DeviceSession{Device: d, Begun: r.Begun, Used: r.Used, Credential: r.trusted(t.now)}
			if r.live(t.now) {
				v.Expires, v.Recovery = r.Expires, r.Recovery
			}
			if v.Credential || !v.Expires.IsZero() {
				list = append(list, v)
			}
		})
	})
	return list, err
}

func (t *tx) eachDevice(user UserID, fn func(DeviceID, deviceRecord)) error {
	prefix := key("session", string(user), "")
	_, err := scan(t, prefix, "", 1<<20, func(k string, v []byte) error {
		var r deviceRecord
		if err := decode(v, &r); err != nil {
			return err
		}
		fn(DeviceID(strings.TrimPrefix(k, prefix)), r)
		return nil
	})
	return err
}

// endSessions ends the sessions of a user that are named, with their credentials.
func (t *tx) endSessions(user UserID, which func(DeviceID, deviceRecord) bool) error {
	ended := map[DeviceID]deviceRecord{}
	err := t.eachDevice(user, func(d DeviceID, r deviceRecord) {
		if which(d, r) {
			ended[d] = r
		}
	})
	for d, r := range ended {
		err = errors.Join(err, t.removeDevice(user, d, r))
	}
	return err
}

func allSessions(DeviceID, deviceRecord) bool { return true }

// others reports whether a session is not the caller's.
func (c Caller) others(d DeviceID, r deviceRecord) bool {
	return d != c.Device || hex.EncodeToString(r.Family) != c.Session
}
