package ratchet

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// KeyName names the key of a message: nothing else is ever encrypted with it.
type KeyName struct {
	RatchetKey [32]byte
	Counter    uint32
}

// KeyOf reads off a message of either type what its key is. It panics on one that is malformed.
func KeyOf(m Message) KeyName {
	inner := innerOf(m)
	return KeyName{inner.ratchetKey, inner.counter}
}

// EpochOf reads off a message of either type the post-quantum epoch that its sender was in.
func EpochOf(m Message) uint64 {
	inner := innerOf(m)
	epoch, _ := binary.Uvarint(inner.pqRatchet[1:])
	return epoch
}

func innerOf(m Message) signalMessage {
	body := m.Body
	if m.Type == TypePreKey {
		body = must(parsePreKeyMessage(body)).message
	}
	return must(parseSignalMessage(body))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// First is what a first message says beside the message in it.
type First struct {
	HasPreKey                             bool
	PreKeyID, SignedPreKeyID, KEMPreKeyID uint32
	BaseKey, IdentityKey                  [32]byte
	Message, KEMCiphertext                []byte
	RegistrationID                        uint32
}

// EditFirst returns a first message with its handshake changed.
func EditFirst(m Message, edit func(*First)) Message {
	p := must(parsePreKeyMessage(m.Body))
	f := First{
		p.hasPreKey, p.preKeyID, p.signedPreKeyID, p.kemPreKeyID, p.baseKey, p.identityKey, slices.Clone(p.message),
		slices.Clone(p.kemCiphertext), p.registrationID,
	}
	edit(&f)
	return Message{Type: TypePreKey, Body: appendPreKeyMessage(nil, &preKeyMessage{
		f.PreKeyID, f.HasPreKey, f.BaseKey, f.IdentityKey, f.Message, f.RegistrationID, f.SignedPreKeyID, f.KEMPreKeyID, f.KEMCiphertext,
	})}
}

// WithoutField returns a protobuf, after its version byte, without a field of wire type bytes or number.
func WithoutField(body []byte, field uint64) []byte {
	out := body[:1:1]
	for b := body[1:]; len(b) > 0; {
		number, kind, rest, _ := cutProtoTag(b)
		rest, _ = skipProto(rest, number, kind, 0)
		if number != field {
			out = append(out, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	return out
}

// BaseKey names the handshake of the current session.
func (s *Session) BaseKey() [32]byte { return s.in.current.baseKey }

// BaseKeys names the handshakes of the current session, which is the first, and of the archived ones.
func (s *Session) BaseKeys() (keys [][32]byte) {
	for i := range len(s.in.archived) + 1 {
		if c := s.in.candidate(i); c != nil {
			keys = append(keys, c.baseKey)
		}
	}
	return keys
}

// Kept returns how many receiving chains and skipped seeds the current session has.
func (s *Session) Kept() (chains, seeds int) { return s.in.current.chains, len(s.in.current.skipped) }

// Record encodes what is in memory, every part of it, as if it had never been stored.
func (s *Session) Record() []Part {
	in := *s.in
	in.stored, in.fresh, in.current = nil, true, nil
	next := *s.in.current
	var archived []*state
	for _, a := range s.in.archived {
		c := *a
		c.stored = false
		archived = append(archived, &c)
	}
	c := Change{Put: make([]Part, 1)}
	table := in.rewritten(&c, &next, archived)
	c.Put[0] = Part{HeadPart, in.appendHead(nil, in.counter, &next, table)}
	SortParts(c.Put)
	return c.Put
}

// Skip is what an insider does to make a gap: n messages of the current sending chain are never made. With post the post-quantum ratchet
// goes past them too.
func (s *Session) Skip(n int, post bool) {
	next := *s.in.current
	for range n {
		next.sending.step()
		if post {
			next.pq, _, _ = next.pq.Send(s.in.local.random(), nil)
		}
	}
	s.in.current, s.in.fresh = &next, true
}

// Record encodes the prekeys in memory.
func (p *PreKeys) Record() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Load().append(nil, p.local)
}

// PreKeyIDs are the ids of the prekeys that are held, newest first.
type PreKeyIDs struct{ Signed, LastResort, KEM, OneTime []uint32 }

// IDs returns which prekeys are held.
func (p *PreKeys) IDs() (ids PreKeyIDs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.set.Load().signed {
		ids.Signed = append(ids.Signed, p.set.Load().signed[i].id)
	}
	for i := range p.set.Load().lastResort {
		ids.LastResort = append(ids.LastResort, p.set.Load().lastResort[i].id)
	}
	for i := range p.set.Load().kem {
		ids.KEM = append(ids.KEM, p.set.Load().kem[i].id)
	}
	for i := range p.set.Load().oneTime {
		ids.OneTime = append(ids.OneTime, p.set.Load().oneTime[i].id)
	}
	return ids
}

// SortParts puts parts into the order of their ids.
func SortParts(parts []Part) {
	slices.SortFunc(parts, func(a, b Part) int { return int(a.ID) - int(b.ID) })
}

// Rehash puts the right hashes into the tables of the archive and of the head, where they have one.
func Rehash(parts []Part) {
	for _, id := range []PartID{archivePart, HeadPart} {
		at := slices.IndexFunc(parts, func(p Part) bool { return p.ID == id })
		if at < 0 {
			continue
		}
		r := recordReader{b: parts[at].Body}
		if id == HeadPart {
			r.take(1 + 8 + 16)
		} else {
			r.take(int(r.byte()))
		}
		rehashTable(&r, parts)
	}
}

func rehashTable(r *recordReader, parts []Part) {
	for range int(r.uint16()) {
		if r.bad != nil || len(r.b) < 2+sha256.Size {
			return
		}
		id, hash := PartID(r.uint16()), r.take(sha256.Size)
		for _, p := range parts {
			if p.ID == id {
				sum := sha256.Sum256(p.Body)
				copy(hash, sum[:])
			}
		}
	}
}

// Forge is a message by an insider: the keys of the next one with any bytes as ciphertext, and without a post-quantum key if so asked. It
// does not advance the session.
func (s *Session) Forge(ciphertext []byte, keyless bool) Message {
	next := *s.in.current
	m := signalMessage{version: versionByte, ratchetKey: next.own.public, counter: next.sending.index, ciphertext: ciphertext}
	seed := next.sending.seed()
	_, header, key := next.pq.Send(s.in.local.random(), nil)
	m.pqRatchet = header
	keys := deriveMessageKeys(&seed, key[:])
	if keyless {
		m.pqRatchet = []byte{1, 1, 0, 0}
		keys = deriveMessageKeys(&seed, nil)
		m.ciphertext = encryptCBC(&keys, ciphertext)
	}
	self := s.in.local.Identity.Public()
	body := appendSignalMessage(nil, &m)
	mac := messageMAC(&keys.mac, &self, &next.remoteIdentity, body)
	return Message{Type: TypeMessage, Body: append(body, mac[:]...)}
}

// FillFirsts has the last-resort prekey serve n first messages.
func (p *PreKeys) FillFirsts(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := *p.set.Load()
	s.lastResort = slices.Clone(s.lastResort)
	s.lastResort[0].firsts = make([][firstDigest]byte, n)
	p.set.Store(&s)
}

// Scratch is where the last head was made.
func (s *Session) Scratch() []byte { return s.in.scratch[:cap(s.in.scratch)] }
