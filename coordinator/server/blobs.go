package server

import (
	"context"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
)

func versionOf(v state.Version) BlobVersion {
	return BlobVersion{
		Counter: int64(v.Counter), Hash: v.Hash, Previous: v.Previous, Nonce: v.Nonce, BodyHash: v.BodyHash, Size: v.Size, Time: v.Time.UTC(),
	}
}

func versionsOf(list []state.Version) []BlobVersion {
	out := make([]BlobVersion, len(list))
	for i, v := range list {
		out[i] = versionOf(v)
	}
	return out
}

func blobOf(b state.Blob) Blob {
	return Blob{
		Name: b.Name, Newest: versionOf(b.Version), Earlier: versionsOf(b.Earlier), Kept: b.Kept, Change: int64(b.Change), Deleted: optional(b.Deleted()),
	}
}

// ReadBlobs returns blobs of one moment.
func (h *handlers) ReadBlobs(ctx context.Context, r ReadBlobsRequestObject) (ReadBlobsResponseObject, error) {
	q := state.Read{
		Names: deref(r.Body.Names), Prefix: deref(r.Body.Prefix), After: deref(r.Body.After), Bodies: deref(r.Body.Bodies), Limit: or(r.Body.Limit, state.MaxRead),
	}
	if q.Names != nil && q.Prefix != "" {
		return nil, apicheck.InvalidField("/prefix", "is one of names and prefix, and not both")
	}
	if r.Body.Since != nil {
		if q.After != "" {
			return nil, apicheck.InvalidField("/after", "is one of after and since, and not both")
		}
		since := uint64(*r.Body.Since)
		q.Since, q.Epoch = &since, deref(r.Body.Epoch)
	} else if r.Body.Epoch != nil {
		return nil, apicheck.InvalidField("/epoch", "goes with since")
	}
	p, err := h.state.Read(ctx, user(ctx), q)
	out := ReadBlobs200JSONResponse{
		Blobs: []Blob{}, More: p.More, Change: int64(p.Change), Floor: int64(p.Floor), Missed: p.Missed, Epoch: h.state.Epoch(),
	}
	for i := range p.Blobs {
		b := blobOf(p.Blobs[i].Blob)
		if q.Bodies && !p.Blobs[i].Deleted() {
			b.Body = &p.Blobs[i].Body
		}
		out.Blobs = append(out.Blobs, b)
	}
	return out, err
}

func swapsOf(list []Swap) []state.Swap {
	out := make([]state.Swap, len(list))
	for i, s := range list {
		out[i] = state.Swap{Name: s.Name, Counter: uint64(s.Counter), Body: s.Body, Keep: deref(s.Keep), Delete: deref(s.Delete)}
		copy(out[i].Previous[:], s.Previous)
		copy(out[i].Nonce[:], s.Nonce)
	}
	return out
}

// SwapBlobs changes blobs.
func (h *handlers) SwapBlobs(ctx context.Context, r SwapBlobsRequestObject) (SwapBlobsResponseObject, error) {
	made, err := h.state.Swap(ctx, user(ctx), swapsOf(r.Body.Swaps))
	return SwapBlobs200JSONResponse{Versions: versionsOf(made.Versions), Change: int64(made.Change)}, err
}

// GetBlob returns a version of a blob.
func (h *handlers) GetBlob(ctx context.Context, r GetBlobRequestObject) (GetBlobResponseObject, error) {
	b, err := h.state.Blob(ctx, user(ctx), r.Name, uint64(deref(r.Params.Counter)))
	return GetBlob200JSONResponse{Counter: int64(b.Counter), Hash: b.Hash, Previous: b.Previous, Nonce: b.Nonce, Body: b.Body}, err
}
