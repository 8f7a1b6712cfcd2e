package chunk

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// runs reads the hybrid of run lengths and packed bits in which levels, indices and some booleans are (Parquet's Encodings.md, RLE).
type runs struct {
	b     []byte
	width int // bits of a value, at most 32

	left   int    // values of the current run
	value  uint32 // that repeats, if packed is nil
	packed []byte // at bit: the values, and what follows them
	bit    int
}

// next makes sure that there is a run with values left, and returns how many of at most n.
func (r *runs) next(n int) (int, error) {
	for r.left == 0 {
		head, k := binary.Uvarint(r.b)
		if k <= 0 {
			return 0, errShort
		}
		r.b = r.b[k:]
		if head&1 == 0 {
			bytes := (r.width + 7) / 8
			if len(r.b) < bytes {
				return 0, errShort
			}
			r.left, r.packed, r.value = int(min(head>>1, 1<<31)), nil, 0
			for i, b := range r.b[:bytes] {
				r.value |= uint32(b) << (8 * i)
			}
			if r.b = r.b[bytes:]; uint64(r.value)>>r.width != 0 {
				return 0, damaged("a run of a value of more than %d bits", r.width)
			}
			continue
		}
		groups := head >> 1
		if groups > uint64(len(r.b)) && r.width > 0 || groups > 1<<28 || groups*uint64(r.width) > uint64(len(r.b)) {
			return 0, errShort
		}
		r.left, r.packed, r.bit = 8*int(groups), r.b, 0
		r.b = r.b[int(groups)*r.width:]
	}
	return min(n, r.left), nil
}

// bits sets n bits of a bitmap from bit at on, which are zero, for values of one bit. The bitmap has a word behind them.
func (r *runs) bits(bitmap []byte, at, n int) error {
	for n > 0 {
		k, err := r.next(n)
		if err != nil {
			return err
		}
		switch {
		case r.packed != nil:
			copyBits(bitmap, at, r.packed, r.bit, k)
			r.bit += k
		case r.value&1 != 0:
			bitutil.SetBitsTo(bitmap, int64(at), int64(k), true)
		}
		r.left -= k
		at += k
		n -= k
	}
	return nil
}

// copyBits sets n bits of dst from bit at on, which are zero, to those of src from bit from on. dst has a word behind them.
func copyBits(dst []byte, at int, src []byte, from, n int) {
	const step = 56 // fits a word after any shift within a byte
	for n > 0 {
		k := min(n, step)
		var w uint64
		if i := from >> 3; i+8 <= len(src) {
			w = binary.LittleEndian.Uint64(src[i:]) >> (from & 7) & (1<<k - 1)
		} else {
			w = bitsAt(src, from, k)
		}
		to := dst[at>>3:]
		binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(to)|w<<(at&7))
		at, from, n = at+k, from+k, n-k
	}
}

// readRuns fills dst; a uint8 takes values of at most eight bits.
func readRuns[T uint8 | uint32](r *runs, dst []T) error {
	for len(dst) > 0 {
		k, err := r.next(len(dst))
		if err != nil {
			return err
		}
		if r.packed == nil {
			fill(dst[:k], T(r.value))
		} else {
			r.bit = unpackBits(dst[:k], r.packed, r.bit, r.width)
		}
		r.left -= k
		dst = dst[k:]
	}
	return nil
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// unpackBits fills dst with values of width bits, at most 32, that lie in b from bit at on, and returns where the next one lies.
func unpackBits[T uint8 | uint32](dst []T, b []byte, at, width int) int {
	mask := uint64(1)<<width - 1
	i := 0
	if width > 0 && width <= 8 && at&7 == 0 {
		for ; i+8 <= len(dst) && at>>3+8 <= len(b); i += 8 { // so many take whole bytes
			w, to := binary.LittleEndian.Uint64(b[at>>3:]), dst[i:i+8]
			for k := range to {
				to[k] = T(w & mask)
				w >>= width & 63
			}
			at += 8 * width
		}
	}
	if width > 0 {
		for ; i < len(dst) && at>>3+8 <= len(b); i++ {
			dst[i] = T(binary.LittleEndian.Uint64(b[at>>3:]) >> (at & 7) & mask)
			at += width
		}
	}
	for ; i < len(dst); i++ {
		dst[i] = T(bitsAt(b, at, width))
		at += width
	}
	return at
}

// bitsAt returns width bits of b, at most 64, from bit at on; bits beyond b are zero.
func bitsAt(b []byte, at, width int) uint64 {
	var window [16]byte
	copy(window[:], b[min(at>>3, len(b)):])
	low, high := binary.LittleEndian.Uint64(window[:]), binary.LittleEndian.Uint64(window[8:])
	shift := at & 7
	v := low >> shift
	if shift > 0 {
		v |= high << (64 - shift)
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}
