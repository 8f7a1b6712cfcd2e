package keystore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// The records of a vault on a replica: one that changes, and parts that never do.
//
// The root blob, under the name v-root, is what the small records of the vault are locally:
//
//	magic "CFVR" ‖ format version (1) ‖ { length (4, big-endian) ‖ header | keyring record | root record }
//
// A part is a shard or a sealed item. Its name comes from its hash, which the root or a shard has, under a key of the vault: so nothing in
// it tells the item, and a part is written once. The sealed value's head would tell the item's kind: it is sealed once more, filled up to
// a multiple of 512 bytes:
//
//	Sealed("vault/part"; user, "part", name, "", 0) of length (4) ‖ record ‖ zeros
//
// So the whole vault hangs from v-root, and a swap of that one record is the switch.
const (
	remoteRoot   = "v-root"
	remotePrefix = "v-part-"

	remoteMagic   = "CFVR"
	remoteVersion = 1
	partFill      = 512
	partPurpose   = "vault/part"

	maxKeyring = keyringFixed + maxOldKeys*keyringEntry + 1<<10
	maxRoot    = 64 << 10

	maxRootBlob = len(remoteMagic) + 1 + 3*4 + maxHeader + maxKeyring + maxRoot
)

// rootBlob is the inside of v-root. Nothing of it is authentic.
type rootBlob struct{ header, keyring, root []byte }

func (b rootBlob) encode() []byte {
	out := append([]byte(remoteMagic), remoteVersion)
	for _, part := range [][]byte{b.header, b.keyring, b.root} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}

var errRootBlob = fault.New(fault.NotAuthentic, "the vault on the replica is damaged")

// parseRootBlob reads a root blob. Another format version is fault.Policy, anything else fault.NotAuthentic.
func parseRootBlob(in []byte) (b rootBlob, err error) {
	if len(in) < len(remoteMagic)+1 || !strings.HasPrefix(string(in), remoteMagic) {
		return b, errRootBlob
	}
	if v := in[len(remoteMagic)]; v != remoteVersion {
		return b, fault.New(fault.Policy, "the vault on the replica has format version %d, this program has %d", v, remoteVersion)
	}
	in = in[len(remoteMagic)+1:]
	for _, p := range []struct {
		to    *[]byte
		limit int
	}{{&b.header, maxHeader}, {&b.keyring, maxKeyring}, {&b.root, maxRoot}} {
		if len(in) < 4 {
			return b, errRootBlob
		}
		n := binary.BigEndian.Uint32(in)
		if uint64(n) > uint64(min(p.limit, len(in)-4)) {
			return b, errRootBlob
		}
		*p.to, in = bytes.Clone(in[4:4+n]), in[4+n:]
	}
	if len(in) > 0 {
		return b, errRootBlob
	}
	return b, nil
}

// hash is that of the root record inside.
func (b rootBlob) hash() [32]byte { return sha256.Sum256(b.root) }

// partName returns the name of the part with that content.
func partName(keys *keyring, hash [32]byte) string {
	return remotePrefix + hex.EncodeToString(mac(keys.anchor, partPurpose, hash[:])[:16])
}

func partContext(user uuid.UUID, name string) seal.Context {
	return seal.Context{Owner: user.String(), Type: "part", ID: name}
}

// sealPart returns a record as a part.
func sealPart(user uuid.UUID, keys *keyring, record []byte) RemoteChange {
	name := partName(keys, sha256.Sum256(record))
	size := (4 + len(record) + partFill - 1) / partFill * partFill
	plain := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(len(record)))
	plain = append(plain, record...)
	return RemoteChange{Name: name, Body: seal.Seal(keys.current, keys.id, partPurpose, partContext(user, name), plain[:size])}
}

// openPart returns the record in a part, which is the one of that hash or fault.NotAuthentic.
func openPart(user uuid.UUID, keys *keyring, hash [32]byte, name string, body []byte) ([]byte, error) {
	id, err := seal.IDOf(body)
	if err != nil {
		return nil, err
	}
	plain, err := seal.Open(keys.find(id), partPurpose, partContext(user, name), body)
	if err != nil {
		return nil, notAuthentic(err)
	}
	if len(plain) < 4 || uint64(binary.BigEndian.Uint32(plain)) > uint64(len(plain)-4) {
		return nil, errRootBlob
	}
	record := plain[4 : 4+binary.BigEndian.Uint32(plain)]
	if sha256.Sum256(record) != hash {
		return nil, fault.New(fault.NotAuthentic, "a part of the vault on the replica is not the one that the vault names")
	}
	return record, nil
}

// openRemote opens a root blob under a vault key that a wrap of its header gave, but for shards and items. On success the contents own the
// key, else it is wiped. Costs of the derivation outside of policy are fault.Policy.
func (v *Vault) openRemote(b rootBlob, h *header, vaultKey secret.Key) (*contents, *root, error) {
	keys, err := (*keyring)(nil), v.o.Profile.accept(h.kdf)
	if err == nil {
		err = h.authenticate(vaultKey)
	}
	if err == nil {
		keys, err = openKeyring(h.user, h.keyID, vaultKey, b.keyring)
	}
	if err != nil {
		vaultKey.Wipe()
		return nil, nil, err
	}
	c := &contents{header: h, keys: keys, keyring: sha256.Sum256(b.keyring)}
	r, err := openRoot(h.user, keys, b.root)
	if err == nil {
		err = c.take(r, b.root)
	}
	if err != nil {
		keys.wipe()
		return nil, nil, err
	}
	return c, r, nil
}
