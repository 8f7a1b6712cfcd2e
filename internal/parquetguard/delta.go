package parquetguard

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"coldframe/internal/fault"
)

// maxBlock bounds the values of a DELTA_BINARY_PACKED block. Writers make them of 128 to 2048; the format knows no limit, and the
// decoder allocates, and fills, what the block says.
const maxBlock = 1 << 16

var errShortPage = errors.New("parquet: a page is shorter than its levels")

// CheckDeltas decompresses the pages of a column chunk and looks at those in DELTA_BINARY_PACKED: one that declares blocks larger than
// any writer makes is fault.TooLarge.
func CheckDeltas(g *file.RowGroupReader, column int) error {
	pages, err := g.GetColumnPageReader(column)
	if err != nil {
		return err
	}
	defer pages.Close() //nolint:errcheck // frees memory only
	leaf := g.MetaData().Schema.Column(column)
	for pages.Next() {
		p := pages.Page()
		if parquet.Encoding(p.Encoding()) != parquet.Encodings.DeltaBinaryPacked {
			continue
		}
		values, err := valuesOf(p, leaf)
		if err != nil {
			return err
		}
		if block, n := binary.Uvarint(values); n > 0 && block > maxBlock {
			return fault.New(fault.TooLarge, "a Parquet page of %d values a block, at most %d are read", block, maxBlock)
		}
	}
	return pages.Err()
}

// valuesOf returns the bytes of a data page behind its levels.
func valuesOf(p file.Page, leaf *schema.Column) ([]byte, error) {
	b := p.Data()
	switch p := p.(type) {
	case *file.DataPageV1:
		var err error
		if level := leaf.MaxRepetitionLevel(); level > 0 {
			b, err = skipLevels(b, p.RepetitionLevelEncoding(), level, p.NumValues())
		}
		if level := leaf.MaxDefinitionLevel(); level > 0 && err == nil {
			b, err = skipLevels(b, p.DefinitionLevelEncoding(), level, p.NumValues())
		}
		return b, err
	case *file.DataPageV2:
		n := int64(p.RepetitionLevelByteLen()) + int64(p.DefinitionLevelByteLen())
		if n < 0 || n > int64(len(b)) {
			return nil, errShortPage
		}
		return b[n:], nil
	}
	return nil, nil // a dictionary
}

// skipLevels returns what lies behind the levels at the start of b: length (4, little endian) ‖ runs, or bits without a length.
func skipLevels(b []byte, e parquet.Encoding, level int16, values int32) ([]byte, error) {
	n := (int64(values)*int64(bits.Len16(uint16(level))) + 7) / 8
	if e == parquet.Encodings.RLE {
		if len(b) < 4 {
			return nil, errShortPage
		}
		n = 4 + int64(binary.LittleEndian.Uint32(b))
	}
	if n < 0 || n > int64(len(b)) {
		return nil, errShortPage
	}
	return b[n:], nil
}
