package mlkem768

import (
	"crypto/rand"
	"fmt"
	"testing"
)

func BenchmarkGenerate(b *testing.B) { // with header and vector
	b.ReportAllocs()
	for b.Loop() {
		k := Generate(rand.Reader)
		k.Header()
		k.Vector()
	}
}

func BenchmarkEncapsulateFirst(b *testing.B) {
	header, m := Generate(rand.Reader).Header(), [MSize]byte{1}
	b.ReportAllocs()
	for b.Loop() {
		EncapsulateFirst(&header, &m)
	}
}

func BenchmarkEncapsulateSecond(b *testing.B) {
	k, m := Generate(rand.Reader), [MSize]byte{1}
	header, vector := k.Header(), k.Vector()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncapsulateSecond(&header, &m, &vector); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(fmt.Sprintf("fromSeed=%v", fresh), func(b *testing.B) {
			k := Generate(rand.Reader)
			c1, c2 := make([]byte, C1Size), make([]byte, C2Size)
			b.ReportAllocs()
			for b.Loop() {
				if fresh {
					k, _ = FromSeed(k.Seed())
				}
				if _, err := k.Decapsulate(c1, c2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
