package columnar

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// Fill fetches the chunks that are wanted, compares each with the manifest, unseals it and writes it to its file, and then writes the
// footers. In row groups without wanted rows something small stands in for the chunks: rows that are not in the table, as many, for none
// of which the condition is true either, and that agree with the statistics. Failures are those of a Reader.
func (i *Image) Fill(ctx context.Context, w Wanted, file func(part int) io.WriterAt) error {
	f := filling{ahead: semaphore.NewWeighted(fetchAhead), fetched: &i.fetched}
	f.group, f.ctx = errgroup.WithContext(ctx)
	f.group.SetLimit(fetchParallel + runtime.GOMAXPROCS(0))
	for n, p := range i.parts {
		sub := p.only(w.Columns)
		for rg := range p.file.NumRowGroups() {
			if err := f.rowGroup(p, p.chunks(sub, rg, w.Rows), rg, file(n)); err != nil {
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

// chunkSet is what is to be done for the wanted chunks of a row group.
type chunkSet struct {
	spans     []span // to be fetched, in the order of the object
	leaves    []int  // of each
	constants []constant
}

// constant is what stands in for a chunk.
type constant struct {
	leaf  int
	at    int64
	pages []byte
	place pme.Place
}

// chunks says which chunks of a row group are fetched, and what stands in for the others. A chunk without a stand-in is fetched.
func (p *imagePart) chunks(sub *readPart, rowGroup int, rows Condition) (c chunkSet) {
	spans, leaves := sub.spans(rowGroup)
	if !rows.excludes(p.readPart, rowGroup) {
		return chunkSet{spans: spans, leaves: leaves}
	}
	for n, s := range spans {
		if pages, place, ok := p.file.Constant(rowGroup, leaves[n], s.length); ok {
			c.constants = append(c.constants, constant{leaves[n], s.offset, pages, place})
			continue
		}
		c.spans, c.leaves = append(c.spans, s), append(c.leaves, leaves[n])
	}
	return c
}

// rowGroup starts to bring the chunks of one row group, request by request, once there is room for them.
func (f *filling) rowGroup(p *imagePart, c chunkSet, rowGroup int, out io.WriterAt) error {
	weight := int64(0)
	for _, s := range c.spans {
		weight += s.length
	}
	if weight > maxSealed {
		return fault.New(fault.TooLarge, "a row group of %d bytes, %d allowed", weight, maxSealed)
	}
	for _, k := range c.constants {
		if err := p.put(rowGroup, k.leaf, k.pages, k.place, k.at, out); err != nil {
			return err
		}
	}
	for _, r := range plan(c.spans) {
		weight := min(r.length, fetchAhead)
		if err := f.ahead.Acquire(f.ctx, weight); err != nil {
			return context.Cause(f.ctx)
		}
		f.group.Go(func() error {
			defer f.ahead.Release(weight)
			return f.request(p, rowGroup, r, c, out)
		})
	}
	return context.Cause(f.ctx)
}

// request brings the chunks of one request.
func (f *filling) request(p *imagePart, rowGroup int, r request, c chunkSet, out io.WriterAt) error {
	buffer, ok := f.buffers.Get().(*[]byte)
	if !ok || int64(cap(*buffer)) < r.length {
		b := make([]byte, r.length+r.length/4)
		buffer = &b
	}
	defer f.buffers.Put(buffer)
	chunks, err := fetchInto(f.ctx, p.plan.store, r, c.spans, (*buffer)[:r.length], f.fetched)
	if err != nil {
		return err
	}
	for i, n := range r.spans {
		if err := p.write(rowGroup, c.leaves[n], chunks[i], c.spans[n].offset, out); err != nil {
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
	return p.put(rowGroup, leaf, chunk.Bytes(), chunk.Place(), at, out)
}

// put writes plain pages to where the sealed chunk lies.
func (p *imagePart) put(rowGroup, leaf int, pages []byte, place pme.Place, at int64, out io.WriterAt) error {
	if _, err := out.WriteAt(pages, at); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[[2]int{rowGroup, leaf}] = place
	return nil
}
