package chunk

import "encoding/binary"

// join fills dst with values of width bytes whose first bytes stand together in src, then their second, and so on: BYTE_STREAM_SPLIT.
func join(dst, src []byte, width int) {
	n := len(src) / width
	if width == 8 {
		joinWords(dst, src, n)
		return
	}
	for k := range width {
		stream := src[k*n:]
		for i, at := 0, k; at < len(dst); i, at = i+1, at+width {
			dst[at] = stream[i]
		}
	}
}

// joinWords takes eight bytes of each of the eight streams at a time, and turns the square of them around.
func joinWords(dst, src []byte, n int) {
	i, count := 0, len(dst)/8
	for ; i+8 <= count; i += 8 {
		var m [8]uint64
		for k := range m {
			m[k] = binary.LittleEndian.Uint64(src[k*n+i:])
		}
		transpose(&m)
		to := dst[8*i : 8*i+64]
		for k, w := range m {
			binary.LittleEndian.PutUint64(to[8*k:], w)
		}
	}
	for ; i < count; i++ {
		for k := range 8 {
			dst[8*i+k] = src[k*n+i]
		}
	}
}

// transpose exchanges rows and columns of eight words of eight bytes: halves first, then quarters, then single bytes.
func transpose(m *[8]uint64) {
	swap := func(i, j int, shift uint, mask uint64) {
		t := (m[i]>>shift ^ m[j]) & mask
		m[i] ^= t << shift
		m[j] ^= t
	}
	for i := range 4 {
		swap(i, i+4, 32, 0x00000000ffffffff)
	}
	for _, i := range [...]int{0, 1, 4, 5} {
		swap(i, i+2, 16, 0x0000ffff0000ffff)
	}
	for i := 0; i < 8; i += 2 {
		swap(i, i+1, 8, 0x00ff00ff00ff00ff)
	}
}
