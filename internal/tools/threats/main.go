// Command threats reads the event stream of `go test -json` on its standard input and prints it the way `go test` does, then, with
// -coverage, each row of the threat model with the tests that carry its id and whether they passed. Only a test that ran and passed
// counts; a later run of the same test in the stream replaces an earlier one. It exits 1 when a test failed, or when a row that is due has
// no passing test; with -coverage and under CI=true a test that was skipped and nowhere run is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
)

// event is one line of test2json (see `go doc test2json`).
type event struct {
	Action, Package, Test, Output string
}

// run is everything that was seen of one test or, with an empty Test, of one package.
type run struct {
	output []string
	action string // pass, fail or skip; empty while it runs
}

type report struct {
	runs map[[2]string]*run
	w    io.Writer
}

func main() {
	rows := flag.String("coverage", "", "print coverage of the rows in this file (id,due lines)")
	quiet := flag.Bool("quiet", false, "leave out the package lines")
	flag.Parse()
	r := &report{runs: map[[2]string]*run{}, w: os.Stdout}
	if err := r.read(os.Stdin, *quiet); err != nil {
		fatal(err)
	}
	ok := r.summary(*rows != "" && os.Getenv("CI") == "true")
	if *rows != "" {
		due, err := readRows(*rows)
		if err != nil {
			fatal(err)
		}
		ok = r.coverage(due) && ok
	}
	if !ok {
		os.Exit(1)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "threats:", err)
	os.Exit(2)
}

// read takes in the event stream. A line that is no event (a build error) is passed through.
func (r *report) read(in io.Reader, quiet bool) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(r.w, string(line))
			} else {
				r.add(e, quiet)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event, quiet bool) {
	key := [2]string{e.Package, e.Test}
	t := r.runs[key]
	if t == nil {
		t = &run{}
		r.runs[key] = t
	}
	switch e.Action {
	case "output", "build-output":
		if e.Action == "build-output" {
			fmt.Fprint(r.w, e.Output)
		}
		t.output = append(t.output, e.Output)
		if e.Test == "" && !quiet && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL\t")) {
			fmt.Fprint(r.w, e.Output)
		}
	case "pass", "skip", "fail":
		t.action = e.Action
		if e.Action == "fail" {
			fmt.Fprint(r.w, strings.Join(t.output, ""))
		}
	}
}

// summary prints the counts and reports whether all is well.
func (r *report) summary(noSkips bool) bool {
	passed, failed := 0, 0
	var skipped []string
	for key, t := range r.runs {
		switch {
		case key[1] == "":
			if t.action == "fail" {
				failed++
			}
		case t.action == "pass":
			passed++
		case t.action == "skip":
			skipped = append(skipped, key[0]+" "+key[1])
		default: // failed, or never ended: the process died
			failed++
		}
	}
	sort.Strings(skipped)
	for _, s := range skipped {
		fmt.Fprintln(r.w, "skipped:", s)
	}
	fmt.Fprintf(r.w, "%d passed, %d failed, %d skipped\n", passed, failed, len(skipped))
	return failed == 0 && passed > 0 && (!noSkips || len(skipped) == 0)
}

// row is one row of the threat model: its id and whether a test is due now.
type row struct {
	id  string
	due bool
}

func readRows(path string) ([]row, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, line := range strings.Fields(string(b)) {
		id, when, _ := strings.Cut(line, ",")
		rows = append(rows, row{id, when == "due"})
	}
	return rows, nil
}

var idInName = regexp.MustCompile(`^(?:Test|Fuzz)(?:_?[A-Z][0-9]{2})+`)

var id = regexp.MustCompile(`[A-Z][0-9]{2}`)

// coverage prints a line for each row and reports whether every due row has a passing test and no failing one.
func (r *report) coverage(rows []row) bool {
	tests := map[string][]string{}
	passed, failed := map[string]bool{}, map[string]bool{}
	for key, t := range r.runs {
		if strings.Contains(key[1], "/") {
			continue
		}
		for _, i := range id.FindAllString(idInName.FindString(key[1]), -1) {
			tests[i] = append(tests[i], fmt.Sprintf("%s.%s %s", strings.TrimPrefix(key[0], "coldframe/"), key[1], t.action))
			passed[i] = passed[i] || t.action == "pass"
			failed[i] = failed[i] || t.action != "pass" // skipped tests do not count either
		}
	}
	ok, covered, dueRows := true, 0, 0
	for _, row := range rows {
		sort.Strings(tests[row.id])
		state := "-"
		switch {
		case passed[row.id] && !failed[row.id]:
			state = "ok"
			covered++
		case row.due:
			state, ok = "SHORT", false
		}
		if row.due {
			dueRows++
		}
		fmt.Fprintf(r.w, "%s %-5s %s\n", row.id, state, strings.Join(tests[row.id], "; "))
	}
	fmt.Fprintf(r.w, "threats: %d of %d rows have passing tests; %d are due now\n", covered, len(rows), dueRows)
	return ok
}
