package devices

import (
	"crypto/rand"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// A pairing code is 30 random digits, 99.7 bits: shown by the new device in six groups of five, typed in on an old one.
const (
	codeDigits = 30
	codeGroup  = 5
	maxTyped   = 128 // bytes of what somebody typed
)

// Code is a pairing code. It is a secret between the two devices and their user until the approval is over: it is never sent.
type Code struct{ k secret.Key } // the digits in ASCII, then zeros

func newCode() Code {
	digits := make([]byte, 0, secret.KeySize)
	var b [1]byte
	for len(digits) < codeDigits {
		rand.Read(b[:]) //nolint:errcheck // never fails: it ends the process instead
		if d, ok := digit(b[0]); ok {
			digits = append(digits, d)
		}
	}
	return codeOf(digits)
}

// digit makes a digit of a random byte, or of six in 256 none, so that each is as likely as any other.
func digit(b byte) (byte, bool) { return '0' + b%10, b < 250 }

// codeOf moves the digits into a code.
func codeOf(digits []byte) Code {
	k, err := secret.FromBytes(digits[:secret.KeySize])
	if err != nil {
		panic("devices: " + err.Error())
	}
	return Code{k}
}

// storedCode reads the code at the beginning of b, which a key file keeps.
func storedCode(b []byte) (Code, bool) {
	ok := string(b[codeDigits:secret.KeySize]) == "\x00\x00"
	for _, c := range b[:codeDigits] {
		ok = ok && c >= '0' && c <= '9'
	}
	return Code{keyAt(b)}, ok
}

// ParseCode reads what was typed in: 30 digits, spaces and hyphens passed over. Anything else is fault.InvalidRequest.
func ParseCode(typed []byte) (Code, error) {
	digits := make([]byte, 0, secret.KeySize)
	ok := len(typed) <= maxTyped
	for _, c := range typed {
		switch {
		case !ok || c == ' ' || c == '-':
		case c >= '0' && c <= '9' && len(digits) < codeDigits:
			digits = append(digits, c)
		default:
			ok = false
		}
	}
	if !ok || len(digits) != codeDigits {
		secret.Wipe(digits)
		return Code{}, fault.New(fault.InvalidRequest, "a pairing code has %d digits", codeDigits)
	}
	return codeOf(digits), nil
}

// Text returns the code as it is shown, in six groups. The caller wipes it.
func (c Code) Text() []byte {
	out := make([]byte, 0, codeDigits+codeDigits/codeGroup)
	c.k.Use(func(b []byte) {
		for i, digit := range b[:codeDigits] {
			if i > 0 && i%codeGroup == 0 {
				out = append(out, ' ')
			}
			out = append(out, digit)
		}
	})
	return out
}

func (c Code) clone() Code { return Code{c.k.Clone()} }

// Wipe zeroes the code.
func (c Code) Wipe() { c.k.Wipe() }
