package columnar

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"coldframe/columnar/pme"
)

const (
	// footerBudget is the footer size from which on a part is ended; pme refuses one of more than 16 MiB. leafFooter is what a chunk
	// adds to it at most, names aside.
	footerBudget = 12 << 20
	leafFooter   = 1 << 10

	// maxRowGroups is the number of row groups in a file: Parquet's associated data counts them in 16 bits.
	maxRowGroups = 30_000

	// cleanupTime bounds the removal of what a failed writer has written.
	cleanupTime = 30 * time.Second
)

// pipeline turns row groups into parts: one goroutine encodes and seals a row group with a worker for each processor, another appends
// the one before to the upload.
type pipeline struct {
	store    Store
	options  WriterOptions
	template []byte
	encoders []*columnEncoder
	leaves   int
	footer   int // what a row group adds to the footer, at most

	opened   []*openPart // encoder
	parts    []Part      // uploader
	buffers  sync.Pool   // of sealed chunks
	progress progress
}

// progress sums what the uploads of all parts report.
type progress struct {
	mu         sync.Mutex
	in, before int64
	fn         func(in, stored int64)
}

func (p *progress) took(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in += n
}

func (p *progress) stored(inPart int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fn != nil {
		p.fn(p.in, p.before+inPart)
	}
}

func (p *progress) partDone(length int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before += length
	if p.fn != nil {
		p.fn(p.in, p.before)
	}
}

// openPart is a part being written. encoder and uploader share it; the fields say who uses them.
type openPart struct {
	file   *pme.FileWriter
	upload Upload
	part   Part // uploader

	groups int   // encoder: row groups sealed so far
	bytes  int64 // encoder: their size
}

// sealedGroup goes from encoder to uploader.
type sealedGroup struct {
	to      *openPart
	columns []*pme.SealedColumn // none: the part ends here
	rows    int64
	bytes   int64 // in memory
}

func newPipeline(store Store, o WriterOptions, stored *arrow.Schema, template []byte) *pipeline {
	p := &pipeline{store: store, options: o, template: template, progress: progress{fn: o.Progress}}
	for i, leaves := range leavesOf(stored) {
		p.encoders = append(p.encoders, newColumnEncoder(stored.Field(i), leaves))
		p.leaves += len(leaves)
		for _, l := range leaves {
			p.footer += leafFooter + 2*len(l.Path())
		}
	}
	return p
}

// run works until groups is closed, and makes a part without rows if none came. After an error nothing it made is left.
func (p *pipeline) run(parent context.Context, groups <-chan []arrow.RecordBatch) error {
	g, ctx := errgroup.WithContext(parent)
	sealed := make(chan sealedGroup)
	g.Go(func() error {
		defer close(sealed)
		return p.encode(ctx, groups, sealed)
	})
	g.Go(func() error { return p.upload(ctx, sealed) })
	err := g.Wait()
	if err == nil && parent.Err() != nil {
		err = context.Cause(parent)
	}
	if err != nil {
		p.clean(parent)
	}
	return err
}

// clean ends uploads and removes finished parts.
func (p *pipeline) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	for _, o := range p.opened {
		_ = o.upload.Abort() // what cannot be removed now was registered, and is swept
		_ = p.store.Delete(ctx, o.part.Name)
	}
}

// encode seals the row groups and passes them on.
func (p *pipeline) encode(ctx context.Context, groups <-chan []arrow.RecordBatch, sealed chan<- sealedGroup) error {
	send := func(s sealedGroup) error {
		select {
		case sealed <- s:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var to *openPart
	for {
		batches, err := receive(ctx, groups)
		if err != nil {
			return err
		}
		if to == nil && (batches != nil || len(p.opened) == 0) {
			if to, err = p.open(ctx); err != nil {
				releaseBatches(batches)
				return err
			}
		}
		if batches == nil {
			if to == nil {
				return nil
			}
			return send(sealedGroup{to: to})
		}
		s, err := p.seal(ctx, to, batches)
		releaseBatches(batches)
		if err != nil {
			return err
		}
		if err := send(s); err != nil {
			return err
		}
		if to.bytes >= p.options.PartBytes || (to.groups+1)*p.footer > footerBudget || to.groups >= maxRowGroups {
			if err := send(sealedGroup{to: to}); err != nil {
				return err
			}
			to = nil
		}
	}
}

// receive returns the next row group, or nil at the end.
func receive(ctx context.Context, groups <-chan []arrow.RecordBatch) ([]arrow.RecordBatch, error) {
	select {
	case batches, ok := <-groups:
		if !ok && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return batches, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// open begins a part under a name of its own.
func (p *pipeline) open(ctx context.Context) (*openPart, error) {
	o := &openPart{part: p.newPart(NewObjectName())}
	if err := p.options.Register(o.part.Name); err != nil {
		return nil, err
	}
	var err error
	o.upload, err = p.store.Create(ctx, o.part.Name, CreateOptions{SizeHint: p.sizeHint(), Progress: p.progress.stored})
	if err != nil {
		return nil, err
	}
	p.opened = append(p.opened, o)
	keys := p.options.Keys
	o.file, err = pme.NewFileWriter(o.upload, pme.FileConfig{
		Template:  p.template,
		AADPrefix: aadPrefix(p.options.Dataset, p.options.Version, o.part.Name),
		Footer:    pme.NamedKey{ID: keys.Footer.ID, Key: keys.Footer.Key},
		ColumnKey: func(l pme.Leaf) pme.NamedKey {
			k := keys.Columns[p.options.Columns[l.Column]]
			return pme.NamedKey{ID: k.ID, Key: k.Key}
		},
		CreatedBy: createdBy,
	})
	return o, err
}

func (p *pipeline) newPart(name ObjectName) Part {
	part := Part{Name: name, Version: p.options.Version, Footer: p.options.Keys.Footer.ref(), Chunks: []byte{}}
	for _, c := range p.options.Columns {
		part.Keys = append(part.Keys, p.options.Keys.Columns[c].ref())
	}
	return part
}

// sizeHint tells the store what to expect of a part, which only matters for how it cuts the upload: compression is left out.
func (p *pipeline) sizeHint() int64 {
	hint := p.options.PartBytes + p.options.RowGroupBytes
	if p.options.SizeHint > 0 {
		hint = min(hint, p.options.SizeHint)
	}
	return hint
}

// seal encodes and seals all columns of a row group, the largest first, so that no processor waits long for the last.
func (p *pipeline) seal(ctx context.Context, to *openPart, batches []arrow.RecordBatch) (sealedGroup, error) {
	s := sealedGroup{to: to, columns: make([]*pme.SealedColumn, len(p.encoders))}
	sizes := make([]int64, len(p.encoders))
	order := make([]int, len(p.encoders))
	for i := range order {
		order[i] = i
		for _, b := range batches {
			sizes[i] += rawSize(b.Column(i))
		}
		s.bytes += sizes[i]
	}
	for _, b := range batches {
		s.rows += b.NumRows()
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(max(min(sizes[b]-sizes[a], 1), -1)) })
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				c, err := p.sealColumn(to, order[i], s.rows, columnOf(batches, order[i]))
				if err != nil {
					return err
				}
				s.columns[order[i]] = c
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sealedGroup{}, err
	}
	to.groups++
	for _, c := range s.columns {
		to.bytes += int64(len(c.Data))
	}
	return s, nil
}

func (p *pipeline) sealColumn(to *openPart, column int, rows int64, chunks []arrow.Array) (*pme.SealedColumn, error) {
	var dst []byte
	if b, ok := p.buffers.Get().(*[]byte); ok {
		dst = *b
	}
	sealer, err := to.file.SealColumn(to.groups, column, rows, dst)
	if err != nil {
		return nil, err
	}
	if err := p.encoders[column].encode(sealer, chunks); err != nil {
		return nil, err
	}
	return sealer.Close(), nil
}

// upload appends row groups to their parts and ends those.
func (p *pipeline) upload(ctx context.Context, sealed <-chan sealedGroup) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s, ok := <-sealed:
			switch {
			case !ok:
				return nil
			case s.columns == nil:
				if err := p.finish(s.to); err != nil {
					return err
				}
			default:
				if err := p.append(s); err != nil {
					return err
				}
			}
		}
	}
}

func (p *pipeline) append(s sealedGroup) error {
	chunks, err := s.to.file.AppendRowGroup(s.columns)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		s.to.part.appendChunk(c.Length, c.SHA256)
	}
	s.to.part.RowGroups++
	s.to.part.Rows += uint64(s.rows)
	for _, c := range s.columns {
		p.buffers.Put(&c.Data)
	}
	p.progress.took(s.bytes)
	return nil
}

// finish writes the tail of a part and makes it durable.
func (p *pipeline) finish(o *openPart) error {
	tail, err := o.file.Close()
	if err != nil {
		return err
	}
	o.part.TailOffset, o.part.TailHash = uint64(tail.Offset), tail.SHA256
	o.part.Length = uint64(tail.Offset + tail.Length)
	o.part.Digest = o.part.digest()
	if err := o.upload.Close(); err != nil {
		return err
	}
	p.parts = append(p.parts, o.part)
	p.progress.partDone(int64(o.part.Length))
	return nil
}
