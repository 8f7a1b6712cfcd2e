package daemon

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
)

// TokenFile is the name of the user's own token in the runtime folder: one line, the token and a newline.
const TokenFile = "token"

// A token is "cf_" id "_" secret: the id is "user" or 16 characters, the secret 256 bits; both in lower-case base32 without padding.
const (
	tokenPrefix     = "cf_"
	tokenIDBytes    = 10
	tokenIDSize     = 16
	tokenSecretSize = 52
	maxTokenFile    = 128
)

var tokenCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newToken draws a token and returns its text, which the caller wipes. An empty id draws one.
func newToken(id string) (string, []byte) {
	if id == "" {
		var b [tokenIDBytes]byte
		rand.Read(b[:]) //nolint:errcheck // ends the process instead of failing
		id = tokenCoding.EncodeToString(b[:])
	}
	var secret [32]byte
	rand.Read(secret[:]) //nolint:errcheck // as above
	defer clear(secret[:])
	text := append([]byte(tokenPrefix+id+"_"), make([]byte, tokenSecretSize)...)
	tokenCoding.Encode(text[len(text)-tokenSecretSize:], secret[:])
	return id, text
}

// newImportID draws an id.
func newImportID() string {
	var b [tokenIDBytes]byte
	rand.Read(b[:]) //nolint:errcheck // as above
	return tokenCoding.EncodeToString(b[:])
}

// tokenID returns the id in a token's text, or fault.Unauthorized if it has not the shape of a token. The secret is not looked at.
func tokenID(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	id, secret, found := strings.Cut(rest, "_")
	if !ok || !found || len(secret) != tokenSecretSize || !isBase32(secret) {
		return "", errToken()
	}
	if id != UserTokenID && (len(id) != tokenIDSize || !isBase32(id)) {
		return "", errToken()
	}
	return id, nil
}

// errToken is the one answer to every token that is not accepted (R15).
func errToken() error { return fault.New(fault.Unauthorized, "a valid token is needed") }

func isBase32(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func tokenHash(text []byte) [32]byte { return sha256.Sum256(text) }

// parseTokenFile returns the token in the bytes of a token file.
func parseTokenFile(b []byte) (string, error) {
	if len(b) > maxTokenFile {
		return "", errToken()
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return "", errToken()
	}
	if id, err := tokenID(text); err != nil || id != UserTokenID {
		return "", errToken()
	}
	return text, nil
}

// writeTokenFile draws the user's token of this run and writes its file. A file left by a process that died is replaced if it is the
// user's own, regular and 0600; anything else there makes the start fail (L18).
func writeTokenFile(dir string) (hash [32]byte, err error) {
	path := filepath.Join(dir, TokenFile)
	if err := checkOldToken(path); err != nil {
		return hash, err
	}
	_, text := newToken(UserTokenID)
	defer clear(text)
	if err := atomicfile.Write(path, append(text, '\n'), 0o600); err != nil {
		return hash, fault.Wrap(fault.CodeOf(err), err, "the token file cannot be written")
	}
	return tokenHash(text), nil
}

func checkOldToken(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the token file cannot be looked at")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return fault.New(fault.Policy, "something that is no regular file lies at the token's place")
	case !ok || int(st.Uid) != os.Getuid():
		return fault.New(fault.Policy, "the token file belongs to somebody else")
	case info.Mode().Perm() != 0o600:
		return fault.New(fault.Policy, "the token file has mode %04o instead of 0600: somebody may have read it", info.Mode().Perm())
	}
	return nil
}

// removeTokenFile removes the file if it still holds the token with this hash: another agent's stays.
func removeTokenFile(dir string, hash [32]byte) {
	path := filepath.Join(dir, TokenFile)
	b, err := readBounded(path, maxTokenFile)
	if err != nil {
		return
	}
	defer clear(b)
	if text, err := parseTokenFile(b); err == nil && tokenHash([]byte(text)) == hash {
		_ = os.Remove(path) // the next start replaces it
	}
}
