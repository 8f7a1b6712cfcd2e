package format

import (
	"context"
	"errors"
	"io"
	"mime"
	"strings"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// Kind is one of the four table formats.
type Kind string

// The formats, by the short name that ?format= takes.
const (
	Arrow   Kind = "arrow"
	CSV     Kind = "csv"
	NDJSON  Kind = "ndjson"
	Parquet Kind = "parquet"
)

// Kinds lists the formats.
func Kinds() []Kind { return []Kind{Arrow, CSV, NDJSON, Parquet} }

// MediaType returns the media type of k, without parameters.
func (k Kind) MediaType() string {
	switch k {
	case Arrow:
		return "application/vnd.apache.arrow.stream"
	case CSV:
		return "text/csv"
	case NDJSON:
		return "application/x-ndjson"
	case Parquet:
		return "application/vnd.apache.parquet"
	}
	panic("format: unknown kind " + string(k))
}

// FromMediaType returns the format of a Content-Type. Its parameters are ignored, save a charset, which must be UTF-8.
// Error: fault.UnsupportedMediaType.
func FromMediaType(contentType string) (Kind, error) {
	t, params, err := mime.ParseMediaType(contentType)
	if err == nil {
		if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "us-ascii") {
			return "", fault.New(fault.UnsupportedMediaType, "the only charset is utf-8")
		}
		for _, k := range Kinds() {
			if t == k.MediaType() {
				return k, nil
			}
		}
	}
	return "", fault.New(fault.UnsupportedMediaType, "the body must be one of %s", mediaTypes())
}

func mediaTypes() string {
	names := make([]string, 0, 4)
	for _, k := range Kinds() {
		names = append(names, k.MediaType())
	}
	return strings.Join(names, ", ")
}

// FromName returns the format of a short name. Error: fault.InvalidRequest.
func FromName(name string) (Kind, error) {
	for _, k := range Kinds() {
		if name == string(k) {
			return k, nil
		}
	}
	return "", fault.New(fault.InvalidRequest, "format must be one of arrow, csv, ndjson, parquet")
}

// Reader hands out a table as record batches of its canonical schema.
type Reader interface {
	// Schema is the canonical schema of every batch.
	Schema() *arrow.Schema
	// Next returns the next batch, which the caller owns and releases. It returns io.EOF once the input has ended as its format says
	// that it ends; every other error is final.
	Next() (arrow.RecordBatch, error)
	// Close frees what the reader holds. It does not close the input.
	Close() error
}

// Writer writes a table. The first error sticks. Nothing written is a whole table before Close returned nil.
type Writer interface {
	// Write writes a batch of the writer's schema. It keeps no reference.
	Write(arrow.RecordBatch) error
	// Close writes the end of the table. It does not close the output.
	Close() error
}

// Limits of the formats, in bytes unless said otherwise.
const (
	DefaultBatchBytes = 8 << 20  // raw size of a batch
	maxBatchBytes     = 64 << 20 // no larger ReadOptions.BatchBytes than this
	maxBatchRows      = 64 << 10 // rows of a batch
	maxRowBytes       = 15 << 20 // one row of a text format, one value of the others
	maxColumns        = 10_000   // columns of a table, those inside structs, lists and maps included
	maxDepth          = 64       // levels of nesting
	maxNameBytes      = 1024     // one column name
	sampleBytes       = 2 << 20  // what type inference looks at
	sampleRows        = 64 << 10
)

// CSVOptions describes a CSV body.
type CSVOptions struct {
	Delimiter byte   // 0: comma
	Quote     byte   // 0: double quote
	NoHeader  bool   // the first line is data; columns are column1, column2, … or named by the schema
	Null      string // unquoted text that is null; the empty string by default
}

// ReadOptions says how to read a body.
type ReadOptions struct {
	// Schema overrides what would be inferred from CSV and NDJSON (columns that it does not name are inferred still), and must
	// agree with the schema of the other formats. Nil: none.
	Schema *arrow.Schema
	CSV    CSVOptions
	// Decrypt opens a Parquet body that another writer encrypted. Nil: an encrypted body is refused; with it, one that is not.
	Decrypt *Decryption
	// BatchBytes is the raw size that a batch is cut at; 0: DefaultBatchBytes.
	BatchBytes int
	// SpoolDir is where unlinked, sealed spool files are made; empty: os.TempDir.
	SpoolDir string
}

// NewReader returns a reader of a body of format k. It reads as much of r as it takes to know the schema.
func NewReader(ctx context.Context, k Kind, r io.Reader, o ReadOptions) (Reader, error) {
	if o.BatchBytes <= 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	o.BatchBytes = min(o.BatchBytes, maxBatchBytes)
	if o.Decrypt != nil && k != Parquet {
		return nil, fault.New(fault.InvalidRequest, "only Parquet is encrypted in a way that can be read here")
	}
	if o.Schema != nil {
		s, err := Canonical(o.Schema)
		if err != nil {
			return nil, err
		}
		o.Schema = s
	}
	in := &body{ctx: ctx, r: r}
	open := map[Kind]func(*body, ReadOptions) (Reader, error){Arrow: newArrowReader, CSV: newCSVReader, NDJSON: newNDJSONReader, Parquet: newParquetReader}[k]
	if open == nil {
		panic("format: unknown kind " + string(k))
	}
	rd, err := open(in, o)
	if err != nil {
		return nil, notEnd(err)
	}
	return &stickyReader{Reader: rd}, nil
}

// NewWriter returns a writer of format k. The schema must be canonical.
func NewWriter(k Kind, w io.Writer, schema *arrow.Schema) (Writer, error) {
	c, err := Canonical(schema)
	if err != nil {
		return nil, err
	}
	if !c.Equal(schema) {
		return nil, fault.New(fault.Internal, "format: writer was given a schema that is not canonical")
	}
	switch k {
	case Arrow:
		return newArrowWriter(w, c), nil
	case CSV:
		return newCSVWriter(w, c), nil
	case NDJSON:
		return newNDJSONWriter(w, c), nil
	case Parquet:
		return newParquetWriter(w, c)
	}
	panic("format: unknown kind " + string(k))
}

// stickyReader remembers the first error of Next, the end included.
type stickyReader struct {
	Reader
	err error
}

func (s *stickyReader) Next() (arrow.RecordBatch, error) {
	if s.err != nil {
		return nil, s.err
	}
	b, err := s.Reader.Next()
	s.err = notEnd(err)
	return b, s.err
}

// notEnd makes sure that a failure cannot be taken for the end: errors.Is finds no io.EOF in what it returns, unless err is io.EOF.
func notEnd(err error) error {
	if err == io.EOF || !errors.Is(err, io.EOF) { //nolint:errorlint // the difference is the point
		return err
	}
	out := &fault.Error{Code: fault.CodeOf(err), Err: errors.New(err.Error())}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		out.Detail = f.Detail
	}
	return out
}

// body is the input: it stops when the context ends, and what it fails with keeps its code or becomes fault.Incomplete.
type body struct {
	ctx context.Context
	r   io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, fault.Wrap(fault.Incomplete, err, "the request ended before the body did")
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		if _, ok := errors.AsType[*fault.Error](err); !ok {
			err = fault.Wrap(fault.Incomplete, err, "the body could not be read to its end")
		}
	}
	return n, err
}
