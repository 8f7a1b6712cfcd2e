package columnar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// hostileWorld is a dataset of mixed columns in three parts of several row groups, in a store that does as it is told.
func hostileWorld(t *testing.T) (*world, *storetest.Hostile) {
	t.Helper()
	return hostileTable(t, 6000, 128<<10, 40<<10)
}

func hostileTable(t *testing.T, rows int, rowGroup, part int64) (*world, *storetest.Hostile) {
	t.Helper()
	store := storetest.NewHostile(folder(t), storetest.Hooks{})
	w := newWorld(t, store, columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = rowGroup, part }
	g := columnartest.NewMixed(7)
	w.mustPut(g.Batch(rows/2), g.Batch(rows/2))
	if len(w.head.Parts) < 3 {
		t.Fatalf("%d parts, want 3 or more", len(w.head.Parts))
	}
	return w, store
}

// refused reads every column, alone and together, and asks for the code, and for no row of what the store changed.
func refused(t *testing.T, w *world, codes ...fault.Code) {
	t.Helper()
	got, err := w.get(columnar.ReadOptions{})
	for _, c := range codes {
		if errors.Is(err, c) {
			return
		}
	}
	rows := int64(0)
	for _, b := range got {
		rows += b.NumRows()
	}
	t.Errorf("%d rows and error %v, want one of %v", rows, err, codes)
}

func TestD01_ObjectOfAnotherDataset(t *testing.T) {
	w, store := hostileWorld(t)
	other := newWorld(t, store, columnartest.MixedSchema)
	other.mustPut(columnartest.NewMixed(7).Batch(6000))
	foreign := other.head.Parts[0].Name
	store.Set(storetest.Hooks{Rename: func(n columnar.ObjectName) columnar.ObjectName {
		if n == w.head.Parts[0].Name {
			return foreign
		}
		return n
	}})
	refused(t, w, fault.NotAuthentic, fault.Incomplete)
}

// A member who may write signs a manifest over a part of another dataset: the part's own prefix gives it away.
func TestD01_PartSignedIntoAnotherDataset(t *testing.T) {
	a := newWorld(t, folder(t), columnartest.MixedSchema)
	a.mustPut(columnartest.NewMixed(1).Batch(100))
	b := newWorld(t, a.store, columnartest.MixedSchema)
	b.columns = a.columns
	b.publish(a.keys[1], a.head.Parts)
	refused(t, b, fault.NotAuthentic)
}

func TestD02_OlderObjectUnderTheCurrentName(t *testing.T) {
	w, store := hostileWorld(t)
	old := w.head.Parts
	w.mustPut(columnartest.NewMixed(8).Batch(6000))
	store.Set(storetest.Hooks{Rename: func(n columnar.ObjectName) columnar.ObjectName {
		if n == w.head.Parts[0].Name {
			return old[0].Name
		}
		return n
	}})
	refused(t, w, fault.NotAuthentic, fault.Incomplete, fault.RolledBack)
}

func TestD03_MissingPart(t *testing.T) {
	w, store := hostileWorld(t)
	last := len(w.head.Parts) - 1
	for _, i := range []int{0, last / 2, last} {
		gone := w.head.Parts[i].Name
		store.Set(storetest.Hooks{Content: func(n columnar.ObjectName, b []byte) []byte {
			if n == gone {
				return nil
			}
			return b
		}})
		refused(t, w, fault.Incomplete)
		r, err := columnar.NewReader(t.Context(), store, w.head, w, columnar.ReadOptions{})
		if i == 0 && err == nil {
			if b, err := r.Next(); err == nil {
				t.Errorf("%d rows before the error", b.NumRows())
			}
			r.Close()
		}
	}
}

func TestD04_PartTwiceOrSwapped(t *testing.T) {
	w, store := hostileWorld(t)
	a, b := w.head.Parts[0].Name, w.head.Parts[1].Name
	for name, rename := range map[string]map[columnar.ObjectName]columnar.ObjectName{
		"swapped": {a: b, b: a}, "twice": {b: a},
	} {
		store.Set(storetest.Hooks{Rename: func(n columnar.ObjectName) columnar.ObjectName {
			if to, ok := rename[n]; ok {
				return to
			}
			return n
		}})
		t.Run(name, func(t *testing.T) { refused(t, w, fault.NotAuthentic, fault.Incomplete) })
	}
	store.Set(storetest.Hooks{})
	_, _, err := columnar.Draft{
		Roster: w.roster, Head: w.head.Head(), Schema: w.schema, Columns: w.columns, Keys: w.keys[1], Metadata: w.metadata,
		Parts: []columnar.Part{w.head.Parts[0], w.head.Parts[0]},
	}.Sign(t.Context(), store, w.register, w.signer)
	if !errors.Is(err, fault.Incomplete) {
		t.Errorf("a manifest with a part twice: %v", err)
	}
}

func TestD05_ExtraObjects(t *testing.T) {
	w, _ := hostileWorld(t)
	for range 20 {
		if err := storetest.Put(t.Context(), w.store, columnar.NewObjectName(), []byte("junk")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.get(columnar.ReadOptions{})
	if err != nil || len(got) == 0 {
		t.Errorf("%d batches, %v", len(got), err)
	}
}

// TestD06_D09_ChunksMoved swaps chunks inside an object: row groups, and columns of one row group.
func TestD06_D09_ChunksMoved(t *testing.T) {
	w, store := hostileWorld(t)
	p := w.head.Parts[0]
	lengths := chunkLengths(p)
	leaves := len(lengths) / int(p.RowGroups)
	swap := func(b []byte, i, j int) []byte {
		at := func(n int) (from, to int) {
			from = 4
			for _, l := range lengths[:n] {
				from += l
			}
			return from, from + lengths[n]
		}
		i0, i1 := at(i)
		j0, j1 := at(j)
		out := append([]byte{}, b[:i0]...)
		out = append(out, b[j0:j1]...)
		out = append(out, b[i1:j0]...)
		out = append(out, b[i0:i1]...)
		return append(out, b[j1:]...)
	}
	for name, pair := range map[string][2]int{"columns": {0, 1}, "leaves of the row group": {2, 3}, "row groups": {1, len(lengths) - leaves + 1}} {
		if pair[1] >= len(lengths) || pair[0] == pair[1] {
			continue
		}
		store.Set(storetest.Hooks{Content: func(n columnar.ObjectName, b []byte) []byte {
			if n != p.Name {
				return b
			}
			return swap(b, pair[0], pair[1])
		}})
		t.Run(name, func(t *testing.T) { refused(t, w, fault.NotAuthentic) })
	}
}

func chunkLengths(p columnar.Part) []int {
	var out []int
	for c := p.Chunks; len(c) > 0; c = c[36:] {
		out = append(out, int(c[0])<<24|int(c[1])<<16|int(c[2])<<8|int(c[3]))
	}
	return out
}

// TestD07_PlaintextParquet signs a manifest over a plain file with the right names: what an insider with a faulty agent could do.
func TestD07_PlaintextParquet(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	rec := columnartest.NewMixed(1).Batch(500)
	w.mustPut(rec)
	var plain bytes.Buffer
	f, err := pqarrow.NewFileWriter(w.schema, &plain, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p := w.head.Parts[0]
	p.Name = columnar.NewObjectName()
	if err := storetest.Put(t.Context(), w.store, p.Name, plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	columnar.Resign(&p, plain.Bytes())
	w.publish(w.keys[1], []columnar.Part{p})
	w.keys[2] = w.keys[1]
	refused(t, w, fault.Policy)
}

// TestD08_D11_FlippedBits flips one bit at seeded positions all over the object and reads it by every route: all columns, each
// column alone, with a limit, and by the part. Where the route touches the bit there is an error; never a short success.
func TestD08_D11_FlippedBits(t *testing.T) {
	w, store := hostileTable(t, 120, 8<<10, 2<<10)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := w.head.Parts[1]
	used := 4
	for _, l := range chunkLengths(p) {
		used += l
	}
	noticed, tries := 0, 500
	if testing.Short() {
		tries = 50
	}
	for try := range tries {
		at, bit := r.IntN(int(p.Length)), byte(1)<<r.IntN(8)
		store.Set(storetest.Hooks{Content: func(n columnar.ObjectName, b []byte) []byte {
			if n != p.Name {
				return b
			}
			b = bytes.Clone(b)
			b[at] ^= bit
			return b
		}})
		unread := at < 4 || at >= used && at < int(p.TailOffset) // lead magic and filler hold nothing
		all := routes(w, r)
		if raceEnabled { // takes ten times as long: everything, and one of the others in turn
			all = []columnar.ReadOptions{all[0], all[1+try%4]}
		}
		for _, o := range all {
			rows, err := count(w, o)
			want := int64(w.head.Contents.Rows)
			if o.Limit > 0 {
				want = min(want, o.Limit)
			}
			switch {
			case err == nil && rows != want:
				t.Fatalf("byte %d: %d rows with success, want %d", at, rows, want)
			case err != nil && !errors.Is(err, fault.NotAuthentic):
				t.Fatalf("byte %d: %v", at, err)
			case err == nil && o.Columns == nil && o.Limit == 0 && !unread:
				t.Fatalf("byte %d of %d: not noticed", at, p.Length)
			case err != nil:
				noticed++
			}
		}
	}
	if noticed == 0 {
		t.Error("nothing was noticed")
	}
}

// routes are the ways to read: everything, one column, some in another order, the first rows, and those of a condition that all fulfil.
func routes(w *world, r *rand.Rand) []columnar.ReadOptions {
	return []columnar.ReadOptions{
		{},
		{Columns: []columnar.ColumnID{w.columns[r.IntN(len(w.columns))]}},
		{Columns: []columnar.ColumnID{w.columns[7], w.columns[2]}, Limit: 100},
		{Limit: 1},
		{Columns: w.columns[8:9], Where: where("price >= 0 AND id < 1000000")},
	}
}

// where reads a condition that has no errors.
func where(s string) columnar.Where {
	w, err := columnar.ParseWhere(s)
	if err != nil {
		panic(err)
	}
	return w
}

func count(w *world, o columnar.ReadOptions) (int64, error) {
	got, err := w.get(o)
	rows := int64(0)
	for _, b := range got {
		rows += b.NumRows()
	}
	return rows, err
}

// TestD09_D12_OtherKeys hands the reader keys of other columns and versions, under the ids that the manifest names.
func TestD09_D12_OtherKeys(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.mustPut(columnartest.NewMixed(1).Batch(100))
	good := w.keys[1]
	for name, edit := range map[string]func(k *columnar.VersionKeys){
		"another column's": func(k *columnar.VersionKeys) { k.Columns[w.columns[0]] = k.Columns[w.columns[1]] },
		"another key under the id": func(k *columnar.VersionKeys) {
			n := columnar.NewNamedKey()
			n.ID = k.Columns[w.columns[0]].ID
			k.Columns[w.columns[0]] = n
		},
		"another footer key under the id": func(k *columnar.VersionKeys) {
			n := columnar.NewNamedKey()
			n.ID = k.Footer.ID
			k.Footer = n
		},
	} {
		k := good.Clone()
		edit(k)
		w.keys[1] = k
		t.Run(name, func(t *testing.T) { refused(t, w, fault.NotAuthentic) })
	}
	k := good.Clone()
	delete(k.Columns, w.columns[0])
	w.keys[1] = k
	refused(t, w, fault.Forbidden)
	if rows, err := count(w, columnar.ReadOptions{Columns: w.columns[1:]}); err != nil || rows != 100 {
		t.Errorf("the other columns: %d rows, %v", rows, err)
	}
}

// TestD10_KeyIDInTheFileEdited changes a key id in the file and in the manifest that names it: the keys of the manifest decide.
func TestD10_KeyIDInTheFileEdited(t *testing.T) {
	w, store := hostileWorld(t)
	id := []byte(w.keys[1].Footer.ID)
	store.Set(storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte {
		return bytes.ReplaceAll(b, id, []byte(columnar.NewNamedKey().ID))
	}})
	refused(t, w, fault.NotAuthentic)
}

// TestD14_NamesLeakNowhere looks for names and values in everything that the store and the manifest's reader without keys see.
func TestD14_NamesLeakNowhere(t *testing.T) {
	secret := "canary"
	schema := arrow.NewSchema([]arrow.Field{
		{Name: secret + "-name", Type: arrow.BinaryTypes.String, Metadata: arrow.NewMetadata([]string{"k"}, []string{secret + "-meta"})},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 1000 {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%s-value-%d", secret, i%3) + strings.Repeat("x", 3000))
	}
	w := newWorld(t, folder(t), schema)
	w.mustPut(b.NewRecordBatch())
	seen := w.envelope
	for _, n := range w.names {
		size, err := w.store.Size(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		body, err := storetest.Get(t.Context(), w.store, n, 0, size)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, body...)
		seen = append(seen, n...)
	}
	if len(seen) < 1000 || bytes.Contains(seen, []byte(secret)) {
		t.Errorf("%d bytes seen; the canary is in them: %v", len(seen), bytes.Contains(seen, []byte(secret)))
	}
}

// TestD15_SizesFallIntoBuckets writes 200 datasets that differ by a row each.
func TestD15_SizesFallIntoBuckets(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: &arrow.FixedSizeBinaryType{ByteWidth: 16}}}, nil)
	w := newWorld(t, folder(t), schema)
	sizes := map[uint64]int{}
	r := rand.New(rand.NewPCG(1, 2))
	const datasets = 200
	for n := range datasets {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for range 5000 + n {
			v := make([]byte, 16)
			for i := range v {
				v[i] = byte(r.Uint32())
			}
			b.Field(0).(*array.FixedSizeBinaryBuilder).Append(v)
		}
		wr, _, err := w.writer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := wr.Write(b.NewRecordBatch()); err != nil {
			t.Fatal(err)
		}
		parts, err := wr.Close()
		if err != nil {
			t.Fatal(err)
		}
		p := parts[0]
		sizes[p.Length]++
		used := 4 + uint64(chunkLengths(p)[0]) + p.Length - p.TailOffset
		if 100*p.Length > 112*used {
			t.Errorf("%d bytes of %d are filler", p.Length-used, p.Length)
		}
		e := bits.Len64(p.Length) - 1
		if p.Length%(1<<(e-bits.Len(uint(e)))) != 0 {
			t.Errorf("%d is no Padmé length", p.Length)
		}
	}
	if len(sizes) > 6 {
		t.Errorf("%d datasets have %d sizes: %v", datasets, len(sizes), sizes)
	}
}

// TestD16_KeysAreFresh reads the wrapped data keys and identifiers of many files under the same column keys.
func TestD16_KeysAreFresh(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, nil)
	w := newWorld(t, folder(t), schema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = 2300, 1 }
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 20_000 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	w.mustPut(b.NewRecordBatch())
	parts, err := w.head.LoadParts(t.Context(), w.store) // too many for the manifest: an object of their own
	if err != nil || w.head.PartList == nil {
		t.Fatal(w.head.PartList, err)
	}
	seen, n := map[string]bool{}, 0
	for _, p := range parts {
		tail, err := storetest.Get(t.Context(), w.store, p.Name, int64(p.TailOffset), int64(p.Length-p.TailOffset))
		if err != nil {
			t.Fatal(err)
		}
		_, after, ok := bytes.Cut(tail, []byte(`"wrappedDEK":"`))
		wrapped, _, _ := bytes.Cut(after, []byte(`"`))
		if !ok || seen[string(wrapped)] {
			t.Fatalf("the wrapped key of part %s is missing or was there before", p.Name)
		}
		seen[string(wrapped)] = true
		n++
	}
	if n < 100 {
		t.Errorf("%d files, want 100 or more", n)
	}
}

// TestD17_OtherBytesThenRight gives wrong bytes, wrong lengths and short bodies at first: the reader asks again and gets through.
func TestD17_OtherBytesThenRight(t *testing.T) {
	w, store := hostileWorld(t)
	for name, change := range map[string]func(b []byte) []byte{
		"bytes":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"short":  func(b []byte) []byte { return b[:len(b)-1] },
		"empty":  func([]byte) []byte { return nil },
		"longer": func(b []byte) []byte { return append([]byte{0}, b...) },
	} {
		t.Run(name, func(t *testing.T) {
			var bad atomic.Int64
			bad.Store(3)
			store.Set(storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte {
				if bad.Add(-1) >= 0 {
					return change(b)
				}
				return b
			}})
			if rows, err := count(w, columnar.ReadOptions{}); err != nil || rows != 6000 {
				t.Errorf("%d rows, %v", rows, err)
			}
			store.Set(storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte { return change(b) }})
			refused(t, w, fault.NotAuthentic)
		})
	}
	store.Set(storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte { return append(bytes.Clone(b), 0) }})
	refused(t, w, fault.NotAuthentic)
}

func TestD18_ListingIsNeverAsked(t *testing.T) {
	w, store := hostileWorld(t)
	store.Set(storetest.Hooks{Listing: func([]storetest.Listed) []storetest.Listed {
		return []storetest.Listed{{Name: columnar.NewObjectName(), Size: 5}}
	}, Before: func(_ context.Context, op string, _ columnar.ObjectName) error {
		if op == "list" {
			t.Error("the listing was asked")
		}
		return nil
	}})
	if rows, err := count(w, columnar.ReadOptions{}); err != nil || rows != 6000 {
		t.Errorf("%d rows, %v", rows, err)
	}
}
