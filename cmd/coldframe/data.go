package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) dataCommands() []*cobra.Command {
	return []*cobra.Command{
		a.putCommand(), a.getCommand(), a.queryCommand(), a.listCommand(), a.showCommand(), a.versionsCommand(), a.filesCommand(),
		a.renameCommand(), a.removeCommand(),
	}
}

// formats by the end of a file's name.
var formats = map[string]localapi.PutOptions{
	".csv":     {Format: "csv"},
	".tsv":     {Format: "csv", Delimiter: "\t"},
	".ndjson":  {Format: "ndjson"},
	".jsonl":   {Format: "ndjson"},
	".arrow":   {Format: "arrow"},
	".arrows":  {Format: "arrow"},
	".feather": {Format: "arrow"},
	".parquet": {Format: "parquet"},
}

func (a *app) putCommand() *cobra.Command {
	var title, dataset string
	var o localapi.PutOptions
	var d decryption
	cmd := &cobra.Command{
		Use: "put FILE|-", Short: "Write a table as the new version of a dataset", Args: args(cobra.ExactArgs(1)),
		Long: "Writes a table as the new version of the dataset called --title (made if there is none), or of --dataset (title or id). The format follows the\nend of the file's name (.csv .tsv .ndjson .jsonl .arrow .arrows .parquet) unless --format says it. The version is there whole or not at all.",
		RunE: func(cmd *cobra.Command, list []string) error {
			byName, known := formats[strings.ToLower(filepath.Ext(list[0]))]
			if o.Format == "" && d.keys != "" {
				o.Format = "parquet" // encrypted files have names of all kinds
			}
			if o.Format == "" && !known {
				return usageError{errors.New("the name of the file does not tell the format (.csv .tsv .ndjson .jsonl .arrow .arrows .feather .parquet do): --format csv, ndjson, arrow or parquet")}
			}
			if o.Format == "" {
				o.Format = byName.Format
			}
			if o.Delimiter == "" {
				o.Delimiter = byName.Delimiter
			}
			if err := d.check(list[0], o); err != nil {
				return err
			}
			if (title == "") == (dataset == "") {
				return usageError{errors.New("one of --title and --dataset is needed")}
			}
			if o.Delimiter == `\t` {
				o.Delimiter = "\t"
			}
			return a.put(cmd.Context(), list[0], title, dataset, o, d)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&title, "title", "t", "", "title of the dataset; made if there is none")
	f.StringVar(&dataset, "dataset", "", "title or id of a dataset that exists")
	f.BoolVar(&o.Append, "append", false, "add rows instead of replacing them")
	f.StringVar(&o.Format, "format", "", "csv, ndjson, arrow or parquet")
	f.StringVar(&o.Schema, "schema", "", "names and types instead of inferring them: \"id int64, price decimal(18,4)\"")
	f.StringVar(&o.Delimiter, "delimiter", "", "CSV: what separates fields (default a comma)")
	f.StringVar(&o.Quote, "quote", "", "CSV: what quotes a field (default a double quote)")
	f.BoolVar(&o.NoHeader, "no-header", false, "CSV: the first line holds values, not names")
	f.StringVar(&o.Null, "null", "", "CSV: an unquoted field with this text is null (default the empty field)")
	f.BoolVar(&o.AllowNewLayout, "new-layout", false, "take a table whose columns or types differ from those of the newest version")
	d.flags(cmd)
	f.StringVar(&o.IdempotencyKey, "idempotency-key", "", "the same call with the same key has one effect")
	return cmd
}

func (a *app) put(ctx context.Context, file, title, dataset string, o localapi.PutOptions, keys decryption) error {
	in, err := a.input(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		o.Size = info.Size()
		if o.Size == 0 {
			return fault.New(fault.InvalidRequest, "the file is empty")
		}
	}
	c, err := a.agent(ctx)
	if err != nil {
		return err
	}
	if o.Import, err = a.announce(ctx, c, file, keys); err != nil {
		return err
	}
	d, made, err := target(ctx, c, title, dataset, o.Append)
	if err != nil {
		return err
	}
	started := time.Now()
	bar := newProgress(!a.json && !a.quiet, d.Title, o.Size)
	counted := &counter{r: in}
	r, err := c.Put(ctx, d.Id, bar.reader(counted), o)
	bar.done(err == nil)
	if err != nil {
		if made {
			undo(c, d.Id)
		}
		if errors.Is(err, localapi.Incomplete) {
			return badInput{err} // the table ends too early
		}
		return err
	}
	return a.answer(r, func() error {
		took := time.Since(started)
		a.say("%s version %d: %s written, %s in, %s stored, %.2f s (%s/s)", printable(d.Title), r.Version, plural(r.Written, "row"),
			size(counted.n), size(r.Bytes), took.Seconds(), size(int64(float64(counted.n)/took.Seconds())))
		return nil
	})
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (a *app) input(file string) (*os.File, error) {
	if file == "-" {
		return a.secrets.in, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError{err}
	}
	return f, nil
}

// target returns the dataset to write to: one that exists, or, unless rows are appended, a new one of that title.
func target(ctx context.Context, c *localapi.Client, title, dataset string, add bool) (d localapi.Dataset, made bool, err error) {
	if dataset != "" {
		d, err = find(ctx, c, dataset)
		return d, false, err
	}
	list, err := c.Datasets(ctx, title)
	switch {
	case err != nil:
		return d, false, err
	case len(list) == 1:
		return list[0], false, nil
	case len(list) > 1:
		return d, false, fault.New(fault.Conflict, "%d datasets have this title: name one by --dataset ID", len(list))
	case add:
		return d, false, fault.New(fault.NotFound, "no dataset has the title %q to append to", title)
	}
	d, err = c.CreateDataset(ctx, title, "")
	return d, err == nil, err
}

// undo removes a dataset that was made for a table that then could not be written, also after an interrupt.
func undo(c *localapi.Client, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = c.DeleteDataset(ctx, id) // what is left is an empty dataset, and the failure that is told matters more
}

// find returns the dataset that name stands for: a title, an id, or the beginning of an id (6 characters or more) that fits only one.
func find(ctx context.Context, c *localapi.Client, name string) (localapi.Dataset, error) {
	found, err := c.Datasets(ctx, name)
	if err != nil {
		return localapi.Dataset{}, err
	}
	if len(found) == 0 && idStart.MatchString(name) {
		all, err := c.Datasets(ctx, "")
		if err != nil {
			return localapi.Dataset{}, err
		}
		found = slices.DeleteFunc(all, func(d localapi.Dataset) bool { return !strings.HasPrefix(d.Id, name) })
	}
	switch len(found) {
	case 0:
		return localapi.Dataset{}, fault.New(fault.NotFound, "no dataset has the title or id %q", name)
	case 1:
		return found[0], nil
	}
	return localapi.Dataset{}, fault.New(fault.Conflict, "%d datasets fit %q: name one by its id", len(found), name)
}

// idStart is what the beginning of an id looks like.
var idStart = regexp.MustCompile(`^[a-z0-9-]{6,64}$`)

func (a *app) getCommand() *cobra.Command {
	var o getOptions
	var limit int64
	var file string
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Read rows of a dataset", Args: args(cobra.ExactArgs(1)),
		Long: "Reads rows of a dataset to standard output, or to a file that appears only when it is whole. Only the columns asked for are fetched, and of them\nonly what can hold rows that fulfil --where: comparisons (= != < <= > >=, IS NULL, IS NOT NULL) joined by AND. Text, dates and times stand in single\nquotes, names of columns that are more than a word in double quotes.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if cmd.Flags().Changed("limit") {
				o.Limit = &limit
			}
			if cmd.Flags().Changed("version") && o.Version < 1 {
				return usageError{errors.New("versions are counted from 1")}
			}
			if cmd.Flags().Changed("columns") && len(o.Columns) == 0 {
				return usageError{errors.New("--columns names no column")}
			}
			if cmd.Flags().Changed("where") && o.Where == "" {
				return usageError{errors.New("--where says nothing")}
			}
			if err := o.chooseFormat(file); err != nil {
				return err
			}
			return a.get(cmd.Context(), list[0], file, o.GetOptions)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.Columns, "columns", "c", nil, "only these columns, in this order")
	f.StringVarP(&o.Where, "where", "w", "", "only rows for which this is true: \"city = 'Paris' AND temp >= 20.5\"")
	f.Int64Var(&o.Version, "version", 0, "an older version (default the newest)")
	f.Int64VarP(&limit, "limit", "n", 0, "at most so many rows")
	f.StringVar(&o.Format, "format", "", "csv, ndjson, arrow or parquet (default by the name of the file, else csv)")
	f.StringVarP(&file, "output", "o", "", "write to this file")
	return cmd
}

type getOptions struct{ localapi.GetOptions }

// chooseFormat takes the format from the name of the file if it was not given; without a file it is CSV.
func (o *getOptions) chooseFormat(file string) error {
	if o.Format == "" && file != "" && file != "-" {
		if o.Format = formats[strings.ToLower(filepath.Ext(file))].Format; o.Format == "" && isRegular(file) {
			return usageError{errors.New("the name of the file does not tell the format: --format csv, ndjson, arrow or parquet")}
		}
	}
	if o.Format == "" {
		o.Format = "csv"
	}
	if binary := o.Format == "arrow" || o.Format == "parquet"; binary && (file == "" || file == "-") && term.IsTerminal(int(os.Stdout.Fd())) {
		return usageError{errors.New("this format is not for a terminal: name a file with -o, or redirect")}
	}
	return nil
}

// isRegular reports whether path is a regular file or nothing yet.
func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

func (a *app) get(ctx context.Context, name, file string, o localapi.GetOptions) error {
	c, err := a.agent(ctx)
	if err != nil {
		return err
	}
	d, err := find(ctx, c, name)
	if err != nil {
		return err
	}
	t, err := c.Get(ctx, d.Id, o)
	if err != nil {
		return err
	}
	defer t.Close()
	if file == "" || file == "-" {
		_, err := io.Copy(a.out, t)
		return err
	}
	bar := newProgress(!a.json && !a.quiet, d.Title, 0)
	n, err := writeWhole(file, bar.reader(t))
	bar.done(err == nil)
	if err != nil {
		return err
	}
	a.say("%s version %d: %s", file, t.Version, size(n))
	return nil
}

// writeWhole writes r to a file that takes its name only once all of it is there. What is no regular file (a pipe, a device) is written to
// as it comes; a link is followed.
func writeWhole(path string, r io.Reader) (n int64, err error) {
	if !isRegular(path) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return 0, usageError{err}
		}
		n, err = io.Copy(f, r)
		return n, errors.Join(err, f.Close())
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, usageError{fmt.Errorf("%s cannot be written: %w", path, errors.Unwrap(err))}
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if n, err = io.Copy(f, r); err != nil {
		return n, err
	}
	if err = f.Sync(); err != nil {
		return n, fmt.Errorf("write %s: %w", path, err)
	}
	if err = f.Close(); err != nil {
		return n, err
	}
	return n, os.Rename(f.Name(), path)
}
