package chunk

import (
	"encoding/binary"
	"slices"
)

// minRun is from how many equal values on they are a run; a multiple of 8.
const minRun = 8

// appendRuns appends values as Parquet's hybrid of runs and bit-packed groups of eight, width bits each.
func appendRuns[T uint8 | uint32](dst []byte, v []T, width int) []byte {
	packed := 0
	for i := 0; i < len(v); {
		run := 1
		for i+run < len(v) && v[i+run] == v[i] {
			run++
		}
		if run < minRun {
			i += 8
			continue
		}
		dst = appendGroups(dst, v[packed:i], width)
		dst = appendRun(dst, run, uint64(v[i]), width)
		i += run
		packed = i
	}
	return appendGroups(dst, v[packed:], width)
}

func appendRun(dst []byte, n int, v uint64, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for ; width > 0; width -= 8 {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

// appendGroups appends values bit-packed; the last group is filled up with zeros.
func appendGroups[T uint8 | uint32](dst []byte, v []T, width int) []byte {
	if len(v) == 0 {
		return dst
	}
	groups := (len(v) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	at := len(dst)
	dst = slices.Grow(dst, groups*width+8)[:at+groups*width+8]
	out := dst[at:]
	var word uint64
	n := 0
	for _, x := range v {
		word |= uint64(x) << n
		if n += width; n >= 64 {
			binary.LittleEndian.PutUint64(out, word)
			out = out[8:]
			n -= 64
			word = uint64(x) >> (width - n)
		}
	}
	binary.LittleEndian.PutUint64(out, word)
	end := len(dst) - len(out) + (n+7)/8
	dst = dst[:at+groups*width]
	if end < len(dst) {
		clear(dst[end:])
	}
	return dst
}

// appendBitRuns is appendRuns of n bits, the lowest of each byte first: in groups they stay as they are.
func appendBitRuns(dst, b []byte, n int) []byte {
	packed := 0
	whole := n / 64 * 8
	for i := 0; i < whole; {
		w := binary.LittleEndian.Uint64(b[i:])
		if w != 0 && w != ^uint64(0) {
			i += 8
			continue
		}
		end := i + 8
		for end < whole && binary.LittleEndian.Uint64(b[end:]) == w {
			end += 8
		}
		dst = appendBytes(dst, b[packed:i])
		run := 8 * (end - i)
		if rest := n - 8*end; end == whole && rest > 0 && restIs(b[end:], rest, w&1) {
			run += rest
			end = (n + 7) / 8
		}
		dst = appendRun(dst, run, w&1, 1)
		i, packed = end, end
	}
	if last := (n + 7) / 8; packed < last {
		dst = appendBytes(dst, b[packed:last])
		if n%8 > 0 {
			dst[len(dst)-1] &= 1<<(n%8) - 1
		}
	}
	return dst
}

func restIs(b []byte, n int, bit uint64) bool {
	for i := range n {
		if uint64(b[i/8]>>(i%8)&1) != bit {
			return false
		}
	}
	return true
}

func appendBytes(dst, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return append(binary.AppendUvarint(dst, uint64(len(b))<<1|1), b...)
}
