package columnar

// WriterBound and ReaderBound are the formulas of the package comment: the bytes that a Writer with row groups of that size, and a Reader, hold
// at most, whatever the table, besides what the store holds of an upload.
func WriterBound(rowGroup int64) int64 { return 6*rowGroup + writerFixed }

func ReaderBound() int64 {
	return fetchAhead + fetchAhead/wasteShare + 2*maxDecoded + tailBytes + readerFixed
}

// The codecs' windows and tables.
const (
	writerFixed = 24 << 20
	readerFixed = 8 << 20
)
