package keystore

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/google/uuid"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// accountKeySize is the length of an account key, in bytes: enough that no guesser of passwords gets anywhere without it.
const accountKeySize = 16

// AccountKey is the second secret of an account: random, on the user's devices and in the recovery kit. The zero value is none.
// It prints and encodes as little as a secret.Key.
type AccountKey struct{ h *accountKeyHolder }

type accountKeyHolder struct{ b *[accountKeySize]byte }

func newAccountKey() AccountKey {
	k := AccountKey{h: &accountKeyHolder{b: new([accountKeySize]byte)}}
	_, _ = rand.Read(k.h.b[:]) // never fails: it ends the process instead
	return k
}

func accountKeyFrom(b []byte) AccountKey {
	k := AccountKey{h: &accountKeyHolder{b: new([accountKeySize]byte)}}
	copy(k.h.b[:], b)
	return k
}

// IsZero reports whether there is no account key.
func (k AccountKey) IsZero() bool { return k.h == nil }

func (k AccountKey) bytes() []byte {
	if k.h == nil {
		return nil
	}
	return k.h.b[:]
}

// Wipe zeroes the key.
func (k AccountKey) Wipe() { secret.Wipe(k.bytes()) }

// Format prints that there is a key, for every verb.
func (k AccountKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[account key]")) }

// LogValue makes slog print that there is a key.
func (k AccountKey) LogValue() slog.Value { return slog.StringValue("[account key]") }

// MarshalText refuses: nothing encodes an account key by accident.
func (k AccountKey) MarshalText() ([]byte, error) {
	return nil, errors.New("keystore: an account key is not encoded")
}

// The account key file, 41 bytes:
//
//	magic "CFAK" ‖ format version (1) ‖ user id (16) ‖ account key (16) ‖ first 4 bytes of SHA-256 of all before
//
// The checksum finds damage. A changed key needs no more: it opens nothing.
const (
	accountFileMagic   = "CFAK"
	accountFileVersion = 1
	accountFileSum     = 4
	accountFileSize    = len(accountFileMagic) + 1 + 16 + accountKeySize + accountFileSum
)

func encodeAccountFile(user uuid.UUID, k AccountKey) []byte {
	out := make([]byte, 0, accountFileSize)
	out = append(out, accountFileMagic...)
	out = append(out, accountFileVersion)
	out = append(out, user[:]...)
	out = append(out, k.bytes()...)
	sum := sha256.Sum256(out)
	return append(out, sum[:accountFileSum]...)
}

func parseAccountFile(in []byte) (uuid.UUID, AccountKey, error) {
	var user uuid.UUID
	if len(in) != accountFileSize || !bytes.HasPrefix(in, []byte(accountFileMagic)) {
		return user, AccountKey{}, fault.New(fault.NotAuthentic, "the account key file is damaged")
	}
	if in[4] != accountFileVersion {
		return user, AccountKey{}, fault.New(fault.Policy, "the account key file has an unknown format")
	}
	end := len(in) - accountFileSum
	if sum := sha256.Sum256(in[:end]); !bytes.Equal(sum[:accountFileSum], in[end:]) {
		return user, AccountKey{}, fault.New(fault.NotAuthentic, "the account key file is damaged")
	}
	copy(user[:], in[5:])
	return user, accountKeyFrom(in[5+16 : end]), nil
}

// readAccountKey reads the account key of user. No file is fault.Incomplete, another user's fault.NotAuthentic.
func (v *Vault) readAccountKey(user uuid.UUID) (AccountKey, error) {
	raw, err := atomicfile.ReadFrom(v.o.Files, v.path(accountFileName))
	if errors.Is(err, fault.NotFound) {
		return AccountKey{}, fault.New(fault.Incomplete, "this machine has no account key; the recovery kit has it")
	}
	if err != nil {
		return AccountKey{}, err
	}
	defer secret.Wipe(raw)
	owner, k, err := parseAccountFile(raw)
	if err == nil && owner != user {
		k.Wipe()
		return AccountKey{}, fault.New(fault.NotAuthentic, "the account key is another user's")
	}
	return k, err
}

// writeAccountKey writes the account key of user. Another one that is there is kept under another name: a backup may need it.
func (v *Vault) writeAccountKey(user uuid.UUID, k AccountKey) error {
	raw := encodeAccountFile(user, k)
	defer secret.Wipe(raw)
	path := v.path(accountFileName)
	before, err := atomicfile.ReadFrom(v.o.Files, path)
	defer secret.Wipe(before)
	switch {
	case err == nil && bytes.Equal(before, raw):
		return nil
	case !errors.Is(err, fault.NotFound):
		aside := path + ".before-" + strconv.FormatInt(v.o.Clock().UnixMilli(), 10)
		if err := v.o.Files.Rename(path, aside); err != nil {
			return fault.Wrap(fault.Unavailable, err, "the account key of a former account cannot be set aside")
		}
	}
	return atomicfile.WriteTo(v.o.Files, path, raw, atomicfile.Private)
}
