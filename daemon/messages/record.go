package messages

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

const (
	preKeysBase = "r-prekeys"
	maxParts    = 41*8 + 1 // of a record
	maxEmptied  = 48       // parts in one swap; the bytes of others stay at the coordinator, and no head names them
)

// record is what is known of a stored record without its contents.
type record struct {
	base    string  // "r-" and the peer's UUID, or preKeysBase
	head    version // blob of the head; zero: there is none yet
	version uint64  // rises by one with each change of any part
	epoch   uint64  // of the key that the head is sealed under
	counter uint64  // the ratchet's own
	begun   uint64  // version in which it last began

	previous [hashSize]byte // hash of the head's blob before, of a record that was read
	fresh    bool           // it has no contents: it is the first one, or the one before was given up
	parts    map[ratchet.PartID]part
}

// part is one that the record has now, or had: then its blob, whatever it still holds, waits for the next one of this id.
type part struct {
	version uint64 // of the record, when the part was put; 0: it is no more
	epoch   uint64
	blob    version
}

// contents are the bytes that a record holds, which are all keys.
type contents struct {
	head  []byte
	parts []ratchet.Part // without the head
}

func (c *contents) wipe() {
	if c == nil {
		return
	}
	secret.Wipe(c.head)
	for _, p := range c.parts {
		secret.Wipe(p.Body)
	}
}

// all returns the parts, the head first; none if there is no head.
func (c *contents) all() []ratchet.Part {
	if len(c.head) == 0 {
		return nil
	}
	return append([]ratchet.Part{{ID: ratchet.HeadPart, Body: c.head}}, c.parts...)
}

func sessionBase(peer string) string { return "r-" + peer }

// headName is the name of the blob with the head of a record.
func headName(base string) string {
	if base == preKeysBase {
		return base
	}
	return partName(base, ratchet.HeadPart)
}

func partName(base string, id ratchet.PartID) string { return base + "-" + partField(id) }

func partField(id ratchet.PartID) string { return strconv.Itoa(int(id)) }

// wireIndex is the plaintext of a head: the record's index and the ratchet's own head.
type wireIndex struct {
	_        struct{} `cbor:",toarray"`
	Version  uint64
	Previous []byte // hash of the head's blob before
	Begun    uint64 // version of the record in which it last began anew: that one need not follow what was there before
	Counter  uint64
	Parts    []wirePart
	Head     []byte
}

type wirePart struct {
	_       struct{} `cbor:",toarray"`
	ID      ratchet.PartID
	Version uint64
	Epoch   uint64
	Counter uint64
	Hash    []byte
}

// edit is one step of a record.
type edit struct {
	counter uint64
	begins  bool // all other parts go
	head    []byte
	put     []ratchet.Part // without the head
	drop    []ratchet.PartID
}

// plan is a step that is ready to be swapped in, and the record after it.
type plan struct {
	next    *record
	changes []BlobChange
	begins  bool
	weak    *bool  // whether the session after it is; nil: as before
	first   uint64 // what the counters of new blobs begin with
}

// plan seals a step. Every change of a record changes its head.
func (m *Messages) plan(ctx context.Context, r *record, e edit) (*plan, error) {
	next := &record{base: r.base, version: r.version + 1, counter: e.counter, begun: r.begun, parts: map[ratchet.PartID]part{}}
	if e.begins {
		next.begun = next.version
	}
	for id, p := range r.parts {
		next.parts[id] = p
	}
	first, err := m.config.Blobs.First(ctx)
	if err != nil {
		return nil, err
	}
	p := &plan{next: next, begins: e.begins, first: first}
	for _, put := range e.put {
		sealed, epoch, err := m.seal(ctx, purposeRecord, m.partContext(r.base, partField(put.ID), next.version), put.Body)
		if err != nil {
			return nil, err
		}
		m.put(p, put.ID, part{version: next.version, epoch: epoch}, sealed)
	}
	for id, old := range r.parts {
		isPut := slices.ContainsFunc(e.put, func(put ratchet.Part) bool { return put.ID == id })
		if old.version == 0 || isPut || !e.begins && !slices.Contains(e.drop, id) {
			continue
		}
		if next.parts[id] = (part{blob: old.blob}); len(p.changes) < maxEmptied {
			m.put(p, id, part{}, nil)
		}
	}
	return p, m.putHead(ctx, p, r.head, e)
}

// put adds the change of one part, or its emptying, to the plan.
func (m *Messages) put(p *plan, id ratchet.PartID, now part, sealed []byte) {
	c := change(partName(p.next.base, id), p.next.parts[id].blob.or(p.first), sealed)
	now.blob = version{c.Counter, m.config.Blobs.Hash(c)}
	p.next.parts[id] = now
	p.changes = append(p.changes, c)
}

// putHead adds the head to the plan: BE64(version) ‖ sealed index.
func (m *Messages) putHead(ctx context.Context, p *plan, before version, e edit) error {
	n := p.next
	w := wireIndex{Version: n.version, Previous: before.hash[:], Begun: n.begun, Counter: n.counter, Parts: []wirePart{}, Head: e.head}
	for id, q := range n.parts {
		w.Parts = append(w.Parts, wirePart{ID: id, Version: q.version, Epoch: q.epoch, Counter: q.blob.counter, Hash: q.blob.hash[:]})
	}
	slices.SortFunc(w.Parts, func(a, b wirePart) int { return int(a.ID) - int(b.ID) })
	plaintext, err := signed.Marshal(w)
	if err != nil {
		return err
	}
	defer secret.Wipe(plaintext)
	sealed, epoch, err := m.seal(ctx, purposeRecord, m.partContext(n.base, "head", n.version), plaintext)
	if err != nil {
		return err
	}
	c := change(headName(n.base), before.or(p.first), append(binary.BigEndian.AppendUint64(nil, n.version), sealed...))
	n.head, n.epoch = version{c.Counter, m.config.Blobs.Hash(c)}, epoch
	p.changes = append(p.changes, c)
	return nil
}

// openHead reads a head. The record's other parts are not opened yet; w.Head is the caller's to wipe.
func (m *Messages) openHead(ctx context.Context, base string, b Blob) (r *record, w *wireIndex, err error) {
	malformed := fault.New(fault.NotAuthentic, "not the head of this record")
	if len(b.Body) < 8 {
		return nil, nil, malformed
	}
	r = &record{base: base, head: b.version(), version: binary.BigEndian.Uint64(b.Body), parts: map[ratchet.PartID]part{}}
	plaintext, err := m.open(ctx, purposeRecord, m.partContext(base, "head", r.version), b.Body[8:])
	if err != nil {
		return nil, nil, err
	}
	defer secret.Wipe(plaintext)
	if r.epoch, err = EpochOf(b.Body[8:]); err != nil {
		return nil, nil, err
	}
	w, err = parseIndex(plaintext)
	if err != nil {
		return nil, nil, err
	}
	if w.Version != r.version {
		secret.Wipe(w.Head)
		return nil, nil, malformed
	}
	r.counter, r.begun, r.previous = w.Counter, w.Begun, [hashSize]byte(w.Previous)
	for _, p := range w.Parts {
		r.parts[p.ID] = part{version: p.Version, epoch: p.Epoch, blob: version{p.Counter, [hashSize]byte(p.Hash)}}
	}
	return r, w, nil
}

// parseIndex reads the plaintext of a head.
func parseIndex(b []byte) (*wireIndex, error) {
	w := &wireIndex{}
	if err := signed.Unmarshal(b, w); err != nil {
		return nil, err
	}
	ok := len(w.Previous) == hashSize && len(w.Parts) <= maxParts && w.Begun <= w.Version
	for i, p := range w.Parts {
		ok = ok && len(p.Hash) == hashSize && p.ID != ratchet.HeadPart && p.Version <= w.Version && (i == 0 || w.Parts[i-1].ID < p.ID)
	}
	again, err := signed.Marshal(*w)
	defer secret.Wipe(again)
	if !ok || err != nil || !bytes.Equal(again, b) {
		secret.Wipe(w.Head)
		return nil, fault.New(fault.NotAuthentic, "not the head of a record")
	}
	return w, nil
}

// openPart opens a part, which must be the very blob that the head names.
func (m *Messages) openPart(ctx context.Context, r *record, id ratchet.PartID, b Blob) (ratchet.Part, error) {
	p := r.parts[id]
	if b.version() != p.blob {
		return ratchet.Part{}, fault.New(fault.NotAuthentic, "a part of the record is not the one that its head names")
	}
	body, err := m.open(ctx, purposeRecord, m.partContext(r.base, partField(id), p.version), b.Body)
	return ratchet.Part{ID: id, Body: body}, err
}

// present returns the ids of the parts that are not empty, ascending.
func (r *record) present() []ratchet.PartID {
	var ids []ratchet.PartID
	for id, p := range r.parts {
		if p.version > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// names returns the names of the record's blobs, the head first.
func (r *record) names() []string {
	list := []string{headName(r.base)}
	for _, id := range r.present() {
		list = append(list, partName(r.base, id))
	}
	return list
}

// partID reads the id in the name of a part.
func partID(base, name string) (ratchet.PartID, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, base+"-"), 10, 16)
	id := ratchet.PartID(n)
	return id, err == nil && partName(base, id) == name && n < maxParts
}
