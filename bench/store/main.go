// Command store measures the main job over the local API: put and get of a table of ten mixed columns through a real agent with the folder
// store, against arrow-go writing and reading plain zstd Parquet (bench/plain) in the same run, turn by turn; the agent's peak memory for
// a stream of one and of five gigabytes; what an append uploads; and, by the benchmark of package columnar, the CPU cost of encryption.
//
// Each figure is a line `name value unit target ok|short`, at the end. The exit code is 1 if one falls short.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"coldframe/bench/figures"
	"coldframe/bench/store/agent"
	"coldframe/columnar/columnartest"
	"coldframe/localapi"
)

func main() {
	rounds := flag.Int("rounds", 3, "rounds of each comparison")
	rows := flag.Int("rows", 1_000_000_000/columnartest.RowBytes, "rows of the table (the default is 1 GB)")
	flag.Parse()
	if err := run(*rounds, *rows); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(rounds, rows int) error {
	work, err := os.MkdirTemp("", "coldframe-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	t := &table{path: filepath.Join(work, "table.arrow"), rows: rows, raw: float64(rows) * columnartest.RowBytes}
	fmt.Printf("making a table of %d rows, %.2f GB\n", rows, t.raw/1e9)
	if err := t.make(); err != nil {
		return err
	}
	var f figures.List
	for _, step := range []func(string, *table, *figures.List, int) error{speed, memory, encryption} {
		if err := step(work, t, &f, rounds); err != nil {
			return err
		}
	}
	return f.Print()
}

// speed compares put and get over the API with arrow-go alone, in turns.
func speed(work string, t *table, f *figures.List, rounds int) error {
	ctx := context.Background()
	a, err := agent.Start(work + "/speed")
	if err != nil {
		return err
	}
	defer a.Stop()
	d, err := a.Client.CreateDataset(ctx, "bench", "")
	if err != nil {
		return err
	}
	plain := filepath.Join(work, "plain")
	if out, err := exec.Command("go", "build", "-o", plain, "./bench/plain").CombinedOutput(); err != nil {
		return fmt.Errorf("build the peer: %w\n%s", err, out)
	}
	parquet := filepath.Join(work, "plain.parquet")
	var put, get, putRatio, getRatio []float64
	for i := range rounds {
		w, err := peer(plain, "write", t.path, parquet)
		if err != nil {
			return err
		}
		p, err := timed(func() error { return putFile(ctx, a.Client, d.Id, t) })
		if err != nil {
			return err
		}
		r, err := peer(plain, "read", parquet)
		if err != nil {
			return err
		}
		g, err := timed(func() error { return getAll(ctx, a.Client, d.Id) })
		if err != nil {
			return err
		}
		fmt.Printf("round %d: arrow-go write %.2f s, put %.2f s, arrow-go read %.2f s, get %.2f s\n", i+1, w, p, r, g)
		put, get = append(put, t.raw/1e6/p), append(get, t.raw/1e6/g)
		putRatio, getRatio = append(putRatio, w/p), append(getRatio, r/g)
	}
	f.Note("store.put", figures.Median(put), "MB/s")
	f.Note("store.get", figures.Median(get), "MB/s")
	f.AtLeast("store.put_vs_arrow_plain", figures.Median(putRatio), "ratio", 0.8)
	f.AtLeast("store.get_vs_arrow_plain", figures.Median(getRatio), "ratio", 0.8)
	return appended(ctx, a.Client, d.Id, f)
}

// appended puts 10 MB onto the table and reports what that uploaded.
func appended(ctx context.Context, c *localapi.Client, id string, f *figures.List) error {
	small := &table{rows: 10_000_000 / columnartest.RowBytes}
	r, w := io.Pipe()
	go func() { w.CloseWithError(small.write(w)) }()
	result, err := c.Put(ctx, id, r, localapi.PutOptions{Format: "arrow", Append: true})
	if err != nil {
		return err
	}
	f.AtMost("store.append_10MB_uploads", float64(result.Bytes)/1e6, "MB", 12)
	return nil
}

// memory reports the highest resident size of an agent that takes and gives a stream, beyond what it has before; the argon2 buffer is
// given back by then.
func memory(work string, t *table, f *figures.List, _ int) error {
	for _, times := range []int{1, 5} {
		peak, idle, err := peakMemory(fmt.Sprintf("%s/memory%d", work, times), t, times)
		if err != nil {
			return err
		}
		f.Note(fmt.Sprintf("store.rss_idle_%dGB", times), idle, "MiB")
		f.AtMost(fmt.Sprintf("store.rss_peak_%dGB", times), peak, "MiB", 256)
	}
	return nil
}

func peakMemory(dir string, t *table, times int) (peak, idle float64, err error) {
	ctx := context.Background()
	a, err := agent.Start(dir)
	if err != nil {
		return 0, 0, err
	}
	defer a.Stop()
	d, err := a.Client.CreateDataset(ctx, "bench", "")
	if err != nil {
		return 0, 0, err
	}
	idle = a.ResidentMiB()
	watch := a.WatchResident()
	r, w := io.Pipe()
	go func() { w.CloseWithError(t.repeat(w, times)) }()
	if _, err := a.Client.Put(ctx, d.Id, r, localapi.PutOptions{Format: "arrow"}); err != nil {
		return 0, 0, err
	}
	if err := getAll(ctx, a.Client, d.Id); err != nil {
		return 0, 0, err
	}
	return watch(), idle, nil
}

// encryption runs the benchmark of columnar/pme: CPU seconds with the real sealer against one that only copies, which exists only in its
// tests. Median of seven pairs.
func encryption(_ string, _ *table, f *figures.List, _ int) error {
	args := []string{"test", "-count=1", "-run", "^$", "-bench", "EncryptionCost", "-benchtime", "1x", "./columnar/pme"}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchmark of columnar: %w\n%s", err, out)
	}
	for _, way := range []string{"write", "read"} {
		value, err := figureIn(string(out), "columnar.encryption."+way)
		if err != nil {
			return err
		}
		f.AtMost("store.encryption_cpu_"+way, value, "%", 5)
	}
	return nil
}

// figureIn finds the value of a line `name value unit`.
func figureIn(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == name {
			return strconv.ParseFloat(words[1], 64)
		}
	}
	return 0, fmt.Errorf("no figure %s in:\n%s", name, text)
}

func putFile(ctx context.Context, c *localapi.Client, id string, t *table) error {
	in, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = c.Put(ctx, id, in, localapi.PutOptions{Format: "arrow"})
	return err
}

func getAll(ctx context.Context, c *localapi.Client, id string) error {
	r, err := c.Get(ctx, id, localapi.GetOptions{Format: "arrow"})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// peer runs bench/plain and returns its wall seconds, as it measured them itself.
func peer(program string, args ...string) (float64, error) {
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("peer: %w", err)
	}
	var wall, cpu float64
	if _, err := fmt.Sscan(string(out), &wall, &cpu); err != nil {
		return 0, err
	}
	return wall, nil
}

func timed(fn func() error) (float64, error) {
	started := time.Now()
	err := fn()
	return time.Since(started).Seconds(), err
}
