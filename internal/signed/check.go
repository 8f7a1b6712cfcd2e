package signed

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"coldframe/internal/fault"
)

// Limits of everything that is read. They hold for correctly signed bytes too (THREATS R13).
const (
	MaxSize     = 16 << 20 // bytes of one value
	MaxDepth    = 16       // arrays and maps inside one another
	MaxElements = 1 << 17  // of one array, or pairs of one map
	MaxItems    = 1 << 19  // in all
)

// CBOR major types (RFC 8949 section 3.1).
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

var (
	errTooLarge = fault.New(fault.TooLarge, "value is beyond its limits")
	errForm     = fault.New(fault.NotAuthentic, "value is not deterministic CBOR")
)

// check walks b and reports whether it is exactly one value in the core deterministic encoding and within the limits.
// It allocates nothing.
func check(b []byte) error {
	if len(b) > MaxSize {
		return errTooLarge
	}
	w := walker{b: b}
	if err := w.item(0); err != nil {
		return err
	}
	if w.at != len(b) {
		return errForm
	}
	return nil
}

type walker struct {
	b     []byte
	at    int
	items int
}

// head reads an initial byte and its argument, which must be in the shortest form.
func (w *walker) head() (major byte, info byte, arg uint64, err error) {
	if w.at >= len(w.b) {
		return 0, 0, 0, errForm
	}
	major, info = w.b[w.at]>>5, w.b[w.at]&31
	w.at++
	if info < 24 {
		return major, info, uint64(info), nil
	}
	if info > 27 { // 28-30 are reserved, 31 is an indefinite length
		return 0, 0, 0, errForm
	}
	n := 1 << (info - 24)
	if len(w.b)-w.at < n {
		return 0, 0, 0, errForm
	}
	var word [8]byte
	copy(word[8-n:], w.b[w.at:w.at+n])
	w.at += n
	return major, info, binary.BigEndian.Uint64(word[:]), nil
}

// shortest reports whether arg needs the width that info names.
func shortest(info byte, arg uint64) bool {
	switch info {
	case 24:
		return arg >= 24
	case 25:
		return arg > math.MaxUint8
	case 26:
		return arg > math.MaxUint16
	case 27:
		return arg > math.MaxUint32
	}
	return true
}

func (w *walker) item(depth int) error {
	w.items++
	if w.items > MaxItems {
		return errTooLarge
	}
	major, info, arg, err := w.head()
	if err != nil {
		return err
	}
	if major == majorSimple {
		return simple(info, arg)
	}
	if !shortest(info, arg) {
		return errForm
	}
	switch major {
	case majorBytes, majorText:
		return w.text(major, arg)
	case majorArray, majorMap:
		return w.elements(major, arg, depth)
	case majorTag:
		return errForm
	}
	return nil
}

func (w *walker) text(major byte, length uint64) error {
	if length > uint64(len(w.b)-w.at) {
		return errForm
	}
	s := w.b[w.at : w.at+int(length)]
	w.at += int(length)
	if major == majorText && !utf8.Valid(s) {
		return errForm
	}
	return nil
}

func (w *walker) elements(major byte, n uint64, depth int) error {
	if n > MaxElements || depth >= MaxDepth {
		return errTooLarge
	}
	var previous []byte
	for range n {
		start := w.at
		if err := w.item(depth + 1); err != nil {
			return err
		}
		if major == majorArray {
			continue
		}
		key := w.b[start:w.at]
		if previous != nil && bytes.Compare(previous, key) >= 0 {
			return errForm
		}
		previous = key
		if err := w.item(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// simple takes false, true, null, and floats in their shortest form.
func simple(info byte, arg uint64) error {
	switch info {
	case 20, 21, 22:
		return nil
	case 25:
		if h := uint16(arg); h&0x7c00 == 0x7c00 && h&0x3ff != 0 && h != 0x7e00 {
			return errForm // the one NaN is 7e00
		}
		return nil
	case 26:
		f := math.Float32frombits(uint32(arg))
		if !isNaN(float64(f)) && !fitsFloat16(f) {
			return nil
		}
	case 27:
		f := math.Float64frombits(arg)
		if !isNaN(f) && float64(float32(f)) != f {
			return nil
		}
	}
	return errForm
}

func isNaN(f float64) bool { return f != f }

// fitsFloat16 reports whether f is exactly a half-precision number: 11 significant bits, exponents -14 to 15, subnormals down to 2⁻²⁴.
func fitsFloat16(f float32) bool {
	a := math.Abs(float64(f))
	if a == 0 || math.IsInf(a, 0) {
		return true
	}
	if a > 65504 {
		return false
	}
	_, exp := math.Frexp(a)              // a = m·2^exp, m in [0.5, 1)
	unit := math.Ldexp(1, exp-11)        // of 11 significant bits
	unit = max(unit, math.Ldexp(1, -24)) // subnormal
	q := a / unit
	return q == math.Trunc(q)
}
