package format

import (
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

type csvReader struct {
	s        *csvScanner
	null     string
	schema   *arrow.Schema
	columns  []csvColumn
	build    *array.RecordBuilder
	batch    int   // raw bytes
	width    int   // raw bytes of a row, variable parts not counted
	sampled  int64 // rows that inference saw
	json     jsonDecoder
	inferred []bool // columns without a declared type
	ended    bool
}

// csvColumn appends one column's fields.
type csvColumn struct {
	b        array.Builder
	text     func([]byte) bool // plain types
	node     *node             // nested types: JSON text
	isString bool
	nullable bool
}

func newCSVReader(in *body, o ReadOptions) (Reader, error) {
	delim, quote, err := csvBytes(o.CSV)
	if err != nil {
		return nil, err
	}
	r := &csvReader{s: newCSVScanner(in, delim, quote), null: o.CSV.Null, batch: o.BatchBytes}
	if err := r.s.skipBOM(); err != nil {
		return nil, err
	}
	names, err := r.header(o)
	if err != nil {
		return nil, err
	}
	if r.schema, err = r.decide(names, o.Schema); err != nil {
		return nil, err
	}
	r.build = array.NewRecordBuilder(memory.DefaultAllocator, r.schema)
	for i, f := range r.schema.Fields() {
		r.width += rawWidth(f.Type)
		r.columns = append(r.columns, newCSVColumn(f, r.build.Field(i)))
	}
	return r, nil
}

func csvBytes(o CSVOptions) (delim, quote byte, err error) {
	delim, quote = o.Delimiter, o.Quote
	if delim == 0 {
		delim = ','
	}
	if quote == 0 {
		quote = '"'
	}
	bad := func(c byte) bool { return c == '\n' || c == '\r' || c >= 0x80 }
	if bad(delim) || bad(quote) || delim == quote {
		return 0, 0, fault.New(fault.InvalidRequest, "delimiter and quote must be two different ASCII characters, not line breaks")
	}
	return delim, quote, nil
}

// header returns the column names: from the first record, or for a body without a header from the schema, or column1, column2, ….
func (r *csvReader) header(o ReadOptions) ([]string, error) {
	if !o.CSV.NoHeader {
		err := r.s.record()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			return nil, fault.New(fault.InvalidRequest, "the body is empty: not even a header")
		} else if err != nil {
			return nil, err
		}
		names := make([]string, len(r.s.fields))
		for i, f := range r.s.fields {
			names[i] = string(f.text)
		}
		r.s.row = 0
		return names, nil
	}
	if o.Schema != nil {
		names := make([]string, o.Schema.NumFields())
		for i, f := range o.Schema.Fields() {
			names[i] = f.Name
		}
		return names, nil
	}
	names := []string{}
	err := r.sample(func() bool {
		for i := range r.s.fields {
			names = append(names, "column"+strconv.Itoa(i+1))
		}
		return false
	})
	if err == nil && len(names) == 0 {
		err = fault.New(fault.InvalidRequest, "the body is empty")
	}
	return names, err
}

// sample reads the whole records at the front of the body, about sampleBytes, until see returns false, and goes back.
func (r *csvReader) sample(see func() bool) error {
	for want := sampleBytes; ; want *= 2 {
		if err := r.s.fill(want); err != nil {
			return err
		}
		pos, row, next := r.s.pos, r.s.row, r.s.next
		n, more := 0, true
		for more && n < sampleRows {
			ok, err := r.s.parse()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			n++
			more = see()
		}
		r.s.pos, r.s.row, r.s.next = pos, row, next
		if n > 0 || r.s.eof {
			return nil
		}
		if want > maxRowBytes {
			return fault.New(fault.TooLarge, "row %d (line %d) is larger than %d bytes", row+1, next, maxRowBytes)
		}
	}
}

// decide returns the schema: the declared type of each column that declared names, an inferred one for the others.
func (r *csvReader) decide(names []string, declared *arrow.Schema) (*arrow.Schema, error) {
	fields := make([]arrow.Field, len(names))
	r.inferred = make([]bool, len(names))
	found := 0
	for i, name := range names {
		fields[i] = arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
		r.inferred[i] = true
		if declared != nil {
			if at := declared.FieldIndices(name); len(at) == 1 {
				fields[i], r.inferred[i] = declared.Field(at[0]), false
				found++
			}
		}
	}
	if _, err := Canonical(arrow.NewSchema(fields, nil)); err != nil {
		return nil, err
	}
	if declared != nil && found != declared.NumFields() {
		return nil, fault.New(fault.InvalidRequest, "the schema names a column that the header does not have; the header has %d columns", len(names))
	}
	guesses := make([]guess, len(names))
	err := r.sample(func() bool {
		if len(r.s.fields) != len(names) { // reading will refuse it, with its place
			return true
		}
		r.sampled++
		for i, f := range r.s.fields {
			if r.inferred[i] && !r.isNull(f, false) {
				guesses[i].add(f.text)
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	for i := range fields {
		if r.inferred[i] {
			fields[i].Type = guesses[i].result()
		}
	}
	return arrow.NewSchema(fields, nil), nil
}

// isNull reports whether a field is null: unquoted, and the null text or, but in a string column, empty.
func (r *csvReader) isNull(f csvField, isString bool) bool {
	return !f.quoted && (string(f.text) == r.null || len(f.text) == 0 && !isString)
}

func newCSVColumn(f arrow.Field, b array.Builder) csvColumn {
	c := csvColumn{b: b, nullable: f.Nullable}
	t := f.Type
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	c.isString = t.ID() == arrow.STRING || t.ID() == arrow.BINARY
	if arrow.IsNested(f.Type.ID()) {
		c.node = newNode(f, b)
	} else {
		c.text = textAppender(f.Type, b)
	}
	return c
}

func (r *csvReader) Schema() *arrow.Schema { return r.schema }

func (r *csvReader) Close() error {
	r.build.Release()
	return nil
}

func (r *csvReader) Next() (arrow.RecordBatch, error) {
	if r.ended {
		return nil, io.EOF
	}
	rows, size := 0, 0
	for rows < maxBatchRows && size < r.batch {
		err := r.s.record()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			r.ended = true
			break
		} else if err != nil {
			return nil, err
		}
		if r.blank() {
			continue
		}
		n, err := r.appendRow()
		if err != nil {
			return nil, err
		}
		rows++
		size += n
	}
	if rows == 0 {
		return nil, io.EOF
	}
	return r.build.NewRecordBatch(), nil
}

// blank reports whether the record is an empty line, which in a table of more than one column is no row.
func (r *csvReader) blank() bool {
	f := r.s.fields
	if len(f) != 1 || len(r.columns) == 1 || f[0].quoted || len(f[0].text) > 0 {
		return false
	}
	r.s.row--
	return true
}

// appendRow appends the record and returns about how many bytes it takes.
func (r *csvReader) appendRow() (int, error) {
	if len(r.s.fields) != len(r.columns) {
		return 0, fault.New(fault.InvalidRequest, "row %d (line %d) has %d fields where the table has %d columns", r.s.row, r.s.line, len(r.s.fields), len(r.columns))
	}
	size := r.width
	for i := range r.columns {
		c, f := &r.columns[i], r.s.fields[i]
		switch {
		case r.isNull(f, c.isString):
			if !c.nullable {
				return 0, r.misfit(i, "null in a column that is declared not null")
			}
			c.b.AppendNull()
		case c.node != nil:
			n, err := r.nested(i, f)
			if err != nil {
				return 0, err
			}
			size += n
		case !c.text(f.text):
			return 0, r.misfit(i, "not a value of type "+FormatType(r.schema.Field(i).Type))
		default:
			size += len(f.text)
		}
	}
	return size, nil
}

func (r *csvReader) nested(i int, f csvField) (int, error) {
	if !utf8.Valid(f.text) {
		return 0, r.misfit(i, "not UTF-8")
	}
	err := r.json.decode(r.columns[i].node, f.text)
	if err != nil {
		place := fmt.Sprintf("row %d (line %d), column %q", r.s.row, r.s.line, shorten(r.schema.Field(i).Name))
		return 0, rowError(err, place, r.json.where(), "")
	}
	return r.json.cost + len(f.text), nil
}

func (r *csvReader) misfit(i int, why string) error {
	hint := ""
	if r.inferred[i] && r.s.row > r.sampled {
		hint = fmt.Sprintf(" (the type was inferred from the first %d rows; the schema parameter sets another)", r.sampled)
	}
	return fault.New(fault.InvalidRequest, "row %d (line %d), column %q: %s%s", r.s.row, r.s.line, shorten(r.schema.Field(i).Name), why, hint)
}
