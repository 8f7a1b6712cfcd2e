package format

import (
	"encoding/binary"
	"io"

	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

const maxPageHeader = 1 << 20 // statistics in it are the only long thing

// safeRows returns how many rows of a row group take at most limit bytes, whichever values they have: a long value in a dictionary
// costs the file a byte each time that it is repeated, and the reader all of it; one coded by its difference from the one before, too.
func safeRows(f io.ReaderAt, g *file.RowGroupReader, limit int64) (int64, error) {
	rows := int64(maxBatchRows)
	for i := range g.NumColumns() {
		c, err := g.MetaData().ColumnChunk(i)
		if err != nil {
			return 0, err
		}
		encodings, err := pageEncodings(f, c)
		if err != nil {
			return 0, err
		}
		longest, err := longestValue(g, i, encodings)
		if err != nil {
			return 0, err
		}
		if g.NumRows() == 0 {
			continue
		}
		if perRow := longest * (1 + (c.NumValues()-1)/g.NumRows()); perRow > 0 {
			rows = min(rows, max(1, limit/perRow))
		}
	}
	return rows, nil
}

// longestValue returns the length of the longest byte array of a column chunk that may be repeated at no cost, 0 if there is none. It
// refuses pages that declare what no writer makes.
func longestValue(g *file.RowGroupReader, column int, e encodings) (longest int64, err error) {
	if e.has(parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray) {
		if longest, err = parquetguard.CheckDeltas(g, column); err != nil {
			return 0, err
		}
	}
	if !e.has(parquet.Encodings.PlainDict, parquet.Encodings.RLEDict) {
		return longest, nil
	}
	switch leaf := g.MetaData().Schema.Column(column); leaf.PhysicalType() {
	case parquet.Types.ByteArray:
		entry, err := longestEntry(g, column)
		return max(longest, entry), err
	case parquet.Types.FixedLenByteArray:
		return int64(leaf.TypeLength()), nil
	}
	return longest, nil
}

// encodings is a set of the encodings of data pages.
type encodings uint64

func (s encodings) has(list ...parquet.Encoding) bool {
	for _, e := range list {
		if s&(1<<e) != 0 {
			return true
		}
	}
	return false
}

// pageEncodings walks over the page headers of a column chunk: what they say counts for the decoder, not what the footer says of them.
func pageEncodings(f io.ReaderAt, c *metadata.ColumnChunkMetaData) (set encodings, err error) {
	at := c.DataPageOffset()
	if d := c.DictionaryPageOffset(); c.HasDictionaryPage() && d > 0 {
		at = min(at, d)
	}
	for end := at + c.TotalCompressedSize(); at < end; {
		h, err := readPageHeader(f, at, end)
		if err != nil {
			return 0, err
		}
		if h.data {
			set |= 1 << h.encoding
		}
		at += h.length + h.page
	}
	return set, nil
}

// pageHeader is what is needed of a PageHeader.
type pageHeader struct {
	length, page int64 // bytes of the header, and of the page as it lies in the file
	data         bool  // a data page
	encoding     int64
}

// readPageHeader reads the header at offset at of a chunk that goes to end.
func readPageHeader(f io.ReaderAt, at, end int64) (pageHeader, error) {
	for size := int64(256); ; size *= 16 {
		b := make([]byte, min(size, end-at))
		if _, err := f.ReadAt(b, at); err != nil {
			return pageHeader{}, err
		}
		c := compact{b: b}
		h := pageHeader{page: -1}
		c.fields(func(id int, kind byte) {
			switch {
			case id == 3 && kind == thriftI32:
				h.page = c.zigzag()
			case (id == 5 || id == 8) && kind == thriftStruct:
				h.data = true
				c.fields(func(inner int, kind byte) {
					if kind == thriftI32 && (id == 5 && inner == 2 || id == 8 && inner == 4) {
						h.encoding = c.zigzag()
						return
					}
					c.value(kind, 1, false)
				})
			default:
				c.value(kind, 0, false)
			}
		})
		h.length = int64(c.i)
		switch {
		case !c.bad && h.page >= 0 && h.page <= end-at-h.length && h.encoding >= 0 && h.encoding < 64:
			return h, nil
		case !c.bad, int64(len(b)) == end-at:
			return pageHeader{}, badParquet("a page header is damaged")
		case size >= maxPageHeader:
			return pageHeader{}, fault.New(fault.TooLarge, "a Parquet page header of more than %d bytes", maxPageHeader)
		}
	}
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
