package erasure

import (
	"testing"

	"pgregory.net/rapid"
)

// multiply and inverse look into the tables.
func (t *tables) multiply(a, b uint16) uint16 {
	if a == 0 || b == 0 {
		return 0
	}
	return t.exp[(int(t.log[a])+int(t.log[b]))%units]
}

func (t *tables) inverse(a uint16) uint16 { return t.exp[units-int(t.log[a])] }

// slowly is the product of two polynomials, reduced: the definition of the field.
func slowly(a, b uint16) uint16 {
	product := 0
	for bit := 15; bit >= 0; bit-- {
		if product <<= 1; product > units {
			product ^= polynomial
		}
		if b>>bit&1 == 1 {
			product ^= int(a)
		}
	}
	return uint16(product)
}

// The known answers of the protocol notes, section 14.
func TestKnownAnswersOfTheField(t *testing.T) {
	if got := slowly(0x1234, 0x5678); got != 0x6324 {
		t.Errorf("1234·5678 = %04x", got)
	}
	if got := shared().multiply(0x1234, 0x5678); got != 0x6324 {
		t.Errorf("1234·5678 = %04x by the tables", got)
	}
	if got := shared().inverse(0x1234); got != 0x2ce9 {
		t.Errorf("1/1234 = %04x", got)
	}
}

// Every unit is a power of x, and times its inverse it is 1.
func TestUnits(t *testing.T) {
	tables := shared()
	for a := uint16(1); a != 0; a++ {
		if tables.exp[tables.log[a]] != a || slowly(a, tables.inverse(a)) != 1 {
			t.Fatalf("%04x: power %d, inverse %04x", a, tables.log[a], tables.inverse(a))
		}
	}
}

func TestTablesMultiply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint16().Draw(t, "a"), rapid.Uint16().Draw(t, "b")
		if got, want := shared().multiply(a, b), slowly(a, b); got != want {
			t.Fatalf("%04x, want %04x", got, want)
		}
	})
}

// combine is the sum of the products, element by element.
func TestCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		coefficients := rapid.SliceOfN(rapid.Uint16(), 1, maxChunks).Draw(t, "coefficients")
		chunks := rapid.SliceOfN(rapid.Byte(), len(coefficients)*ChunkSize, len(coefficients)*ChunkSize).Draw(t, "chunks")
		var got, want [ChunkSize]byte
		combine(&got, coefficients, chunks)
		for i, c := range coefficients {
			for p := 0; p < ChunkSize; p += 2 {
				product := slowly(c, uint16(chunks[i*ChunkSize+p])<<8|uint16(chunks[i*ChunkSize+p+1]))
				want[p] ^= byte(product >> 8)
				want[p+1] ^= byte(product)
			}
		}
		if got != want {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}
