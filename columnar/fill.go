package columnar

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"coldframe/internal/fault"
)

// Fill fetches the chunks of the columns, by their places in Schema, compares each with the manifest, unseals it and writes it to its file,
// and then writes the footers. Failures are those of a Reader.
func (i *Image) Fill(ctx context.Context, columns []int, file func(part int) io.WriterAt) error {
	f := filling{ahead: semaphore.NewWeighted(fetchAhead), fetched: &i.fetched}
	f.group, f.ctx = errgroup.WithContext(ctx)
	f.group.SetLimit(fetchParallel + runtime.GOMAXPROCS(0))
	for n, p := range i.parts {
		sub := p.only(columns)
		for rg := range p.file.NumRowGroups() {
			if err := f.rowGroup(p, sub, rg, file(n)); err != nil {
				return firstError(f.group.Wait(), err)
			}
		}
	}
	if err := f.group.Wait(); err != nil {
		return err
	}
	return i.Footers(file)
}

// filling is a Fill in work.
type filling struct {
	ctx     context.Context
	group   *errgroup.Group
	ahead   *semaphore.Weighted // of sealed bytes
	buffers sync.Pool           // of *[]byte: memory that was touched once costs less than what is read into it, fresh memory more
	fetched *atomic.Int64
}

// rowGroup starts to bring the chunks of one row group, request by request, once there is room for them.
func (f *filling) rowGroup(p *imagePart, sub *readPart, rowGroup int, out io.WriterAt) error {
	if weight := sub.weigh(rowGroup); weight > maxSealed {
		return fault.New(fault.TooLarge, "a row group of %d bytes, %d allowed", weight, maxSealed)
	}
	spans, leaves := sub.spans(rowGroup)
	for _, r := range plan(spans) {
		weight := min(r.length, fetchAhead)
		if err := f.ahead.Acquire(f.ctx, weight); err != nil {
			return context.Cause(f.ctx)
		}
		f.group.Go(func() error {
			defer f.ahead.Release(weight)
			return f.request(p, rowGroup, r, spans, leaves, out)
		})
	}
	return nil
}

// request brings the chunks of one request.
func (f *filling) request(p *imagePart, rowGroup int, r request, spans []span, leaves []int, out io.WriterAt) error {
	buffer, ok := f.buffers.Get().(*[]byte)
	if !ok || int64(cap(*buffer)) < r.length {
		b := make([]byte, r.length+r.length/4)
		buffer = &b
	}
	defer f.buffers.Put(buffer)
	chunks, err := fetchInto(f.ctx, p.plan.store, r, spans, (*buffer)[:r.length], f.fetched)
	if err != nil {
		return err
	}
	for i, n := range r.spans {
		if err := p.write(rowGroup, leaves[n], chunks[i], spans[n].offset, out); err != nil {
			return err
		}
	}
	return nil
}

// write unseals a chunk in place and writes it to where its sealed one lies.
func (p *imagePart) write(rowGroup, leaf int, sealed []byte, at int64, out io.WriterAt) error {
	chunk, err := p.file.UnsealChunk(rowGroup, leaf, sealed)
	if err != nil {
		return err
	}
	defer clear(chunk.Bytes())
	if _, err = out.WriteAt(chunk.Bytes(), at); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[[2]int{rowGroup, leaf}] = chunk.Place()
	return nil
}
