// Package passphrase makes passwords that a person can type and nobody can guess: words of the EFF's large list, by dice.
package passphrase

import (
	"strings"

	"github.com/sethvargo/go-diceware/diceware"
)

// Words is how many words a passphrase has. They are drawn without repetition from 7,776, so six are worth
// log2(7776·7775·7774·7773·7772·7771) = 77.5 bits: 2⁴⁴ times the guesses that a new password must withstand at least.
const Words = 6

// New returns a passphrase of Words words separated by spaces. It panics if the system's generator fails.
func New() string { return strings.Join(diceware.MustGenerate(Words), " ") }
