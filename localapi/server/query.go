package server

import (
	"context"
	"io"
	"net/http"

	"coldframe/daemon"
)

// Query runs a statement; its rows follow once the answer has begun.
func (h *handlers) Query(ctx context.Context, r QueryRequestObject) (QueryResponseObject, error) {
	c := callOf(ctx)
	kind, err := chooseFormat(string(deref(r.Params.Format)), c.accept)
	if err != nil {
		return nil, err
	}
	s, err := h.agent.Query(ctx, c.caller, daemon.QueryRequest{SQL: r.Body.Sql})
	if err != nil {
		return nil, err
	}
	return &tableAnswer{ctx: ctx, stream: s, kind: kind}, nil
}

// VisitQueryResponse implements QueryResponseObject.
func (t *tableAnswer) VisitQueryResponse(w http.ResponseWriter) error {
	defer t.stream.Close() //nolint:errcheck // frees; the error of WriteTo counts
	return streamed{t.kind.MediaType(), func(out io.Writer) error { return t.stream.WriteTo(t.ctx, out, t.kind) }}.send(w)
}
