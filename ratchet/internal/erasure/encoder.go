package erasure

import "bytes"

const (
	// ChunkSize is the length of a chunk, in bytes.
	ChunkSize = 32

	minChunks = 3  // of the shortest stream, a header with its MAC
	maxChunks = 36 // of the longest, a vector
)

// Encoder makes the chunks of a stream. It never changes, so many may use it at once.
type Encoder struct{ data []byte }

// NewEncoder returns the encoder of a copy of data, 96 to 1152 bytes in whole chunks. It panics for any other length.
func NewEncoder(data []byte) *Encoder {
	if !validSize(len(data)) {
		panic("erasure: a stream is 3 to 36 chunks of 32 bytes")
	}
	return &Encoder{data: bytes.Clone(data)}
}

func validSize(size int) bool {
	return size%ChunkSize == 0 && size >= minChunks*ChunkSize && size <= maxChunks*ChunkSize
}

// Data returns the stream. It is the encoder's own: never write to it.
func (e *Encoder) Data() []byte { return e.data[:len(e.data):len(e.data)] }

// Chunk returns the chunk with this number.
func (e *Encoder) Chunk(number uint16) [ChunkSize]byte {
	n := len(e.data) / ChunkSize
	if int(number) < n {
		return [ChunkSize]byte(e.data[int(number)*ChunkSize:])
	}
	var chunk [ChunkSize]byte
	t := shared()
	t.interpolate(&chunk, number, consecutive[:n], t.weights[n], e.data)
	return chunk
}
