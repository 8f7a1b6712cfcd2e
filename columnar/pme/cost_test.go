package pme_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
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

// BenchmarkEncryptionCost compares the CPU time of writing and of reading a dataset with that of the same program whose sealer only
// copies: median of seven pairs. A pair is the sum over short runs in turns, because the machine's speed drifts by more than what is measured.
func BenchmarkEncryptionCost(tb *testing.B) {
	// On two hardware threads of one core the CPU time of each depends on what the other does.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	plain, sealed := newDataset(tb, 800_000), newDataset(tb, 800_000)
	var write, read []float64
	for i := range 8 {
		w, r := inTurns(3, plain.write, sealed.write), inTurns(10, plain.read, sealed.read)
		if i > 0 { // the first pair warms up
			write, read = append(write, w), append(read, r)
		}
	}
	slices.Sort(write)
	slices.Sort(read)
	fmt.Printf("columnar.encryption.write %.2f %%\ncolumnar.encryption.read %.2f %%\n", write[len(write)/2], read[len(read)/2])
}

// inTurns returns by how many percent more CPU time sealed takes than plain, which runs under the null sealer.
func inTurns(times int, plain, sealed func()) float64 {
	var without, with float64
	for range times {
		restore := pme.UseNullSealer()
		without += cpuSeconds(plain)
		restore()
		with += cpuSeconds(sealed)
	}
	return 100 * (with/without - 1)
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
	for range rows / 50_000 {
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
