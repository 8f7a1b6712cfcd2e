package ratchet

import (
	"crypto/sha256"
	"encoding/binary"
)

// preKeyLabel is what a record of prekeys is bound to besides the party.
const preKeyLabel = "coldframe/ratchet/prekeys"

func preKeyBinding(l *Local) []byte {
	public := l.Identity.Public()
	sum := sha256.Sum256(appendUint32(append([]byte(preKeyLabel), public[:]...), l.RegistrationID))
	return sum[:16]
}

// append appends the record of the prekeys (docs/ratchet.md).
func (s *preKeySet) append(b []byte, l *Local) []byte {
	b = binary.BigEndian.AppendUint64(append(b, recordVersion), s.counter)
	b = appendUint32(append(b, preKeyBinding(l)...), s.nextID)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.signed)))
	for i := range s.signed {
		k := &s.signed[i]
		b = append(append(appendUint32(b, k.id), k.pair.private[:]...), k.signature[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(k.made.Unix()))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.lastResort)))
	for i := range s.lastResort {
		k := &s.lastResort[i]
		b = binary.BigEndian.AppendUint64(k.append(b), uint64(k.made.Unix()))
		b = binary.BigEndian.AppendUint16(b, uint16(len(k.firsts)))
		for _, f := range k.firsts {
			b = append(b, f[:]...)
		}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.kem)))
	for i := range s.kem {
		b = s.kem[i].append(b)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.oneTime)))
	for i := range s.oneTime {
		b = append(appendUint32(b, s.oneTime[i].id), s.oneTime[i].private[:]...)
	}
	return b
}

func (k *kemPreKey) append(b []byte) []byte {
	return append(append(appendUint32(b, k.id), k.key[:]...), k.signature[:]...)
}

// PreKeysCounter returns the counter of a record of prekeys without opening it: it must not go back. Errors: fault.NotAuthentic,
// fault.Policy for another version.
func PreKeysCounter(record []byte) (uint64, error) { return HeadCounter(record) }

// OpenPreKeys returns the prekeys of a stored record. seen is the highest counter of such a record that was ever seen. They are opened
// before the sessions that are used with them: other agents change both, and a message whose prekeys are not there yet is fault.Stale.
// Errors: fault.NotAuthentic for bytes that are no such record, or that of another party; fault.RolledBack for a counter below seen;
// fault.Policy for another version.
func OpenPreKeys(l *Local, record []byte, seen uint64) (*PreKeys, error) {
	r := recordReader{b: record}
	s := &preKeySet{}
	r.version()
	s.counter = r.uint64()
	if string(r.take(16)) != string(preKeyBinding(l)) && r.bad == nil {
		return nil, errRecord()
	}
	s.nextID = r.uint32()
	r.signedPreKeys(s)
	r.lastResortPreKeys(s)
	for range r.count(MaxOneTimePreKeys) {
		s.kem = append(s.kem, r.kemPreKey())
	}
	for range r.count(MaxOneTimePreKeys) {
		s.oneTime = append(s.oneTime, oneTimePreKey{r.uint32(), r.key()})
	}
	if r.bad == nil && (len(r.b) != 0 || !s.consistent()) {
		return nil, errRecord()
	}
	if err := checkCounter(r.bad, s.counter, seen); err != nil {
		return nil, err
	}
	p := &PreKeys{local: l}
	p.set.Store(s)
	return p, nil
}

// consistent reports whether there is what every record has, and no id twice.
func (s *preKeySet) consistent() bool {
	ids := map[uint32]bool{}
	n := 0
	add := func(id uint32) { ids[id], n = true, n+1 }
	for i := range s.signed {
		add(s.signed[i].id)
	}
	for i := range s.lastResort {
		add(s.lastResort[i].id)
	}
	for i := range s.kem {
		add(s.kem[i].id)
	}
	for i := range s.oneTime {
		add(s.oneTime[i].id)
	}
	return len(ids) == n && s.nextID >= 1 && s.nextID <= lastPreKey && len(s.signed) > 0 && len(s.lastResort) > 0
}

func (r *recordReader) signedPreKeys(s *preKeySet) {
	for range r.count(maxSigned) {
		s.signed = append(s.signed, signedPreKey{r.uint32(), r.pair(), [SignatureSize]byte(r.take(SignatureSize)), r.time()})
	}
}

func (r *recordReader) lastResortPreKeys(s *preKeySet) {
	for range r.count(maxSigned) {
		k := lastResortPreKey{kemPreKey: r.kemPreKey(), made: r.time()}
		for range r.count(maxFirsts) {
			k.firsts = append(k.firsts, [firstDigest]byte(r.take(firstDigest)))
		}
		s.lastResort = append(s.lastResort, k)
	}
}

// count reads how many of something follow; more than limit make the record no record.
func (r *recordReader) count(limit int) int {
	n := int(r.uint16())
	if n > limit && r.bad == nil {
		r.bad = errRecord()
	}
	if r.bad != nil {
		return 0
	}
	return n
}

// pair reads a private key and makes the public one of it.
func (r *recordReader) pair() keyPair {
	k := keyPair{private: r.key()}
	if r.bad != nil {
		return keyPair{}
	}
	k.public = publicOf(k.private[:])
	return k
}

func (r *recordReader) kemPreKey() kemPreKey {
	return kemPreKey{id: r.uint32(), key: kemKey(r.take(kemSeedSize)), signature: [SignatureSize]byte(r.take(SignatureSize))}
}
