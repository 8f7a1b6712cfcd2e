package columnar

import (
	"crypto/sha256"
	"slices"
	"time"
)

func init() { refetchWait = 100 * time.Microsecond } // tests meet many wrong bytes

// Resign makes p describe body as a part without row groups whose tail is all of it but the magic, with the rows that p had.
func Resign(p *Part, body []byte) {
	p.RowGroups, p.Chunks = 0, []byte{}
	p.Length, p.TailOffset = uint64(len(body)), firstChunk
	p.TailHash = sha256.Sum256(body[firstChunk:])
	p.Digest = p.digest()
}

// ChunkBytes returns the length of the chunks of some fields, in a table whose every field has one leaf, and that of the tails.
func ChunkBytes(m *Manifest, fields []int) (chunks, tails int64) {
	for _, p := range m.Parts {
		leaves := p.chunkCount() / int(p.RowGroups)
		for i := range p.chunkCount() {
			if n, _ := p.chunk(i); slices.Contains(fields, i%leaves) {
				chunks += n
			}
		}
		tails += p.tailLength()
	}
	return chunks, tails
}
