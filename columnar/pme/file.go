package pme

import "coldframe/internal/fault"

// File is an opened footer. Its methods may be used by several goroutines at once.
type File struct {
	meta      *fileMeta
	crypto    fileCrypto
	aad       []byte
	footerKey *dataKey
	leaves    []openLeaf
	groups    []openGroup
	footerAt  int64
	options   ReadOptions
}

type openLeaf struct {
	key         *dataKey // nil: hidden, or in the clear
	keyMetadata []byte
	protection  protection
	hidden      bool
}

// protection is how a column is encrypted; zero is not known yet.
type protection byte

const (
	inTheClear protection = iota + 1
	underFooterKey
	underColumnKey
)

type openGroup struct {
	rows   int64
	chunks []openChunk
}

// openChunk is what is kept of a chunk's metadata; all zero if the column is hidden.
type openChunk struct {
	metadata       []byte
	offset, length int64
}

// Leaves returns the leaf columns of the file.
func (f *File) Leaves() []Leaf { return f.meta.schema.leaves }

// Columns returns the names of the top-level columns.
func (f *File) Columns() []string {
	names := make([]string, len(f.meta.schema.columns))
	for i, c := range f.meta.schema.columns {
		names[i] = f.meta.schema.elements[c.elements[0]].name
	}
	return names
}

// LeavesOf returns the leaves of a top-level column as a half-open range.
func (f *File) LeavesOf(columnIndex int) (first, end int) {
	c := f.meta.schema.columns[columnIndex]
	return c.leaves[0], c.leaves[1]
}

// NumRows returns the rows of the file.
func (f *File) NumRows() int64 { return f.meta.rows }

// NumRowGroups returns the row groups of the file.
func (f *File) NumRowGroups() int { return len(f.groups) }

// RowGroupRows returns the rows of a row group.
func (f *File) RowGroupRows(rowGroupOrdinal int) int64 { return f.groups[rowGroupOrdinal].rows }

// Hidden reports whether the key of a leaf is not had.
func (f *File) Hidden(leaf int) bool { return f.leaves[leaf].hidden }

// Range tells where the sealed chunk of a leaf lies in the file. A hidden one is fault.Forbidden.
func (f *File) Range(rowGroupOrdinal, leaf int) (offset, length int64, err error) {
	if f.leaves[leaf].hidden {
		return 0, 0, errHidden
	}
	c := f.groups[rowGroupOrdinal].chunks[leaf]
	return c.offset, c.length, nil
}

var errHidden = fault.New(fault.Forbidden, "a column whose key is not had")
