package parquetguard

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

var errShortPage = errors.New("parquet: a page is shorter than its levels")

// CheckDeltas decompresses the pages of a column chunk and looks into those in delta encodings. A page that declares more than any
// writer makes is fault.TooLarge. It returns the length of the longest DELTA_BYTE_ARRAY value, or 0.
func CheckDeltas(g *file.RowGroupReader, column int) (longest int64, err error) {
	pages, err := g.GetColumnPageReader(column)
	if err != nil {
		return 0, err
	}
	defer pages.Close() //nolint:errcheck // frees memory only
	leaf := g.MetaData().Schema.Column(column)
	for pages.Next() {
		n, err := checkPage(pages.Page(), leaf)
		if err != nil {
			return 0, err
		}
		longest = max(longest, n)
	}
	return longest, pages.Err()
}

func checkPage(p file.Page, leaf *schema.Column) (longest int64, err error) {
	e := parquet.Encoding(p.Encoding())
	if e != parquet.Encodings.DeltaBinaryPacked && e != parquet.Encodings.DeltaLengthByteArray && e != parquet.Encodings.DeltaByteArray {
		return 0, nil
	}
	values, err := valuesOf(p, leaf)
	if err != nil || len(values) == 0 {
		return 0, err // no values: all are null
	}
	if e == parquet.Encodings.DeltaByteArray {
		return longestString(values)
	}
	_, _, err = readDeltaHeader(values)
	return 0, err
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
