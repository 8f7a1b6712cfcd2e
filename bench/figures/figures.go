// Package figures prints what a benchmark measured: a line `name value unit target ok|short` for each figure, all of them at the end.
package figures

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// List collects the lines.
type List struct {
	lines []string
	short bool
}

// AtLeast adds a figure whose target is a bound from below.
func (l *List) AtLeast(name string, value float64, unit string, bound float64) {
	l.add(name, value, unit, ">=", bound, value < bound)
}

// AtMost adds a figure whose target is a bound from above.
func (l *List) AtMost(name string, value float64, unit string, bound float64) {
	l.add(name, value, unit, "<=", bound, value > bound)
}

func (l *List) add(name string, value float64, unit, sign string, bound float64, short bool) {
	verdict := "ok"
	if short {
		verdict, l.short = "short", true
	}
	l.lines = append(l.lines, fmt.Sprintf("%-34s %10.3f %-6s %s%g %s", name, value, unit, sign, bound, verdict))
}

// Note adds a figure without a target.
func (l *List) Note(name string, value float64, unit string) {
	l.lines = append(l.lines, fmt.Sprintf("%-34s %10.3f %-6s - ok", name, value, unit))
}

// Print prints the lines. It is an error if a figure falls short.
func (l *List) Print() error {
	fmt.Println(strings.Join(l.lines, "\n"))
	if l.short {
		return errors.New("a figure falls short of its target")
	}
	return nil
}

// Median returns the upper median of v, which is not empty and stays as it is.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
