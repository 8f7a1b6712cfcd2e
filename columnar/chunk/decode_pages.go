package chunk

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/parquet/compress"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"
)

// encodingPlainDict is the number of what writers of before 2013 called the encoding of a dictionary and of its indices.
const encodingPlainDict = 2

// pageSum is what the headers of a leaf's pages say together.
type pageSum struct {
	entries int // of data pages
	raw     int // bytes of data pages, uncompressed
}

func sumPages(pages []byte) (s pageSum, err error) {
	for first := true; len(pages) > 0; first = false {
		var p pme.Page
		if p, pages, err = pme.NextPage(pages); err != nil {
			return s, err
		}
		if p.Dictionary {
			if !first {
				return s, damaged("a dictionary behind data")
			}
			continue
		}
		s.entries += p.Values
		s.raw += p.RawSize
		if s.entries > pme.MaxChunkValues || s.raw > pme.MaxChunkBytes {
			return s, fault.New(fault.TooLarge, "a column chunk of more than %d MiB, or %d values", pme.MaxChunkBytes>>20, pme.MaxChunkValues)
		}
	}
	return s, nil
}

// unpack returns the body of a page uncompressed.
func (d *decoder) unpack(p pme.Page, compressed bool) (body []byte, give func(), err error) {
	if !compressed {
		if len(p.Body) != p.RawSize {
			return nil, nil, damaged("a page of %d bytes where its header says %d", len(p.Body), p.RawSize)
		}
		return p.Body, func() {}, nil
	}
	body, give = d.room(&d.page, p.RawSize)
	if err := decompress(body, p.Body); err != nil {
		give()
		return nil, nil, err
	}
	return body, give, nil
}

// decompress fills dst.
func decompress(dst, src []byte) error {
	b, err := compress.Decode(parquetguard.Zstd, dst, src)
	if err != nil {
		return fault.Wrap(fault.NotAuthentic, err, "a page that is no zstd frame of the size in its header")
	}
	if len(b) != len(dst) {
		return damaged("a page of %d bytes where its header says %d", len(b), len(dst))
	}
	return nil
}

// cutLevels returns the runs of levels at the start of b, after their length in 4 bytes, and what lies behind them.
func cutLevels(b []byte) (runs, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errShort
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, errShort
	}
	return b[4 : 4+n], b[4+n:], nil
}

var errShort = damaged("a page is shorter than what it holds")

func levelWidth(highest uint8) int { return bits.Len8(highest) }
