package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
)

const (
	appPrefix   = "app/"
	maxApps     = 1000
	maxAppNames = 1000 // datasets of one token
	maxName     = 200  // characters of a title or an application's name

	proofLabel     = "coldframe/v1/challenge"
	proofNonceSize = 32
)

// appRecord is an application's token in the local store. Its name is sealed under the local key.
type appRecord struct {
	Hash     [32]byte `cbor:"1,keyasint"` // SHA-256 of the token's text
	Name     []byte   `cbor:"2,keyasint"`
	Scopes   []string `cbor:"3,keyasint"`
	Named    bool     `cbor:"4,keyasint"` // Datasets counts; else all
	Datasets []string `cbor:"5,keyasint,omitempty"`
	Created  int64    `cbor:"6,keyasint"`           // Unix seconds
	Limited  bool     `cbor:"7,keyasint,omitempty"` // Columns counts; else all
	Columns  []string `cbor:"8,keyasint,omitempty"` // ids
	Titles   []byte   `cbor:"9,keyasint,omitempty"` // names of the columns, sealed: CBOR of a list
}

// Authenticate returns whom a token belongs to, or fault.Unauthorized, the same for every reason. It works while the agent is locked.
// fault.Unavailable when the local store cannot be asked: an application must not throw away a token that is good.
func (a *Agent) Authenticate(token string) (Caller, error) {
	id, err := tokenID(token)
	if err != nil {
		return Caller{}, err
	}
	done, err := a.use()
	if err != nil {
		return Caller{}, err
	}
	defer done()
	record, err := a.tokenRecord(id)
	if errors.Is(err, fault.Unavailable) {
		return Caller{}, err
	}
	sum := tokenHash([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], record.Hash[:]) != 1 || err != nil {
		return Caller{}, errToken()
	}
	return record.caller(id), nil
}

// tokenRecord returns the record of a token; an unknown id gives a hash that nothing has.
func (a *Agent) tokenRecord(id string) (appRecord, error) {
	if id == UserTokenID {
		return appRecord{Hash: a.token}, nil
	}
	var r appRecord
	err := a.db.View(func(tx *kv.Tx) error { return readRecord(tx, appPrefix+id, &r) })
	if err != nil {
		return appRecord{Hash: a.noToken}, err
	}
	return r, nil
}

func (r appRecord) caller(id string) Caller {
	c := Caller{ID: id}
	for _, s := range r.Scopes {
		c.Scopes = append(c.Scopes, Scope(s))
	}
	if r.Named {
		c.Datasets = append([]string{}, r.Datasets...)
	}
	if r.Limited {
		c.Columns = append([]string{}, r.Columns...)
	}
	return c
}

// Prove answers the challenge of a client that wants to know whether this is the agent that its token is for (L21):
// HMAC-SHA-256 under SHA-256(token) over "coldframe/v1/challenge" ‖ 0 ‖ nonce (32 bytes) ‖ 0 ‖ host. An unknown token id gets an
// answer too, of a key that nobody has.
func (a *Agent) Prove(id string, nonce []byte, host string) ([]byte, error) {
	if len(nonce) != proofNonceSize {
		return nil, fault.New(fault.InvalidRequest, "a challenge has %d bytes", proofNonceSize)
	}
	done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	record, err := a.tokenRecord(id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	m := hmac.New(sha256.New, record.Hash[:])
	m.Write(append([]byte(proofLabel), 0))
	m.Write(nonce)
	m.Write([]byte{0})
	m.Write([]byte(host))
	return m.Sum(nil), nil
}

// createdApp is the answer to CreateApp that an Idempotency-Key keeps, sealed.
type createdApp struct {
	ID    string `cbor:"1,keyasint"`
	Token []byte `cbor:"2,keyasint"`
}

// CreateApp makes a token for an application and returns its text, this once; the caller wipes it. The scopes admin and kms need the
// password (L23). An application cannot give what it has not: only the user's own token may create others.
func (a *Agent) CreateApp(ctx context.Context, c Caller, r AppRequest) (App, []byte, error) {
	defer clear(r.Password)
	if err := r.check(c); err != nil {
		return App{}, nil, err
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return App{}, nil, err
	}
	defer leave()
	if slices.Contains(r.Scopes, ScopeAdmin) || slices.Contains(r.Scopes, ScopeKMS) {
		if err := a.passwordAgain(ctx, r.Password); err != nil {
			return App{}, nil, err
		}
	}
	idem, err := a.begin(ctx, c, r.IdempotencyKey, r.fingerprint(c))
	if err != nil {
		return App{}, nil, err
	}
	defer idem.done()
	return a.createApp(s, c, r, idem)
}

func (a *Agent) createApp(s *session, c Caller, r AppRequest, idem *idempotent) (App, []byte, error) {
	var made createdApp
	if again, err := idem.replay(s, [32]byte{}, &made); err != nil || again {
		app, getErr := a.app(s, made.ID)
		return app, made.Token, errors.Join(err, getErr)
	}
	made.ID, made.Token = newToken("")
	record := r.record(a.clock.Now(), made.Token)
	record.Name = s.sealLocal("app", made.ID, "name", []byte(r.Name))
	if err := a.limitColumns(s, made.ID, r, &record); err != nil {
		clear(made.Token)
		return App{}, nil, err
	}
	err := a.db.Update(func(tx *kv.Tx) error {
		if err := countBelow(tx, appPrefix, maxApps); err != nil {
			return err
		}
		if err := writeRecord(tx, appPrefix+made.ID, record); err != nil {
			return err
		}
		if err := a.events.stage(tx, Event{Type: EventAppCreated, App: made.ID}); err != nil {
			return err
		}
		return idem.save(tx, s, [32]byte{}, made)
	})
	if err != nil {
		clear(made.Token)
		return App{}, nil, err
	}
	a.publish()
	a.log.Info("application token created", "app", made.ID, "caller", c.ID)
	app, err := a.app(s, made.ID)
	return app, made.Token, err
}

// limitColumns notes the columns that a token is for.
func (a *Agent) limitColumns(s *session, id string, r AppRequest, record *appRecord) (err error) {
	if r.Columns == nil {
		return nil
	}
	if record.Columns, err = a.columnIDs(s, r.Datasets, r.Columns); err != nil {
		return err
	}
	names, err := signed.Marshal(r.Columns)
	record.Limited, record.Titles = true, s.sealLocal("app", id, "columns", names)
	return err
}

func (r AppRequest) check(c Caller) error {
	if !c.IsUser() {
		return fault.New(fault.Forbidden, "only the user's own token creates tokens")
	}
	if err := checkName("name", r.Name); err != nil {
		return err
	}
	if len(r.Scopes) == 0 {
		return fault.New(fault.InvalidRequest, "scopes: at least one is needed")
	}
	for i, s := range r.Scopes {
		if !slices.Contains(Scopes(), s) || slices.Contains(r.Scopes[:i], s) {
			return fault.New(fault.InvalidRequest, "scopes: %d is unknown or there twice", i)
		}
	}
	if len(r.Datasets) > maxAppNames {
		return fault.New(fault.TooLarge, "datasets: at most %d", maxAppNames)
	}
	for i, id := range r.Datasets {
		if !validDatasetID(id) {
			return fault.New(fault.InvalidRequest, "datasets: %d is no dataset id", i)
		}
	}
	switch {
	case r.Columns == nil:
	case len(r.Columns) > maxAppNames:
		return fault.New(fault.TooLarge, "columns: at most %d", maxAppNames)
	case r.Datasets == nil || !slices.Equal(r.Scopes, []Scope{ScopeKMS}): // the other scopes know no columns: the limit would not hold
		return fault.New(fault.InvalidRequest, "columns: only for named datasets and the scope kms alone")
	}
	return nil
}

func (r AppRequest) fingerprint(c Caller) fingerprint {
	f := newFingerprint(c, "apps.create").add(r.Name)
	for _, s := range r.Scopes {
		f = f.add("s" + string(s))
	}
	if r.Datasets != nil {
		f = f.add("named")
	}
	for _, d := range r.Datasets {
		f = f.add("d" + d)
	}
	if r.Columns != nil {
		f = f.add("limited")
	}
	for _, n := range r.Columns {
		f = f.add("c" + n)
	}
	return f
}

func (r AppRequest) record(now time.Time, token []byte) appRecord {
	out := appRecord{Hash: tokenHash(token), Named: r.Datasets != nil, Datasets: r.Datasets, Created: now.Unix()}
	for _, s := range r.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	return out
}

// Apps lists the applications' tokens, oldest first.
func (a *Agent) Apps(ctx context.Context) ([]App, error) {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []App
	err = a.db.View(func(tx *kv.Tx) error {
		return tx.Scan(appPrefix, func(key string, b []byte) error {
			var r appRecord
			if err := signed.Unmarshal(b, &r); err != nil {
				return err
			}
			app, err := r.app(s, strings.TrimPrefix(key, appPrefix))
			out = append(out, app)
			return err
		})
	})
	slices.SortStableFunc(out, func(x, y App) int { return x.Created.Compare(y.Created) })
	return out, err
}

func (a *Agent) app(s *session, id string) (App, error) {
	r, err := a.tokenRecord(id)
	if err != nil {
		return App{}, err
	}
	return r.app(s, id)
}

func (r appRecord) app(s *session, id string) (App, error) {
	name, err := seal.Open(s.local.key, purposeLocal, s.context("app", id, "name"), r.Name)
	c := r.caller(id)
	app := App{ID: id, Name: string(name), Scopes: c.Scopes, Datasets: c.Datasets, Created: time.Unix(r.Created, 0).UTC()}
	if err != nil || !r.Limited {
		return app, err
	}
	titles, err := seal.Open(s.local.key, purposeLocal, s.context("app", id, "columns"), r.Titles)
	if err != nil {
		return app, err
	}
	return app, signed.Unmarshal(titles, &app.Columns)
}

// DeleteApp revokes a token at once: no call begins with it, and its subscriptions end. What it has in work goes on. It works while the
// agent is locked.
func (a *Agent) DeleteApp(_ context.Context, c Caller, id string) error {
	if len(id) != tokenIDSize || !isBase32(id) {
		return fault.New(fault.NotFound, "no such application token")
	}
	done, err := a.use()
	if err != nil {
		return err
	}
	defer done()
	err = a.db.Update(func(tx *kv.Tx) error {
		if _, err := tx.Get(appPrefix + id); err != nil {
			return fault.Wrap(fault.CodeOf(err), err, "no such application token")
		}
		if err := tx.Delete(appPrefix + id); err != nil {
			return err
		}
		return a.events.stage(tx, Event{Type: EventAppDeleted, App: id})
	})
	if err == nil {
		a.events.drop(id)
		a.publish()
		a.log.Info("application token deleted", "app", id, "caller", c.ID)
	}
	return err
}

// checkName is the rule for titles and names that people give.
func checkName(field, s string) error {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName || strings.TrimSpace(s) == "" || strings.TrimSpace(s) != s {
		return fault.New(fault.InvalidRequest, "%s: 1 to %d characters, no space at either end", field, maxName)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fault.New(fault.InvalidRequest, "%s: control characters are not allowed", field)
	}
	return nil
}

// countBelow returns fault.TooLarge if there are limit records under prefix already.
func countBelow(tx *kv.Tx, prefix string, limit int) error {
	n := 0
	err := tx.Scan(prefix, func(string, []byte) error {
		n++
		return nil
	})
	if err == nil && n >= limit {
		return fault.New(fault.TooLarge, "there are %d already, the limit", n)
	}
	return err
}
