package server

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"coldframe/columnar/format"
	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

// ListDatasets lists what the token may read.
func (h *handlers) ListDatasets(ctx context.Context, r ListDatasetsRequestObject) (ListDatasetsResponseObject, error) {
	all, err := h.agent.Datasets(ctx, callOf(ctx).caller, deref(r.Params.Title))
	if err != nil {
		return nil, err
	}
	return ListDatasets200JSONResponse{Datasets: each(all, datasetOf)}, nil
}

// CreateDataset makes an empty dataset.
func (h *handlers) CreateDataset(ctx context.Context, r CreateDatasetRequestObject) (CreateDatasetResponseObject, error) {
	d, err := h.agent.CreateDataset(ctx, callOf(ctx).caller, daemon.CreateDatasetRequest{
		Title: r.Body.Title, IdempotencyKey: deref(r.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	return CreateDataset201JSONResponse(datasetOf(d)), nil
}

// GetDataset describes a dataset.
func (h *handlers) GetDataset(ctx context.Context, r GetDatasetRequestObject) (GetDatasetResponseObject, error) {
	d, err := h.agent.Dataset(ctx, callOf(ctx).caller, r.Id)
	if err != nil {
		return nil, err
	}
	return GetDataset200JSONResponse(datasetOf(d)), nil
}

// RenameDataset changes a title.
func (h *handlers) RenameDataset(ctx context.Context, r RenameDatasetRequestObject) (RenameDatasetResponseObject, error) {
	d, err := h.agent.RenameDataset(ctx, callOf(ctx).caller, r.Id, r.Body.Title, deref(r.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	return RenameDataset200JSONResponse(datasetOf(d)), nil
}

// DeleteDataset deletes a dataset.
func (h *handlers) DeleteDataset(ctx context.Context, r DeleteDatasetRequestObject) (DeleteDatasetResponseObject, error) {
	if err := h.agent.DeleteDataset(ctx, callOf(ctx).caller, r.Id); err != nil {
		return nil, err
	}
	return DeleteDataset204Response{}, nil
}

// ListVersions lists the versions, the newest first.
func (h *handlers) ListVersions(ctx context.Context, r ListVersionsRequestObject) (ListVersionsResponseObject, error) {
	all, err := h.agent.Versions(ctx, callOf(ctx).caller, r.Id)
	if err != nil {
		return nil, err
	}
	out := each(all, func(v daemon.Version) DatasetVersion {
		return DatasetVersion{
			Version: int64(v.Number), Rows: v.Rows, Bytes: v.Bytes, Parts: v.Parts, Created: v.Created, Author: v.Author, Hash: v.Hash,
		}
	})
	slices.SortStableFunc(out, func(a, b DatasetVersion) int { return int(b.Version - a.Version) })
	return ListVersions200JSONResponse{Versions: out}, nil
}

func datasetOf(d daemon.Dataset) Dataset {
	return Dataset{
		Id: d.ID, Title: d.Title, State: DatasetState(d.State), Version: int64(d.Version), Rows: d.Rows, Bytes: d.Bytes, Created: d.Created, Updated: d.Updated,
		Columns: each(d.Columns, func(c daemon.Column) Column { return Column{Id: c.ID, Name: c.Name, Type: c.Type} }),
		Members: each(d.Members, func(m daemon.Member) Member { return Member{UserId: m.User, Role: MemberRole(m.Role)} }),
	}
}

// ReplaceData makes a new version of the rows in the body.
func (h *handlers) ReplaceData(ctx context.Context, r ReplaceDataRequestObject) (ReplaceDataResponseObject, error) {
	res, err := h.write(ctx, r.Id, r.Params, r.ContentType, r.Body, false)
	if err != nil {
		return nil, err
	}
	return ReplaceData200JSONResponse(res), nil
}

// AppendData makes a new version with more rows.
func (h *handlers) AppendData(ctx context.Context, r AppendDataRequestObject) (AppendDataResponseObject, error) {
	res, err := h.write(ctx, r.Id, ReplaceDataParams(r.Params), r.ContentType, r.Body, true)
	if err != nil {
		return nil, err
	}
	return AppendData200JSONResponse(res), nil
}

func (h *handlers) write(ctx context.Context, id string, p ReplaceDataParams, mediaType string, body io.Reader, add bool) (WriteResult, error) {
	c := callOf(ctx)
	kind, err := format.FromMediaType(mediaType)
	if err != nil {
		return WriteResult{}, err
	}
	req := daemon.WriteRequest{
		Dataset: id, Append: add, AllowNewLayout: deref(p.AllowNewLayout), Format: kind, Transfer: deref(p.Transfer), Total: max(0, c.contentLength),
		IdempotencyKey: deref(p.IdempotencyKey), Import: deref(p.Import),
	}
	if p.Expect != nil {
		expect, err := number(p.Expect)
		if err != nil {
			return WriteResult{}, err
		}
		req.Expect = &expect
	}
	if req.Read, err = readOptions(kind, p); err != nil {
		return WriteResult{}, err
	}
	if b, ok := body.(interface{ Interrupt() }); ok {
		req.Interrupt = b.Interrupt
	}
	res, err := h.agent.WriteData(ctx, c.caller, req, body)
	if err != nil {
		return WriteResult{}, err
	}
	return WriteResult{
		Dataset: res.Dataset, Version: int64(res.Version), Rows: res.Rows, Written: res.Written, Bytes: res.Bytes, Transfer: res.Transfer, Replayed: res.Replayed,
	}, nil
}

// readOptions translates the parameters of a body; those of CSV are refused beside other types.
func readOptions(kind format.Kind, p ReplaceDataParams) (o format.ReadOptions, err error) {
	if kind != format.Parquet && p.Import != nil {
		return o, fault.New(fault.InvalidRequest, "import is for Parquet")
	}
	if kind != format.CSV && (p.Delimiter != nil || p.Quote != nil || p.Header != nil || p.Null != nil) {
		return o, fault.New(fault.InvalidRequest, "delimiter, quote, header and null are for CSV")
	}
	if p.Schema != nil {
		if o.Schema, err = format.ParseSchema(*p.Schema); err != nil {
			return o, err
		}
	}
	if o.CSV.Delimiter, err = oneByte("delimiter", p.Delimiter); err != nil {
		return o, err
	}
	if o.CSV.Quote, err = oneByte("quote", p.Quote); err != nil {
		return o, err
	}
	o.CSV.NoHeader = p.Header != nil && !*p.Header
	o.CSV.Null = deref(p.Null)
	return o, nil
}

// oneByte reads a parameter of one ASCII character; 0 if it is absent.
func oneByte(name string, s *string) (byte, error) {
	if s == nil {
		return 0, nil
	}
	if len(*s) != 1 || (*s)[0] >= 0x7f || (*s)[0] < ' ' && (*s)[0] != '\t' {
		return 0, apicheck.InvalidField(name, "must be one ASCII character")
	}
	return (*s)[0], nil
}

// ReadData opens a version; its rows follow once the answer has begun.
func (h *handlers) ReadData(ctx context.Context, r ReadDataRequestObject) (ReadDataResponseObject, error) {
	c := callOf(ctx)
	kind, err := chooseFormat(string(deref(r.Params.Format)), c.accept)
	if err != nil {
		return nil, err
	}
	columns, err := parseColumns(r.Params.Columns)
	if err != nil {
		return nil, err
	}
	version, err := number(r.Params.Version)
	if err != nil {
		return nil, err
	}
	s, err := h.agent.ReadData(ctx, c.caller, daemon.ReadRequest{
		Dataset: r.Id, Columns: columns, Where: deref(r.Params.Where), Version: version, Limit: r.Params.Limit,
	})
	if err != nil {
		return nil, err
	}
	return &tableAnswer{ctx: ctx, stream: s, kind: kind}, nil
}

// parseColumns reads one line of CSV; nil means all columns.
func parseColumns(s *string) ([]string, error) {
	if s == nil {
		return nil, nil
	}
	in := csv.NewReader(strings.NewReader(*s))
	names, err := in.Read()
	if err == nil {
		_, err = in.Read()
	}
	if !errors.Is(err, io.EOF) || slices.Contains(names, "") {
		return nil, apicheck.InvalidField("columns", "must be names separated by commas")
	}
	return names, nil
}

// tableAnswer sends a table.
type tableAnswer struct {
	ctx    context.Context //nolint:containedctx // the generated interface has no parameter for it
	stream *daemon.DataStream
	kind   format.Kind
}

// VisitReadDataResponse implements ReadDataResponseObject.
func (t *tableAnswer) VisitReadDataResponse(w http.ResponseWriter) error {
	defer t.stream.Close() //nolint:errcheck // frees; the error of WriteTo counts
	w.Header().Set("Coldframe-Version", strconv.FormatUint(t.stream.Version, 10))
	return streamed{t.kind.MediaType(), func(out io.Writer) error { return t.stream.WriteTo(t.ctx, out, t.kind) }}.send(w)
}
