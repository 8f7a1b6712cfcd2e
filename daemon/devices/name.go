package devices

import (
	"unicode"
	"unicode/utf8"

	"coldframe/internal/fault"
)

// MaxName is the length of the longest name of a device, in bytes.
const MaxName = 64

// nameSize is the length of every name as it is written: its length (1), its bytes, zeros. So a record's size tells nothing of names.
const nameSize = 1 + MaxName

// checkName takes 1 to MaxName bytes of UTF-8 that can be printed.
func checkName(name string) error {
	ok := len(name) >= 1 && len(name) <= MaxName && utf8.ValidString(name)
	for _, r := range name {
		ok = ok && unicode.IsPrint(r)
	}
	if !ok {
		return fault.New(fault.InvalidRequest, "the name of a device is 1 to %d bytes that can be printed", MaxName)
	}
	return nil
}

func encodeName(name string) []byte {
	b := make([]byte, nameSize)
	b[0] = byte(len(name))
	copy(b[1:], name)
	return b
}

// decodeName reverses encodeName, and takes nothing else.
func decodeName(b []byte) (string, error) {
	if len(b) != nameSize || int(b[0]) > MaxName {
		return "", errName
	}
	name := string(b[1 : 1+int(b[0])])
	if checkName(name) != nil || string(encodeName(name)) != string(b) {
		return "", errName
	}
	return name, nil
}

var errName = fault.New(fault.NotAuthentic, "the name of a device is not in order")
