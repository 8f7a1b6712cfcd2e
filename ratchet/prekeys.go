package ratchet

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Life of prekeys. A message may be on its way for as long as a retired key is kept.
const (
	PreKeyRotation = 7 * 24 * time.Hour // age at which signed and last-resort prekeys are replaced
	maxRetired     = MaxPreKeyAge       // how long they are kept after that

	// MaxOneTimePreKeys is how many one-time prekeys of each kind are kept at most. The oldest go first.
	MaxOneTimePreKeys = 500

	maxSigned   = 8     // signed, and last-resort, prekeys kept
	maxFirsts   = 4_096 // first messages remembered for a last-resort prekey; after that it serves nobody
	lastPreKey  = 1<<24 - 1
	firstDigest = 16 // bytes
)

// PreKeys are the keys that others start sessions with: signed, one-time, KEM and last-resort ones (spec section 4). It is made by
// NewPreKeys or OpenPreKeys and is safe for concurrent use.
type PreKeys struct {
	local *Local
	set   atomic.Pointer[preKeySet] // replaced under mu, never written to

	mu     sync.Mutex
	broken bool
}

// preKeySet is what the record holds.
type preKeySet struct {
	counter    uint64
	nextID     uint32
	signed     []signedPreKey // newest first; likewise the others
	lastResort []lastResortPreKey
	kem        []kemPreKey
	oneTime    []oneTimePreKey
}

type signedPreKey struct {
	id        uint32
	pair      keyPair
	signature [SignatureSize]byte
	made      time.Time
}

type kemPreKey struct {
	id        uint32
	key       kemKey
	signature [SignatureSize]byte
}

type lastResortPreKey struct {
	kemPreKey
	made   time.Time
	firsts [][firstDigest]byte // first messages that used it
}

type oneTimePreKey struct {
	id      uint32
	private [32]byte
}

// Format prints nothing of the keys.
func (p *PreKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[prekeys]") }

// NewPreKeys returns prekeys without any key yet: the first Bundles makes them. seen is the highest counter of any record of prekeys
// there ever was for this party, 0 if there was none.
func NewPreKeys(l *Local, seen uint64) *PreKeys {
	p := &PreKeys{local: l}
	p.set.Store(&preKeySet{counter: seen, nextID: 1})
	return p
}

// Counter returns the counter of the record: it rises by one at every change. It never waits.
func (p *PreKeys) Counter() uint64 { return p.set.Load().counter }

// Remaining returns how many one-time prekeys, of the kind there is less of, have not been used yet, as far as we know. It never waits.
func (p *PreKeys) Remaining() int {
	s := p.set.Load()
	return min(len(s.kem), len(s.oneTime))
}

// replace makes the next set the one that is stored, and wipes the one before. p.mu is held.
func (p *PreKeys) replace(next *preKeySet) {
	p.set.Swap(next).wipe()
	p.broken = false
}

// Wipe overwrites the keys in memory. Everything fails with fault.Conflict after that.
func (p *PreKeys) Wipe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.set.Load().wipe()
}

// wipe overwrites the keys; how many there were can still be asked.
func (s *preKeySet) wipe() {
	clear(s.signed)
	clear(s.lastResort)
	clear(s.kem)
	clear(s.oneTime)
}

// BundleOptions says what bundles hold.
type BundleOptions struct {
	OneTime    bool // a one-time X25519 prekey
	LastResort bool // the last-resort KEM prekey instead of a one-time one
}

// Rotate makes signed and last-resort prekeys, or replaces them when they are older than PreKeyRotation, and drops those that were
// replaced MaxPreKeyAge ago and more; the one before the newest stays. It reports whether that changed anything, and if so, save has stored
// the record. It is to be called once a day. Errors as those of Bundles.
func (p *PreKeys) Rotate(now time.Time, save func(record []byte) error) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return false, errPreKeysBroken()
	}
	before := p.set.Load()
	next, err := p.rotated(now)
	if err != nil {
		return false, err
	}
	if len(before.signed) > 0 && next.nextID == before.nextID && len(next.signed) == len(before.signed) &&
		len(next.lastResort) == len(before.lastResort) {
		next.wipe()
		return false, nil
	}
	return true, p.commit(next, save)
}

// commit stores the next set. p.mu is held.
func (p *PreKeys) commit(next *preKeySet, save func(record []byte) error) error {
	record := next.append(nil, p.local)
	defer secret.Wipe(record)
	p.broken = true // until it is known what is stored, even if save panics
	if err := save(record); err != nil {
		return err
	}
	p.replace(next)
	return nil
}

// Bundles makes n bundles with one-time keys of their own, and returns them once save has stored the record, which is compared and
// swapped by its PreKeysCounter as Save says, and overwritten after that. What Rotate does is done first. save is called with p locked: it
// may ask p for Counter and Remaining and nothing else. Errors: fault.InvalidRequest for an n out of 1 to MaxOneTimePreKeys; fault.Locked
// without an identity key; fault.Conflict after an error of save; that error.
func (p *PreKeys) Bundles(n int, o BundleOptions, now time.Time, save func(record []byte) error) ([]Bundle, error) {
	if n < 1 || n > MaxOneTimePreKeys {
		return nil, fault.New(fault.InvalidRequest, "1 to %d bundles can be made at once", MaxOneTimePreKeys)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return nil, errPreKeysBroken()
	}
	next, err := p.rotated(now)
	if err != nil {
		return nil, err
	}
	out := make([]Bundle, n)
	for i := range out {
		if out[i], err = p.bundle(next, o); err != nil {
			return nil, err
		}
	}
	next.kem, next.oneTime = cut(next.kem, MaxOneTimePreKeys), cut(next.oneTime, MaxOneTimePreKeys)
	if err := p.commit(next, save); err != nil {
		return nil, err
	}
	return out, nil
}

// cut leaves the first n keys, and nothing of the others behind them.
func cut[T any](keys []T, n int) []T { return slices.Delete(keys, min(len(keys), n), len(keys)) }

func errPreKeysBroken() error {
	return fault.New(fault.Conflict, "the prekeys could not be saved; they must be opened again")
}

// clone returns a copy with the next counter.
func (s *preKeySet) clone() *preKeySet {
	c := *s
	c.counter++
	c.signed, c.lastResort, c.kem, c.oneTime = slices.Clone(s.signed), slices.Clone(s.lastResort), slices.Clone(s.kem), slices.Clone(s.oneTime)
	return &c
}

// rotated returns a copy in which the newest signed and last-resort prekeys are young enough.
func (p *PreKeys) rotated(now time.Time) (*preKeySet, error) {
	s := p.set.Load().clone()
	now = now.Truncate(time.Second)
	var err error
	if len(s.signed) == 0 || due(s.signed[0].made, now) {
		k := signedPreKey{id: s.newID(), made: now}
		k.pair.private, k.pair.public = newKeyPair(p.local.random())
		if k.signature, err = p.local.sign(appendECKey(nil, &k.pair.public)); err != nil {
			return nil, err
		}
		s.signed = slices.Insert(s.signed, 0, k)
	}
	if len(s.lastResort) == 0 || due(s.lastResort[0].made, now) || len(s.lastResort[0].firsts) >= maxFirsts/2 {
		k := lastResortPreKey{made: now}
		if k.kemPreKey, err = p.newKEM(s); err != nil {
			return nil, err
		}
		s.lastResort = slices.Insert(s.lastResort, 0, k)
	}
	s.signed = cut(s.signed, kept(len(s.signed), now, func(i int) time.Time { return s.signed[i].made }))
	s.lastResort = cut(s.lastResort, kept(len(s.lastResort), now, func(i int) time.Time { return s.lastResort[i].made }))
	return s, nil
}

// due reports whether a key made then is to be replaced: one of the future too, for a wrong clock made it.
func due(made, now time.Time) bool { return now.Sub(made).Abs() > PreKeyRotation }

// kept returns how many of n keys, newest first, are to be kept: a key is retired when the one before it was made, and not before it was
// made itself, whatever the clock said. The newest two always are kept, so that a clock that jumps ahead once does not take the keys of the
// messages on their way.
func kept(n int, now time.Time, made func(i int) time.Time) int {
	for i := 2; i < n; i++ {
		if i == maxSigned || now.Sub(made(i-1)) > maxRetired && now.Sub(made(i)) > maxRetired {
			return i
		}
	}
	return n
}

func (s *preKeySet) newID() uint32 {
	id := s.nextID
	if s.nextID++; s.nextID > lastPreKey {
		s.nextID = 1
	}
	return id
}

func (p *PreKeys) newKEM(s *preKeySet) (kemPreKey, error) {
	k := kemPreKey{id: s.newID(), key: newKEMKey(p.local.random())}
	var err error
	k.signature, err = p.local.sign(appendKEM(nil, k.key.public()))
	return k, err
}

// bundle returns a bundle of the newest keys of s, with new one-time keys as o says.
func (p *PreKeys) bundle(s *preKeySet, o BundleOptions) (Bundle, error) {
	signed, kem := &s.signed[0], s.lastResort[0].kemPreKey
	if !o.LastResort {
		var err error
		if kem, err = p.newKEM(s); err != nil {
			return Bundle{}, err
		}
		s.kem = slices.Insert(s.kem, 0, kem)
	}
	b := Bundle{
		Address: p.local.Address, RegistrationID: p.local.RegistrationID, IdentityKey: p.local.Identity.Public(),
		SignedPreKey: SignedPreKey{ID: signed.id, Public: signed.pair.public, Signature: signed.signature, Made: signed.made},
		KEMPreKey:    KEMPreKey{ID: kem.id, Public: kem.key.public(), Signature: kem.signature},
	}
	if o.OneTime {
		b.OneTimePreKey = &OneTimePreKey{ID: s.newID()}
		k := oneTimePreKey{id: b.OneTimePreKey.ID}
		k.private, b.OneTimePreKey.Public = newKeyPair(p.local.random())
		s.oneTime = slices.Insert(s.oneTime, 0, k)
	}
	return b, nil
}

// namedPreKeys are the private keys that a first message names.
type namedPreKeys struct {
	signed  keyPair
	oneTime [32]byte
	kem     kemKey
}

func (k *namedPreKeys) wipe() {
	secret.Wipe(k.signed.private[:])
	secret.Wipe(k.oneTime[:])
	secret.Wipe(k.kem[:])
	secret.Wipe(k.kem[:])
}

// named finds the keys of a first message. Errors: fault.Stale for keys that are not there, fault.Replayed for the second use of a
// last-resort key by the same message, fault.Conflict. p.mu is held.
func (p *PreKeys) named(m *preKeyMessage) (*namedPreKeys, error) {
	if p.broken {
		return nil, errPreKeysBroken()
	}
	k, s := &namedPreKeys{}, p.set.Load()
	i := slices.IndexFunc(s.signed, func(k signedPreKey) bool { return k.id == m.signedPreKeyID })
	if i < 0 {
		return nil, errPreKeyGone()
	}
	k.signed = s.signed[i].pair
	if m.hasPreKey {
		i := slices.IndexFunc(s.oneTime, func(k oneTimePreKey) bool { return k.id == m.preKeyID })
		if i < 0 {
			return nil, errPreKeyGone()
		}
		k.oneTime = s.oneTime[i].private
	}
	if i := slices.IndexFunc(s.kem, func(k kemPreKey) bool { return k.id == m.kemPreKeyID }); i >= 0 {
		k.kem = s.kem[i].key
		return k, nil
	}
	i = slices.IndexFunc(s.lastResort, func(k lastResortPreKey) bool { return k.id == m.kemPreKeyID })
	if i < 0 || len(s.lastResort[i].firsts) >= maxFirsts {
		return nil, errPreKeyGone()
	}
	if slices.Contains(s.lastResort[i].firsts, digestFirst(m)) {
		return nil, fault.New(fault.Replayed, "this first message was read before")
	}
	k.kem = s.lastResort[i].key
	return k, nil
}

func errPreKeyGone() error {
	return fault.New(fault.Stale, "the message names a prekey that is not here")
}

// digestFirst names a first message: by the prekeys it uses and its base key (spec section 4).
func digestFirst(m *preKeyMessage) [firstDigest]byte {
	b := appendUint32(appendUint32(append([]byte("coldframe/ratchet/first"), m.baseKey[:]...), m.kemPreKeyID), m.signedPreKeyID)
	sum := sha256.Sum256(b)
	return [firstDigest]byte(sum[:])
}

// use returns the prekeys after a first message was read: its one-time keys are gone, its use of a last-resort key is remembered.
// p.mu is held.
func (p *PreKeys) use(m *preKeyMessage) *preKeySet {
	s := p.set.Load().clone()
	s.oneTime = slices.DeleteFunc(s.oneTime, func(k oneTimePreKey) bool { return m.hasPreKey && k.id == m.preKeyID })
	s.kem = slices.DeleteFunc(s.kem, func(k kemPreKey) bool { return k.id == m.kemPreKeyID })
	for i := range s.lastResort {
		if l := &s.lastResort[i]; l.id == m.kemPreKeyID {
			l.firsts = append(slices.Clone(l.firsts), digestFirst(m))
		}
	}
	return s
}
