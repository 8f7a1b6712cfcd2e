package columnar

import (
	"crypto/sha256"
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
