package state

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// Swap puts a new version of a blob in the place of the one that it names, or deletes the blob.
type Swap struct {
	Name     string
	Counter  uint64                      // one more than that of the version before; for a blob that is not there see State.Swap
	Previous [coordinator.HashSize]byte  // hash of the version before; zeroes if there is none
	Nonce    [coordinator.NonceSize]byte // random
	Delete   bool                        // no body: the blob goes with all its versions
	Body     []byte
	Keep     int // how many versions before this one stay
}

// header is what the hash of the new version is made of.
func (s Swap) header() coordinator.Header {
	h := coordinator.Header{Counter: s.Counter, Previous: s.Previous, Nonce: s.Nonce}
	if !s.Delete {
		h.Body = coordinator.BodyHash(s.Body)
	}
	return h
}

// Version names one version of a blob. The hash is made of the fields below it (coordinator.Header) and is not stored.
type Version struct {
	Hash     []byte    `cbor:"-"`
	Counter  uint64    `cbor:"1,keyasint"`
	Previous []byte    `cbor:"2,keyasint"`
	Nonce    []byte    `cbor:"3,keyasint"`
	BodyHash []byte    `cbor:"4,keyasint"` // zeroes: this version is the deletion of the blob
	Size     int64     `cbor:"5,keyasint"`
	Time     time.Time `cbor:"6,keyasint"`
}

func versionOf(h coordinator.Header, size int, now time.Time) Version {
	return Version{Counter: h.Counter, Previous: h.Previous[:], Nonce: h.Nonce[:], BodyHash: h.Body[:], Size: int64(size), Time: now}
}

func (v *Version) addHash(user UserID, name string) error {
	if len(v.Previous) != coordinator.HashSize || len(v.BodyHash) != coordinator.HashSize || len(v.Nonce) != coordinator.NonceSize {
		return fault.New(fault.Unavailable, "a record of the coordinator cannot be read")
	}
	h := coordinator.Header{
		Counter: v.Counter, Previous: [coordinator.HashSize]byte(v.Previous), Nonce: [coordinator.NonceSize]byte(v.Nonce), Body: [coordinator.HashSize]byte(v.BodyHash),
	}.Hash(string(user), name)
	v.Hash = h[:]
	return nil
}

// Deleted reports whether this version is the deletion of its blob.
func (v *Version) Deleted() bool { return bytes.Equal(v.BodyHash, make([]byte, coordinator.HashSize)) }

// Blob is the newest version of a blob, and what is known of those before it, newest first, MaxHistory at most: a swap whose answer was lost is known
// by them, and whoever has seen one of them sees that the newest descends from it. The first Kept of them still have their bodies. A blob that was deleted is
// such a record too, until MaxDeleted others were deleted after it.
type Blob struct {
	Name string `cbor:"-"`
	Version
	Kept    int       `cbor:"7,keyasint,omitempty"`
	Earlier []Version `cbor:"8,keyasint,omitempty"`
	Change  uint64    `cbor:"9,keyasint"` // number of the change that made the newest version
}

func decodeBlob(user UserID, name string, record []byte) (b Blob, err error) {
	if err := decode(record, &b); err != nil {
		return b, err
	}
	b.Name = name
	if b.Kept < 0 || b.Kept > len(b.Earlier) {
		return b, fault.New(fault.Unavailable, "a record of the coordinator cannot be read")
	}
	err = b.addHash(user, name)
	for i := range b.Earlier {
		err = errors.Join(err, b.Earlier[i].addHash(user, name))
	}
	return b, err
}

// blob returns the record of a blob, there or deleted.
func (t *tx) blob(user UserID, name string) (b Blob, there bool, err error) {
	record, err := t.Get(key("blob", string(user), name))
	if errors.Is(err, fault.NotFound) {
		return Blob{Name: name}, false, nil
	}
	if err != nil {
		return b, false, err
	}
	b, err = decodeBlob(user, name, record)
	return b, err == nil, err
}

// withBodies are the versions whose bodies are there, newest first.
func (b *Blob) withBodies() []Version {
	if b.Counter == 0 || b.Deleted() {
		return nil
	}
	return append([]Version{b.Version}, b.Earlier[:b.Kept]...)
}

// find returns the version with a hash, as far back as versions are known.
func (b *Blob) find(hash [coordinator.HashSize]byte) (Version, bool) {
	for _, v := range append([]Version{b.Version}, b.Earlier...) {
		if bytes.Equal(v.Hash, hash[:]) {
			return v, true
		}
	}
	return Version{}, false
}

// after returns the record that a swap makes of b, and the counters of the versions whose bodies go.
func (b *Blob) after(sw Swap, v Version, change uint64) (next Blob, drop []uint64) {
	next = Blob{Name: b.Name, Version: v, Change: change}
	if b.Counter > 0 {
		next.Earlier = append([]Version{b.Version}, b.Earlier...)
		next.Earlier = next.Earlier[:min(len(next.Earlier), MaxHistory)]
	}
	old := b.withBodies()
	if !sw.Delete {
		next.Kept = min(sw.Keep, len(old), len(next.Earlier))
	}
	for _, v := range old[next.Kept:] {
		drop = append(drop, v.Counter)
	}
	return next, drop
}

// Swapped is what a list of swaps made.
type Swapped struct {
	Versions []Version // in the order of the list
	Change   uint64    // number of the change; 0 if it was made before, by another try
}

// Swap makes all swaps of a list or none. If any of them does not name the present version of its blob, it is fault.Conflict, unless all of them were
// made already, by this call's first try: then it succeeds, as long as none of the blobs was changed more than MaxHistory times since. The first version of a
// blob that is not there has a counter above the floor (Page.Floor), by MaxAhead at most. Beyond the quota it is fault.StorageFull (FullError), and
// WaitError for a user who writes too much.
func (s *State) Swap(ctx context.Context, user UserID, list []Swap) (out Swapped, err error) {
	if err := checkSwaps(list); err != nil {
		return out, err
	}
	if err := s.pace.take(user, sizeOf(list)); err != nil {
		return out, err
	}
	err = s.update(freeing(ctx, list), func(t *tx) error {
		out, err = t.swapBlobs(user, list)
		return err
	})
	return out, err
}

// freeing is a context for swaps: they are urgent if they delete and do nothing else.
func freeing(ctx context.Context, list []Swap) context.Context {
	if slices.ContainsFunc(list, func(sw Swap) bool { return !sw.Delete }) {
		return ctx
	}
	return store.Urgent(ctx)
}

func checkSwaps(list []Swap) error {
	if len(list) < 1 || len(list) > MaxSwaps {
		return fault.New(fault.InvalidRequest, "a swap is of 1 to %d blobs", MaxSwaps)
	}
	size, seen := 0, map[string]bool{}
	for _, sw := range list {
		if seen[sw.Name] || sw.Keep < 0 || sw.Keep > MaxHistory {
			return fault.New(fault.InvalidRequest, "a name is given twice, or more than %d versions are to stay", MaxHistory)
		}
		if sw.Delete && (len(sw.Body) > 0 || sw.Keep > 0) {
			return fault.New(fault.InvalidRequest, "nothing stays of a blob that is deleted")
		}
		seen[sw.Name] = true
		size += len(sw.Body)
	}
	if size > MaxSwap {
		return fault.New(fault.TooLarge, "the blobs of a swap have at most %d bytes", MaxSwap)
	}
	return nil
}

// swapCost is what a swap writes beside the body, about, in bytes.
const swapCost = 2 << 10

func sizeOf(list []Swap) int64 {
	n := int64(0)
	for _, sw := range list {
		n += int64(len(sw.Body)) + swapCost
	}
	return n
}

// planned is one swap that may be made.
type planned struct {
	Swap
	old, next Blob
	drop      []uint64
}

// swapBlobs checks all swaps of a list, then makes them.
func (t *tx) swapBlobs(user UserID, list []Swap) (out Swapped, err error) {
	c, q, err := t.quota(user)
	if err != nil {
		return out, err
	}
	after, again := *c, 0
	after.Changes++
	plan := make([]planned, len(list))
	for i, sw := range list {
		v, repeated, err := t.planSwap(user, &after, sw, &plan[i])
		if err != nil {
			return out, err
		}
		if repeated {
			again++
		}
		out.Versions = append(out.Versions, v)
	}
	switch {
	case again == len(list):
		return out, nil
	case again > 0:
		return out, fault.New(fault.Conflict, "some of these swaps were made before, others not")
	}
	if err := after.checkStored(*c, q); err != nil {
		return out, err
	}
	*c, out.Change = after, after.Changes
	for _, p := range plan {
		if err := t.makeSwap(user, c, p); err != nil {
			return out, err
		}
	}
	return out, errors.Join(t.forgetDeleted(user, c), t.emitSwap(user, list, c.Changes))
}

// planSwap judges one swap, or finds that it was made before. It writes nothing.
func (t *tx) planSwap(user UserID, c *counters, sw Swap, p *planned) (v Version, repeated bool, err error) {
	old, there, err := t.blob(user, sw.Name)
	if err != nil {
		return v, false, err
	}
	h := sw.header()
	hash := h.Hash(string(user), sw.Name)
	if v, made := old.find(hash); made {
		return v, true, nil
	}
	if err := checkFollows(old, there, sw, c.Floor); err != nil {
		return v, false, err
	}
	v = versionOf(h, len(sw.Body), t.now)
	v.Hash = hash[:]
	*p = planned{Swap: sw, old: old}
	p.next, p.drop = old.after(sw, v, c.Changes)
	bodies := old.withBodies()
	for _, gone := range bodies[len(bodies)-len(p.drop):] {
		c.Bytes -= gone.Size
	}
	c.Bytes += v.Size
	c.Blobs += count(!sw.Delete) - count(len(bodies) > 0)
	return v, false, nil
}

// checkFollows wants a swap to follow the present version.
func checkFollows(old Blob, there bool, sw Swap, floor uint64) error {
	var previous [coordinator.HashSize]byte
	copy(previous[:], old.Hash)
	switch {
	case previous != sw.Previous, there && sw.Counter-1 != old.Counter:
		return fault.New(fault.Conflict, "%s is at %d", sw.Name, old.Counter)
	case !there && (sw.Counter <= floor || sw.Counter > floor+MaxAhead):
		return fault.New(fault.Conflict, "new blobs begin above %d", floor)
	case sw.Delete && (!there || old.Deleted()):
		return fault.New(fault.Conflict, "%s is not there", sw.Name)
	}
	return nil
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// makeSwap writes what was planned.
func (t *tx) makeSwap(user UserID, c *counters, p planned) error {
	for _, counter := range p.drop {
		if err := t.Delete(bodyKey(user, p.Name, counter)); err != nil {
			return err
		}
	}
	if p.old.Counter > 0 {
		if err := t.Delete(changeKey("change", user, p.old)); err != nil {
			return err
		}
	}
	if p.old.Counter > 0 && p.old.Deleted() {
		c.Deleted--
		if err := t.Delete(changeKey("deleted", user, p.old)); err != nil {
			return err
		}
	}
	err := errors.Join(save(t, key("blob", string(user), p.Name), p.next), t.Set(changeKey("change", user, p.next), nil))
	if p.Delete {
		c.Deleted++
		return errors.Join(err, t.Set(changeKey("deleted", user, p.next), nil))
	}
	return errors.Join(err, t.Set(bodyKey(user, p.Name, p.Counter), p.Body))
}

// forgetDeleted removes the records of the blobs that were deleted first, beyond MaxDeleted. Their names could begin anew with an old counter then, so the
// floor rises above them. It begins where it ended: before that is what was removed, which a scan would pass over one by one.
func (t *tx) forgetDeleted(user UserID, c *counters) error {
	from := key("deleted", string(user), number(c.Forgotten))
	for c.Deleted > MaxDeleted {
		oldest := ""
		if _, err := scan(t, key("deleted", string(user), ""), from, 1, func(k string, _ []byte) error { oldest = k; return nil }); err != nil {
			return err
		}
		b, there, err := t.blob(user, oldest[strings.LastIndexByte(oldest, '/')+1:])
		if err != nil {
			return err
		}
		if !there {
			return fault.New(fault.Unavailable, "a record of the coordinator is missing")
		}
		from = oldest
		c.Deleted--
		c.Floor, c.Forgotten = max(c.Floor, b.Counter), b.Change
		if err := errors.Join(t.Delete(oldest), t.Delete(changeKey("change", user, b)), t.Delete(key("blob", string(user), b.Name))); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) emitSwap(user UserID, list []Swap, change uint64) error {
	e := Event{Type: BlobsEvent, Number: change}
	if len(list) == 1 {
		e.Name = list[0].Name
	}
	return t.emit(user, e)
}

func bodyKey(user UserID, name string, counter uint64) string {
	return key("body", string(user), name, number(counter))
}

// changeKey sorts blobs by their newest change.
func changeKey(kind string, user UserID, b Blob) string {
	return key(kind, string(user), number(b.Change), b.Name)
}

// sequenceOf reads the number at the end of a key.
func sequenceOf(k string) uint64 {
	n, _ := strconv.ParseUint(k[strings.LastIndexByte(k, '/')+1:], 16, 64) //nolint:errcheck // number wrote it
	return n
}
