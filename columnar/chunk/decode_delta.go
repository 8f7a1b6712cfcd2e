package chunk

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
)

// maxBlock bounds the values of a DELTA_BINARY_PACKED block. Writers make them of 128 to 2048; the format knows no limit.
const maxBlock = 1 << 16

var errDelta = damaged("a page of differences is damaged")

func errEncoding(encoding int64) error {
	return fault.New(fault.Policy, "a page in encoding %d, which its type is never written in", encoding)
}

// deltas fills dst with DELTA_BINARY_PACKED values of width bytes, 4 or 8.
func deltas(dst []byte, width int, b []byte) (err error) {
	if width == 4 {
		_, err = unpackDeltas(arrow.Uint32Traits.CastFromBytes(dst), b)
		return err
	}
	_, err = unpackDeltas(arrow.Uint64Traits.CastFromBytes(dst), b)
	return err
}

// unpackDeltas fills dst, which has at least a value, and returns what lies behind the values. Parquet's Encodings.md: block size,
// miniblocks of a block, values in all and the first one; then blocks of the least difference, the widths of the miniblocks and what the
// differences are above the least. All wraps around.
func unpackDeltas[T uint32 | uint64](dst []T, b []byte) (rest []byte, err error) {
	var head [3]uint64
	for i := range head {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errDelta
		}
		head[i], b = v, b[n:]
	}
	first, n := binary.Varint(b)
	block, minis := head[0], head[1]
	switch {
	case n <= 0:
		return nil, errDelta
	case block > maxBlock:
		return nil, fault.New(fault.TooLarge, "a page of %d values a block, at most %d are read", block, maxBlock)
	case block == 0, minis == 0, block%minis != 0, block/minis%32 != 0, head[2] != uint64(len(dst)):
		return nil, errDelta
	}
	dst[0] = T(first)
	return deltaBlocks(dst[1:], b[n:], uint64(first), int(minis), int(block/minis))
}

func deltaBlocks[T uint32 | uint64](dst []T, b []byte, v uint64, minis, size int) (rest []byte, err error) {
	for len(dst) > 0 {
		least, n := binary.Varint(b)
		if n <= 0 || len(b)-n < minis {
			return nil, errDelta
		}
		widths := b[n : n+minis]
		b = b[n+minis:]
		for _, w := range widths {
			n := min(size, len(dst))
			if n == 0 {
				break
			}
			bytes := size / 8 * int(w)
			if w > 64 || bytes > len(b) {
				return nil, errDelta
			}
			v = addDeltas(dst[:n], b, int(w), v, uint64(least))
			b, dst = b[bytes:], dst[n:]
		}
	}
	return b, nil
}

// addDeltas fills dst with the values after v, whose differences are the numbers of width bits in b, added to least, and returns the last.
func addDeltas[T uint32 | uint64](dst []T, b []byte, width int, v, least uint64) uint64 {
	i, at := 0, 0
	switch {
	case width == 0:
		for i := range dst {
			v += least
			dst[i] = T(v)
		}
		return v
	case width <= 56:
		mask := uint64(1)<<width - 1
		for ; i < len(dst) && at>>3+8 <= len(b); i++ {
			v += least + binary.LittleEndian.Uint64(b[at>>3:])>>(at&7)&mask
			dst[i] = T(v)
			at += width
		}
	}
	for ; i < len(dst); i++ {
		v += least + bitsAt(b, at, width)
		dst[i] = T(v)
		at += width
	}
	return v
}
