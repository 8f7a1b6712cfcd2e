package messages

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// The local store: copies of blobs, marks of records, and what was found wrong with them.
const (
	copyPrefix  = "messages/copy/"
	markPrefix  = "messages/mark/"
	faultPrefix = "messages/fault/"
	startPrefix = "messages/restart/" // records that a person gave up
	weakPrefix  = "messages/weak/"    // sessions, by the name of the record, that are weak

	maxCopied = 640 << 10 // bytes of one change that are copied; what is larger is read from the coordinator
	readTries = 3
	maxBefore = 9 // versions of which the coordinator tells how they follow one another
)

// recordFault is a failure of a record, and not of what was to be done with it.
type recordFault struct{ error }

func (f recordFault) Unwrap() error { return f.error }

// mark is the highest version of a record that was ever seen here. It outlives the record.
type mark struct {
	version uint64
	counter uint64
	head    version // the head's blob
}

func (r *record) mark() mark { return mark{r.version, r.counter, r.head} }

func (k mark) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, k.version)
	b = binary.BigEndian.AppendUint64(b, k.counter)
	return append(binary.BigEndian.AppendUint64(b, k.head.counter), k.head.hash[:]...)
}

func readMark(tx *kv.Tx, base string) (k mark, err error) {
	b, err := tx.Get(markPrefix + base)
	if errors.Is(err, fault.NotFound) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	if len(b) != 24+hashSize {
		return k, fault.New(fault.NotAuthentic, "a mark of a record is not one")
	}
	head := version{binary.BigEndian.Uint64(b[16:]), [hashSize]byte(b[24:])}
	return mark{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), head}, nil
}

// load opens a record: from the local copy, or the one at the coordinator. One that does not exist yet is an empty record.
func (m *Messages) load(ctx context.Context, base string, remote bool) (r *record, c *contents, err error) {
	var at mark
	var abandoned bool
	var wrong fault.Code
	err = m.config.DB.View(func(tx *kv.Tx) error {
		if at, err = readMark(tx, base); err != nil {
			return err
		}
		if abandoned, wrong, err = readFault(tx, base); err == nil && !abandoned && wrong == "" {
			r, c, err = m.loadCopy(ctx, tx, base, at)
		}
		return err
	})
	switch {
	case err != nil:
	case abandoned || wrong != "":
		if r, c, err = m.begunSince(ctx, base, at); r == nil && abandoned {
			r, err = m.abandoned(ctx, base, at)
			c = &contents{}
		} else if r == nil {
			err = fault.New(wrong, "this record was found to be wrong; it can be begun anew")
		}
	case remote || r == nil:
		c.wipe()
		r, c, err = m.fetch(ctx, base, at, r)
	}
	if err != nil {
		return nil, nil, recordFault{err}
	}
	return r, c, nil
}

// readFault returns whether a record was given up here, and what was found wrong with it.
func readFault(tx *kv.Tx, base string) (abandoned bool, wrong fault.Code, err error) {
	if abandoned, err = tx.Has(startPrefix + base); err != nil {
		return false, "", err
	}
	b, err := tx.Get(faultPrefix + base)
	if errors.Is(err, fault.NotFound) {
		err = nil
	}
	return abandoned, fault.Code(b), err
}

// loadCopy opens the local copy; nil if it is not whole, or not at the mark. The coordinator has what is right then.
func (m *Messages) loadCopy(ctx context.Context, tx *kv.Tx, base string, at mark) (*record, *contents, error) {
	r, c, err := m.assemble(ctx, base, func(names []string) ([]Blob, error) { return copies(tx, names) }, nil, 0)
	switch {
	case errors.Is(err, fault.Locked), errors.Is(err, fault.Unavailable):
		return nil, nil, err
	case err != nil || r == nil:
		return nil, nil, nil //nolint:nilerr // a copy that is not right is none
	case r.version != at.version || r.head.hash != at.head.hash:
		c.wipe()
		return nil, nil, nil
	}
	return r, c, nil
}

// copies reads copies of blobs.
func copies(tx *kv.Tx, names []string) ([]Blob, error) {
	var list []Blob
	for _, name := range names {
		b, err := tx.Get(copyPrefix + name)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(b) < 8+hashSize {
			return nil, fault.New(fault.NotAuthentic, "a copy of a blob is too short")
		}
		list = append(list, Blob{Name: name, Counter: binary.BigEndian.Uint64(b), Hash: [hashSize]byte(b[8 : 8+hashSize]), Body: b[8+hashSize:]})
	}
	return list, nil
}

func setCopy(tx *kv.Tx, name string, v version, body []byte) error {
	if len(body) == 0 {
		return tx.Delete(copyPrefix + name)
	}
	b := append(binary.BigEndian.AppendUint64(nil, v.counter), v.hash[:]...)
	return tx.Set(copyPrefix+name, append(b, body...))
}

const olderRecord = "the coordinator has an older record than there was"

var errOlder = fault.New(fault.RolledBack, olderRecord)

// reader returns blobs of one moment, those of the names that there are.
type reader func(names []string) ([]Blob, error)

// assemble reads a record. known may say which parts to expect. A head older than since is fault.RolledBack, whatever its parts are. nil: there is no
// record.
func (m *Messages) assemble(ctx context.Context, base string, read reader, known *record, since uint64) (*record, *contents, error) {
	if known == nil {
		known = &record{base: base}
	}
	names := known.names()
	for range readTries {
		got, err := read(names)
		if err != nil {
			return nil, nil, err
		}
		head := named(got, headName(base))
		if len(head.Body) == 0 {
			return nil, nil, nil
		}
		r, w, err := m.openHead(ctx, base, head)
		if err != nil {
			return nil, nil, err
		}
		if missing := slices.ContainsFunc(r.names(), func(n string) bool { return !slices.Contains(names, n) }); missing {
			names = r.names()
			secret.Wipe(w.Head)
			continue
		}
		if r.version < since {
			secret.Wipe(w.Head)
			return nil, nil, errOlder
		}
		c, err := m.openParts(ctx, r, got)
		if err != nil {
			secret.Wipe(w.Head)
			return nil, nil, err
		}
		c.head = w.Head
		return r, c, nil
	}
	return nil, nil, fault.New(fault.Busy, "the record changes while it is read")
}

func (m *Messages) openParts(ctx context.Context, r *record, got []Blob) (*contents, error) {
	c := &contents{}
	for _, id := range r.present() {
		p, err := m.openPart(ctx, r, id, named(got, partName(r.base, id)))
		if err != nil {
			c.wipe()
			return nil, err
		}
		c.parts = append(c.parts, p)
	}
	return c, nil
}

// named returns the blob with a name; the zero blob: there is none.
func named(list []Blob, name string) Blob {
	i := slices.IndexFunc(list, func(b Blob) bool { return b.Name == name })
	if i < 0 {
		return Blob{}
	}
	return list[i]
}

// fetch opens the record at the coordinator, holds it against the mark, and copies it.
func (m *Messages) fetch(ctx context.Context, base string, at mark, known *record) (*record, *contents, error) {
	stranger, err := m.strangersRecord(base)
	if err != nil {
		return nil, nil, err
	}
	since := at.version
	if stranger {
		since = 0
	}
	r, c, blobs, err := m.assembleRemote(ctx, base, known, since)
	switch {
	case err == nil && r == nil && since == 0: // new, or a stranger's that was given up
		r, err = m.abandoned(ctx, base, at)
		return r, &contents{}, err
	case err == nil && r == nil, errors.Is(err, errOlder):
		err = m.condemn(base, fault.RolledBack, olderRecord)
	case err == nil && !stranger:
		err = m.judge(r, at, named(blobs, headName(base)))
	}
	if err == nil && r.version > 0 {
		first := at.version == 0 && !stranger
		err = m.config.DB.Update(func(tx *kv.Tx) error { return m.keepFetched(tx, r, blobs, first) })
	}
	if err != nil {
		c.wipe()
		return nil, nil, err
	}
	return r, c, nil
}

// keepFetched copies a record that was fetched. A session that is met for the first time is retired before this device sends: nothing here tells whether the
// coordinator was restored since, and another device used what comes after.
func (m *Messages) keepFetched(tx *kv.Tx, r *record, blobs []Blob, first bool) error {
	err := m.keepCopies(tx, r, blobs)
	if err == nil && first && r.base != preKeysBase {
		err = tx.Set(retirePrefix+r.base, []byte{1})
	}
	return err
}

// assembleRemote reads the record at the coordinator, and returns its blobs with it.
func (m *Messages) assembleRemote(ctx context.Context, base string, known *record, since uint64) (r *record, c *contents, blobs []Blob, err error) {
	r, c, err = m.assemble(ctx, base, func(names []string) (_ []Blob, err error) {
		blobs, err = m.readRecord(ctx, names)
		return blobs, err
	}, known, since)
	return r, c, blobs, err
}

// judge holds a record of the coordinator that is not older than the mark against it (THREATS R5). What is wrong once stays wrong.
func (m *Messages) judge(r *record, at mark, head Blob) error {
	switch {
	case r.version == at.version && r.head.hash != at.head.hash:
		return m.condemn(r.base, fault.Forked, "the coordinator has another record than there was")
	case r.version > at.version && at.version > 0 && r.begun <= at.version: // one that began since need not follow
		return m.descends(r, at, head)
	}
	return nil
}

// descends checks that a record follows the one at the mark: the head names the hash of the blob before it, and that hash was made of the
// one before that.
func (m *Messages) descends(r *record, at mark, head Blob) error {
	since := head.Counter - at.head.counter
	switch {
	case len(head.Before) == 0 || head.Before[0] != r.previous:
		return fault.New(fault.NotAuthentic, "the coordinator's history of the record is not the one that its head names")
	case head.Counter <= at.head.counter || since <= uint64(len(head.Before)) && head.Before[since-1] != at.head.hash:
		return m.condemn(r.base, fault.Forked, "the coordinator has a record that does not follow the one there was")
	case since <= uint64(len(head.Before)):
	case since <= maxBefore:
		return fault.New(fault.NotAuthentic, "the coordinator leaves out how the record came about")
	default:
		m.config.Event(Event{What: Unproven, Peer: peerOf(r.base)})
	}
	return nil
}

// condemn writes down what is wrong with a record.
func (m *Messages) condemn(base string, code fault.Code, detail string) error {
	if err := m.config.DB.Update(func(tx *kv.Tx) error { return tx.Set(faultPrefix+base, []byte(code)) }); err != nil {
		return err
	}
	m.config.Event(Event{What: RecordFault, Peer: peerOf(base), Code: code})
	return fault.New(code, "%s", detail)
}

// peerOf returns whose record it is; "" for the prekeys.
func peerOf(base string) string {
	if base == preKeysBase {
		return ""
	}
	return strings.TrimPrefix(base, "r-")
}

// keepCopies copies a whole record, in the place of the copy before, and sets the mark.
func (m *Messages) keepCopies(tx *kv.Tx, r *record, blobs []Blob) error {
	if err := dropCopies(tx, r.base); err != nil {
		return err
	}
	size := 0
	for _, b := range blobs {
		size += len(b.Body)
	}
	for _, b := range blobs {
		if size > maxCopied {
			break
		}
		if err := setCopy(tx, b.Name, b.version(), b.Body); err != nil {
			return err
		}
	}
	return setMark(tx, r)
}

func dropCopies(tx *kv.Tx, base string) error {
	var old []string
	if err := tx.Scan(copyPrefix+base, func(key string, _ []byte) error {
		old = append(old, key)
		return nil
	}); err != nil {
		return err
	}
	for _, key := range old {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// apply makes plans and further changes in one swap at the coordinator, then here.
func (m *Messages) apply(ctx context.Context, plans []*plan, further ...BlobChange) error {
	var changes []BlobChange
	for _, p := range plans {
		changes = append(changes, p.changes...)
	}
	m.step("swap")
	if err := m.swap(ctx, append(changes, further...)); err != nil {
		return err
	}
	m.step("swapped")
	err := m.config.DB.Update(func(tx *kv.Tx) error {
		for _, p := range plans {
			if err := m.commit(tx, p); err != nil {
				return err
			}
		}
		return m.keepBodies(tx, further)
	})
	m.step("copied")
	return err
}

// commit copies what a plan changed, and sets the mark.
func (m *Messages) commit(tx *kv.Tx, p *plan) error {
	size := 0
	for _, c := range p.changes {
		size += len(c.Body)
	}
	if size > maxCopied {
		if err := dropCopies(tx, p.next.base); err != nil {
			return err
		}
	}
	for _, c := range p.changes {
		if size > maxCopied {
			break
		}
		if err := setCopy(tx, c.Name, version{c.Counter, m.config.Blobs.Hash(c)}, c.Body); err != nil {
			return err
		}
	}
	if p.begins {
		if err := errors.Join(tx.Delete(faultPrefix+p.next.base), tx.Delete(startPrefix+p.next.base)); err != nil {
			return err
		}
	}
	if p.weak != nil {
		if err := setWeak(tx, p.next.base, *p.weak); err != nil {
			return err
		}
	}
	return setMark(tx, p.next)
}

// setWeak notes whether a session is weak. It writes nothing where that is noted.
func setWeak(tx *kv.Tx, base string, weak bool) error {
	noted, err := tx.Has(weakPrefix + base)
	switch {
	case err != nil || noted == weak:
		return err
	case weak:
		return tx.Set(weakPrefix+base, []byte{1})
	}
	return tx.Delete(weakPrefix + base)
}
