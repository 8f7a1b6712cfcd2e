package format

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

const (
	maxFooter = 16 << 20
	maxParsed = 40 << 20 // that arrow-go makes of it
	maxPage   = 32 << 20 // of a page, compressed and not
	pageRead  = 64 << 10 // read ahead of a column

	maxFileInMemory = 4 << 20 // a longer file is spooled: the footer alone may be in memory twice
)

// parquetReader reads a Parquet file: stored first, for its footer is at the end, then row group by row group. arrow-go decodes it;
// the batches then pass through the Arrow reader, which checks them and makes them canonical.
type parquetReader struct {
	*arrowReader
	src *parquetSource
}

func newParquetReader(in *body, o ReadOptions) (Reader, error) {
	src := &parquetSource{ctx: in.ctx, file: store{dir: o.SpoolDir, limit: maxFileInMemory}, batch: o.BatchBytes}
	err := src.open(in, o)
	if err == nil {
		var r Reader
		if r, err = newArrowReader(&body{ctx: in.ctx, r: src}, o); err == nil {
			return &parquetReader{r.(*arrowReader), src}, nil
		}
	}
	if cerr := src.file.reset(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return nil, err
}

func (r *parquetReader) Close() error { return errors.Join(r.arrowReader.Close(), r.src.file.reset()) }

// parquetSource is a Parquet file as an Arrow stream, made while it is read.
type parquetSource struct {
	ctx   context.Context
	file  store
	batch int

	fr     *pqarrow.FileReader
	meta   *metadata.FileMetaData
	out    bytes.Buffer
	w      *ipc.Writer
	schema *arrow.Schema

	group   int // next row group
	columns []*pqarrow.ColumnReader
	left    int64 // rows of the current row group
	rows    int64 // to ask for
	most    int64 // rows of the current row group to ask for at once
	ended   bool
}

func badParquet(why string) error {
	return fault.New(fault.InvalidRequest, "not a Parquet file: %s", why)
}

// open stores the body, decrypts it if it is to be decrypted, and reads the footer.
func (s *parquetSource) open(in io.Reader, o ReadOptions) error {
	if _, err := io.Copy(&s.file, in); err != nil {
		return err
	}
	if err := s.file.finish(); err != nil {
		return err
	}
	if o.Decrypt != nil {
		plain, err := o.Decrypt.plain(s.ctx, &s.file, o.Schema)
		if err != nil {
			return err
		}
		if err := s.file.reset(); err != nil {
			return errors.Join(err, plain.reset())
		}
		s.file = *plain
	}
	if err := checkFooter(&s.file); err != nil {
		return err
	}
	return s.guard(func() error {
		props := parquet.NewReaderProperties(memory.DefaultAllocator)
		props.BufferedStreamEnabled, props.BufferSize = true, pageRead
		props.MaxCompressedPageSize, props.MaxUncompressedPageSize = maxPage, maxPage
		rd, err := file.NewParquetReader(io.NewSectionReader(&s.file, 0, s.file.size), file.WithReadProps(props))
		if err != nil {
			return err
		}
		s.meta = rd.MetaData()
		if err := s.check(); err != nil {
			return err
		}
		if s.fr, err = pqarrow.NewFileReader(rd, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator); err != nil {
			return err
		}
		if s.schema, err = s.fr.Schema(); err != nil {
			return err
		}
		s.w = ipc.NewWriter(&s.out, ipc.WithSchema(s.schema))
		if s.meta.NumRows == 0 {
			s.ended = true
			return s.w.Close()
		}
		return nil
	})
}

// checkFooter looks at the magics and walks through the footer.
func checkFooter(f *store) error {
	var head [4]byte
	var tail [8]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return badParquet("it is too short")
	}
	if _, err := f.ReadAt(tail[:], f.size-8); err != nil {
		return badParquet("it is too short")
	}
	switch {
	case string(head[:]) == "PARE" || string(tail[4:]) == "PARE":
		return fault.New(fault.InvalidRequest, "the Parquet file is encrypted: its keys are needed too")
	case string(head[:]) != "PAR1":
		return badParquet("it does not begin with PAR1")
	case string(tail[4:]) != "PAR1":
		return fault.New(fault.Incomplete, "the Parquet file does not end with its footer")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxFooter {
		return fault.New(fault.TooLarge, "the Parquet footer has %d bytes; at most %d are read", n, maxFooter)
	}
	if n > f.size-12 {
		return badParquet("the footer is longer than the file")
	}
	c := compact{b: make([]byte, n)}
	if _, err := f.ReadAt(c.b, f.size-8-n); err != nil {
		return err
	}
	encrypted := false
	var schema error
	c.fields(func(id int, kind byte) {
		encrypted = encrypted || id == 8 // EncryptionAlgorithm: plaintext footer, encrypted columns
		if id == 2 && kind == thriftList {
			schema = checkSchema(compact{b: c.b, i: c.i})
		}
		if c.value(kind, 0, false); schema != nil || c.cost > maxParsed {
			c.bad = true
		}
	})
	switch {
	case schema != nil:
		return schema
	case c.cost > maxParsed:
		return fault.New(fault.TooLarge, "the Parquet footer describes more columns and row groups than fit in %d MiB", maxParsed>>20)
	case c.bad:
		return badParquet("the footer is damaged")
	case encrypted:
		return fault.New(fault.InvalidRequest, "the Parquet file is encrypted: its keys are needed too")
	}
	return nil
}

// A field of a table takes up to two elements of the schema more than it does in Arrow, and as many levels: lists and maps.
const (
	maxElements      = 3 * maxColumns
	maxElementLevels = 3 * maxDepth
)

// checkSchema bounds the tree of SchemaElements: arrow-go takes about a kilobyte for each, and the stack for each level.
func checkSchema(c compact) error {
	head := c.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = c.varint()
	}
	if n > maxElements {
		return fault.New(fault.TooLarge, "a Parquet schema of %d elements; at most %d are read", n, maxElements)
	}
	var open []int64 // children that are still to come, level by level
	for ; n > 0 && !c.bad; n-- {
		children := int64(0)
		c.fields(func(id int, kind byte) {
			if id == 5 && kind == thriftI32 {
				children = c.zigzag()
				return
			}
			c.value(kind, 0, false)
		})
		if len(open) > 0 {
			open[len(open)-1]--
		}
		if open = append(open, children); len(open) > maxElementLevels {
			return fault.New(fault.TooLarge, "a Parquet schema of more than %d levels", maxElementLevels)
		}
		for len(open) > 0 && open[len(open)-1] <= 0 {
			open = open[:len(open)-1]
		}
	}
	return nil // what is damaged is found by who reads the whole
}

// check looks at what the footer says before arrow-go acts on it.
func (s *parquetSource) check() error {
	if s.meta.WriterVersion().LessThan(metadata.Parquet816FixedVersion) { // arrow-go then reads on behind a chunk's end
		return badParquet("parquet-mr before 1.2.9 wrote it, whose sizes are wrong")
	}
	if s.meta.Schema.NumColumns() > maxColumns {
		return fault.New(fault.TooLarge, "more than %d columns", maxColumns)
	}
	var rows int64
	for i := range s.meta.NumRowGroups() {
		g := s.meta.RowGroup(i)
		if g.NumRows() < 0 || g.NumColumns() != s.meta.Schema.NumColumns() {
			return badParquet("a row group is damaged")
		}
		rows += g.NumRows()
		for j := range g.NumColumns() {
			c, err := g.ColumnChunk(j)
			if err != nil {
				return err
			}
			if c.FilePath() != "" {
				return badParquet("it refers to another file")
			}
			start := c.DataPageOffset()
			if d := c.DictionaryPageOffset(); c.HasDictionaryPage() && d > 0 {
				start = min(start, d)
			}
			if n := c.TotalCompressedSize(); start < 4 || n < 0 || n > s.file.size || start > s.file.size-n || c.NumValues() < 0 {
				return badParquet("a column chunk lies outside of the file")
			}
		}
	}
	if rows != s.meta.NumRows {
		return badParquet("its row groups do not add up")
	}
	return checkOrigin(s.meta.KeyValueMetadata())
}

// checkOrigin puts the canonical form in the place of the Arrow schema in the footer: arrow-go decodes that without looking at its
// sizes, and cannot read durations.
func checkOrigin(kv metadata.KeyValueMetadata) error {
	v := kv.FindValue("ARROW:schema")
	if v == nil {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(*v)
	if err != nil {
		if b, err = base64.RawStdEncoding.DecodeString(*v); err != nil {
			return badParquet("its ARROW:schema is damaged")
		}
	}
	r, err := newArrowReader(&body{ctx: context.Background(), r: bytes.NewReader(b)}, ReadOptions{})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(r.Schema()))
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		return err
	}
	*v = base64.StdEncoding.EncodeToString(out.Bytes())
	return nil
}

// Read gives the stream.
func (s *parquetSource) Read(p []byte) (int, error) {
	for s.out.Len() == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if err := s.ctx.Err(); err != nil {
			return 0, fault.Wrap(fault.Incomplete, err, "the request ended before the body did")
		}
		if err := s.guard(s.more); err != nil {
			return 0, err
		}
	}
	return s.out.Read(p)
}

// guard makes faults of the errors and panics of arrow-go.
func (s *parquetSource) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.InvalidRequest, fmt.Errorf("panic: %v", p), "not a Parquet file that can be read: it is damaged")
		}
	}()
	err = f()
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if strings.Contains(err.Error(), "exceeds configured limit") { // the only mark that arrow-go gives its page limit
		return fault.Wrap(fault.TooLarge, err, "a page of the Parquet file is larger than %d bytes", maxPage)
	}
	return fault.Wrap(fault.InvalidRequest, err, "not a Parquet file that can be read: it is damaged or uses what is not supported")
}

// more writes the next batch, or the end, to the stream.
func (s *parquetSource) more() error {
	for s.left == 0 {
		if s.group == s.meta.NumRowGroups() {
			s.ended = true
			return s.w.Close()
		}
		if err := s.nextGroup(); err != nil {
			return err
		}
	}
	n := min(s.rows, s.left, s.most)
	arrays := make([]arrow.Array, len(s.columns))
	for i, c := range s.columns {
		a, err := nextRows(c, n)
		if err != nil {
			return err
		}
		defer a.Release()
		arrays[i] = a
	}
	b := array.NewRecordBatch(s.schema, arrays, n)
	defer b.Release()
	s.left -= n
	// The rows of the next batch follow from the size of this one.
	switch size := batchBytes(b); {
	case size > s.batch:
		s.rows = max(1, n*int64(s.batch)/int64(size))
	case size < s.batch/2:
		s.rows = min(4*s.rows, maxBatchRows)
	}
	return s.w.Write(b)
}

// nextGroup opens the next row group.
func (s *parquetSource) nextGroup() error {
	g := s.meta.RowGroup(s.group)
	var err error
	if s.most, err = safeRows(&s.file, s.fr.ParquetReader().RowGroup(s.group), 2*int64(s.batch)); err != nil {
		return err
	}
	leaves := make([]int, s.meta.Schema.NumColumns())
	for i := range leaves {
		leaves[i] = i
	}
	if s.columns, _, err = s.fr.GetFieldReaders(s.ctx, leaves, []int{s.group}); err != nil {
		return err
	}
	s.group++
	s.left = g.NumRows()
	if s.rows == 0 {
		s.rows = min(1024, max(1, int64(s.batch)/max(1, g.TotalByteSize()/max(1, s.left))))
	}
	return nil
}

// nextRows reads n rows of a column as one array.
func nextRows(c *pqarrow.ColumnReader, n int64) (arrow.Array, error) {
	chunked, err := c.NextBatch(n)
	if err != nil {
		return nil, err
	}
	defer chunked.Release()
	if int64(chunked.Len()) != n { // without this, a damaged column would only be shorter
		return nil, badParquet("a column has fewer rows than its row group")
	}
	if chunks := chunked.Chunks(); len(chunks) == 1 {
		chunks[0].Retain()
		return chunks[0], nil
	}
	return array.Concatenate(chunked.Chunks(), memory.DefaultAllocator)
}
