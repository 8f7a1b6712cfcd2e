package daemon

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// routes are the ways on which rows leave the agent. "files" are the encrypted parts themselves, opened with keys that the agent unwraps.
func (w *attacked) routes() map[string]func(io.Writer) error {
	five := int64(5)
	data := func(k format.Kind, r ReadRequest) func(io.Writer) error {
		r.Dataset = w.id
		return func(out io.Writer) error {
			s, err := w.ReadData(w.t.Context(), user, r)
			if err != nil {
				return err
			}
			defer s.Close() //nolint:errcheck // it returns nil
			return s.WriteTo(w.t.Context(), out, k)
		}
	}
	query := func(sql string) func(io.Writer) error {
		return func(out io.Writer) error {
			s, err := w.Query(w.t.Context(), user, QueryRequest{SQL: sql})
			if err != nil {
				return err
			}
			defer s.Close() //nolint:errcheck // it returns nil
			return s.WriteTo(w.t.Context(), out, format.CSV)
		}
	}
	return map[string]func(io.Writer) error{
		"arrow": data(format.Arrow, ReadRequest{}), "csv": data(format.CSV, ReadRequest{}), "ndjson": data(format.NDJSON, ReadRequest{}),
		"parquet": data(format.Parquet, ReadRequest{}),
		"columns": data(format.Arrow, ReadRequest{Columns: []string{"price"}}), "limit": data(format.CSV, ReadRequest{Limit: &five}),
		"where":       data(format.CSV, ReadRequest{Columns: []string{"price"}, Where: "word >= 'w0' AND n >= 0"}),
		"query":       query("SELECT n, word, price FROM mine"),
		"query price": query("SELECT min(price) AS low, max(price) AS high, count(*) AS rows FROM mine"),
		"files":       w.foreignReader,
	}
}

// attack is a row of the threat model, done to a dataset.
type attack struct {
	name string
	do   func(w *attacked) storetest.Hooks
	want []fault.Code // that every route ends with one of
	// misses are routes that need not notice, and why: what they give is then the right answer, to the byte.
	misses map[string]string
	// beyond are routes for which the row says nothing, and why.
	beyond map[string]string
}

var (
	authentic = []fault.Code{fault.NotAuthentic}
	gone      = []fault.Code{fault.NotAuthentic, fault.Incomplete}
	// A foreign reader sees what the store gives: it has no manifest (docs/column-encryption.md, examples/pyarrow_client.py).
	noManifest = map[string]string{"files": "a foreign reader has no manifest to compare a whole file with"}
	firstRows  = map[string]string{"limit": "the first rows are in another part"}
)

func routesBut(but ...string) map[string]string {
	m := map[string]string{}
	for _, r := range []string{"arrow", "csv", "ndjson", "parquet", "columns", "limit", "where", "query", "query price", "files"} {
		if !slices.Contains(but, r) {
			m[r] = "it does not read what was changed"
		}
	}
	return m
}

func content(part int, change func(w *attacked, b []byte) []byte) func(w *attacked) storetest.Hooks {
	return func(w *attacked) storetest.Hooks {
		name := w.part(part).Name
		return storetest.Hooks{Content: func(n columnar.ObjectName, b []byte) []byte {
			if n != name {
				return b
			}
			return change(w, bytes.Clone(b))
		}}
	}
}

// part returns one part of the dataset; a negative one counts from the end.
func (w *attacked) part(i int) columnar.Part {
	parts := w.parts[w.id]
	if i < 0 {
		i += len(parts)
	}
	return parts[i]
}

func rename(names func(w *attacked) map[columnar.ObjectName]columnar.ObjectName) func(w *attacked) storetest.Hooks {
	return func(w *attacked) storetest.Hooks {
		m := names(w)
		return storetest.Hooks{Rename: func(n columnar.ObjectName) columnar.ObjectName {
			if to, ok := m[n]; ok {
				return to
			}
			return n
		}}
	}
}

func missing(part int) func(w *attacked) storetest.Hooks {
	return content(part, func(*attacked, []byte) []byte { return nil })
}

// chunkAt returns where a chunk of a part lies.
func chunkAt(p columnar.Part, chunk int) (from, to int) {
	from = 4
	for c := p.Chunks; ; c, chunk = c[36:], chunk-1 {
		n := int(c[0])<<24 | int(c[1])<<16 | int(c[2])<<8 | int(c[3])
		if chunk == 0 {
			return from, from + n
		}
		from += n
	}
}

// swapChunks puts the bytes of two chunks, the first before the second, in each other's place.
func swapChunks(i, j int) func(w *attacked, b []byte) []byte {
	return func(w *attacked, b []byte) []byte {
		i0, i1 := chunkAt(w.part(0), i)
		j0, j1 := chunkAt(w.part(0), j)
		return slices.Concat(b[:i0], b[j0:j1], b[i1:j0], b[i0:i1], b[j1:])
	}
}

// flipIn turns a bit in the middle of a chunk of a part.
func flipIn(part, chunk int) func(w *attacked) storetest.Hooks {
	return content(part, func(w *attacked, b []byte) []byte {
		p, at := w.part(part), chunk
		if at < 0 {
			at += len(p.Chunks) / 36
		}
		from, to := chunkAt(p, at)
		b[(from+to)/2] ^= 4
		return b
	})
}

// insider makes a version as the owner, and no lie of the store.
func insider(f func(w *attacked)) func(w *attacked) storetest.Hooks {
	return func(w *attacked) storetest.Hooks {
		f(w)
		return storetest.Hooks{}
	}
}

const leavesOfAttacked = 3 // n, word, price

// attacks are THREATS D01 to D13, D17 and D18. The other rows are not about reading: D14 (names leak), D15 (sizes) and D16 (keys and nonces
// twice) are properties of what is written, tested in columnar and columnar/pme; D19 is L14.
var attacks = []attack{
	{name: "D01 an object of another dataset", do: rename(func(w *attacked) map[columnar.ObjectName]columnar.ObjectName {
		return map[columnar.ObjectName]columnar.ObjectName{w.part(0).Name: w.parts[w.other][0].Name}
	}), want: append(gone, fault.NotFound)}, // not_found: the key that the file asks for is none of this dataset
	{name: "D01 signed into this dataset", want: append(gone, fault.NotFound), do: insider(func(w *attacked) {
		theirs := w.keys[w.other]
		k := &columnar.VersionKeys{Footer: theirs.Footer, Columns: map[columnar.ColumnID]columnar.NamedKey{}}
		for i, c := range w.columns[w.id] {
			k.Columns[c] = theirs.Columns[w.columns[w.other][i]]
		}
		parts := slices.Clone(w.parts[w.other])
		for i := range parts {
			parts[i].Version = 2
		}
		w.publish(w.id, k, parts)
	}), beyond: noManifest},
	{name: "D02 an older object under the current name", want: gone, beyond: noManifest, do: func(w *attacked) storetest.Hooks {
		old := w.parts[w.id]
		keys := columnar.NewVersionKeys(w.columns[w.id])
		w.parts[w.id] = w.upload(w.id, 2, keys, attackedBatch(0))
		w.publish(w.id, keys, w.parts[w.id])
		return rename(func(w *attacked) map[columnar.ObjectName]columnar.ObjectName {
			return map[columnar.ObjectName]columnar.ObjectName{w.part(0).Name: old[0].Name}
		})(w)
	}},
	{name: "D03 the first part is missing", do: missing(0), want: gone},
	{name: "D03 a part in the middle is missing", do: missing(1), want: gone, misses: firstRows},
	{name: "D03 the last part is missing", do: missing(-1), want: gone, misses: firstRows},
	{name: "D04 two parts exchanged", want: gone, beyond: noManifest, do: rename(func(w *attacked) map[columnar.ObjectName]columnar.ObjectName {
		return map[columnar.ObjectName]columnar.ObjectName{w.part(0).Name: w.part(1).Name, w.part(1).Name: w.part(0).Name}
	})},
	{name: "D04 a part twice", want: gone, beyond: noManifest, misses: firstRows, do: rename(func(w *attacked) map[columnar.ObjectName]columnar.ObjectName {
		return map[columnar.ObjectName]columnar.ObjectName{w.part(1).Name: w.part(0).Name}
	})},
	{name: "D05 extra objects", misses: routesBut(), do: func(w *attacked) storetest.Hooks {
		if err := storetest.Put(w.t.Context(), w.store, columnar.NewObjectName(), []byte("junk")); err != nil {
			w.t.Fatal(err)
		}
		return storetest.Hooks{}
	}},
	{name: "D06 row groups exchanged", do: content(0, swapChunks(2, leavesOfAttacked+2)), want: authentic},
	{name: "D06 a row group doubled", want: authentic, misses: map[string]string{"limit": "the first rows are in another row group"}, do: content(0, func(w *attacked, b []byte) []byte {
		from, to := chunkAt(w.part(0), 2)
		next, end := chunkAt(w.part(0), leavesOfAttacked+2)
		if n := min(to-from, end-next); n > 0 {
			copy(b[next:next+n], b[from:from+n])
		}
		return b
	})},
	{name: "D06 a part cut in the middle", want: gone, do: content(-1, func(_ *attacked, b []byte) []byte { return b[:len(b)/2] }), misses: firstRows},
	{name: "D07 a plain file in its place", want: append(gone, fault.Policy), do: content(0, func(w *attacked, _ []byte) []byte {
		return plainFile(w.t, attackedBatch(0))
	})},
	{name: "D07 a plain file, signed", want: []fault.Code{fault.Policy}, do: insider(func(w *attacked) {
		w.parts[w.id] = []columnar.Part{w.plainPart()}
		w.publish(w.id, w.keys[w.id], w.parts[w.id])
	})},
	{name: "D08 a bit of a page", do: flipIn(0, 2), want: authentic},
	{name: "D08 a bit of a column that few read", do: flipIn(0, 1), want: authentic, misses: routesBut("arrow", "csv", "ndjson", "parquet", "limit", "where", "query", "files")},
	{name: "D08 a bit of the footer", want: authentic, do: content(0, func(_ *attacked, b []byte) []byte { b[len(b)-20] ^= 1; return b })},
	{name: "D08 the length of the footer", want: append(authentic, fault.TooLarge), do: content(0, func(_ *attacked, b []byte) []byte { b[len(b)-7] ^= 1; return b })},
	{name: "D08 a bit of the filler", misses: routesBut(), do: content(0, func(w *attacked, b []byte) []byte {
		b[w.part(0).TailOffset-1] ^= 1
		return b
	})},
	{name: "D09 chunks of two columns exchanged", do: content(0, swapChunks(0, 2)), want: authentic},
	{name: "D09 the keys of two columns exchanged, signed", want: authentic, do: insider(func(w *attacked) {
		for i := range w.parts[w.id] {
			k := slices.Clone(w.part(i).Keys)
			k[0], k[2] = k[2], k[0]
			w.parts[w.id][i].Keys = k
		}
		w.publish(w.id, columnar.NewVersionKeys(w.columns[w.id]), w.parts[w.id])
	}), beyond: map[string]string{"files": "a foreign reader has no manifest: the file itself is as it was written"}},
	{name: "D10 a key's id edited", want: append(authentic, fault.NotFound), do: content(0, func(w *attacked, b []byte) []byte {
		return bytes.Replace(b, []byte(w.keys[w.id].Footer.ID), []byte(columnar.NewNamedKey().ID), 1)
	})},
	{name: "D11 a bit of the last row group", do: flipIn(-1, -1), want: authentic, misses: firstRows},
	{name: "D12 another key under the id", want: authentic, do: insider(func(w *attacked) { w.swapKey(2) })},
	{name: "D13 a page that expands a thousandfold", want: []fault.Code{fault.TooLarge}, do: insider(func(w *attacked) {
		keys := columnar.NewVersionKeys(w.columns[w.id])
		w.publish(w.id, keys, []columnar.Part{w.forgedPart(2, keys, expandingRows, expandingPages(w.t)...)})
	}), beyond: map[string]string{
		"columns": "the page is of another column", "query price": "the page is of another column", "files": "a foreign reader has limits of its own",
	}},
	{name: "D17 other bytes each time", want: authentic, beyond: noManifest, do: everyRange(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
	{name: "D17 bodies that are short", want: gone, beyond: noManifest, do: everyRange(func(b []byte) []byte { return b[:len(b)-1] })},
	{name: "D17 an object that is longer", want: gone, beyond: noManifest, do: content(0, func(_ *attacked, b []byte) []byte { return append(b, 0) })},
	{name: "D18 a listing that hides and invents", misses: routesBut(), do: func(*attacked) storetest.Hooks {
		return storetest.Hooks{Listing: func([]storetest.Listed) []storetest.Listed {
			return []storetest.Listed{{Name: columnar.NewObjectName(), Size: 1}}
		}}
	}},
}

func everyRange(change func([]byte) []byte) func(*attacked) storetest.Hooks {
	return func(*attacked) storetest.Hooks {
		return storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte { return change(bytes.Clone(b)) }}
	}
}

const expandingRows = 56

// expandingPages are columns of one page each; that of the words is 56 MiB of one letter in some kilobytes.
func expandingPages(t *testing.T) (out [][]byte) {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, attackedSchema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(make([]int64, expandingRows), nil)
	b.Field(2).(*array.Float64Builder).AppendValues(make([]float64, expandingRows), nil)
	word := strings.Repeat("w", 1<<20)
	for range expandingRows {
		b.Field(1).(*array.StringBuilder).Append(word)
	}
	rec := b.NewRecordBatch()
	for i, f := range attackedSchema.Fields() {
		one := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{f}, nil), []arrow.Array{rec.Column(i)}, expandingRows)
		out = append(out, plainFile(t, one, parquet.WithDictionaryDefault(false), parquet.WithCompression(compress.Codecs.Zstd),
			parquet.WithDataPageSize(1<<30), parquet.WithStats(false)))
	}
	return out
}

// answers reads by every route at once.
func (w *attacked) answers() (out map[string]string, errs map[string]error) {
	out, errs = map[string]string{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, read := range w.routes() {
		wg.Go(func() {
			var b bytes.Buffer
			err := read(&b)
			mu.Lock()
			defer mu.Unlock()
			out[name], errs[name] = b.String(), err
		})
	}
	wg.Wait()
	return out, errs
}

// TestD01_D18_EveryRoute does each attack to a dataset and reads it by every route: an error of the right kind, or the right answer where the
// route does not touch what was changed; never another answer, and before an error nothing but the beginning of the right one.
func TestD01_D18_EveryRoute(t *testing.T) {
	honest := startAttacked(t).honest() // the tables are the same each time
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting before wrong bytes are asked for again
			a.check(t, startAttacked(t), honest)
		})
	}
}

func (w *attacked) honest() map[string]string {
	w.t.Helper()
	out, errs := w.answers()
	for r, err := range errs {
		if err != nil || len(out[r]) == 0 {
			w.t.Fatalf("%s: %d bytes, %v", r, len(out[r]), err)
		}
	}
	if again, _ := w.answers(); !maps.Equal(again, out) {
		w.t.Fatal("two readings differ")
	}
	return out
}

func (a attack) check(t *testing.T, w *attacked, honest map[string]string) {
	t.Helper()
	w.store.Set(a.do(w))
	out, errs := w.answers()
	for _, r := range slices.Sorted(maps.Keys(out)) {
		got, err := out[r], errs[r]
		_, miss := a.misses[r]
		switch {
		case a.beyond[r] != "":
		case err == nil && (!miss || got != honest[r]):
			t.Errorf("%s: %d bytes with success, the right answer: %v", r, len(got), got == honest[r])
		case err != nil && !slices.ContainsFunc(a.want, func(c fault.Code) bool { return fault.CodeOf(err) == c }):
			t.Errorf("%s: %v, want one of %v", r, err, a.want)
		case err != nil && !strings.HasPrefix(honest[r], got):
			t.Errorf("%s: before %v came %d bytes that are not the beginning of the right answer", r, err, len(got))
		}
	}
}
