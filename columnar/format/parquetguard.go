package format

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
)

// arrow-go looks codecs up in a map without a lock, so the only safe moment to put one there is before anything runs.
func init() {
	inner, err := compress.GetCodec(compress.Codecs.Snappy)
	if err != nil {
		panic(err) // it is part of arrow-go
	}
	compress.RegisterCodec(compress.Codecs.Snappy, boundedSnappy{inner})
}

// boundedSnappy refuses a block that says it is longer than its page. arrow-go's own allocates what the block says, up to 4 GiB for
// five bytes. The other codecs stop at the length of the page by themselves (zstd: the one that package columnar puts in place).
type boundedSnappy struct{ compress.Codec }

func (c boundedSnappy) DecodeWithError(dst, src []byte) ([]byte, error) {
	if n, k := binary.Uvarint(src); k <= 0 || dst != nil && n > uint64(len(dst)) {
		return nil, fmt.Errorf("snappy: a block of %d bytes in a page of %d", n, len(dst))
	}
	return compress.Decode(c.Codec, dst, src)
}

// dictionaryRows returns how many rows of a row group take at most limit bytes, whichever values of their dictionaries they have: a
// long value in a dictionary costs the file a byte each time that it is repeated, and the reader all of it.
func dictionaryRows(g *file.RowGroupReader, limit int64) (int64, error) {
	rows := int64(maxBatchRows)
	for i := range g.NumColumns() {
		c, err := g.MetaData().ColumnChunk(i)
		if err != nil {
			return 0, err
		}
		if c.Type() != parquet.Types.ByteArray || g.NumRows() == 0 || !usesDictionary(c.Encodings()) {
			continue
		}
		longest, err := longestEntry(g, i)
		if err != nil {
			return 0, err
		}
		if perRow := longest * (1 + (c.NumValues()-1)/g.NumRows()); perRow > 0 {
			rows = min(rows, max(1, limit/perRow))
		}
	}
	return rows, nil
}

func usesDictionary(encodings []parquet.Encoding) bool {
	for _, e := range encodings {
		if e == parquet.Encodings.PlainDict || e == parquet.Encodings.RLEDict {
			return true
		}
	}
	return false
}

// longestEntry returns the length of the longest value in the dictionary of a column of byte arrays, 0 without one.
func longestEntry(g *file.RowGroupReader, column int) (int64, error) {
	pages, err := g.GetColumnPageReader(column)
	if err != nil {
		return 0, err
	}
	defer pages.Close() //nolint:errcheck // frees memory only
	if !pages.Next() {
		return 0, pages.Err()
	}
	if pages.Page().Type() != file.PageTypeDictionaryPage {
		return 0, nil
	}
	var longest int64
	for b := pages.Page().Data(); len(b) >= 4; {
		n := int64(binary.LittleEndian.Uint32(b))
		if n > int64(len(b)-4) {
			return 0, badParquet("a dictionary page is damaged")
		}
		longest = max(longest, n)
		b = b[4+n:]
	}
	return longest, nil
}
