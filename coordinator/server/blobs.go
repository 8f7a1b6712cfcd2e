package server

import (
	"context"
	"net/http"

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
	out := blobPage{epoch: h.state.Epoch(), bodies: q.Bodies}
	err := holding(ctx, func() (int64, error) { return h.state.ReadSize(ctx, user(ctx), q) }, func() (n int64, err error) {
		out.Page, err = h.state.Read(ctx, user(ctx), q)
		return out.Size(), err
	})
	return out, err
}

// blobPage is an answer to ReadBlobs.
type blobPage struct {
	state.Page
	epoch  string
	bodies bool
}

// VisitReadBlobsResponse implements ReadBlobsResponseObject.
func (p blobPage) VisitReadBlobsResponse(w http.ResponseWriter) error {
	head := BlobPage{Blobs: []Blob{}, More: p.More, Change: int64(p.Change), Floor: int64(p.Floor), Missed: p.Missed, Epoch: p.epoch}
	return send(w, func(s *sender) {
		s.list(head, len(p.Blobs), func(i int) {
			b := blobOf(p.Blobs[i].Blob)
			if !p.bodies || p.Blobs[i].Deleted() {
				s.plain(b)
				return
			}
			b.Body = &[]byte{}
			s.withBody(b, p.Blobs[i].Body)
		})
	})
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
	var b state.Body
	counter := uint64(deref(r.Params.Counter))
	err := holding(ctx, func() (int64, error) { return h.state.BlobSize(ctx, user(ctx), r.Name, counter) }, func() (n int64, err error) {
		b, err = h.state.Blob(ctx, user(ctx), r.Name, counter)
		return int64(len(b.Body)), err
	})
	return blobBody(b), err
}

// blobBody is an answer to GetBlob.
type blobBody state.Body

// VisitGetBlobResponse implements GetBlobResponseObject.
func (b blobBody) VisitGetBlobResponse(w http.ResponseWriter) error {
	head := BlobBody{Counter: int64(b.Counter), Hash: b.Hash, Previous: b.Previous, Nonce: b.Nonce, Body: []byte{}}
	return send(w, func(s *sender) { s.withBody(head, b.Body) })
}
