package server

import (
	"context"

	"coldframe/columnar/format"
	"coldframe/daemon"
)

// PrepareImport takes the keys of an encrypted Parquet body that a write will bring.
func (h *handlers) PrepareImport(ctx context.Context, r PrepareImportRequestObject) (PrepareImportResponseObject, error) {
	req := daemon.ImportRequest{AADPrefix: deref(r.Body.AadPrefix), AllowCTR: deref(r.Body.AllowCtr), SkipHidden: deref(r.Body.SkipHidden)}
	if r.Body.KeyMaterial != nil {
		req.Material = *r.Body.KeyMaterial
	}
	for _, k := range r.Body.Keys {
		req.Keys = append(req.Keys, format.DecryptionKey{ID: k.Id, Key: k.Key})
	}
	id, until, err := h.agent.PrepareImport(ctx, callOf(ctx).caller, req)
	if err != nil {
		return nil, err
	}
	return PrepareImport201JSONResponse{Import: id, Expires: until}, nil
}
