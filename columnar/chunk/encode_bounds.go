package chunk

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// maxBound bounds the least and greatest value kept in a chunk's metadata; longer ones are cut.
const maxBound = 64

// cutBelow returns the longest start of v that a bound may be, which is not above v. One of text is valid text; nil if there is none.
func cutBelow(v []byte, isText bool) []byte {
	if v == nil || isText && !utf8.Valid(v) {
		return nil
	}
	n := min(len(v), maxBound)
	for isText && n < len(v) && !utf8.RuneStart(v[n]) {
		n--
	}
	return bytes.Clone(v[:n])
}

// cutAbove returns a short bound that is not below v: the start of v with its last character, or byte, counted up. nil if none can be.
func cutAbove(v []byte, isText bool) []byte {
	cut := cutBelow(v, isText)
	if len(cut) == len(v) {
		return cut
	}
	if isText {
		return raiseText(cut)
	}
	for n := len(cut); n > 0; n-- {
		if cut[n-1] < math.MaxUint8 {
			cut[n-1]++
			return cut[:n]
		}
	}
	return nil
}

func raiseText(cut []byte) []byte {
	for len(cut) > 0 {
		r, n := utf8.DecodeLastRune(cut)
		cut = cut[:len(cut)-n]
		if r++; r == 0xd800 { // surrogates are no characters
			r = 0xe000
		}
		if r <= utf8.MaxRune {
			return utf8.AppendRune(cut, r)
		}
	}
	return nil
}
