package ratchet

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync"
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

	mu     sync.Mutex
	set    *preKeySet // replaced, never written to
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
	id   uint32
	pair keyPair
}

// Format prints nothing of the keys.
func (p *PreKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[prekeys]") }

// NewPreKeys returns prekeys without any key yet: the first Bundles makes them.
func NewPreKeys(l *Local) *PreKeys { return &PreKeys{local: l, set: &preKeySet{nextID: 1}} }

// Counter returns the counter of the record: it rises by one at every change.
func (p *PreKeys) Counter() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.counter
}

// Remaining returns how many one-time prekeys, of the kind there is less of, have not been used yet, as far as we know.
func (p *PreKeys) Remaining() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(len(p.set.kem), len(p.set.oneTime))
}

// BundleOptions says what bundles hold.
type BundleOptions struct {
	OneTime    bool // a one-time X25519 prekey
	LastResort bool // the last-resort KEM prekey instead of a one-time one
}

// Bundles makes n bundles with one-time keys of their own, and returns them once save has stored the record. Signed and last-resort
// prekeys are made, and replaced when they are older than PreKeyRotation; those that were replaced are dropped after MaxPreKeyAge.
// Errors: fault.InvalidRequest for an n out of 1 to MaxOneTimePreKeys; fault.Conflict after an error of save; that error.
func (p *PreKeys) Bundles(n int, o BundleOptions, now time.Time, save func(record []byte) error) ([]Bundle, error) {
	if n < 1 || n > MaxOneTimePreKeys {
		return nil, fault.New(fault.InvalidRequest, "1 to %d bundles can be made at once", MaxOneTimePreKeys)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return nil, errPreKeysBroken()
	}
	next := p.rotated(now)
	out := make([]Bundle, n)
	for i := range out {
		out[i] = p.bundle(next, o)
	}
	next.kem = next.kem[:min(len(next.kem), MaxOneTimePreKeys)]
	next.oneTime = next.oneTime[:min(len(next.oneTime), MaxOneTimePreKeys)]
	if err := save(next.append(nil, p.local)); err != nil {
		p.broken = true
		return nil, err
	}
	p.set = next
	return out, nil
}

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
func (p *PreKeys) rotated(now time.Time) *preKeySet {
	s := p.set.clone()
	now = now.Truncate(time.Second)
	if len(s.signed) == 0 || now.Sub(s.signed[0].made) > PreKeyRotation {
		k := signedPreKey{id: s.newID(), made: now}
		k.pair.private, k.pair.public = newKeyPair(p.local.random())
		k.signature = p.local.sign(appendECKey(nil, &k.pair.public))
		s.signed = slices.Insert(s.signed, 0, k)
	}
	if len(s.lastResort) == 0 || now.Sub(s.lastResort[0].made) > PreKeyRotation || len(s.lastResort[0].firsts) >= maxFirsts/2 {
		s.lastResort = slices.Insert(s.lastResort, 0, lastResortPreKey{kemPreKey: p.newKEM(s), made: now})
	}
	s.signed = s.signed[:kept(len(s.signed), now, func(i int) time.Time { return s.signed[i].made })]
	s.lastResort = s.lastResort[:kept(len(s.lastResort), now, func(i int) time.Time { return s.lastResort[i].made })]
	return s
}

// kept returns how many of n keys, newest first, are to be kept: a key is retired when the one before it was made.
func kept(n int, now time.Time, made func(i int) time.Time) int {
	for i := 1; i < n; i++ {
		if i == maxSigned || now.Sub(made(i-1)) > maxRetired {
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

func (p *PreKeys) newKEM(s *preKeySet) kemPreKey {
	k := kemPreKey{id: s.newID(), key: newKEMKey(p.local.random())}
	k.signature = p.local.sign(appendKEM(nil, k.key.public()))
	return k
}

// bundle returns a bundle of the newest keys of s, with new one-time keys as o says.
func (p *PreKeys) bundle(s *preKeySet, o BundleOptions) Bundle {
	signed, kem := &s.signed[0], s.lastResort[0].kemPreKey
	if !o.LastResort {
		kem = p.newKEM(s)
		s.kem = slices.Insert(s.kem, 0, kem)
	}
	b := Bundle{
		Address: p.local.Address, RegistrationID: p.local.RegistrationID, IdentityKey: p.local.Identity.Public(),
		SignedPreKey: SignedPreKey{ID: signed.id, Public: signed.pair.public, Signature: signed.signature, Made: signed.made},
		KEMPreKey:    KEMPreKey{ID: kem.id, Public: kem.key.public(), Signature: kem.signature},
	}
	if o.OneTime {
		k := oneTimePreKey{id: s.newID()}
		k.pair.private, k.pair.public = newKeyPair(p.local.random())
		s.oneTime = slices.Insert(s.oneTime, 0, k)
		b.OneTimePreKey = &OneTimePreKey{ID: k.id, Public: k.pair.public}
	}
	return b
}

// namedPreKeys are the private keys that a first message names.
type namedPreKeys struct {
	signed, oneTime keyPair
	kem             kemKey
}

func (k *namedPreKeys) wipe() {
	secret.Wipe(k.signed.private[:])
	secret.Wipe(k.oneTime.private[:])
	secret.Wipe(k.kem[:])
}

// named finds the keys of a first message. Errors: fault.Stale for keys that are not there, fault.Replayed for the second use of a
// last-resort key by the same message, fault.Conflict. p.mu is held.
func (p *PreKeys) named(m *preKeyMessage) (*namedPreKeys, error) {
	if p.broken {
		return nil, errPreKeysBroken()
	}
	k, s := &namedPreKeys{}, p.set
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
		k.oneTime = s.oneTime[i].pair
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
	return fault.New(fault.Stale, "the message names a prekey that was used, has expired, or never was")
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
	s := p.set.clone()
	s.oneTime = slices.DeleteFunc(s.oneTime, func(k oneTimePreKey) bool { return m.hasPreKey && k.id == m.preKeyID })
	s.kem = slices.DeleteFunc(s.kem, func(k kemPreKey) bool { return k.id == m.kemPreKeyID })
	for i := range s.lastResort {
		if l := &s.lastResort[i]; l.id == m.kemPreKeyID {
			l.firsts = append(slices.Clone(l.firsts), digestFirst(m))
		}
	}
	return s
}
