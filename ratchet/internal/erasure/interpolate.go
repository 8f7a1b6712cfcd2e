package erasure

import (
	"encoding/binary"
	"math/bits"
)

// sum is the sixteen elements of a chunk, four side by side in a word.
type sum [4]uint64

const (
	topBits = 0x8000_8000_8000_8000
	reduced = polynomial & units // what x^16 is
)

// weigh sets weights[i] to the logarithm of the barycentric weight of numbers[i], 1/∏(numbers[i] - numbers[j]) over all other j. The
// numbers are different. In this field a difference is a sum, and both are the exclusive or.
func (t *tables) weigh(weights, numbers []uint16) {
	for i, number := range numbers {
		product := 0
		for j, other := range numbers {
			if j != i {
				product += int(t.log[number^other])
			}
		}
		weights[i] = uint16(units - product%units)
	}
}

// interpolate sets out to the chunk with the number at, which is none of numbers. The numbers, as many as the stream has chunks, are
// those of chunks, 32 bytes each, and the weights are theirs.
func (t *tables) interpolate(out *[ChunkSize]byte, at uint16, numbers, weights []uint16, chunks []byte) {
	product := 0 // the logarithm of ∏(at - numbers[i])
	for _, number := range numbers {
		product += int(t.log[at^number])
	}
	product %= units
	var room [maxChunks]uint16
	coefficients := room[:len(numbers)]
	for i, number := range numbers {
		coefficients[i] = t.exp[(product+int(weights[i])+units-int(t.log[at^number]))%units]
	}
	combine(out, coefficients, chunks)
}

// combine sets out to the sum of each chunk times its coefficient.
//
// Looking up 16 products a chunk costs more than all else of a message. Instead the coefficients are taken four bits at a time: chunks
// with the same four bits are added up, and these 15 sums are folded into one for each bit, the sum of the chunks whose coefficient has it
// set. Then it is sixteen times "multiply by x, add the sum of the next lower bit".
func combine(out *[ChunkSize]byte, coefficients []uint16, chunks []byte) {
	var total sum
	for shift := 12; shift >= 0; shift -= 4 {
		var same [16]sum
		rest := chunks
		for _, c := range coefficients {
			same[c>>(shift&15)&15].addChunk((*[ChunkSize]byte)(rest))
			rest = rest[ChunkSize:]
		}
		for bit := 8; bit > 0; bit /= 2 {
			var set sum
			for i := range bit {
				with := &same[(bit+i)&15]
				set.add(with)
				same[i&15].add(with)
			}
			total.timesXPlus(&set)
		}
	}
	for i, word := range total {
		binary.BigEndian.PutUint64(out[8*i:], word)
	}
}

// addChunk adds a chunk, with the bytes of a word in the machine's usual order; timesXPlus turns them.
func (s *sum) addChunk(chunk *[ChunkSize]byte) {
	s[0] ^= binary.LittleEndian.Uint64(chunk[0:])
	s[1] ^= binary.LittleEndian.Uint64(chunk[8:])
	s[2] ^= binary.LittleEndian.Uint64(chunk[16:])
	s[3] ^= binary.LittleEndian.Uint64(chunk[24:])
}

func (s *sum) add(o *sum) {
	s[0] ^= o[0]
	s[1] ^= o[1]
	s[2] ^= o[2]
	s[3] ^= o[3]
}

// timesXPlus multiplies each element by x and adds o, which was made by addChunk.
func (s *sum) timesXPlus(o *sum) {
	for i, word := range s {
		top := word & topBits
		s[i] = (word^top)<<1 ^ (top>>15)*reduced ^ bits.ReverseBytes64(o[i])
	}
}
