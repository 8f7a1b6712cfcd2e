package columnar

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"golang.org/x/sync/errgroup"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// Image is a version as plain Parquet files, for a reader that takes files: one for each part, of the columns whose keys are had. A file
// begins as nothing but its footer, which says of every chunk that it lies behind the end. Fill puts the chunks of some columns in, each
// where its sealed one lies in its object, and then the footer that says so. A reader that wants another chunk meets the end of the file.
type Image struct {
	dataset DatasetID
	plan    *readPlan
	parts   []*imagePart
	empty   []byte // the one file of a version without rows
	fetched atomic.Int64
}

type imagePart struct {
	*readPart
	size int64 // of the file

	mu     sync.Mutex
	places map[[2]int]pme.Place // by row group and leaf
}

// placeRoom is how many bytes the place of a chunk takes in a footer at most, beyond what it takes while the chunk is not there.
const placeRoom = 32

// NewImage fetches and opens the tails of all parts. A column is hidden if its key is not had for one of them. Failures are those of NewReader. Close it.
func NewImage(ctx context.Context, store Store, m *Manifest, keys Keys) (*Image, error) {
	columns, err := Readable(ctx, store, m, keys)
	if err != nil {
		return nil, err
	}
	plan, err := newReadPlan(ctx, store, m, keys, ReadOptions{Columns: columns})
	if err != nil {
		return nil, err
	}
	i := &Image{dataset: m.Dataset, plan: plan}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(tailsAhead)
	for _, p := range plan.parts {
		part := &imagePart{readPart: p, places: map[[2]int]pme.Place{}}
		i.parts = append(i.parts, part)
		g.Go(func() error {
			if err := part.open(ctx, &i.fetched); err != nil {
				return err
			}
			part.size = int64(p.part.TailOffset)
			part.size += int64(len(part.footer()) + placeRoom*p.part.chunkCount())
			return nil
		})
	}
	err = g.Wait()
	if err == nil && len(i.parts) == 0 {
		i.empty, err = emptyFile(plan.schema)
	}
	if err != nil {
		plan.wipe()
		return nil, err
	}
	return i, nil
}

// emptyFile returns a Parquet file of these columns and no rows.
func emptyFile(schema *arrow.Schema) ([]byte, error) {
	stored, err := storageSchema(schema)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(stored, &b, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// Dataset returns whose version it is.
func (i *Image) Dataset() DatasetID { return i.dataset }

// Schema returns the columns of the files. Their types are those of the dataset: what Parquet has not is in the files as docs/column.md says.
func (i *Image) Schema() *arrow.Schema { return i.plan.schema }

// Parts returns the number of files: at least one, and else none without rows.
func (i *Image) Parts() int { return max(1, len(i.parts)) }

// Size returns the length of a file in bytes, holes and all.
func (i *Image) Size(part int) int64 {
	if i.empty != nil {
		return int64(len(i.empty))
	}
	return i.parts[part].size
}

// Wanted is what is read of an Image: columns, by their places in Schema, of the row groups that may have rows for which a condition is true.
type Wanted struct {
	Columns []int
	Rows    Condition
}

// Weigh returns how many bytes Fill would fetch for it, and write at most.
func (i *Image) Weigh(w Wanted) int64 {
	n := int64(0)
	for _, p := range i.parts {
		sub := p.only(w.Columns)
		for rg := range p.file.NumRowGroups() {
			for _, s := range p.chunks(sub, rg, w.Rows).spans {
				n += s.length
			}
		}
	}
	return n
}

// Footers writes the footers of all files as long as no chunk is there.
func (i *Image) Footers(file func(part int) io.WriterAt) error {
	if i.empty != nil {
		_, err := file(0).WriteAt(i.empty, 0)
		return err
	}
	for n, p := range i.parts {
		if err := p.finish(file(n)); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Close wipes the keys.
func (i *Image) Close() { i.plan.wipe() }

// only returns the part as it is read when just these columns of the image are wanted.
func (p *imagePart) only(columns []int) *readPart {
	plan, part := *p.plan, *p.readPart
	plan.columns = nil
	for _, c := range columns {
		plan.columns = append(plan.columns, p.plan.columns[c])
	}
	part.plan = &plan
	return &part
}

// footer returns the end of the file as it is now.
func (p *imagePart) footer() []byte {
	columns := slices.Sorted(slices.Values(p.plan.columns))
	return p.file.FooterInPlace(columns, p.size, func(rowGroup, leaf int) (pme.Place, bool) {
		place, ok := p.places[[2]int{rowGroup, leaf}]
		return place, ok
	})
}

// finish writes magic and footer.
func (p *imagePart) finish(out io.WriterAt) error {
	footer := p.footer()
	at := p.size - int64(len(footer))
	if at < int64(p.part.TailOffset) {
		return fault.New(fault.Internal, "a footer that outgrew its room")
	}
	if _, err := out.WriteAt([]byte("PAR1"), 0); err != nil {
		return err
	}
	_, err := out.WriteAt(footer, at)
	return err
}
