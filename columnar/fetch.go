package columnar

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"coldframe/internal/fault"
)

// Bounds of what is asked of a store at once.
const (
	maxHole    = 1 << 20  // bytes between two wanted ranges that are fetched along
	maxRequest = 16 << 20 // bytes of one request

	// wasteShare is the share of the wanted bytes, as a divisor, that holes may take together.
	wasteShare = 25

	// refetches is how often bytes are asked for again that are not what the manifest says.
	refetches = 3
)

// refetchWait is the wait before the first of them; it doubles.
var refetchWait = 50 * time.Millisecond

// span is a range of an object whose bytes are known by their hash.
type span struct {
	name   ObjectName
	offset int64
	length int64
	object int64 // length of the whole object, 0 if not known
	hash   Hash
}

// request is one ranged GET that covers spans, in order, and the holes between them.
type request struct {
	name           ObjectName
	object         int64
	offset, length int64
	spans          []int // indexes into what was planned
}

// plan joins spans, which rise, into requests. Holes of up to maxHole are fetched along, the smallest first, while they stay within
// a wasteShare of the wanted bytes: a request costs more than the bytes of a small hole.
func plan(spans []span) []request {
	var wanted int64
	type hole struct {
		before int
		size   int64
	}
	var holes []hole
	for i, s := range spans {
		wanted += s.length
		if i == 0 || spans[i-1].name != s.name {
			continue
		}
		if size := s.offset - spans[i-1].offset - spans[i-1].length; size >= 0 && size <= maxHole {
			holes = append(holes, hole{i, size})
		}
	}
	slices.SortStableFunc(holes, func(a, b hole) int { return int(max(min(a.size-b.size, 1), -1)) })
	budget, joined := wanted/wasteShare, map[int]bool{}
	for _, h := range holes {
		if h.size > budget {
			break
		}
		budget -= h.size
		joined[h.before] = true
	}
	var out []request
	for i, s := range spans {
		if last := len(out) - 1; joined[i] && s.offset+s.length-out[last].offset <= maxRequest {
			out[last].length = s.offset + s.length - out[last].offset
			out[last].spans = append(out[last].spans, i)
			continue
		}
		out = append(out, request{name: s.name, object: s.object, offset: s.offset, length: s.length, spans: []int{i}})
	}
	return out
}

// fetch reads a request and returns the bytes of its spans, each of which has its hash. Bytes that have not are asked for again: by
// themselves, so that one bad span does not cost the others. fetched counts every byte asked for.
func fetch(ctx context.Context, store Store, r request, spans []span, fetched *atomic.Int64) ([][]byte, error) {
	return fetchInto(ctx, store, r, spans, make([]byte, r.length), fetched)
}

// fetchInto is fetch into whole, which is as long as the request; spans that had to be asked for again are not in it.
func fetchInto(ctx context.Context, store Store, r request, spans []span, whole []byte, fetched *atomic.Int64) ([][]byte, error) {
	out := make([][]byte, len(r.spans))
	err := readRange(ctx, store, r.name, r.offset, r.object, whole, fetched)
	if err != nil {
		if whole = nil; !errors.Is(err, fault.NotAuthentic) {
			return nil, err
		}
	}
	for i, n := range r.spans {
		s := spans[n]
		if whole != nil {
			b := whole[s.offset-r.offset:][:s.length:s.length]
			if sha256.Sum256(b) == s.hash {
				out[i] = b
				continue
			}
		}
		if out[i], err = refetch(ctx, store, s, fetched); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fetchVerified reads one span.
func fetchVerified(ctx context.Context, store Store, s span) ([]byte, error) {
	var fetched atomic.Int64
	out, err := fetch(ctx, store, request{name: s.name, object: s.object, offset: s.offset, length: s.length, spans: []int{0}}, []span{s}, &fetched)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// refetch asks again for a span whose bytes were wrong (D17): a store or a proxy may have been at fault for a moment.
func refetch(ctx context.Context, store Store, s span, fetched *atomic.Int64) ([]byte, error) {
	for try := range refetches {
		forget(store, s)
		if err := sleep(ctx, jitter(refetchWait<<try)); err != nil {
			return nil, err
		}
		b := make([]byte, s.length)
		err := readRange(ctx, store, s.name, s.offset, s.object, b, fetched)
		if err == nil && sha256.Sum256(b) == s.hash {
			return b, nil
		}
		if err != nil && !errors.Is(err, fault.NotAuthentic) {
			return nil, err
		}
	}
	forget(store, s)
	return nil, fault.New(fault.NotAuthentic, "the store keeps giving other bytes than those that were written")
}

// forget keeps a store that has copies from giving the same bytes again.
func forget(store Store, s span) {
	if f, ok := store.(Forgetter); ok {
		f.Forget(s.name, s.offset, s.length)
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) } //nolint:gosec // spreads retries, keeps no secret

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readRange fills b from off on, in pieces of at most maxRequest at once. An object that is not there, or is shorter, is
// fault.Incomplete: the manifest names it (R7). One of another length is fault.NotAuthentic.
func readRange(ctx context.Context, store Store, name ObjectName, off, object int64, b []byte, fetched *atomic.Int64) error {
	n := int64(len(b))
	fetched.Add(n)
	if n <= maxRequest {
		return readInto(ctx, store, name, off, object, b)
	}
	g, ctx := errgroup.WithContext(ctx)
	for at := int64(0); at < n; at += maxRequest {
		g.Go(func() error { return readInto(ctx, store, name, off+at, object, b[at:min(at+maxRequest, n)]) })
	}
	return g.Wait()
}

func readInto(ctx context.Context, store Store, name ObjectName, off, object int64, b []byte) error {
	r, err := store.ReadRange(ctx, name, off, int64(len(b)))
	if err != nil {
		return missing(err)
	}
	defer r.Close() //nolint:errcheck // only read from
	if size, ok := ObjectSize(r); ok && object > 0 && size != object {
		return fault.New(fault.NotAuthentic, "an object of %d bytes where the manifest says %d", size, object)
	}
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			return fault.New(fault.NotAuthentic, "a transfer that ended early")
		}
		return missing(err)
	}
	return nil
}

func missing(err error) error {
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Incomplete) {
		return fault.Wrap(fault.Incomplete, err, "an object of the version is missing or cut short")
	}
	return err
}
