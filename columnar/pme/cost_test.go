package pme_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sys/unix"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// atMost returns n, or less if that variable of the environment says so.
func atMost(n int, variable string) int {
	if less, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		n = min(n, less)
	}
	return n
}

func benchRows() int { return atMost(800_000, "COLDFRAME_BENCH_ROWS") }

// BenchmarkEncryptionCost compares the CPU time of writing and of reading a dataset with that of the same program whose sealer only
// copies: median of eleven pairs. A pair is the sum over short runs in turns, because the machine's speed drifts by more than what is measured.
// Both hash what they write and read; what that costs is a figure of its own.
func BenchmarkEncryptionCost(tb *testing.B) {
	// On two hardware threads of one core the CPU time of each depends on what the other does.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	plain, sealed := newDataset(tb, benchRows()), newDataset(tb, benchRows())
	var write, read []pair
	for i := range 2 + 2*atMost(5, "COLDFRAME_BENCH_ROUNDS") {
		w, r := inTurns(4, plain.write, sealed.write, sealed.hash), inTurns(8, plain.read, sealed.read, sealed.hash)
		if i > 0 { // the first pair warms up
			write, read = append(write, w), append(read, r)
		}
	}
	report("write", write)
	report("read", read)
}

// pair is CPU seconds.
type pair struct{ without, with, hashing float64 }

func (p pair) cost() float64 { return 100 * (p.with/p.without - 1) }

// report prints the middle one of the pairs.
func report(way string, pairs []pair) {
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.cost(), b.cost()) })
	p := pairs[len(pairs)/2]
	fmt.Printf("columnar.encryption.%s %.2f %%\ncolumnar.without.%s %.3f s\ncolumnar.with.%s %.3f s\ncolumnar.hashing.%s %.2f %%\n",
		way, p.cost(), way, p.without, way, p.with, way, 100*p.hashing/p.with)
}

// inTurns sums what plain, which runs under the null sealer, and the others take. Who comes second in a turn finds other caches than who
// comes first: they change places.
func inTurns(times int, plain, sealed, hash func()) (p pair) {
	without := func() {
		defer pme.UseNullSealer()()
		p.without += cpuSeconds(plain)
	}
	with := func() { p.with += cpuSeconds(sealed) }
	for i := range times {
		first, second := without, with
		if i%2 == 1 {
			first, second = with, without
		}
		first()
		second()
		p.hashing += cpuSeconds(hash)
	}
	return p
}

// BenchmarkUnsealFile compares unsealing all chunks of a file on all processors with AES-256-GCM over one buffer on each of them, as many
// bytes together, in place both: median of eleven pairs.
func BenchmarkUnsealFile(tb *testing.B) {
	d := newDataset(tb, benchRows())
	d.write()
	f, whole := d.open()
	work, buffer := make([]byte, len(whole)), newOneBuffer(tb, len(whole))
	var file, bound, ratio []float64
	rounds := 1 + 2*atMost(5, "COLDFRAME_BENCH_ROUNDS")
	for range rounds {
		copy(work, whole)
		ours := seconds(func() { d.unseal(f, work) })
		buffer.reset()
		theirs := seconds(buffer.open)
		mb := float64(len(whole)) / 1e6
		file, bound, ratio = append(file, mb/ours), append(bound, mb/theirs), append(ratio, theirs/ours)
	}
	for _, v := range [][]float64{file, bound, ratio} {
		slices.Sort(v)
	}
	fmt.Printf("columnar.unseal %.0f MB/s\ncolumnar.unseal.gcm %.0f MB/s\ncolumnar.unseal.ratio %.3f x\n", file[rounds/2], bound[rounds/2], ratio[rounds/2])
}

func seconds(fn func()) float64 {
	started := time.Now()
	fn()
	return time.Since(started).Seconds()
}

// open opens the footer of the only part, and returns its bytes too.
func (d *dataset) open() (*pme.File, []byte) {
	whole := d.objects[d.version.Parts[0].Name]
	f, err := open(whole, pme.Keys{Footer: pme.NamedKey(d.keys.Footer), Column: func(l pme.Leaf) (pme.NamedKey, bool) {
		return pme.NamedKey(d.keys.Columns[d.columns[l.Column]]), true
	}}, pme.ReadOptions{Foreign: true, TakePrefix: true})
	d.must(err)
	return f, whole
}

// unseal opens every chunk in place.
func (d *dataset) unseal(f *pme.File, whole []byte) {
	leaves := len(f.Leaves())
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < f.NumRowGroups()*leaves; i = int(next.Add(1)) - 1 {
				at, n, err := f.Range(i/leaves, i%leaves)
				if err == nil {
					_, err = f.UnsealChunk(i/leaves, i%leaves, whole[at:at+n])
				}
				if err != nil {
					d.tb.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// oneBuffer is a sealed buffer for each processor.
type oneBuffer struct {
	tb           testing.TB
	aead         cipher.AEAD
	sealed, work [][]byte
}

func newOneBuffer(tb testing.TB, length int) *oneBuffer {
	a, err := pme.AESGCM(make([]byte, 32))
	if err != nil {
		tb.Fatal(err)
	}
	o := &oneBuffer{tb: tb, aead: a}
	for range runtime.GOMAXPROCS(0) {
		s := a.Seal(nil, make([]byte, a.NonceSize()), make([]byte, length/runtime.GOMAXPROCS(0)), nil)
		o.sealed, o.work = append(o.sealed, s), append(o.work, make([]byte, len(s)))
	}
	return o
}

func (o *oneBuffer) reset() {
	for i := range o.work {
		copy(o.work[i], o.sealed[i])
	}
}

func (o *oneBuffer) open() {
	var all sync.WaitGroup
	for _, b := range o.work {
		all.Go(func() {
			if _, err := o.aead.Open(b[:0], make([]byte, o.aead.NonceSize()), b, nil); err != nil {
				o.tb.Error(err)
			}
		})
	}
	all.Wait()
}

// dataset is one table that is written and read as package columnar does it, with objects in memory.
type dataset struct {
	columnar.Store
	tb      testing.TB
	batches []arrow.RecordBatch
	columns []columnar.ColumnID
	keys    *columnar.VersionKeys
	version *columnar.Manifest
	mu      sync.Mutex
	objects map[columnar.ObjectName][]byte
}

func newDataset(tb testing.TB, rows int) *dataset {
	d := &dataset{tb: tb}
	g := columnartest.NewMixed(1)
	for range max(1, rows/50_000) {
		d.batches = append(d.batches, g.Batch(50_000))
	}
	for range columnartest.MixedSchema.NumFields() {
		d.columns = append(d.columns, columnar.NewColumnID())
	}
	return d
}

func (d *dataset) write() {
	d.objects, d.keys = map[columnar.ObjectName][]byte{}, columnar.NewVersionKeys(d.columns)
	owner, metadata := signed.Signer{User: "ada", Key: secret.Random()}, columnar.NewMetadataKey()
	_, roster, err := columnar.NewRoster(owner, make([]byte, 32), columnar.DefaultRetention, time.Now())
	d.must(err)
	w, err := columnar.NewWriter(context.Background(), d, columnar.WriterOptions{
		Dataset: roster.ID, Version: 1, Schema: columnartest.MixedSchema, Columns: d.columns, Keys: d.keys,
		Register: func(columnar.ObjectName) error { return nil },
	})
	d.must(err)
	for _, rec := range d.batches {
		d.must(w.Write(rec))
	}
	parts, err := w.Close()
	d.must(err)
	_, d.version, err = columnar.Draft{
		Roster: roster, Schema: columnartest.MixedSchema, Columns: d.columns, Keys: d.keys, Parts: parts, Metadata: metadata, Now: time.Now(),
	}.Sign(context.Background(), d, nil, owner)
	d.must(err)
	d.must(d.version.Unseal(metadata))
}

func (d *dataset) read() {
	r, err := columnar.NewReader(context.Background(), d, d.version, d, columnar.ReadOptions{})
	d.must(err)
	defer r.Close()
	for {
		rec, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a failure that wraps io.EOF is not the end
			return
		}
		d.must(err)
		rec.Release()
	}
}

// hash takes the hashes that writing and reading take of the chunks.
func (d *dataset) hash() {
	for _, b := range d.objects {
		sha256.Sum256(b)
	}
}

func (d *dataset) must(err error) {
	d.tb.Helper()
	if err != nil {
		d.tb.Fatal(err)
	}
}

// VersionKeys makes the dataset columnar.Keys.
func (d *dataset) VersionKeys(context.Context, columnar.DatasetID, columnar.Version) (*columnar.VersionKeys, error) {
	return d.keys.Clone(), nil
}

func (d *dataset) Create(_ context.Context, n columnar.ObjectName, _ columnar.CreateOptions) (columnar.Upload, error) {
	return &object{dataset: d, name: n}, nil
}

func (d *dataset) ReadRange(_ context.Context, n columnar.ObjectName, off, length int64) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.objects[n]
	if !ok {
		return nil, fault.NotFound
	}
	return io.NopCloser(bytes.NewReader(b[off : off+length])), nil
}

// object is an upload into the dataset's memory.
type object struct {
	bytes.Buffer
	dataset *dataset
	name    columnar.ObjectName
}

func (o *object) Close() error {
	o.dataset.mu.Lock()
	defer o.dataset.mu.Unlock()
	o.dataset.objects[o.name] = o.Bytes()
	return nil
}

func (o *object) Abort() error { return nil }

// cpuSeconds returns the CPU time, user and system, that fn took, garbage of what came before it left out.
func cpuSeconds(fn func()) float64 {
	used := func() float64 {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	runtime.GC()
	before := used()
	fn()
	return used() - before
}
