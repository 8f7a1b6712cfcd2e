package chunk

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Blocks of DELTA_BINARY_PACKED: four times as long as most writers', whose headers take half a bit a value.
const (
	deltaBlock = 512
	deltaMinis = 8
	deltaMini  = deltaBlock / deltaMinis
)

// appendDelta appends integers as DELTA_BINARY_PACKED. Differences wrap around in the width of the values.
func appendDelta[T int32 | int64](dst []byte, v []T, mask uint64) []byte {
	dst = append(binary.AppendUvarint(dst, deltaBlock), deltaMinis)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	if len(v) == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(v[0]))
	var steps [deltaBlock]T
	for v := v; len(v) > 1; v = v[min(deltaBlock, len(v)-1):] {
		n := min(deltaBlock, len(v)-1)
		least := v[1] - v[0]
		for i := range n {
			s := v[i+1] - v[i]
			steps[i] = s
			least = min(least, s)
		}
		dst = appendDeltaBlock(dst, steps[:n], least, mask)
	}
	return dst
}

func appendDeltaBlock[T int32 | int64](dst []byte, steps []T, least T, mask uint64) []byte {
	var block [deltaBlock]uint64
	for i, s := range steps {
		block[i] = uint64(s-least) & mask
	}
	dst = binary.AppendVarint(dst, int64(least))
	at := len(dst)
	dst = append(dst, zeros[:]...)
	for m := 0; m*deltaMini < len(steps); m++ {
		mini := (*[deltaMini]uint64)(block[m*deltaMini:])
		var all uint64
		for _, x := range mini {
			all |= x
		}
		width := bits.Len64(all)
		dst[at+m] = byte(width)
		dst = appendPacked(dst, mini, width)
	}
	return dst
}

var zeros [deltaMinis]byte

// appendPacked appends values of width bits each.
func appendPacked(dst []byte, v *[deltaMini]uint64, width int) []byte {
	if width == 0 {
		return dst
	}
	at := len(dst)
	size := deltaMini / 8 * width
	dst = slices.Grow(dst, size+8)[:at+size+8]
	out := dst[at:]
	var word uint64
	n := 0
	for _, x := range v {
		word |= x << n
		if n += width; n >= 64 {
			binary.LittleEndian.PutUint64(out, word)
			out = out[8:]
			n -= 64
			word = x >> (width - n)
		}
	}
	binary.LittleEndian.PutUint64(out, word)
	return dst[:at+size]
}
