package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

// table writes rows under a head, columns aligned.
func table(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// writeJSON writes v as one indented object.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// size formats a number of bytes in decimal units.
func size(n int64) string {
	const units = "kMGTP"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/1000, 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.3g %cB", v, units[i])
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + one + "s"
}

// printable makes text that somebody else chose safe for a terminal: control and format characters are shown as escapes.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// message is what a person reads of an error: the detail without the chain of causes, and what to do next where that is known.
func message(err error) string {
	if _, ok := errors.AsType[interrupted](err); ok {
		return "interrupted"
	}
	if e, ok := errors.AsType[advised](err); ok {
		return message(e.error) + "\n" + e.advice
	}
	if e, ok := errors.AsType[*localapi.Error](err); ok {
		return problemText(e)
	}
	if e, ok := errors.AsType[usageError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return printable(e.Detail)
	}
	return printable(err.Error())
}

func problemText(e *localapi.Error) string {
	text := printable(strings.TrimSuffix(e.Error(), "."))
	if s := e.Problem.SuggestedPassphrase; s != nil {
		text += "\nhere is one that nobody guesses: " + *s
	}
	if d := e.RetryAfter(); d > 0 {
		text += fmt.Sprintf(" (try again in %s)", d)
	}
	return text
}

// problemOf returns err as a problem, also one that the agent has not seen.
func problemOf(err error) localapi.Problem {
	if e, ok := errors.AsType[*localapi.Error](err); ok {
		return e.Problem
	}
	code, detail := fault.CodeOf(err), message(err)
	if _, ok := errors.AsType[usageError](err); ok {
		code = fault.InvalidRequest
	}
	return localapi.Problem{Type: "urn:coldframe:problem:" + string(code), Title: string(code), Code: string(code), Detail: &detail}
}
