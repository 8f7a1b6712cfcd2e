package erasure

import "sync"

const (
	polynomial = 0x1100b   // x^16 + x^12 + x^3 + x + 1: the field is GF(2^16) modulo it, and x generates its units
	units      = 1<<16 - 1 // elements that have an inverse
)

// tables hold the field and what every stream of a length shares, a quarter of a mebibyte a process.
type tables struct {
	exp [units + 1]uint16 // exp[i] is x^i; the last entry is the first again
	log [units + 1]uint16 // log[exp[i]] is i, from 0 to units-1; log[0] means nothing

	weights [maxChunks + 1][]uint16 // for each N, those of the numbers 0 to N-1
}

// shared makes the tables once, when the first chunk is interpolated.
var shared = sync.OnceValue(func() *tables {
	t := new(tables)
	power := 1
	for i := range units {
		t.exp[i], t.log[power] = uint16(power), uint16(i)
		if power <<= 1; power > units {
			power ^= polynomial
		}
	}
	t.exp[units] = t.exp[0]
	for n := range t.weights {
		t.weights[n] = make([]uint16, n)
		t.weigh(t.weights[n], consecutive[:n])
	}
	return t
})

// consecutive are the numbers of a stream's own chunks.
var consecutive = func() (c [maxChunks]uint16) {
	for i := range c {
		c[i] = uint16(i)
	}
	return c
}()
