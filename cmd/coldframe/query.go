package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

// tableFormat is a table for a person; shownRows are the rows that it has at most.
const (
	tableFormat = "table"
	shownRows   = 1000
)

func (a *app) queryCommand() *cobra.Command {
	var o getOptions
	var file string
	cmd := &cobra.Command{
		Use: "query SQL|-", Short: "Ask your datasets by SQL", Args: args(cobra.ExactArgs(1)),
		Long: "Runs one SELECT, of which - means standard input. Its tables are datasets, named by title or id and quoted as identifiers if they are not plain words:\n  coldframe query 'SELECT city, avg(rain) FROM \"weather 2026\" GROUP BY city'\nOnly the columns that it needs are fetched. On a terminal the result is a table, else CSV.",
		RunE: func(cmd *cobra.Command, list []string) error {
			sql, err := a.statement(list[0])
			if err != nil {
				return err
			}
			if o.Format == "" && file == "" && term.IsTerminal(int(os.Stdout.Fd())) {
				o.Format = tableFormat
			}
			if o.Format == tableFormat && file != "" {
				return usageError{errors.New("a table is for reading: another --format goes into a file")}
			}
			if err := o.chooseFormat(file); err != nil {
				return err
			}
			return a.query(cmd.Context(), sql, file, o.Format)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Format, "format", "", "table, csv, ndjson, arrow or parquet (default by the name of the file; a table on a terminal, else csv)")
	f.StringVarP(&file, "output", "o", "", "write to this file")
	return cmd
}

// maxStatement is what the agent takes.
const maxStatement = 64 << 10

func (a *app) statement(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.secrets.in, maxStatement+1))
	if err == nil && len(b) > maxStatement {
		err = fault.New(fault.TooLarge, "the statement is longer than %d bytes", maxStatement)
	}
	return string(b), err
}

func (a *app) query(ctx context.Context, sql, file, format string) error {
	c, err := a.agent(ctx)
	if err != nil {
		return err
	}
	asked := format
	if asked == tableFormat {
		asked = "csv"
	}
	t, err := c.Query(ctx, sql, asked)
	if err != nil {
		return err
	}
	defer t.Close()
	switch {
	case format == tableFormat:
		return a.show(t)
	case file == "" || file == "-":
		_, err := io.Copy(a.out, t)
		return err
	}
	n, err := writeWhole(file, t)
	if err == nil {
		a.say("%s: %s", file, size(n))
	}
	return err
}

// show prints a result as a table, of so many rows as somebody may read.
func (a *app) show(t *localapi.Table) error {
	in := csv.NewReader(t)
	head, err := in.Read()
	if err != nil {
		return err
	}
	rows, more := [][]string{}, false
	for {
		row, err := in.Read()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			break
		}
		if err != nil {
			return err
		}
		if more = len(rows) == shownRows; more {
			break
		}
		rows = append(rows, cells(row))
	}
	if err := table(a.out, cells(head), rows); err != nil {
		return err
	}
	if more && !a.quiet {
		fmt.Fprintf(a.err, "these are the first %d rows; --format csv, or -o FILE, gives all\n", shownRows)
	}
	return nil
}

func cells(row []string) []string {
	out := make([]string, len(row))
	for i, s := range row {
		out[i] = printable(s)
	}
	return out
}
