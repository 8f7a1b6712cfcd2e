package state

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// Kinds of tokens, as texts begin.
const (
	accessKind  = "cfa_"
	refreshKind = "cfr_"
)

const (
	kindLen   = 4
	idLen     = 32              // a UUID in hexadecimal, without dashes
	secretLen = 26              // of rand.Text: at least 128 bits
	tokenLen  = 4 + 2*32 + 2*26 // 120
)

// token is an access or refresh token, as a text: kind, user and device in hexadecimal, by which its record is found, and two secrets. The first
// secret of a refresh token is the family: all refresh tokens of one login have it, so whoever shows it with a wrong second one holds a token that was
// good once. The store has hashes of the secrets.
type token struct {
	user   UserID
	device DeviceID
	family string // of a refresh token; in an access token a part of the secret
	secret string
}

func newToken(user UserID, device DeviceID) token {
	return token{user, device, rand.Text(), rand.Text()}
}

// text returns what its holder gets.
func (t token) text(kind string) string {
	return kind + strings.ReplaceAll(string(t.user)+string(t.device), "-", "") + t.family + t.secret
}

// parseToken reads the text of a token of a kind.
func parseToken(kind, text string) (t token, ok bool) {
	if len(text) != tokenLen || text[:kindLen] != kind {
		return t, false
	}
	rest := text[kindLen:]
	user, userOK := uuidOf(rest[:idLen])
	device, deviceOK := uuidOf(rest[idLen : 2*idLen])
	rest = rest[2*idLen:]
	return token{UserID(user), DeviceID(device), rest[:secretLen], rest[secretLen:]}, userOK && deviceOK
}

// uuidOf puts the dashes into 32 hexadecimal digits.
func uuidOf(digits string) (string, bool) {
	if strings.Trim(digits, "0123456789abcdef") != "" {
		return "", false
	}
	return strings.Join([]string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}, "-"), true
}

func hashOf(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

// fits reports whether a secret has a hash, in constant time. Nothing fits an empty hash.
func fits(secret string, hash []byte) bool {
	return subtle.ConstantTimeCompare(hashOf(secret), hash) == 1
}
