package erasure

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

// stream is the one of the known answers: the hashes of single bytes.
func stream(size int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		hash := sha256.Sum256([]byte{byte(i)})
		b = append(b, hash[:]...)
	}
	return b[:size]
}

// The known answers of the protocol notes, section 14: size of the stream, number, chunk.
var knownAnswers = []struct {
	size   int
	number uint16
	chunk  string
}{
	{96, 3, "fe00ad7acb09cad0f02037f8f192b9ce8c064a597cca999a19ababa2047d3c01"},
	{96, 4, "dc1475e7e3876c186f48719909a8909db868315e5a86ce4bb6ab2f8f1ef9f945"},
	{96, 65535, "a15a23f672e8ea9cf08a3538e8276847d22fcfe1a431c2179fbcf3b5ecfb023f"},
	{160, 5, "d55814c47a8b405f8dbd3b7918bab97bb4371d303164dd330033db1f24f3076e"},
	{160, 65535, "548819477dd66515e08a93dffaee43b5127494a325496a74eeb3ebb0a2517fad"},
	{960, 30, "7697ba4ea0217b101bef4a563615f4f44346d2faaf3d090b4d7158dc2facdffa"},
	{960, 65535, "2cb9c6f5921956daffd9b23ebc106e4fe792af80436e1f07d6f126d237130dd1"},
	{1152, 36, "5ecefe17328e93eb49e7455fc2a4533eb915f48cb01b27116c604c32e642b8df"},
	{1152, 65535, "17c1c6845f5c9c2072c2e82d2bf7dca873caf59d7ba404c570eba520c2d932bf"},
}

func TestKnownAnswers(t *testing.T) {
	for _, c := range knownAnswers {
		got := NewEncoder(stream(c.size)).Chunk(c.number)
		if hex.EncodeToString(got[:]) != c.chunk {
			t.Errorf("%d, %d: %x, want %s", c.size, c.number, got, c.chunk)
		}
	}
}

func TestFirstChunksAreTheData(t *testing.T) {
	for size := minChunks * ChunkSize; size <= maxChunks*ChunkSize; size += ChunkSize {
		data := stream(size)
		e := NewEncoder(data)
		var joined []byte
		for i := range size / ChunkSize {
			chunk := e.Chunk(uint16(i))
			joined = append(joined, chunk[:]...)
		}
		if !bytes.Equal(joined, data) || !bytes.Equal(e.Data(), data) {
			t.Errorf("%d bytes: %x, want %x", size, joined, data)
		}
	}
}

func TestEncoderCopiesItsData(t *testing.T) {
	data := stream(96)
	e := NewEncoder(data)
	clear(data)
	if !bytes.Equal(e.Data(), stream(96)) {
		t.Error("the encoder's data are the caller's")
	}
}

// Every chunk is the value of the polynomial by the definition of Lagrange.
func TestChunkIsTheInterpolatedValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(minChunks, maxChunks).Draw(t, "N")
		data := rapid.SliceOfN(rapid.Byte(), n*ChunkSize, n*ChunkSize).Draw(t, "data")
		x := uint16(rapid.IntRange(n, 1<<16-1).Draw(t, "number"))
		got := NewEncoder(data).Chunk(x)
		for p := 0; p < ChunkSize; p += 2 {
			want := uint16(0)
			for i := range n {
				term := uint16(data[i*ChunkSize+p])<<8 | uint16(data[i*ChunkSize+p+1])
				for j := range n {
					if j != i {
						term = slowly(term, slowly(x^uint16(j), shared().inverse(uint16(i^j))))
					}
				}
				want ^= term
			}
			if have := uint16(got[p])<<8 | uint16(got[p+1]); have != want {
				t.Fatalf("element %d is %04x, want %04x", p/2, have, want)
			}
		}
	})
}

func TestWrongSizesPanic(t *testing.T) {
	for _, size := range []int{0, 1, 32, 64, 95, 97, 1151, 1153, 1184} {
		for what, f := range map[string]func(){"encoder": func() { NewEncoder(make([]byte, size)) }, "decoder": func() { NewDecoder(size) }} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s of %d bytes", what, size)
					}
				}()
				f()
			}()
		}
	}
}

func TestChunkAllocatesNothing(t *testing.T) {
	e := NewEncoder(stream(1152))
	var chunk [ChunkSize]byte
	if n := testing.AllocsPerRun(100, func() { chunk = e.Chunk(40) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if chunk == ([ChunkSize]byte{}) {
		t.Error("no chunk")
	}
}
