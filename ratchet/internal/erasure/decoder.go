package erasure

// Decoder gathers chunks until there are enough for the stream. It is a value: Add returns another one and leaves this one, and every
// copy of it, as it was. Decoders that are equal (==) hold the same chunks, which is how to see that nothing was added. The zero value
// is no decoder: it takes no chunk and is never complete.
type Decoder struct {
	size int   // of the stream, in bytes
	last *node // the chunk added last, or nil
}

// node is a chunk with those added before it. It never changes: decoders with a common past share its nodes.
type node struct {
	before *node
	count  uint8 // of the chunks up to here
	number uint16
	chunk  [ChunkSize]byte
}

// NewDecoder returns a decoder without chunks for a stream of size bytes, 96 to 1152 in whole chunks. It panics for any other size.
func NewDecoder(size int) Decoder {
	if !validSize(size) {
		panic("erasure: a stream is 3 to 36 chunks of 32 bytes")
	}
	return Decoder{size: size}
}

// Add returns a decoder that also has this chunk. A number that is there already is left out, whatever its bytes, and so is everything
// once there are enough chunks.
func (d Decoder) Add(number uint16, chunk *[ChunkSize]byte) Decoder {
	if d.count() >= d.size/ChunkSize || d.has(number) {
		return d
	}
	return d.with(&node{number: number, chunk: *chunk})
}

func (d Decoder) with(n *node) Decoder {
	n.before, n.count = d.last, uint8(d.count()+1)
	return Decoder{size: d.size, last: n}
}

func (d Decoder) has(number uint16) bool {
	for n := d.last; n != nil; n = n.before {
		if n.number == number {
			return true
		}
	}
	return false
}

func (d Decoder) count() int {
	if d.last == nil {
		return 0
	}
	return int(d.last.count)
}

// Complete reports whether there are enough chunks for the stream.
func (d Decoder) Complete() bool { return d.last != nil && d.count() == d.size/ChunkSize }

// Data returns the stream, in memory of its own. It panics if the decoder is not complete.
func (d Decoder) Data() []byte {
	if !d.Complete() {
		panic("erasure: not enough chunks for the stream")
	}
	data := make([]byte, d.size)
	var have [maxChunks]bool
	missing := d.count()
	for n := d.last; n != nil; n = n.before {
		if int(n.number) < d.count() {
			copy(data[int(n.number)*ChunkSize:], n.chunk[:])
			have[n.number] = true
			missing--
		}
	}
	if missing > 0 {
		d.fill(data, &have)
	}
	return data
}

// fill interpolates the stream's own chunks that did not arrive.
func (d Decoder) fill(data []byte, have *[maxChunks]bool) {
	var (
		numbers, weights [maxChunks]uint16
		chunks           [maxChunks * ChunkSize]byte
	)
	count := d.count()
	for n := d.last; n != nil; n = n.before {
		numbers[n.count-1] = n.number
		copy(chunks[int(n.count-1)*ChunkSize:], n.chunk[:])
	}
	t := shared()
	t.weigh(weights[:count], numbers[:count])
	for i := range count {
		if !have[i] {
			t.interpolate((*[ChunkSize]byte)(data[i*ChunkSize:]), uint16(i), numbers[:count], weights[:count], chunks[:d.size])
		}
	}
}
