package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// IdempotencyLife is how long the answer to a request with an Idempotency-Key is kept.
const IdempotencyLife = 24 * time.Hour

const (
	idemPrefix        = "idem/"
	maxIdempotencyKey = 255
)

// idemRecord is a stored answer. Request tells the parameters apart before a body is read, Body the bytes of the body.
type idemRecord struct {
	Time    int64    `cbor:"1,keyasint"` // Unix seconds
	Request [32]byte `cbor:"2,keyasint"`
	Body    [32]byte `cbor:"3,keyasint"`
	Answer  []byte   `cbor:"4,keyasint"` // sealed under the local key
}

// fingerprint is a SHA-256 over parameters, each with its length: of the caller, the method and all that the request says.
type fingerprint struct{ h hash.Hash }

func newFingerprint(c Caller, method string) fingerprint {
	return fingerprint{h: sha256.New()}.add(c.ID).add(method)
}

func (f fingerprint) add(s string) fingerprint {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	f.h.Write(n[:])
	f.h.Write([]byte(s))
	return f
}

func (f fingerprint) sum() [32]byte { return [32]byte(f.h.Sum(nil)) }

// idempotent is one request with an Idempotency-Key in work. The zero value is a request without one.
type idempotent struct {
	a       *Agent
	key     string // in the local store
	request [32]byte
	stored  *idemRecord
}

// idemTable holds the keys that are in work, so that a concurrent duplicate is refused instead of done twice.
type idemTable struct {
	mu   sync.Mutex
	busy map[string]struct{}
}

func (t *idemTable) enter(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.busy[key]; there {
		return false
	}
	if t.busy == nil {
		t.busy = map[string]struct{}{}
	}
	t.busy[key] = struct{}{}
	return true
}

func (t *idemTable) leave(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, key)
}

// begin looks the key up. Errors: fault.InvalidRequest for a malformed key, fault.Conflict while the same key is in work or when it
// belongs to another request, fault.Unavailable while nobody knows whether the request was done: the coordinator's answer was lost. The caller
// calls done in every case without an error.
func (a *Agent) begin(ctx context.Context, c Caller, key string, f fingerprint) (*idempotent, error) {
	if key == "" {
		return &idempotent{}, nil
	}
	if !visibleASCII(key, maxIdempotencyKey) {
		return nil, fault.New(fault.InvalidRequest, "an Idempotency-Key has 1 to %d visible ASCII characters", maxIdempotencyKey)
	}
	name := sha256.Sum256([]byte(key))
	i := &idempotent{a: a, key: idemPrefix + c.ID + "/" + hex.EncodeToString(name[:]), request: f.sum()}
	if !a.idem.enter(i.key) {
		return nil, fault.New(fault.Conflict, "a request with this Idempotency-Key is in work")
	}
	err := i.decide(ctx)
	if err == nil {
		err = i.load()
	}
	if err != nil {
		i.done()
		return nil, err
	}
	return i, nil
}

// decide finds out whether a request of before was done whose change of the vault is pending.
func (i *idempotent) decide(ctx context.Context) error {
	pending, err := i.pending()
	if err != nil || !pending {
		return err
	}
	if err := i.a.vault.Sync(ctx); err != nil {
		return ended(ctx, err)
	}
	if pending, err = i.pending(); err == nil && pending {
		err = fault.New(fault.Unavailable, "whether this request was done already will be seen once the coordinator can be reached")
	}
	return err
}

func (i *idempotent) pending() (there bool, err error) {
	err = i.a.db.View(func(tx *kv.Tx) error {
		there, err = keystore.PendingWrites(tx, i.key)
		return err
	})
	return there, err
}

func (i *idempotent) load() error {
	var r idemRecord
	err := i.a.db.View(func(tx *kv.Tx) error { return readRecord(tx, i.key, &r) })
	switch {
	case errors.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case i.a.clock.Now().Sub(time.Unix(r.Time, 0)) > IdempotencyLife:
		return nil
	case r.Request != i.request:
		return errOtherRequest()
	}
	i.stored = &r
	return nil
}

func errOtherRequest() error {
	return fault.New(fault.Conflict, "this Idempotency-Key was used for another request")
}

func (i *idempotent) done() {
	if i.a != nil {
		i.a.idem.leave(i.key)
	}
}

// replay reads the stored answer into v if there is one and the body is the same.
func (i *idempotent) replay(s *session, body [32]byte, v any) (bool, error) {
	if i.stored == nil {
		return false, nil
	}
	if i.stored.Body != body {
		return false, errOtherRequest()
	}
	b, err := seal.Open(s.local.key, purposeLocal, s.context("idem", i.key, "answer"), i.stored.Answer)
	if err != nil {
		return false, err
	}
	return true, signed.Unmarshal(b, v)
}

// save stages the answer into the transaction of its effect.
func (i *idempotent) save(tx *kv.Tx, s *session, body [32]byte, v any) error {
	if i.a == nil {
		return nil
	}
	b, err := signed.Marshal(v)
	if err != nil {
		return err
	}
	return writeRecord(tx, i.key, idemRecord{
		Time: i.a.clock.Now().Unix(), Request: i.request, Body: body,
		Answer: seal.Seal(s.local.key, s.local.id, purposeLocal, s.context("idem", i.key, "answer"), b),
	})
}

// sweepIdempotency removes answers that are older than IdempotencyLife.
func (a *Agent) sweepIdempotency() error {
	limit := a.clock.Now().Add(-IdempotencyLife).Unix()
	var old []string
	err := a.db.View(func(tx *kv.Tx) error {
		return tx.Scan(idemPrefix, func(key string, b []byte) error {
			var r idemRecord
			if signed.Unmarshal(b, &r) != nil || r.Time < limit {
				old = append(old, key)
			}
			return nil
		})
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return a.deleteKeys(old)
}

// deleteKeys removes records in transactions of bounded size.
func (a *Agent) deleteKeys(keys []string) error {
	const batch = 500
	for len(keys) > 0 {
		n := min(batch, len(keys))
		err := a.db.Update(func(tx *kv.Tx) error {
			for _, k := range keys[:n] {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func visibleASCII(s string, limit int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

// readRecord reads the CBOR record under key into v; fault.NotFound if there is none.
func readRecord(tx *kv.Tx, key string, v any) error {
	b, err := tx.Get(key)
	if err != nil {
		return err
	}
	return signed.Unmarshal(b, v)
}

func writeRecord(tx *kv.Tx, key string, v any) error {
	b, err := signed.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Set(key, b)
}
