package query_test

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/query"
)

// BenchmarkGroupBy groups by one of ten columns and adds up another, from a folder store whose pages are in memory. COLDFRAME_BENCH_ROWS
// says how many rows; a million if it is not set.
func BenchmarkGroupBy(b *testing.B) {
	rows, _ := strconv.Atoi(os.Getenv("COLDFRAME_BENCH_ROWS"))
	if rows == 0 {
		rows = 1_000_000
	}
	w, o := newWorld(b), options(b)
	w.group = columnar.DefaultRowGroupBytes
	w.add(rows)
	o.DataMiB, o.MemoryMiB = 1024, 512
	o.Spare = time.Minute
	e := query.New(o)
	defer e.Rest()
	before := cpuTime()
	for b.Loop() {
		b.StopTimer()
		if err := e.Warm(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := w.ask(context.Background(), e, `SELECT city, sum(price) FROM mixed GROUP BY city`); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime()-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

// cpuTime is what this process and its children that have ended took.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u) // of ourselves
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
