package parquetguard

import (
	"encoding/binary"
	"errors"

	"coldframe/internal/fault"
)

const (
	// maxBlock bounds the values of a DELTA_BINARY_PACKED block. Writers make them of 128 to 2048; the format knows no limit, and the
	// decoder allocates, and fills, what the block says.
	maxBlock = 1 << 16

	// maxStrings bounds the values of a DELTA_BYTE_ARRAY page.
	maxStrings = 1 << 22
)

var errDelta = errors.New("parquet: a page in a delta encoding is damaged")

// deltaHeader is the head of DELTA_BINARY_PACKED values (Parquet's Encodings.md).
type deltaHeader struct {
	block, minis, total uint64
	first               int64
}

func readDeltaHeader(b []byte) (h deltaHeader, rest []byte, err error) {
	for _, field := range []*uint64{&h.block, &h.minis, &h.total} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return h, nil, errDelta
		}
		*field, b = v, b[n:]
	}
	first, n := binary.Varint(b)
	if n <= 0 {
		return h, nil, errDelta
	}
	h.first = first
	switch {
	case h.block > maxBlock:
		return h, nil, fault.New(fault.TooLarge, "a Parquet page of %d values a block, at most %d are read", h.block, maxBlock)
	case h.block == 0, h.minis == 0, h.block%128 != 0, h.block%h.minis != 0, h.block/h.minis%32 != 0:
		return h, nil, errDelta
	}
	return h, b[n:], nil
}

// eachDelta calls fn with each of the values at the start of b and returns what lies behind them.
func eachDelta(b []byte, fn func(i int, v int64)) (rest []byte, err error) {
	h, b, err := readDeltaHeader(b)
	if err != nil || h.total == 0 {
		return b, err
	}
	if h.total > maxStrings {
		return nil, fault.New(fault.TooLarge, "a Parquet page of %d strings, at most %d are read", h.total, maxStrings)
	}
	perMini := int(h.block / h.minis)
	v, i, total := h.first, 1, int(h.total)
	fn(0, v)
	for i < total {
		least, n := binary.Varint(b)
		if n <= 0 || len(b)-n < int(h.minis) {
			return nil, errDelta
		}
		widths := b[n : n+int(h.minis)]
		b = b[n+int(h.minis):]
		for _, width := range widths {
			if i == total {
				break
			}
			size := perMini / 8 * int(width)
			if width > 64 || size > len(b) {
				return nil, errDelta
			}
			for j := 0; j < perMini && i < total; j, i = j+1, i+1 {
				v += least + int64(bitsAt(b, j*int(width), int(width)))
				fn(i, v)
			}
			b = b[size:]
		}
	}
	return b, nil
}

// bitsAt returns width bits of b, the lowest first.
func bitsAt(b []byte, at, width int) (v uint64) {
	for i := range width {
		v |= uint64(b[(at+i)/8]>>((at+i)%8)&1) << i
	}
	return v
}

// longestString returns the length of the longest value of a DELTA_BYTE_ARRAY page: each is so many bytes of the one before and some
// of its own, so that a few bytes can be very many.
func longestString(b []byte) (int64, error) {
	var lengths []int64
	rest, err := eachDelta(b, func(_ int, v int64) { lengths = append(lengths, v) })
	if err != nil {
		return 0, err
	}
	var longest int64
	n := 0
	_, err = eachDelta(rest, func(i int, v int64) {
		if n = i + 1; n <= len(lengths) {
			longest = max(longest, lengths[i]+v)
		}
	})
	if err == nil && n != len(lengths) {
		err = errDelta
	}
	return longest, err
}
