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

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) dataCommands() []*cobra.Command {
	return []*cobra.Command{
		a.putCommand(), a.getCommand(), a.listCommand(), a.showCommand(), a.versionsCommand(), a.renameCommand(), a.removeCommand(),
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
	".parquet": {Format: "parquet"},
}

func (a *app) putCommand() *cobra.Command {
	var title, dataset string
	var o localapi.PutOptions
	cmd := &cobra.Command{
		Use: "put FILE|-", Short: "Write a table as the new version of a dataset", Args: args(cobra.ExactArgs(1)),
		Long: "Writes a table as the new version of the dataset called --title (made if there is none), or of --dataset (title or id). The format follows the\nend of the file's name (.csv .tsv .ndjson .jsonl .arrow .arrows .parquet) unless --format says it. The version is there whole or not at all.",
		RunE: func(cmd *cobra.Command, list []string) error {
			byName, known := formats[strings.ToLower(filepath.Ext(list[0]))]
			if o.Format == "" && !known {
				return usageError{errors.New("the name of the file does not tell the format: --format csv, ndjson, arrow or parquet")}
			}
			if o.Format == "" {
				o.Format = byName.Format
			}
			if o.Delimiter == "" {
				o.Delimiter = byName.Delimiter
			}
			if (title == "") == (dataset == "") {
				return usageError{errors.New("one of --title and --dataset is needed")}
			}
			return a.put(cmd.Context(), list[0], title, dataset, o)
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
	f.StringVar(&o.IdempotencyKey, "idempotency-key", "", "the same call with the same key has one effect")
	return cmd
}

func (a *app) put(ctx context.Context, file, title, dataset string, o localapi.PutOptions) error {
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
	d, err := target(ctx, c, title, dataset)
	if err != nil {
		return err
	}
	started := time.Now()
	bar := newProgress(!a.json && !a.quiet, d.Title, o.Size)
	counted := &counter{r: in}
	r, err := c.Put(ctx, d.Id, bar.reader(counted), o)
	bar.done(err == nil)
	if err != nil {
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

// target returns the dataset to write to: one that exists, or a new one of that title.
func target(ctx context.Context, c *localapi.Client, title, dataset string) (localapi.Dataset, error) {
	if dataset != "" {
		return find(ctx, c, dataset)
	}
	list, err := c.Datasets(ctx, title)
	if err != nil {
		return localapi.Dataset{}, err
	}
	switch len(list) {
	case 0:
		return c.CreateDataset(ctx, title, "")
	case 1:
		return list[0], nil
	}
	return localapi.Dataset{}, fault.New(fault.Conflict, "%d datasets have this title: name one by --dataset ID", len(list))
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
	var o localapi.GetOptions
	var limit int64
	var file string
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Read rows of a dataset", Args: args(cobra.ExactArgs(1)),
		Long: "Reads rows of a dataset to standard output, or to a file that appears only when it is whole. Only the columns asked for are fetched.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if cmd.Flags().Changed("limit") {
				o.Limit = &limit
			}
			if o.Format == "" {
				o.Format = formats[strings.ToLower(filepath.Ext(file))].Format
			}
			if o.Format == "" {
				o.Format = "csv"
			}
			return a.get(cmd.Context(), list[0], file, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.Columns, "columns", "c", nil, "only these columns, in this order")
	f.Int64Var(&o.Version, "version", 0, "an older version (default the newest)")
	f.Int64VarP(&limit, "limit", "n", 0, "at most so many rows")
	f.StringVar(&o.Format, "format", "", "csv, ndjson, arrow or parquet (default by the name of the file, else csv)")
	f.StringVarP(&file, "output", "o", "", "write to this file")
	return cmd
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
	if file == "" {
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

// writeWhole writes r to a file that takes its name only once all of it is there.
func writeWhole(path string, r io.Reader) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, usageError{err}
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
