package format

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

const (
	maxMetadata  = 8 << 20  // one message without its body
	maxInMemory  = 16 << 20 // body of a message, decompressed, that is kept in memory
	maxMessage   = 64 << 30 // body of a message, decompressed
	maxDictBytes = 16 << 20 // all dictionaries
)

// arrowReader reads an Arrow IPC stream, or an IPC file. The
// messages are decoded here and not by arrow-go, so that every size is checked before memory is allocated, a message of any size is
// cut into batches, and all variants become their canonical type on the way.
type arrowReader struct {
	in     *bufio.Reader
	file   *ipcFile // nil: a stream
	wire   []*wireField
	schema *arrow.Schema
	dicts  map[int64]*dictionary
	codecs codecs
	batch  int

	body    store
	columns []*column // of the record batch in body
	rows    int64     // of it
	next    int64     // row to hand out next
}

func newArrowReader(in *body, o ReadOptions) (Reader, error) {
	r := &arrowReader{
		in: bufio.NewReaderSize(in, 256<<10), dicts: map[int64]*dictionary{}, batch: o.BatchBytes,
		body: store{dir: o.SpoolDir, limit: maxInMemory},
	}
	if err := r.open(o); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// open reads the schema.
func (r *arrowReader) open(o ReadOptions) error {
	table, err := r.start(o.SpoolDir)
	if err != nil {
		return err
	}
	if r.wire, err = readSchema(table); err != nil {
		return err
	}
	if r.schema, err = Canonical(arrow.NewSchema(plain(r.wire), nil)); err != nil {
		return err
	}
	if err := agree(r.schema, o.Schema); err != nil {
		return err
	}
	return r.declare(r.wire)
}

// start returns the Schema table: from the first message of a stream, from the footer of a file.
func (r *arrowReader) start(dir string) (fbTable, error) {
	head, err := r.in.Peek(8)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		return fbTable{}, err
	}
	switch {
	case bytes.HasPrefix(head, ipcMagic):
		f, table, err := openFile(r.in, dir)
		r.file = f
		return table, err
	case bytes.HasPrefix(head, []byte("PAR1")), bytes.HasPrefix(head, []byte("PARE")):
		return fbTable{}, badMessage("it is Parquet; send it as " + Parquet.MediaType())
	case bytes.HasPrefix(head, []byte("FEA1")):
		return fbTable{}, badMessage("it is Feather version 1; write version 2 or a stream")
	}
	return r.first()
}

// first reads the first message of a stream, which is its schema.
func (r *arrowReader) first() (fbTable, error) {
	m, err := r.message()
	switch {
	case err == io.EOF: //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		return fbTable{}, badMessage("it ends before the schema")
	case err != nil:
		return fbTable{}, err
	case m.kind != msgSchema || m.bodyLen != 0:
		return fbTable{}, badMessage("it does not begin with a schema")
	}
	return m.header, nil
}

// ReadSchema returns the schema at the beginning of an Arrow IPC stream, with its metadata and as it was sent. arrow-go believes every
// length it reads there and allocates by it; here each is held against the buffer first. Errors: fault.InvalidRequest, fault.TooLarge,
// fault.Incomplete.
func ReadSchema(b []byte) (*arrow.Schema, error) {
	r := &arrowReader{in: bufio.NewReader(bytes.NewReader(b))}
	table, err := r.first()
	if err != nil {
		return nil, err
	}
	wire, err := readSchema(table)
	if err != nil {
		return nil, err
	}
	meta := pairs(table.vector(2, 4))
	if table.f.bad {
		return nil, badMessage("the schema is damaged")
	}
	return arrow.NewSchema(plain(wire), &meta), nil
}

// plain returns the fields without what is on the wire only.
func plain(wire []*wireField) []arrow.Field {
	fields := make([]arrow.Field, len(wire))
	for i, w := range wire {
		fields[i] = w.Field
	}
	return fields
}

// agree fails unless declared is nil or the same schema.
func agree(have, declared *arrow.Schema) error {
	if declared == nil || have.Equal(declared) {
		return nil
	}
	for i, f := range declared.Fields() {
		if i >= have.NumFields() || !have.Field(i).Equal(f) {
			return fault.New(fault.InvalidRequest, "column %d of the body is not the %q of the schema", i+1, shorten(f.Name))
		}
	}
	return fault.New(fault.InvalidRequest, "the body has %d columns, the schema %d", have.NumFields(), declared.NumFields())
}

// declare makes an empty dictionary for each id in the schema.
func (r *arrowReader) declare(fields []*wireField) error {
	for _, w := range fields {
		if w.dict {
			d := r.dicts[w.dictID]
			if d == nil {
				c, err := Canonical(arrow.NewSchema([]arrow.Field{{Name: "value", Type: w.value.Type, Nullable: true}}, nil))
				if err != nil {
					return err
				}
				d = &dictionary{wire: w.value, dtype: c.Field(0).Type}
				r.dicts[w.dictID] = d
			} else if !arrow.TypeEqual(d.wire.Type, w.value.Type) {
				return badMessage("two columns share a dictionary and differ in type")
			}
			w = w.value
		}
		if err := r.declare(w.kids); err != nil {
			return err
		}
	}
	return nil
}

// ipcMessage is the metadata of one message; its body follows in the stream.
type ipcMessage struct {
	kind    int
	header  fbTable
	bodyLen int64
}

// message reads the metadata of the next message. It returns io.EOF at the end mark only.
func (r *arrowReader) message() (ipcMessage, error) {
	if r.file != nil {
		in, err := r.file.next()
		if err != nil {
			return ipcMessage{}, err
		}
		r.in.Reset(in)
	}
	var word [4]byte
	if err := r.full(word[:]); err != nil {
		return ipcMessage{}, err
	}
	n := binary.LittleEndian.Uint32(word[:])
	if n == 0xffffffff { // the continuation mark, since format version 0.15
		if err := r.full(word[:]); err != nil {
			return ipcMessage{}, err
		}
		n = binary.LittleEndian.Uint32(word[:])
	}
	switch {
	case n == 0:
		return ipcMessage{}, r.end()
	case n > maxMetadata:
		return ipcMessage{}, badMessage(fmt.Sprintf("a message with %d bytes of metadata", n))
	}
	f := &flat{b: make([]byte, n)}
	if err := r.full(f.b); err != nil {
		return ipcMessage{}, err
	}
	t := f.root()
	m := ipcMessage{kind: t.i8(1, 0), bodyLen: t.i64(3)}
	m.header, _ = t.table(2)
	if v := t.i16(0, 0); f.bad || m.bodyLen < 0 || v < 3 || v > 4 { // V4, V5
		return ipcMessage{}, badMessage("the metadata of a message is damaged or of an unknown version")
	}
	return m, nil
}

// full reads all of p; the end of the input is an error.
func (r *arrowReader) full(p []byte) error {
	_, err := io.ReadFull(r.in, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		return fault.New(fault.Incomplete, "the Arrow stream ends without its end mark")
	}
	return err
}

// end checks that nothing follows the end mark of a stream. It returns io.EOF if that is so.
func (r *arrowReader) end() error {
	_, err := r.in.ReadByte()
	if err == nil || r.file != nil {
		return badMessage("there is data after its end mark")
	}
	return err
}

func (r *arrowReader) Schema() *arrow.Schema { return r.schema }

func (r *arrowReader) Close() error {
	r.codecs.close()
	err := r.body.reset()
	if r.file != nil {
		err = errors.Join(err, r.file.reset())
	}
	return err
}

func (r *arrowReader) Next() (arrow.RecordBatch, error) {
	for r.next == r.rows {
		if err := r.advance(); err != nil {
			return nil, err
		}
	}
	n := min(r.rows-r.next, maxBatchRows, max(1, int64(r.batch)/max(1, r.body.size/r.rows)))
	for {
		b, err := r.cut(n)
		if errors.Is(err, errCut) {
			if n == 1 {
				return nil, fault.New(fault.TooLarge, "row %d of an Arrow batch is larger than %d bytes", r.next+1, cutBytes)
			}
			n /= 2
			continue
		}
		r.next += n
		return b, err
	}
}

// cut returns n rows from r.next on. It returns errCut if they are too large together.
func (r *arrowReader) cut(n int64) (arrow.RecordBatch, error) {
	l := &loader{body: &r.body, dicts: r.dicts, budget: cutBytes}
	arrays := make([]arrow.Array, len(r.columns))
	for i, c := range r.columns {
		data, err := l.load(c, r.schema.Field(i).Type, r.next, n)
		if err != nil {
			return nil, inColumn(err, r.schema.Field(i).Name)
		}
		if !r.schema.Field(i).Nullable && data.NullN() > 0 {
			return nil, fault.New(fault.InvalidRequest, "column %q is declared not null and has nulls", shorten(r.schema.Field(i).Name))
		}
		arrays[i] = array.MakeFromData(data)
	}
	return array.NewRecordBatch(r.schema, arrays, n), nil
}

// inColumn names the column in which data was wrong.
func inColumn(err error, name string) error {
	if w, ok := errors.AsType[wrongData](err); ok {
		return fault.New(fault.InvalidRequest, "column %q: %s", shorten(name), string(w))
	}
	return err
}

// advance reads messages up to the next record batch.
func (r *arrowReader) advance() error {
	m, err := r.message()
	if err != nil {
		return err
	}
	switch m.kind {
	case msgRecord:
		return r.record(m)
	case msgDictionary:
		return r.dictionary(m)
	case msgSchema:
		return badMessage("there is a second schema in it")
	}
	return badMessage("a message of a kind that does not belong there")
}

func (r *arrowReader) record(m ipcMessage) error {
	bufs, err := r.fetch(m, m.header)
	if err != nil {
		return err
	}
	p := parts{nodes: m.header.vector(1, 16), variadic: m.header.vector(4, 8), bufs: bufs}
	r.rows, r.next = m.header.i64(0), 0
	if r.columns, err = p.columns(r.wire, r.rows); err != nil {
		return err
	}
	if m.header.f.bad || !p.used() {
		return badMessage("a batch does not match the schema")
	}
	// Nulls and runs take no bytes, so a few bytes could stand for rows without end.
	if r.rows > 1<<20+8*r.body.size {
		return fault.New(fault.TooLarge, "an Arrow batch has %d rows in %d bytes; send smaller batches (max_chunksize)", r.rows, r.body.size)
	}
	return nil
}
