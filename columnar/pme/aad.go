package pme

import "encoding/binary"

// moduleType is the kind of an encrypted module; it is part of the module's associated data.
type moduleType byte

// Module types of Parquet Modular Encryption. Bloom filters (8, 9) are neither written nor read here.
const (
	moduleFooter         moduleType = 0
	moduleColumnMetadata moduleType = 1
	moduleDataPage       moduleType = 2
	moduleDictPage       moduleType = 3
	moduleDataPageHeader moduleType = 4
	moduleDictPageHeader moduleType = 5
)

// maxOrdinal is the highest row group, column or page number: they are 16-bit in the associated data, and signed in other readers.
const maxOrdinal = 32767

// footerAAD is prefix ‖ file unique ‖ 0.
func footerAAD(prefix []byte) []byte {
	return append(append([]byte(nil), prefix...), byte(moduleFooter))
}

// pageAAD is the associated data of one column chunk's modules: prefix ‖ file unique ‖ type ‖ row group ‖ column ‖ page, where the
// last two bytes are there for data pages and their headers only. It is one buffer that the modules of a chunk share in turn.
type pageAAD struct {
	buf []byte
	n   int // length of prefix and file unique
}

func newPageAAD(prefix []byte, rowGroup, column int) pageAAD {
	b := make([]byte, len(prefix), len(prefix)+7)
	copy(b, prefix)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(rowGroup))
	b = binary.LittleEndian.AppendUint16(b, uint16(column))
	return pageAAD{buf: append(b, 0, 0), n: len(prefix)}
}

// module returns the associated data of a module without a page number, valid until the next call.
func (a *pageAAD) module(t moduleType) []byte {
	a.buf[a.n] = byte(t)
	return a.buf[:a.n+5]
}

// page returns the associated data of a data page or its header, valid until the next call.
func (a *pageAAD) page(t moduleType, page int) []byte {
	a.buf[a.n] = byte(t)
	binary.LittleEndian.PutUint16(a.buf[a.n+5:], uint16(page))
	return a.buf
}
