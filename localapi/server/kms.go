package server

import (
	"context"
	"net/http"

	"coldframe/daemon"
)

// UnwrapKey hands a data key to another reader of modular encryption.
func (h *handlers) UnwrapKey(ctx context.Context, r UnwrapKeyRequestObject) (UnwrapKeyResponseObject, error) {
	key, err := h.agent.UnwrapKey(ctx, callOf(ctx).caller, daemon.UnwrapRequest{Dataset: r.Body.Dataset, KeyID: r.Body.KeyId, Wrapped: r.Body.WrappedKey})
	if err != nil {
		return nil, err
	}
	return keyAnswer{Key: key}, nil
}

// keyAnswer sends a key and wipes it.
type keyAnswer UnwrapKey200JSONResponse

func (a keyAnswer) VisitUnwrapKeyResponse(w http.ResponseWriter) error {
	defer clear(a.Key)
	return UnwrapKey200JSONResponse(a).VisitUnwrapKeyResponse(w)
}

// ListFiles tells where the encrypted parts of a version lie.
func (h *handlers) ListFiles(ctx context.Context, r ListFilesRequestObject) (ListFilesResponseObject, error) {
	version, err := number(r.Params.Version)
	if err != nil {
		return nil, err
	}
	f, err := h.agent.Files(ctx, callOf(ctx).caller, daemon.FilesRequest{Dataset: r.Id, Version: version})
	if err != nil {
		return nil, err
	}
	return ListFiles200JSONResponse{
		Dataset: f.Dataset, Version: int64(f.Version), Rows: f.Rows, Files: each(f.Files, fileOf),
		Columns: each(f.Columns, func(c daemon.FileColumn) FileColumn {
			return FileColumn{Id: c.ID, Name: c.Name, Type: c.Type, Readable: c.Readable}
		}),
	}, nil
}

func fileOf(f daemon.File) EncryptedFile {
	out := EncryptedFile{Name: f.Name, Rows: f.Rows, Bytes: f.Bytes}
	if f.URL == "" {
		out.Path = &f.Path
		return out
	}
	out.Url, out.Expires = &f.URL, &f.Expires
	return out
}
