package keystore

import (
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"

	"coldframe/internal/fault"
	"coldframe/keystore/passphrase"
)

const (
	// minGuesses is how many tries a new password must be worth. One try costs its attacker about a second of 256 MiB: 10¹⁰ of
	// them are 300 years of one machine, and months of a rack bought for it. It is zxcvbn's highest class (score 4); an everyday
	// password with a digit at the end ends near 10⁶. Six words of GeneratePassphrase are worth 10²³.
	minGuesses = 1e10

	// maxJudged is how many characters are judged: the estimator's time grows faster than the length, and the rest of a longer
	// password can only add guesses.
	maxJudged = 64
)

// checkStrength returns fault.Policy for a password that an offline guesser finds too soon. The address and its parts count as known.
func checkStrength(normalPassword []byte, normalEmail string) error {
	judged := string(normalPassword) // the library takes nothing else
	if utf8.RuneCountInString(judged) > maxJudged {
		judged = string([]rune(judged)[:maxJudged])
	}
	if zxcvbn.PasswordStrength(judged, knownWords(normalEmail)).Guesses < minGuesses {
		return fault.New(fault.Policy, "the password is too easy to guess; a generated passphrase of %d words is not", passphrase.Words)
	}
	return nil
}

// knownWords is what a guesser tries first.
func knownWords(email string) []string {
	words := []string{"coldframe", "vault", email}
	isSeparator := func(r rune) bool { return strings.ContainsRune("@.+-_", r) }
	for _, part := range append(strings.Split(email, "@"), strings.FieldsFunc(email, isSeparator)...) {
		if part != "" {
			words = append(words, strings.ToLower(part))
		}
	}
	return words
}

// GeneratePassphrase returns a new passphrase of passphrase.Words words (77.5 bits), separated by spaces.
func GeneratePassphrase() string { return passphrase.New() }
