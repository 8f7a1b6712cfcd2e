package keystore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// RecoveryKit is what a user keeps on paper: enough to open the vault without the password, or on another device with it.
type RecoveryKit struct {
	UserID      string     // UUID
	Email       string     // normal form
	Params      Params     // costs of argon2id; a new device takes them from here
	AccountKey  AccountKey // none for an account without one
	RecoveryKey secret.Key
}

// Wipe zeroes the kit's keys.
func (k RecoveryKit) Wipe() {
	k.AccountKey.Wipe()
	k.RecoveryKey.Wipe()
}

// The printed kit: a title and one line for each value,
//
//	label ": " value " [" check "]"
//
// Keys are base32 (RFC 4648, no padding) in groups of four. The check is the first four base32 characters of
// SHA-256("coldframe/v1/kit" ‖ 0 ‖ label ‖ 0 ‖ value, a key without its hyphens), so a slip of the pen is found, and in which line.
const (
	kitTitle   = "COLDFRAME RECOVERY KIT 1"
	kitUser    = "User"
	kitEmail   = "E-mail"
	kitArgon   = "Argon2id"
	kitAccount = "Account key"
	kitKey     = "Recovery key"
	kitNone    = "none"

	maxKitText = 16 << 10
)

var kitBase32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// Text returns the kit for printing. The caller wipes it. It panics if the kit has no recovery key.
func (k RecoveryKit) Text() []byte {
	if k.RecoveryKey.IsZero() {
		panic("keystore: a recovery kit without recovery key")
	}
	var b bytes.Buffer
	b.Grow(maxKitText / 16)
	b.WriteString(kitTitle + "\n")
	line := func(label string, value, checked []byte) {
		fmt.Fprintf(&b, "%s: %s [%s]\n", label, value, kitCheck(label, checked))
	}
	line(kitUser, []byte(k.UserID), []byte(k.UserID))
	line(kitEmail, []byte(k.Email), []byte(k.Email))
	argon := fmt.Appendf(nil, "m=%d t=%d p=%d", k.Params.Memory, k.Params.Time, k.Params.Threads)
	line(kitArgon, argon, argon)
	if k.AccountKey.IsZero() {
		line(kitAccount, []byte(kitNone), []byte(kitNone))
	} else {
		plain := kitBase32.AppendEncode(nil, k.AccountKey.bytes())
		line(kitAccount, inGroups(plain), plain)
	}
	plain := kitBase32.AppendEncode(nil, k.RecoveryKey.Bytes())
	line(kitKey, inGroups(plain), plain)
	return b.Bytes()
}

func kitCheck(label string, value []byte) []byte {
	h := sha256.New()
	h.Write([]byte("coldframe/v1/kit\x00" + label + "\x00"))
	h.Write(value)
	return kitBase32.AppendEncode(nil, h.Sum(nil))[:4]
}

func inGroups(b []byte) []byte {
	out := make([]byte, 0, len(b)*5/4)
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			out = append(out, '-')
		}
		out = append(out, c)
	}
	return out
}

// ParseRecoveryKit reads a kit as printed or typed: case, spaces, hyphens and empty lines do not matter in keys, nor 0, 1 and 8 for O, I
// and B. A line that is missing or does not fit its check is fault.InvalidRequest, and the detail names it.
func ParseRecoveryKit(text []byte) (RecoveryKit, error) {
	if len(text) > maxKitText {
		return RecoveryKit{}, fault.New(fault.TooLarge, "a recovery kit is shorter")
	}
	lines := make([][]byte, 0, 8)
	for l := range bytes.Lines(text) {
		if l = bytes.TrimSpace(l); len(l) > 0 {
			lines = append(lines, l)
		}
	}
	labels := []string{kitUser, kitEmail, kitArgon, kitAccount, kitKey}
	if len(lines) != 1+len(labels) || string(lines[0]) != kitTitle {
		return RecoveryKit{}, fault.New(fault.InvalidRequest, "this is no recovery kit of format 1: a title and %d lines", len(labels))
	}
	values := make(map[string][]byte, len(labels))
	for i, label := range labels {
		value, err := kitValue(label, lines[i+1])
		if err != nil {
			return RecoveryKit{}, err
		}
		values[label] = value
	}
	return kitFrom(values)
}

// kitValue returns the checked value of a line; a key without hyphens and in upper case.
func kitValue(label string, line []byte) ([]byte, error) {
	bad := fault.New(fault.InvalidRequest, "the line %q of the recovery kit has a slip", label)
	name, rest, ok := bytes.Cut(line, []byte(":"))
	open := bytes.LastIndexByte(rest, '[')
	if !ok || !strings.EqualFold(string(name), label) || open < 0 || rest[len(rest)-1] != ']' {
		return nil, bad
	}
	value := bytes.TrimSpace(rest[:open])
	if (label == kitAccount || label == kitKey) && string(value) != kitNone {
		value = tidyBase32(value)
	}
	check := tidyBase32(rest[open+1 : len(rest)-1])
	if !bytes.Equal(check, kitCheck(label, value)) {
		return nil, bad
	}
	return value, nil
}

// tidyBase32 undoes what typing does to base32.
func tidyBase32(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for _, c := range in {
		switch {
		case c == ' ' || c == '-' || c == '\t':
		case c == '0':
			out = append(out, 'O')
		case c == '1':
			out = append(out, 'I')
		case c == '8':
			out = append(out, 'B')
		case c >= 'a' && c <= 'z':
			out = append(out, c-'a'+'A')
		default:
			out = append(out, c)
		}
	}
	return out
}

// kitFrom reads the values, each in the one form that Text gives it.
func kitFrom(values map[string][]byte) (RecoveryKit, error) {
	bad := func(label string) (RecoveryKit, error) {
		return RecoveryKit{}, fault.New(fault.InvalidRequest, "the line %q of the recovery kit cannot be read", label)
	}
	id, err := uuid.ParseBytes(values[kitUser])
	if err != nil || id.String() != string(values[kitUser]) {
		return bad(kitUser)
	}
	kit := RecoveryKit{UserID: id.String()}
	if kit.Email, err = normalEmail(string(values[kitEmail])); err != nil || kit.Email != string(values[kitEmail]) {
		return bad(kitEmail)
	}
	var ok bool
	if kit.Params, ok = parseKitParams(string(values[kitArgon])); !ok {
		return bad(kitArgon)
	}
	if string(values[kitAccount]) != kitNone {
		account, ok := kitBytes(values[kitAccount], accountKeySize)
		if !ok {
			return bad(kitAccount)
		}
		kit.AccountKey = accountKeyFrom(account)
		secret.Wipe(account)
	}
	recovery, ok := kitBytes(values[kitKey], secret.KeySize)
	if !ok {
		return bad(kitKey)
	}
	kit.RecoveryKey, _ = secret.FromBytes(recovery)
	return kit, nil
}

// kitBytes decodes a key of n bytes, and only from its one encoding (the last character may have spare bits).
func kitBytes(text []byte, n int) ([]byte, bool) {
	out, err := kitBase32.AppendDecode(nil, text)
	if err != nil || len(out) != n || !bytes.Equal(kitBase32.AppendEncode(nil, out), text) {
		return nil, false
	}
	return out, true
}

func parseKitParams(s string) (Params, bool) {
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return Params{}, false
	}
	number := func(i int, name string, bits int) uint64 {
		digits, ok := strings.CutPrefix(fields[i], name+"=")
		n, err := strconv.ParseUint(digits, 10, bits)
		if !ok || err != nil {
			return 0
		}
		return n
	}
	p := Params{Memory: uint32(number(0, "m", 32)), Time: uint32(number(1, "t", 32)), Threads: uint8(number(2, "p", 8))}
	return p, s == fmt.Sprintf("m=%d t=%d p=%d", p.Memory, p.Time, p.Threads)
}
