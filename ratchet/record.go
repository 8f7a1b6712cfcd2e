package ratchet

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"coldframe/internal/secret"
)

// The record of a session (docs/ratchet.md). It is cut into parts, so that a message rewrites only what it changed. The head has the
// counter, the current session's chain keys, and the hashes of its parts; the archive has those of the parts of archived sessions, so that
// these cost a message nothing. Parts of different times do not go together.
const (
	recordVersion = 1

	// HeadPart is the part that every change has.
	HeadPart PartID = 0

	archivePart PartID = 7 // which sessions are archived, and the hashes of their parts; not there if none is

	partsPerSlot = 8
)

// The kinds of part that a state has. The id of one is slot · partsPerSlot + kind.
const (
	partLines       = 1 + iota // of an archived session: what the head has of the current one
	partPending                // what goes with unacknowledged messages
	partSkipped                // seeds of messages that have not come
	partMachine                // post-quantum ratchet: its keys and the stream it sends
	partIntake                 // post-quantum ratchet: the chunks it has got
	partSkippedKeys            // post-quantum ratchet: keys of messages that have not come
)

// PartID names a part of a record.
type PartID uint16

// Part is one piece of a record; each is stored, and sealed, by itself.
type Part struct {
	ID   PartID
	Body []byte
}

// errNotEncodable is the answer to whoever would write parts in another form than their own: they are keys.
var errNotEncodable = errors.New("ratchet: a record is not encodable")

// Format prints nothing of the part but its id: it may be the head, which is all keys.
func (p Part) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[part %d]", p.ID) }

// LogValue is what structured logs show of the part.
func (p Part) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// MarshalText refuses: JSON and XML never hold a part.
func (p Part) MarshalText() ([]byte, error) { return nil, errNotEncodable }

// MarshalBinary refuses: gob and CBOR never hold a part.
func (p Part) MarshalBinary() ([]byte, error) { return nil, errNotEncodable }

// Change is the step from one record to the next.
type Change struct {
	Counter uint64   // of the new record: one more than before
	Begins  bool     // the first of a record: parts that are stored for the peer belong to one that was given up, and go
	Put     []Part   // new or changed parts; the head is the first
	Drop    []PartID // parts that are no more

	PreKeys        []byte // the new record of the prekeys if a first message used some, else nil
	PreKeysCounter uint64 // its counter: one more than before

	// Body is that of the message that was opened; nil if one was made. Who stores it with the rest loses no message to a crash: its key is
	// gone once the change is stored. These are the bytes that Decrypt returns, and the only ones that are not overwritten.
	Body []byte

	// Identity is the identity key that the peer has in the session with which the message was made or opened.
	Identity [32]byte

	Weak bool // as SessionInfo says of the session after the change
}

// Format prints nothing of the change but its counter.
func (c Change) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[change %d]", c.Counter) }

// LogValue is what structured logs show of the change.
func (c Change) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// MarshalText refuses: JSON and XML never hold a change.
func (c Change) MarshalText() ([]byte, error) { return nil, errNotEncodable }

// MarshalBinary refuses: gob and CBOR never hold a change.
func (c Change) MarshalBinary() ([]byte, error) { return nil, errNotEncodable }

// storedPart is an entry of the table of the head or of the archive.
type storedPart struct {
	id   PartID
	hash [sha256.Size]byte
}

// recordLabel is what a record is bound to besides the parties.
const recordLabel = "coldframe/ratchet/record"

// binding ties a record to the two parties whose it is.
func binding(l *Local, remote Address) []byte {
	public := l.Identity.Public()
	h := sha256.New()
	_, _ = h.Write(append([]byte(recordLabel), public[:]...))
	for _, a := range []Address{l.Address, remote} {
		_, _ = h.Write(append(appendUint32(nil, uint32(len(a.Name))), a.Name...))
		_, _ = h.Write([]byte{a.Device})
	}
	return h.Sum(nil)[:16]
}

// commit saves the record in which next is the current state, and makes it so in memory. used are the prekeys after it, or nil; opened is
// the body of the message that was opened, or nil.
func (in *session) commit(next *state, archived []*state, used *preKeySet, opened []byte, save Save) error {
	archived = limited(archived)
	c := Change{Counter: in.counter + 1, Begins: in.begins, Body: opened, Identity: next.remoteIdentity, Weak: next.weak()}
	table := in.changed(&c, next, archived)
	head := in.appendHead(in.scratch[:0], c.Counter, next, table)
	in.scratch = head
	c.Put[0] = Part{ID: HeadPart, Body: head}
	if used != nil {
		c.PreKeys, c.PreKeysCounter = used.append(nil, in.local), used.counter
	}
	in.broken = true // until it is known what is stored, even if save panics
	if err := save(c); err != nil {
		return err
	}
	in.broken = false
	c.wipe()
	in.counter, in.stored, in.fresh, in.begins, in.pinned = c.Counter, table, false, false, next.remoteIdentity
	in.keep(archived, next)
	if c := in.current; c == nil || c.slot != next.slot { // what was current before is in archived now
		if c != nil && c.unsent() { // or gave way
			c.wipe(&state{})
		}
		in.current = new(state)
	}
	old := *in.current
	*in.current = *next
	old.wipe(next)
	return nil
}

// wipe overwrites what was stored.
func (c *Change) wipe() {
	for _, p := range c.Put {
		secret.Wipe(p.Body)
	}
	secret.Wipe(c.PreKeys)
}

// keep makes these the archived states, which are stored now. Those that the limit pushed out are wiped, which leaves the one that became
// the current state.
func (in *session) keep(archived []*state, current *state) {
	for _, a := range in.archived {
		if !slices.Contains(archived, a) && a.baseKey != current.baseKey {
			a.wipe(&state{})
		}
	}
	for _, a := range archived {
		a.stored = true
	}
	in.archived = archived
}

// changed puts the parts that differ from the stored ones into c, after room for the head, and returns the new table.
func (in *session) changed(c *Change, next *state, archived []*state) []storedPart {
	c.Put = make([]Part, 1, 4)
	if in.fresh || in.current == nil || in.current.slot != next.slot || len(archived) != len(in.archived) {
		return in.rewritten(c, next, archived)
	}
	table := in.stored
	for kind := partPending; kind <= partSkippedKeys; kind++ {
		if !next.same(in.current, kind) {
			table = update(c, table, next.part(kind))
		}
	}
	return table
}

// rewritten is changed where other states are current or archived than before. It compares all parts by their hashes, but those of states
// that were archived before.
func (in *session) rewritten(c *Change, next *state, archived []*state) []storedPart {
	var all []Part
	for kind := partPending; kind <= partSkippedKeys; kind++ {
		all = append(all, next.part(kind))
	}
	var kept [maxArchived + 1]bool
	for _, a := range archived {
		if kept[a.slot] = a.stored; a.stored {
			continue
		}
		for kind := partLines; kind <= partSkippedKeys; kind++ {
			all = append(all, a.part(kind))
		}
	}
	for _, p := range in.stored {
		if p.id != archivePart && !kept[p.id/partsPerSlot] && !slices.ContainsFunc(all, func(a Part) bool { return a.ID == p.id }) {
			all = append(all, Part{ID: p.id})
		}
	}
	table := in.stored
	for _, p := range all {
		table = update(c, table, p)
	}
	return update(c, table, Part{ID: archivePart, Body: appendArchive(nil, next, archived, table)})
}

// appendArchive appends the archive part, nothing if no session is archived.
func appendArchive(b []byte, current *state, archived []*state, table []storedPart) []byte {
	if len(archived) == 0 {
		return b
	}
	b = append(b, byte(len(archived)))
	for _, a := range archived {
		b = append(b, a.slot)
	}
	return appendTable(b, table, func(id PartID) bool { return !inHead(id, current.slot) })
}

// inHead reports whether a part's hash is in the head: those of the current session, and the archive's.
func inHead(id PartID, current uint8) bool {
	return id == archivePart || id/partsPerSlot == PartID(current)
}

// appendTable appends the entries that are wanted, and before them how many they are.
func appendTable(b []byte, table []storedPart, wanted func(PartID) bool) []byte {
	at, n := len(b), 0
	b = append(b, 0, 0)
	for i := range table {
		if wanted(table[i].id) {
			b = append(binary.BigEndian.AppendUint16(b, uint16(table[i].id)), table[i].hash[:]...)
			n++
		}
	}
	binary.BigEndian.PutUint16(b[at:], uint16(n))
	return b
}

// update puts a part into the change and into a copy of the table, which is in the order of ids. A part without bytes is none.
func update(c *Change, table []storedPart, p Part) []storedPart {
	i, found := slices.BinarySearchFunc(table, p.ID, func(e storedPart, id PartID) int { return int(e.id) - int(id) })
	if len(p.Body) == 0 {
		if !found {
			return table
		}
		c.Drop = append(c.Drop, p.ID)
		return slices.Delete(slices.Clone(table), i, i+1)
	}
	entry := storedPart{p.ID, sha256.Sum256(p.Body)}
	if found && table[i] == entry {
		return table
	}
	c.Put = append(c.Put, p)
	table = slices.Clone(table)
	if found {
		table[i] = entry
		return table
	}
	return slices.Insert(table, i, entry)
}

// same reports whether a part is certainly the same as that of the state this one was made of.
func (s *state) same(old *state, kind int) bool {
	switch kind {
	case partPending:
		return s.pending == old.pending
	case partSkipped:
		return len(s.skipped) == len(old.skipped) && (len(s.skipped) == 0 || &s.skipped[0] == &old.skipped[0])
	case partMachine:
		return s.pq.SameMachine(old.pq)
	case partIntake:
		return s.pq.SameIntake(old.pq)
	case partSkippedKeys:
		return s.pq.SameSkipped(old.pq)
	}
	return false
}

// part returns the part of a kind, without bytes if there is nothing to store.
func (s *state) part(kind int) Part {
	p := Part{ID: s.partID(kind)}
	switch kind {
	case partLines:
		p.Body = s.appendLines(nil)
	case partPending:
		p.Body = s.pending.append(nil)
	case partSkipped:
		for _, k := range s.skipped {
			p.Body = append(appendUint32(appendUint32(p.Body, k.serial), k.index), k.seed[:]...)
		}
	case partMachine:
		p.Body = s.pq.AppendMachine(nil)
	case partIntake:
		p.Body = s.pq.AppendIntake(nil)
	case partSkippedKeys:
		p.Body = s.pq.AppendSkipped(nil)
	}
	return p
}

func (s *state) partID(kind int) PartID { return PartID(int(s.slot)*partsPerSlot + kind) }

// appendHead appends the head: what changes with every message.
func (in *session) appendHead(b []byte, counter uint64, current *state, table []storedPart) []byte {
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, counter)
	b = append(b, in.bound()...)
	b = appendTable(b, table, func(id PartID) bool { return inHead(id, current.slot) })
	return current.appendLines(b)
}

// bound returns the binding of the record, made once.
func (in *session) bound() []byte {
	if in.boundTo == nil {
		in.boundTo = binding(in.local, in.remote)
	}
	return in.boundTo
}

// appendLines appends what changes with every message, but the counter.
func (s *state) appendLines(b []byte) []byte {
	b = append(b, s.slot)
	b = append(append(b, s.remoteIdentity[:]...), s.baseKey[:]...)
	b = append(appendUint32(b, s.registrationID), s.root[:]...)
	b = append(append(b, s.own.private[:]...), s.own.public[:]...)
	b = s.sending.append(b)
	b = appendUint32(appendUint32(b, s.previous), s.serial)
	b = append(b, byte(s.chains))
	for i := range s.chains {
		r := &s.receiving[i]
		b = r.append(appendUint32(append(b, r.ratchetKey[:]...), r.serial))
	}
	return s.pq.AppendLines(b)
}

func (c *chain) append(b []byte) []byte { return appendUint32(append(b, c.key[:]...), c.index) }

// append appends what waits for the peer's answer; nothing for nil.
func (p *pending) append(b []byte) []byte {
	if p == nil {
		return b
	}
	b = append(b, boolByte(p.hasPreKey))
	b = appendUint32(appendUint32(appendUint32(b, p.preKeyID), p.signedPreKeyID), p.kemPreKeyID)
	b = binary.BigEndian.AppendUint64(b, uint64(p.made.Unix()))
	return append(b, p.kemCiphertext...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendUint32(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }
