package localapi

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"coldframe/internal/fault"
)

// MediaType returns the media type of a table format: csv, ndjson, arrow or parquet; empty if there is no such format.
func MediaType(name string) string {
	switch TableFormat(name) {
	case TableFormatCsv:
		return "text/csv"
	case TableFormatNdjson:
		return "application/x-ndjson"
	case TableFormatArrow:
		return "application/vnd.apache.arrow.stream"
	case TableFormatParquet:
		return "application/vnd.apache.parquet"
	}
	return ""
}

// PutOptions say how a table is written. Zero values are the agent's defaults.
type PutOptions struct {
	Append         bool   // add rows instead of replacing them
	Format         string // csv, ndjson, arrow or parquet
	AllowNewLayout bool
	Expect         *int64 // the version this write is based on
	Transfer       string // id in progress events
	IdempotencyKey string
	Schema         string
	Delimiter      string
	Quote          string
	NoHeader       bool
	Null           string
	Import         string           // id of PrepareImport: the body is encrypted Parquet
	Size           int64            // bytes of the body if known
	Progress       func(sent int64) // called from the goroutine that sends
}

// Put sends a table as the new version of a dataset and returns once it is durable. Memory does not grow with the body.
func (c *Client) Put(ctx context.Context, id string, body io.Reader, o PutOptions) (WriteResult, error) {
	mediaType := MediaType(o.Format)
	if mediaType == "" {
		return WriteResult{}, fault.New(fault.InvalidRequest, "format must be one of arrow, csv, ndjson, parquet")
	}
	var header *bool
	if o.NoHeader {
		header = new(bool)
	}
	p := ReplaceDataParams{
		AllowNewLayout: optional(o.AllowNewLayout), Expect: o.Expect, Transfer: optional(o.Transfer), IdempotencyKey: optional(o.IdempotencyKey),
		Schema: optional(o.Schema), Delimiter: optional(o.Delimiter), Quote: optional(o.Quote), Header: header, Null: optional(o.Null),
		Import: optional(o.Import),
	}
	body = &progressReader{r: body, report: o.Progress}
	edit := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Expect", "100-continue") // a refusal comes before the body
		if o.Size > 0 {
			r.ContentLength = o.Size
		}
		return nil
	}
	if o.Append {
		q := AppendDataParams(p)
		return answer[WriteResult](c.raw.AppendDataWithBody(ctx, id, &q, mediaType, body, edit))
	}
	return answer[WriteResult](c.raw.ReplaceDataWithBody(ctx, id, &p, mediaType, body, edit))
}

// progressReader tells how many bytes were read.
type progressReader struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.report != nil && n > 0 {
		p.report(p.n)
	}
	return n, err
}

// GetOptions say what is read. Zero values mean all columns and rows of the newest version, as CSV.
type GetOptions struct {
	Format  string
	Columns []string
	Where   string // comparisons joined by AND: city = 'Paris' AND temperature >= 20.5
	Version int64
	Limit   *int64
}

// Table is a table on its way. Read gives io.EOF only at its true end; a table that broke off ends in fault.Incomplete.
type Table struct {
	Version int64
	body    io.ReadCloser
}

// Get opens the rows of a dataset. The caller closes the table.
func (c *Client) Get(ctx context.Context, id string, o GetOptions) (*Table, error) {
	r, err := c.raw.ReadData(ctx, id, &ReadDataParams{
		Columns: optional(joinColumns(o.Columns)), Where: optional(o.Where), Version: optional(o.Version), Limit: o.Limit, Format: optional(ReadDataParamsFormat(o.Format)),
	})
	return openTable(r, err)
}

// Query runs one SELECT over the datasets that the token may read, named by title or id, and opens its result in a format: csv if it is
// empty, else one of those of Get. The statement ends with ctx, and when the table is closed.
func (c *Client) Query(ctx context.Context, sql, format string) (*Table, error) {
	return openTable(c.raw.Query(ctx, &QueryParams{Format: optional(QueryParamsFormat(format))}, QueryRequest{Sql: sql}))
}

func openTable(r *http.Response, err error) (*Table, error) {
	if err != nil {
		return nil, transportError(err)
	}
	if r.StatusCode != http.StatusOK {
		defer r.Body.Close()
		return nil, errorOf(r)
	}
	v, _ := strconv.ParseInt(r.Header.Get("Coldframe-Version"), 10, 64) //nolint:errcheck // 0: not told
	return &Table{Version: v, body: r.Body}, nil
}

func (t *Table) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fault.Wrap(fault.Incomplete, err, "the table broke off")
	}
	return n, err
}

// Close ends the transfer.
func (t *Table) Close() error { return t.body.Close() }

// joinColumns writes names as the columns parameter takes them: one line of CSV.
func joinColumns(names []string) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(names) //nolint:errcheck // a strings.Builder takes everything
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
