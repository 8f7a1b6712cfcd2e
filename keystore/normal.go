package keystore

import (
	"crypto/sha256"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// maxEmail bounds what an account may be named by, in bytes. Mail itself ends at 254 (RFC 5321).
const maxEmail = 4096

// normalEmail returns the normal form of an address: the local part by the UsernameCaseMapped profile of RFC 8265 (width and case
// mapped, NFC), the domain as lower-case A-labels (IDNA 2008 lookup) without a final dot. White space around it is dropped.
func normalEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	at := strings.LastIndexByte(s, '@')
	if len(s) > maxEmail || at < 1 || at == len(s)-1 {
		return "", fault.New(fault.InvalidRequest, "the e-mail address is not one")
	}
	local, err := precis.UsernameCaseMapped.String(s[:at])
	if err != nil {
		return "", fault.Wrap(fault.InvalidRequest, err, "the part before the @ has characters that no address has")
	}
	domain, err := idna.Lookup.ToASCII(strings.TrimSuffix(s[at+1:], "."))
	if err != nil || domain == "" {
		return "", fault.Wrap(fault.InvalidRequest, err, "the part after the @ is no domain name")
	}
	return local + "@" + strings.ToLower(domain), nil
}

// normalPassword returns the normal form of a password by the OpaqueString profile of RFC 8265: NFC, every space a plain space, no
// control characters, of any length. The result is new memory that the caller wipes.
func normalPassword(password []byte) ([]byte, error) {
	if len(password) == 0 {
		return nil, fault.New(fault.InvalidRequest, "the password is empty")
	}
	if !utf8.Valid(password) {
		return nil, fault.New(fault.InvalidRequest, "the password is not UTF-8")
	}
	in := append([]byte(nil), password...)
	defer secret.Wipe(in)
	normal, err := precis.OpaqueString.Bytes(in) // in itself, or memory of its own
	defer secret.Wipe(normal)
	if err != nil {
		return nil, fault.New(fault.InvalidRequest, "the password has characters that cannot be typed the same everywhere (control, unassigned)")
	}
	return append(make([]byte, 0, len(normal)), normal...), nil
}

// emailSalt returns SHA-256("coldframe/v1/salt" ‖ 0 ‖ normal address)[:16]. The label keeps another service that salts with the
// address from sharing the work of a guess (THREATS V13).
func emailSalt(normal string) (salt [saltSize]byte) {
	sum := sha256.Sum256([]byte("coldframe/v1/salt\x00" + normal))
	copy(salt[:], sum[:])
	return salt
}
