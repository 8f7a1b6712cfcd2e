package pme

import "coldframe/internal/fault"

// Page types.
const (
	pageData   = 0
	pageDict   = 2
	pageDataV2 = 3
)

// Fields of PageHeader.
const (
	phType, phRaw, phSize, phCRC, phData, phDict, phDataV2 = 1, 2, 3, 4, 5, 7, 8
)

// phFiller is the number of a field that no version of Parquet defines: readers skip it. Unsealing stretches headers with it.
const phFiller = 1000

// pageHeader is what is needed of a PageHeader.
type pageHeader struct {
	kind    int64
	rawSize int64 // of the page, uncompressed
	size    int64 // of the page as it lies in the file: the module frame if it is encrypted
	values  int64 // nulls included
	levels  int64 // bytes of levels in a version 2 page
	detail  int64 // page type that the nested header stands for

	encoding int64 // of the values; PLAIN if not said

	otherLevels bool // in a version 1 page: some are not in the encoding RLE
}

// parsePageHeader reads the header at the start of b and returns how many bytes it takes. Nothing is allocated.
func parsePageHeader(b []byte) (pageHeader, int, error) {
	h := pageHeader{kind: -1, rawSize: -1, size: -1, values: -1, detail: -1}
	n, err := eachField(b, func(f field) (err error) {
		switch f.id {
		case phType:
			h.kind, err = f.integer(tI32)
		case phRaw:
			h.rawSize, err = f.integer(tI32)
		case phSize:
			h.size, err = f.integer(tI32)
		case phData:
			err = h.nested(f, pageData)
		case phDict:
			err = h.nested(f, pageDict)
		case phDataV2:
			err = h.nested(f, pageDataV2)
		}
		return err
	})
	if err == nil && (h.rawSize < 0 || h.size < 0 || h.values < 0 || h.levels < 0 || h.detail != h.kind) {
		err = errThrift("a page header that says nothing sensible")
	}
	return h, n, err
}

func (h *pageHeader) nested(f field, kind int64) error {
	b, err := f.nested()
	if err != nil {
		return err
	}
	h.detail = kind
	return fields(b, func(f field) error {
		switch {
		case f.id == 1:
			v, err := f.integer(tI32)
			h.values = v
			return err
		case kind == pageDataV2 && f.id == 4, kind != pageDataV2 && f.id == 2:
			v, err := f.integer(tI32)
			h.encoding = v
			return err
		case kind == pageData && (f.id == 3 || f.id == 4):
			v, err := f.integer(tI32)
			h.otherLevels = h.otherLevels || v != encodingRLE
			return err
		case kind == pageDataV2 && (f.id == 5 || f.id == 6):
			v, err := f.integer(tI32)
			if v < 0 {
				return errThrift("a page header with a negative size")
			}
			h.levels += v
			return err
		}
		return nil
	})
}

// What a column chunk may hold, on writing and on reading. A few sealed bytes can decode to very much; a decoder that reads a chunk at
// once is to be safe from that.
const (
	MaxChunkBytes  = 128 << 20 // pages, uncompressed
	MaxChunkValues = 1 << 24   // nulls included
)

// tally adds up the pages of a chunk.
type tally struct {
	values, rawSize int64
}

func (t *tally) add(h pageHeader) error {
	t.rawSize += h.rawSize
	if h.kind != pageDict {
		t.values += h.values
	}
	if t.rawSize > MaxChunkBytes {
		return fault.New(fault.TooLarge, "a column chunk of more than %d MiB", MaxChunkBytes>>20)
	}
	if t.values > MaxChunkValues {
		return fault.New(fault.TooLarge, "a column chunk of more than %d values", MaxChunkValues)
	}
	return nil
}

// Numbers of what the writer uses, from parquet.thrift.
const (
	encodingPlain, encodingPlainDict, encodingRLE, encodingDelta, encodingDeltaLength, encodingDict, encodingSplit = 0, 2, 3, 5, 6, 8, 9
)

// checkWritten refuses an encoding that is never written: those of strings by their difference from the one before grow without bound.
func (h *pageHeader) checkWritten() error {
	switch h.encoding {
	case encodingPlain, encodingPlainDict, encodingRLE, encodingDelta, encodingDeltaLength, encodingDict, encodingSplit:
		return nil
	}
	return fault.New(fault.Policy, "a page in encoding %d", h.encoding)
}

// check compares a page with the limits and with itself; size is that of its bytes in the clear.
func (h *pageHeader) check(size int, codec int64, maxPage int) error {
	switch {
	case h.rawSize > int64(maxPage) || size > maxPage:
		return fault.New(fault.TooLarge, "a page of %d bytes, %d allowed", max(h.rawSize, int64(size)), maxPage)
	case codec == CodecNone && h.rawSize != int64(size), h.levels > int64(size), h.levels > h.rawSize:
		return errThrift("a page header whose sizes do not agree")
	case h.kind == pageDict && h.values > h.rawSize:
		return fault.New(fault.TooLarge, "a dictionary of %d values in %d bytes", h.values, h.rawSize)
	}
	return nil
}

// resizePage encodes the page header in b anew, for a page of another size, without its checksum, and leaves the struct open.
func resizePage(e *encoder, b []byte, size int64) error {
	e.last = 0
	return fields(b, func(f field) error {
		switch f.id {
		case phSize:
			e.integer(phSize, tI32, size)
		case phCRC, phFiller:
		default:
			e.field(f)
		}
		return nil
	})
}

// fillHeader adds fields that readers skip until the open page header in e takes n bytes, its end included. There are always more than
// four bytes to fill, since a header loses no byte less than the frames around it take.
func fillHeader(e *encoder, n int) error {
	left := n - len(e.b) - 1
	if left < 4 {
		return errThrift("a page header leaves no room")
	}
	for ; left > 131; left -= 64 {
		e.header(phFiller, tBinary)
		e.b = append(append(e.b, 60), zeros[:60]...)
	}
	e.header(phFiller, tBinary)
	e.b = append(append(e.b, byte(left-4)), zeros[:left-4]...)
	e.end()
	return nil
}

var zeros [128]byte
