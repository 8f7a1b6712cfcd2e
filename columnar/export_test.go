package columnar

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"coldframe/columnar/columnartest"
	"coldframe/columnar/pme"
)

func init() { refetchWait = 100 * time.Microsecond } // tests meet many wrong bytes

// SetFetchAhead changes the bound of what readers fetch ahead, and returns what sets it back.
func SetFetchAhead(n int64) (restore func()) {
	before := fetchAhead
	fetchAhead = n
	return func() { fetchAhead = before }
}

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

// ForgePart writes a part of one row group whose columns are plain Parquet files as they are given, whatever is in them: what an insider
// can do who has another writer.
func ForgePart(ctx context.Context, store Store, o WriterOptions, columns ...[]byte) (Part, error) {
	stored, err := storageSchema(o.Schema)
	if err != nil {
		return Part{}, err
	}
	footer, err := template(stored, o.Schema)
	if err != nil {
		return Part{}, err
	}
	p := newPipeline(store, o, stored, footer)
	to, err := p.open(ctx)
	if err != nil {
		return Part{}, err
	}
	var sealed []*pme.SealedColumn
	for i, plain := range columns {
		c, err := columnartest.SealPlain(to.file, i, plain)
		if err != nil {
			return Part{}, err
		}
		sealed = append(sealed, c)
	}
	if err := p.append(sealedGroup{to: to, columns: sealed, rows: sealed[0].Rows}); err != nil {
		return Part{}, err
	}
	if err := p.finish(to); err != nil {
		return Part{}, err
	}
	return p.parts[0], nil
}

// WhereText writes a condition in its only spelling.
func WhereText(w Where) string {
	names := map[op]string{opIsNull: "IS NULL", opIsNotNull: "IS NOT NULL"}
	for name, o := range operators {
		if name != "<>" {
			names[o] = name
		}
	}
	var terms []string
	for _, t := range w.terms {
		s := `"` + strings.ReplaceAll(t.column, `"`, `""`) + `" ` + names[t.op]
		if t.op != opIsNull && t.op != opIsNotNull {
			text := t.text
			if t.kind == tokenString {
				text = "'" + strings.ReplaceAll(text, "'", "''") + "'"
			}
			s += " " + text
		}
		terms = append(terms, s)
	}
	return strings.Join(terms, " AND ")
}

// NewMemStore returns a store in memory, for tests that write much.
func NewMemStore() Store { return newMemStore() }

// Range is a range of an object.
type Range struct {
	Name           ObjectName
	Offset, Length int64
}

// ChunkRanges returns where the chunks of some fields lie, in a table whose every field has one leaf.
func ChunkRanges(m *Manifest, fields []int) []Range {
	var out []Range
	for _, p := range m.Parts {
		leaves, at := p.chunkCount()/int(p.RowGroups), int64(firstChunk)
		for i := range p.chunkCount() {
			n, _ := p.chunk(i)
			if slices.Contains(fields, i%leaves) {
				out = append(out, Range{p.Name, at, n})
			}
			at += n
		}
	}
	return out
}
