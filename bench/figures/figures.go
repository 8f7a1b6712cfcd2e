// Package figures prints what a benchmark measured: a line `name value unit target ok|FAIL` for each figure, all of them at the end.
package figures

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// List collects the lines.
type List struct {
	lines []string
	short bool
}

// AtLeast adds a figure whose target is a bound from below.
func (l *List) AtLeast(name string, value float64, unit string, bound float64) {
	l.add(name, value, unit, ">=", bound, value < bound, "")
}

// AtMost adds a figure whose target is a bound from above.
func (l *List) AtMost(name string, value float64, unit string, bound float64) {
	l.add(name, value, unit, "<=", bound, value > bound, "")
}

func (l *List) add(name string, value float64, unit, sign string, bound float64, short bool, more string) {
	verdict := "ok"
	if short {
		verdict, l.short = "FAIL", true
	}
	l.lines = append(l.lines, fmt.Sprintf("%-50s %10.3f %-6s %s%g %s%s", name, value, unit, sign, bound, verdict, more))
}

// Note adds a figure without a target.
func (l *List) Note(name string, value float64, unit string) {
	l.lines = append(l.lines, fmt.Sprintf("%-50s %10.3f %-6s - ok", name, value, unit))
}

// Print prints the lines. It is an error if a figure falls short.
func (l *List) Print() error {
	fmt.Println(strings.Join(l.lines, "\n"))
	if l.short {
		return errors.New("a figure falls short of its target")
	}
	return nil
}

// Cost is what one run took, in seconds: on the clock, and of CPU, user and system.
type Cost struct {
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
}

// Add returns what two runs took, one after the other.
func (c Cost) Add(d Cost) Cost { return Cost{c.Wall + d.Wall, c.CPU + d.CPU} }

// Measure returns what fn took in this process, and in those that it waited for.
func Measure(fn func() error) (Cost, error) {
	cpu, started := cpuSeconds(), time.Now()
	err := fn()
	return Cost{time.Since(started).Seconds(), cpuSeconds() - cpu}, err
}

func cpuSeconds() float64 {
	var n int64
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		_ = unix.Getrusage(who, &u) // does not fail for these
		n += u.Utime.Nano() + u.Stime.Nano()
	}
	return float64(n) / 1e9
}

// Faster adds how many times as fast as theirs ours was by the clock: the median over rounds whose costs stand at the same places. The
// ratio of the CPU seconds stands behind it, which tells more while the machine is busy.
func (l *List) Faster(name string, ours, theirs []Cost, bound float64) {
	wall, more := ratios(theirs, ours)
	l.add(name, wall, "ratio", ">=", bound, wall < bound, more)
}

// Slower adds how many times as long as theirs ours took, in the same way.
func (l *List) Slower(name string, ours, theirs []Cost, bound float64) {
	wall, more := ratios(ours, theirs)
	l.add(name, wall, "ratio", "<=", bound, wall > bound, more)
}

func ratios(a, b []Cost) (wall float64, more string) {
	var walls, cpus []float64
	for i := range a {
		walls, cpus = append(walls, a[i].Wall/b[i].Wall), append(cpus, a[i].CPU/b[i].CPU)
	}
	slices.Sort(walls)
	return Median(walls), fmt.Sprintf("  (%.2f to %.2f; CPU %.3f)", walls[0], walls[len(walls)-1], Median(cpus))
}

// Median returns the upper median of v, which is not empty and stays as it is.
func Median(v []float64) float64 { return Quantile(v, 0.5) }

// Quantile returns the value of v below which the share q of them lies; 0 <= q < 1.
func Quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[int(float64(len(v))*q)]
}
