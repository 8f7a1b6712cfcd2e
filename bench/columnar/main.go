// Command columnar measures datasets against what else there is, turn by turn, on a table of ten mixed columns and on a real one of
// three million flights: sealing into memory and reading back, against DuckDB and pyarrow, each in a Python process of its own; a query;
// put and get through a bucket, against encoder and bare SDK; put and get through a real agent, against arrow-go (bench/plain), and its
// memory. What only tests can see, they print themselves: the cost of encryption, of unsealing, and what a column subset costs at a bucket.
//
// Each figure is a line `name value unit target ok|FAIL`, at the end. With -strict the exit code is 1 if one falls short. The bucket is
// that of scripts/with-s3.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"coldframe/bench/figures"
)

// bench is what all sections share.
type bench struct {
	figures.List
	rows    int // of the mixed table; flights at most
	rounds  int
	stream  float64 // bytes
	work    string  // folder on disk
	shm     string  // folder on the RAM disk
	install string  // where the peers are
	table   *table  // the mixed one, once it was asked for
}

// sections are what is measured, in this order.
var sections = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"mixed", func(b *bench, ctx context.Context) error { return b.speed(ctx, b.mixed()) }},
	{"flights", (*bench).flights},
	{"query", (*bench).query},
	{"bucket", (*bench).bucket},
	{"agent", (*bench).agent},
	{"memory", (*bench).memory},
	{"cipher", (*bench).cipher},
	{"subset", (*bench).subset},
}

func main() {
	b := &bench{}
	flag.IntVar(&b.rows, "rows", 10_000_000, "rows of a table")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds of each comparison; one more warms up")
	flag.Float64Var(&b.stream, "stream", 10e9, "bytes of the stream by which memory is measured")
	only := flag.String("only", strings.Join(names(), ","), "sections to run")
	strict := flag.Bool("strict", false, "fail if a figure falls short")
	flag.Parse()
	err := b.run(strings.Split(*only, ","))
	if short := b.Print(); *strict && err == nil {
		err = short
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "columnar:", err)
		os.Exit(1)
	}
}

func names() (all []string) {
	for _, s := range sections {
		all = append(all, s.name)
	}
	return all
}

func (b *bench) run(only []string) (err error) {
	for _, name := range only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("no section %q", name)
		}
	}
	if b.install, err = output("bench/columnar/install"); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp("", "coldframe-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	if b.shm, err = os.MkdirTemp("/dev/shm", "coldframe-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.shm)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Printf("load average, to be near 0 for ratios of wall time: %s", load)
	}
	for _, s := range sections {
		if !slices.Contains(only, s.name) {
			continue
		}
		started := time.Now()
		if err := s.run(b, context.Background()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("%s took %.0f s\n", s.name, time.Since(started).Seconds())
	}
	return nil
}

// mixed returns the generated table.
func (b *bench) mixed() *table {
	if b.table == nil {
		b.table = newMixed(b.rows)
		fmt.Printf("a table of %d rows, %.2f GB\n", b.rows, b.table.raw/1e9)
	}
	return b.table
}

// flights measures writing and reading on the real table.
func (b *bench) flights(ctx context.Context) error {
	t, err := readFlights(ctx, filepath.Join(b.install, "flights-3m.parquet"), b.rows)
	if err != nil {
		return err
	}
	return b.speed(ctx, t)
}

// contestant is one of several ways that are compared.
type contestant struct {
	name string
	run  func() (figures.Cost, error)
}

// contest lets all contestants run in turns, one round after the other, each beginning with the next of them. The first round warms up.
func (b *bench) contest(what string, all ...contestant) (map[string][]figures.Cost, error) {
	costs := map[string][]figures.Cost{}
	for round := range b.rounds + 1 {
		line := fmt.Sprintf("%s, round %d:", what, round)
		for i := range all {
			c := all[(i+round)%len(all)]
			cost, err := c.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			line += fmt.Sprintf(" %s %.2f s (CPU %.2f)", c.name, cost.Wall, cost.CPU)
			if round > 0 {
				costs[c.name] = append(costs[c.name], cost)
			}
		}
		fmt.Println(line)
	}
	return costs, nil
}

var errNoBucket = errors.New("no bucket: run it under scripts/with-s3")
