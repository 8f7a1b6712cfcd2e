package columnartest

import (
	"bytes"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"

	"coldframe/columnar/pme"
)

// SealPlain seals a column of the first row group as it is in a plain Parquet file of its own, whatever its pages hold: what an insider
// can do who has another writer.
func SealPlain(w *pme.FileWriter, column int, plain []byte) (*pme.SealedColumn, error) {
	f, err := file.NewParquetReader(bytes.NewReader(plain))
	if err != nil {
		return nil, err
	}
	s, err := w.SealColumn(0, column, f.NumRows(), nil)
	if err != nil {
		return nil, err
	}
	for i := range f.MetaData().Schema.NumColumns() {
		if err := sealChunk(s, f, i); err != nil {
			return nil, err
		}
	}
	return s.Close(), nil
}

func sealChunk(s *pme.ColumnSealer, f *file.Reader, leaf int) error {
	meta, err := f.MetaData().RowGroup(0).ColumnChunk(leaf)
	if err != nil {
		return err
	}
	pages, err := f.RowGroup(0).GetColumnPageReader(leaf)
	if err != nil {
		return err
	}
	s.BeginChunk(int(meta.Compression()))
	codec, err := compress.GetCodec(meta.Compression())
	if err != nil {
		return err
	}
	for pages.Next() {
		p := pages.Page()
		_, dictionary := p.(*file.DictionaryPage)
		body := p.Data()
		if meta.Compression() != compress.Codecs.Uncompressed {
			body = codec.Encode(make([]byte, codec.CompressBound(int64(len(body)))), body)
		}
		err := s.Page(pme.Page{
			Dictionary: dictionary, Encoding: int64(p.Encoding()), Values: int(p.NumValues()), RawSize: len(p.Data()), Body: body,
		})
		if err != nil {
			return err
		}
	}
	if pages.Err() != nil {
		return pages.Err()
	}
	return s.EndChunk(pme.ChunkInfo{Physical: int(meta.Type()), Encodings: []int{0, 3}, Statistics: pme.Statistics{Nulls: -1, NaNs: -1}})
}
