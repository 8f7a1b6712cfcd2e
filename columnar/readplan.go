package columnar

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// readPlan is what a Reader reads: the wanted columns of a version and the parts with their keys.
type readPlan struct {
	store   Store
	schema  *arrow.Schema // of the wanted columns
	columns []int         // their places in the version, as wanted, and those of columns that only filters need
	width   int           // columns of the version
	filters []filter
	asked   []int         // places in columns of what filters look at, rising
	stored  []arrow.Field // each as it is stored
	leaves  int           // of the version
	keys    map[Version]*VersionKeys
	parts   []*readPart
}

// readPart is a part to be read. file is there once ready is closed without err.
type readPart struct {
	plan    *readPlan
	dataset DatasetID
	part    Part
	keys    pme.Keys

	started bool // scheduler
	ready   chan struct{}
	err     error
	file    *pme.File
}

func newReadPlan(ctx context.Context, store Store, m *Manifest, keys Keys, o ReadOptions) (*readPlan, error) {
	if m.Contents == nil {
		panic("columnar: the manifest was not unsealed")
	}
	p := &readPlan{store: store, keys: map[Version]*VersionKeys{}}
	if err := p.chooseColumns(m, o.Columns); err != nil {
		return nil, err
	}
	if err := p.addFilters(m, o.Where); err != nil {
		return nil, err
	}
	parts, err := m.LoadParts(ctx, store)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		if part.Rows == 0 {
			continue
		}
		if err := p.addPart(ctx, m, part, keys); err != nil {
			p.wipe()
			return nil, err
		}
	}
	return p, nil
}

func (p *readPlan) addPart(ctx context.Context, m *Manifest, part Part, keys Keys) error {
	if p.keys[part.Version] == nil {
		k, err := keys.VersionKeys(ctx, m.Dataset, part.Version)
		if err != nil {
			return err
		}
		p.keys[part.Version] = k
	}
	r := &readPart{plan: p, dataset: m.Dataset, part: part, ready: make(chan struct{})}
	var err error
	if r.keys, err = p.keysFor(m, &part, p.keys[part.Version]); err != nil {
		return err
	}
	p.parts = append(p.parts, r)
	return nil
}

// wipe wipes the keys that were handed out for the plan. Nothing may use it any more.
func (p *readPlan) wipe() {
	for _, k := range p.keys {
		k.Wipe()
	}
}

// chooseColumns finds the wanted columns in the version.
func (p *readPlan) chooseColumns(m *Manifest, wanted []ColumnID) error {
	if wanted == nil {
		for _, c := range m.Columns {
			wanted = append(wanted, c.ID)
		}
	}
	if len(wanted) == 0 {
		return fault.New(fault.InvalidRequest, "no columns are asked for")
	}
	stored, err := storageSchema(m.Contents.Schema)
	if err != nil {
		return fault.Wrap(fault.NotAuthentic, err, "the version has a schema that is never written")
	}
	p.leaves = parquetSchema(stored).NumColumns()
	p.width = len(m.Columns)
	var fields []arrow.Field
	for _, id := range wanted {
		i := slices.IndexFunc(m.Columns, func(c ManifestColumn) bool { return c.ID == id })
		if i < 0 {
			return fault.New(fault.InvalidRequest, "the version has no column %s", id)
		}
		if slices.Contains(p.columns, i) {
			return fault.New(fault.InvalidRequest, "column %s is asked for twice", id)
		}
		fields = append(fields, m.Contents.Schema.Field(i))
		p.addColumn(i, stored.Field(i))
	}
	meta := m.Contents.Schema.Metadata()
	p.schema = arrow.NewSchema(fields, &meta)
	return nil
}

func (p *readPlan) addColumn(i int, stored arrow.Field) {
	p.columns = append(p.columns, i)
	p.stored = append(p.stored, stored)
}

// addFilters adds the columns that only filters look at behind those that are wanted.
func (p *readPlan) addFilters(m *Manifest, w Where) (err error) {
	if p.filters, err = w.bind(m.Contents.Schema); err != nil {
		return err
	}
	stored, err := storageSchema(m.Contents.Schema)
	if err != nil {
		return err
	}
	for _, f := range p.filters {
		if !slices.Contains(p.columns, f.column) {
			p.addColumn(f.column, stored.Field(f.column))
		}
		p.asked = append(p.asked, p.place(f.column))
	}
	slices.Sort(p.asked)
	p.asked = slices.Compact(p.asked)
	return nil
}

// Readable returns the columns of a version whose keys are had, for all of its parts; nil if all are. fault.Forbidden if none is.
func Readable(ctx context.Context, store Store, m *Manifest, keys Keys) ([]ColumnID, error) {
	parts, err := m.LoadParts(ctx, store)
	if err != nil {
		return nil, err
	}
	var out []ColumnID
	for _, c := range m.Columns {
		out = append(out, c.ID)
	}
	seen := map[Version]bool{}
	for _, p := range append([]Part{{Version: m.Version}}, parts...) {
		if seen[p.Version] {
			continue
		}
		seen[p.Version] = true
		k, err := keys.VersionKeys(ctx, m.Dataset, p.Version)
		if err != nil {
			return nil, err
		}
		out = slices.DeleteFunc(out, func(c ColumnID) bool { _, ok := k.Columns[c]; return !ok })
		k.Wipe()
	}
	switch len(out) {
	case len(m.Columns):
		return nil, nil
	case 0:
		return nil, fault.New(fault.Forbidden, "the keys of none of the columns are had")
	}
	return out, nil
}

// place returns where a column of the version stands in columns.
func (p *readPlan) place(column int) int { return slices.Index(p.columns, column) }

// keysFor compares the keys that are had with what the manifest commits to (D10, D12) and returns them for pme.
func (p *readPlan) keysFor(m *Manifest, part *Part, k *VersionKeys) (pme.Keys, error) {
	if !part.Footer.matches(k.Footer) {
		return pme.Keys{}, fault.New(fault.NotAuthentic, "the footer key is not the one that the manifest commits to")
	}
	columns := make(map[int]pme.NamedKey, len(p.columns))
	for _, i := range p.columns {
		key, ok := k.Columns[m.Columns[i].ID]
		if !ok {
			return pme.Keys{}, fault.New(fault.Forbidden, "the key of column %q is not had", m.Contents.Names[i])
		}
		if !part.Keys[i].matches(key) {
			return pme.Keys{}, fault.New(fault.NotAuthentic, "the key of column %q is not the one that the manifest commits to", m.Contents.Names[i])
		}
		columns[i] = pme.NamedKey{ID: key.ID, Key: key.Key}
	}
	return pme.Keys{
		Footer: pme.NamedKey{ID: k.Footer.ID, Key: k.Footer.Key},
		Column: func(l pme.Leaf) (pme.NamedKey, bool) { key, ok := columns[l.Column]; return key, ok },
	}, nil
}

// open fetches the tail, compares it with the manifest, and opens it.
func (p *readPart) open(ctx context.Context, fetched *atomic.Int64) error {
	s := span{
		name: p.part.Name, offset: int64(p.part.TailOffset), length: p.part.tailLength(), object: int64(p.part.Length), hash: p.part.TailHash,
	}
	r := request{name: s.name, object: s.object, offset: s.offset, length: s.length, spans: []int{0}}
	b, err := fetch(ctx, p.plan.store, r, []span{s}, fetched)
	if err != nil {
		return err
	}
	file, err := pme.OpenFooter(b[0], s.object, p.keys, pme.ReadOptions{AADPrefix: aadPrefix(p.dataset, p.part.Version, p.part.Name)})
	if err != nil {
		return err
	}
	if file.NumRowGroups() != int(p.part.RowGroups) || file.NumRows() != int64(p.part.Rows) || len(file.Leaves()) != p.plan.leaves ||
		len(file.Columns()) != p.plan.width || p.part.chunkCount() != file.NumRowGroups()*p.plan.leaves {
		return fault.New(fault.NotAuthentic, "a part whose counts are not those of the manifest")
	}
	p.file = file
	return nil
}

// possible reports whether a row group can hold rows that fulfil the filters, as far as its statistics tell.
func (p *readPart) possible(rowGroup int) bool {
	for _, f := range p.plan.filters {
		leaf, _ := p.file.LeavesOf(f.column)
		if !f.possible(p.file.Statistics(rowGroup, leaf), p.file.RowGroupRows(rowGroup)) {
			return false
		}
	}
	return true
}

// spans returns where the wanted chunks of a row group lie, in the order of the object, and the leaf of each.
func (p *readPart) spans(rowGroup int) (spans []span, leaves []int) {
	columns := slices.Clone(p.plan.columns)
	slices.Sort(columns)
	first := rowGroup * p.plan.leaves
	at := int64(firstChunk)
	for i := range first {
		n, _ := p.part.chunk(i)
		at += n
	}
	for leaf := range p.plan.leaves {
		n, hash := p.part.chunk(first + leaf)
		if _, ok := slices.BinarySearch(columns, p.file.Leaves()[leaf].Column); ok {
			spans = append(spans, span{name: p.part.Name, offset: at, length: n, object: int64(p.part.Length), hash: hash})
			leaves = append(leaves, leaf)
		}
		at += n
	}
	return spans, leaves
}

// weigh returns how many bytes the wanted chunks of a row group have.
func (p *readPart) weigh(rowGroup int) int64 {
	spans, _ := p.spans(rowGroup)
	var n int64
	for _, s := range spans {
		n += s.length
	}
	return n
}

// fetch fetches the wanted chunks of some row groups, which rise, each by leaf. All of them are those that the manifest names.
func (p *readPart) fetch(ctx context.Context, store Store, units []*unit, fetched *atomic.Int64) error {
	var spans []span
	var places []*[]byte // where each belongs
	for _, u := range units {
		u.sealed = make([][]byte, p.plan.leaves)
		more, leaves := p.spans(u.rowGroup)
		for i := range more {
			spans, places = append(spans, more[i]), append(places, &u.sealed[leaves[i]])
		}
	}
	requests := plan(spans)
	lent := lend(requests, len(units))
	for _, u := range units {
		u.lent = lent
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchParallel)
	for i, r := range requests {
		g.Go(func() error {
			chunks, err := fetchInto(ctx, store, r, spans, *lent.buffers[i], fetched)
			if err != nil {
				return err
			}
			for i, n := range r.spans {
				*places[n] = chunks[i]
			}
			return nil
		})
	}
	return g.Wait()
}
