package keystore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
)

// shardCount is how many shards an index has. An item belongs to the shard of the first byte of SHA-256(id). With 10,000 items a
// change seals a shard of 40 entries (4 KiB) and a root record of 256 hashes (12 KiB), not a list of a megabyte.
const shardCount = 256

// maxItems bounds a vault; a shard then stays far below what a record may hold.
const maxItems = 1 << 18

// entry is what the index says of an item.
type entry struct {
	kind    string
	version uint64
	hash    [32]byte // SHA-256 of the sealed item
}

// shardRef is what the root record says of a shard; the zero value is an empty shard, which has no record.
type shardRef struct {
	version uint64 // the vault's counter when the shard was sealed
	hash    [32]byte
}

// index is the list of all items. Values are never changed once others see them: changed returns a copy.
type index struct {
	shards [shardCount]map[string]entry
	refs   [shardCount]shardRef
	items  int
}

func shardOf(id string) int { return int(sha256.Sum256([]byte(id))[0]) }

func (x *index) find(id string) (entry, bool) {
	e, ok := x.shards[shardOf(id)][id]
	return e, ok
}

// add adds a shard to an index that nobody else has.
func (x *index) add(ref rootRef, shard map[string]entry) {
	x.shards[ref.Shard], x.refs[ref.Shard] = shard, shardRef{version: ref.Version, hash: [32]byte(ref.Hash)}
	x.items += len(shard)
}

// list returns the sorted ids of a kind.
func (x *index) list(kind string) []string {
	ids := []string{}
	for _, shard := range x.shards {
		for id, e := range shard {
			if e.kind == kind {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// changed returns a copy with the staged changes (nil: deleted), and the numbers of the shards that are to be sealed again.
func (x *index) changed(staged map[string]*entry) (*index, []int) {
	n := *x
	touched := make(map[int]bool)
	for id, e := range staged {
		s := shardOf(id)
		if !touched[s] {
			touched[s] = true
			n.shards[s] = maps.Clone(n.shards[s])
			if n.shards[s] == nil {
				n.shards[s] = make(map[string]entry)
			}
		}
		if _, had := n.shards[s][id]; had {
			n.items--
			delete(n.shards[s], id)
		}
		if e != nil {
			n.shards[s][id] = *e
			n.items++
		}
	}
	return &n, slices.Sorted(maps.Keys(touched))
}

// shardEntry is one line of a shard record, whose inside is the CBOR array of them in the order of the ids.
type shardEntry struct {
	_       struct{} `cbor:",toarray"`
	ID      string
	Kind    string
	Version uint64
	Hash    []byte
}

func encodeShard(shard map[string]entry) ([]byte, error) {
	lines := make([]shardEntry, 0, len(shard))
	for _, id := range slices.Sorted(maps.Keys(shard)) {
		e := shard[id]
		lines = append(lines, shardEntry{ID: id, Kind: e.kind, Version: e.version, Hash: e.hash[:]})
	}
	return signed.Marshal(lines)
}

func parseShard(n int, in []byte) (map[string]entry, error) {
	var lines []shardEntry
	if err := decode(in, &lines); err != nil {
		return nil, err
	}
	if lines == nil {
		return nil, fault.New(fault.NotAuthentic, "the index is damaged")
	}
	shard := make(map[string]entry, len(lines))
	for i, l := range lines {
		inOrder := i == 0 || lines[i-1].ID < l.ID
		if !inOrder || shardOf(l.ID) != n || len(l.Hash) != 32 || checkID(l.ID) != nil || checkKind(l.Kind) != nil {
			return nil, fault.New(fault.NotAuthentic, "the index is damaged")
		}
		shard[l.ID] = entry{kind: l.Kind, version: l.Version, hash: [32]byte(l.Hash)}
	}
	return shard, nil
}

// root is the top of the index. Its record is
//
//	counter (8, big-endian) ‖ sealed value
//
// under the present vault key only, with the counter as the version of its context.
type root struct {
	Counter  uint64    `cbor:"1,keyasint"` // one more with each change of the vault
	Previous []byte    `cbor:"2,keyasint"` // SHA-256 of the root record before, zeros in the first
	Header   []byte    `cbor:"3,keyasint"` // SHA-256 of the header
	Keyring  []byte    `cbor:"4,keyasint"` // SHA-256 of the keyring record
	Email    string    `cbor:"5,keyasint"` // normal form
	Items    int       `cbor:"6,keyasint"` // in all shards
	Shards   []rootRef `cbor:"7,keyasint"` // those that are not empty, in order

	// History, in a replicated vault, is the SHA-256 of each root record before, the oldest first, at most maxHistory.
	History []byte `cbor:"8,keyasint,omitempty"`
}

type rootRef struct {
	_       struct{} `cbor:",toarray"`
	Shard   uint8
	Version uint64
	Hash    []byte
}

func (x *index) rootRefs() []rootRef {
	refs := []rootRef{}
	for n, r := range x.refs {
		if len(x.shards[n]) > 0 {
			refs = append(refs, rootRef{Shard: uint8(n), Version: r.version, Hash: r.hash[:]})
		}
	}
	return refs
}

// seal returns the root record.
func (r *root) seal(user uuid.UUID, keys *keyring) ([]byte, error) {
	plain, err := signed.Marshal(r)
	if err != nil {
		return nil, err
	}
	sealed := seal.Seal(keys.current, keys.id, "vault/index", rootContext(user, r.Counter), plain)
	return append(binary.BigEndian.AppendUint64(nil, r.Counter), sealed...), nil
}

// openRoot opens a root record. One sealed under a former vault key is fault.NotAuthentic.
func openRoot(user uuid.UUID, keys *keyring, record []byte) (*root, error) {
	if len(record) < 8 {
		return nil, fault.New(fault.NotAuthentic, "the index is damaged")
	}
	counter := binary.BigEndian.Uint64(record)
	plain, err := seal.Open(keys.current, "vault/index", rootContext(user, counter), record[8:])
	if err != nil {
		return nil, err
	}
	return parseRoot(counter, plain)
}

func parseRoot(counter uint64, plain []byte) (*root, error) {
	var r root
	if err := decode(plain, &r); err != nil {
		return nil, err
	}
	ok := r.Counter == counter && r.Shards != nil && len(r.Previous) == 32 && len(r.Header) == 32 && len(r.Keyring) == 32 && r.Items >= 0 && r.Items <= maxItems
	ok = ok && checkHistory(r.History, r.Previous, counter)
	for i, ref := range r.Shards {
		ok = ok && len(ref.Hash) == 32 && ref.Version <= counter && (i == 0 || r.Shards[i-1].Shard < ref.Shard)
	}
	if !ok {
		return nil, fault.New(fault.NotAuthentic, "the index is damaged")
	}
	return &r, nil
}

func rootContext(user uuid.UUID, counter uint64) seal.Context {
	return seal.Context{Owner: user.String(), Type: "index", ID: "root", Version: counter}
}

func shardContext(user uuid.UUID, n int, version uint64) seal.Context {
	return seal.Context{Owner: user.String(), Type: "index", ID: "shard", Field: strconv.Itoa(n), Version: version}
}

func sealShard(user uuid.UUID, keys *keyring, n int, version uint64, shard map[string]entry) ([]byte, error) {
	plain, err := encodeShard(shard)
	if err != nil {
		return nil, err
	}
	return seal.Seal(keys.current, keys.id, "vault/index", shardContext(user, n, version), plain), nil
}

// openShard opens a shard record that the root record names.
func openShard(user uuid.UUID, keys *keyring, ref rootRef, record []byte) (map[string]entry, error) {
	if sum := sha256.Sum256(record); !bytes.Equal(sum[:], ref.Hash) {
		return nil, fault.New(fault.NotAuthentic, "a part of the index is not the one that the root names")
	}
	id, err := seal.IDOf(record)
	if err != nil {
		return nil, err
	}
	plain, err := seal.Open(keys.find(id), "vault/index", shardContext(user, int(ref.Shard), ref.Version), record)
	if err != nil {
		return nil, notAuthentic(err)
	}
	return parseShard(int(ref.Shard), plain)
}
