package ratchet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/spqr"
)

// maxParts is how many parts a record can have, the head left out.
const maxParts = (maxArchived + 1) * (partsPerSlot - 1)

// HeadCounter returns the counter that a head carries, without opening the record: it must not go back. Errors: fault.NotAuthentic,
// fault.Policy for another version.
func HeadCounter(head []byte) (uint64, error) {
	r := recordReader{b: head}
	r.version()
	n := r.uint64()
	return n, r.bad
}

// checkCounter refuses a record whose counter went back, or cannot rise.
func checkCounter(bad error, counter, seen uint64) error {
	switch {
	case bad != nil:
		return bad
	case counter == 0 || counter == math.MaxUint64:
		return errRecord()
	case counter < seen:
		return fault.New(fault.RolledBack, "the record is at %d, and was at %d before", counter, seen)
	}
	return nil
}

// OpenSession returns the session of a stored record, all parts of which must be there. seen is the highest counter of a record of this
// peer that was ever seen. Errors: fault.NotAuthentic for bytes that are no record, for the record of another pair of parties, and for a
// part that is not of the head's time; fault.Incomplete for a missing part; fault.RolledBack for a counter below seen: the next
// message key was used before; fault.Policy for another version.
func OpenSession(l *Local, remote Address, parts []Part, seen uint64) (*Session, error) {
	in := &session{local: l, remote: remote}
	bodies := make(map[PartID][]byte, len(parts))
	for _, p := range parts {
		if _, twice := bodies[p.ID]; twice || len(parts) > maxParts+1 {
			return nil, errRecord()
		}
		bodies[p.ID] = p.Body
	}
	r := recordReader{b: bodies[HeadPart]}
	slots, err := in.readHead(&r, bodies)
	if err := checkCounter(err, in.counter, seen); err != nil {
		return nil, err
	}
	if in.current, err = readState(r.rest(), bodies); err != nil {
		return nil, err
	}
	for _, slot := range slots {
		a, err := readState(bodies[PartID(int(slot)*partsPerSlot+partLines)], bodies)
		if err != nil {
			return nil, err
		}
		if a.slot != slot {
			return nil, errRecord()
		}
		a.stored = true
		in.archived = append(in.archived, a)
	}
	in.pinned = in.current.remoteIdentity
	archive := appendArchive(nil, in.current, in.archived, in.stored)
	if !bytes.Equal(bodies[archivePart], archive) {
		return nil, errRecord()
	}
	if err := in.consistent(len(bodies) - 1); err != nil {
		return nil, err
	}
	return &Session{in}, nil
}

func errRecord() error { return fault.New(fault.NotAuthentic, "this is not the session's record") }

// readHead reads the head up to the current state, and the archive, and holds the parts against their tables.
func (in *session) readHead(r *recordReader, bodies map[PartID][]byte) (slots []byte, err error) {
	r.version()
	in.counter = r.uint64()
	same := bytes.Equal(r.take(len(in.bound())), in.bound())
	if err := r.bad; err != nil {
		return nil, err
	}
	if !same {
		return nil, errRecord()
	}
	table, err := r.table(bodies)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(table, func(e storedPart) bool { return e.id == archivePart }) {
		archive := recordReader{b: bodies[archivePart]}
		slots = archive.take(int(archive.byte()))
		rest, err := archive.table(bodies)
		if err != nil {
			return nil, err
		}
		if len(slots) == 0 || len(slots) > maxArchived || len(archive.rest()) > 0 {
			return nil, errRecord()
		}
		table = append(table, rest...)
	}
	slices.SortFunc(table, func(a, b storedPart) int { return int(a.id) - int(b.id) })
	n := len(table)
	in.stored = slices.CompactFunc(table, func(a, b storedPart) bool { return a.id == b.id })
	if len(in.stored) != n || n != len(bodies)-1 {
		return nil, errRecord()
	}
	return slots, nil
}

// table reads a table, whose ids ascend, and compares the parts with it.
func (r *recordReader) table(bodies map[PartID][]byte) (table []storedPart, err error) {
	for range r.count(maxParts) {
		e := storedPart{PartID(r.uint16()), r.key()}
		if err := r.bad; err != nil {
			return nil, err
		}
		if len(table) > 0 && table[len(table)-1].id >= e.id || e.id == HeadPart {
			return nil, errRecord()
		}
		body, ok := bodies[e.id]
		if !ok {
			return nil, fault.New(fault.Incomplete, "a part of the session's record is missing")
		}
		if sha256.Sum256(body) != e.hash {
			return nil, errRecord()
		}
		table = append(table, e)
	}
	return table, r.bad
}

// consistent checks that every part but the archive belongs to a state, every slot to one state alone, and all states to one peer who is not
// we.
func (in *session) consistent(parts int) error {
	var seen [256]bool
	parts -= len(in.archived) // their lines
	if len(in.archived) > 0 {
		parts-- // the archive
	}
	for _, s := range append([]*state{in.current}, in.archived...) {
		if seen[s.slot] || s.slot > maxArchived || in.trust(&s.remoteIdentity) != nil || !s.consistent() {
			return errRecord()
		}
		seen[s.slot] = true
		for kind := partPending; kind <= partSkippedKeys; kind++ {
			if len(s.part(kind).Body) > 0 {
				parts--
			}
		}
	}
	if parts != 0 {
		return errRecord()
	}
	return nil
}

// consistent reports whether the ratchet key is a pair, and each seed is once there and one that its chain passed over.
func (s *state) consistent() bool {
	next := map[uint32]uint32{} // message of each chain
	for i := range s.chains {
		c := &s.receiving[i]
		if _, twice := next[c.serial]; twice || c.serial >= s.serial {
			return false
		}
		next[c.serial] = c.index
	}
	type message struct{ serial, index uint32 }
	seen := make(map[message]bool, len(s.skipped))
	for _, k := range s.skipped {
		m := message{k.serial, k.index}
		if seen[m] || k.index >= next[k.serial] {
			return false
		}
		seen[m] = true
	}
	return publicOf(s.own.private[:]) == s.own.public
}

// readState reads a state's lines, and its other parts.
func readState(lines []byte, bodies map[PartID][]byte) (*state, error) {
	r := recordReader{b: lines}
	s := &state{slot: r.byte(), remoteIdentity: r.key(), baseKey: r.key(), registrationID: r.uint32(), root: r.key()}
	s.own = keyPair{r.key(), r.key()}
	s.sending = r.chain()
	s.previous, s.serial = r.uint32(), r.uint32()
	s.chains = int(r.byte())
	if s.chains > maxChains {
		return nil, errRecord()
	}
	for i := range s.chains {
		s.receiving[i] = receivingChain{ratchetKey: r.key(), serial: r.uint32(), chain: r.chain()}
	}
	if err := r.bad; err != nil {
		return nil, err
	}
	var err error
	if s.pending, err = readPending(bodies[s.partID(partPending)]); err != nil {
		return nil, err
	}
	if err := s.readSkipped(bodies[s.partID(partSkipped)]); err != nil {
		return nil, err
	}
	s.pq, err = spqr.Parse(r.rest(), bodies[s.partID(partMachine)], bodies[s.partID(partIntake)], bodies[s.partID(partSkippedKeys)])
	return s, err
}

func readPending(b []byte) (*pending, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := recordReader{b: b}
	has := r.byte()
	p := &pending{hasPreKey: has == 1, preKeyID: r.uint32(), signedPreKeyID: r.uint32(), kemPreKeyID: r.uint32(), made: r.time()}
	p.kemCiphertext = slices.Clone(r.rest())
	if has > 1 || len(p.kemCiphertext) != kemSize || !p.hasPreKey && p.preKeyID != 0 {
		return nil, errRecord()
	}
	return p, r.bad
}

func (s *state) readSkipped(b []byte) error {
	const size = 4 + 4 + 32
	if len(b)%size != 0 || len(b)/size > maxSkipped {
		return errRecord()
	}
	r := recordReader{b: b}
	for range len(b) / size {
		s.skipped = append(s.skipped, skippedSeed{r.uint32(), r.uint32(), r.key()})
	}
	return r.bad
}

// recordReader reads the fields of a record. After the first one that is not there everything reads as zero.
type recordReader struct {
	b   []byte
	bad error
}

func (r *recordReader) take(n int) []byte {
	if len(r.b) < n {
		r.b = nil
		if r.bad == nil {
			r.bad = errRecord()
		}
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *recordReader) version() {
	if v := r.byte(); r.bad == nil && v != recordVersion {
		r.bad = fault.New(fault.Policy, "the record has format version %d; this program knows %d", v, recordVersion)
	}
}

func (r *recordReader) rest() []byte    { return r.b }
func (r *recordReader) byte() byte      { return r.take(1)[0] }
func (r *recordReader) uint16() uint16  { return binary.BigEndian.Uint16(r.take(2)) }
func (r *recordReader) uint32() uint32  { return binary.BigEndian.Uint32(r.take(4)) }
func (r *recordReader) uint64() uint64  { return binary.BigEndian.Uint64(r.take(8)) }
func (r *recordReader) key() [32]byte   { return [32]byte(r.take(32)) }
func (r *recordReader) chain() chain    { return chain{r.key(), r.uint32()} }
func (r *recordReader) time() time.Time { return time.Unix(int64(r.uint64()), 0).UTC() }
