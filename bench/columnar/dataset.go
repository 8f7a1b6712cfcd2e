package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"coldframe/bench/figures"
	"coldframe/columnar"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// dataset is one version of a table, with what a daemon keeps about it.
type dataset struct {
	table   *table
	store   columnar.Store
	columns []columnar.ColumnID
	keys    *columnar.VersionKeys
	version *columnar.Manifest
}

func (t *table) in(store columnar.Store) *dataset {
	d := &dataset{table: t, store: store}
	for range t.schema.NumFields() {
		d.columns = append(d.columns, columnar.NewColumnID())
	}
	return d
}

// put writes the table under new keys, as the first version of a dataset, and signs the manifest.
func (d *dataset) put(ctx context.Context) (figures.Cost, error) {
	runtime.GC() // what came before is not charged
	return figures.Measure(func() error {
		owner, metadata := signed.Signer{User: "ada", Key: secret.Random()}, columnar.NewMetadataKey()
		_, roster, err := columnar.NewRoster(owner, make([]byte, 32), columnar.DefaultRetention, time.Now())
		if err != nil {
			return err
		}
		d.keys = columnar.NewVersionKeys(d.columns)
		parts, err := d.parts(ctx, roster.ID)
		if err != nil {
			return err
		}
		_, d.version, err = columnar.Draft{
			Roster: roster, Schema: d.table.schema, Columns: d.columns, Keys: d.keys, Parts: parts, Metadata: metadata, Now: time.Now(),
		}.Sign(ctx, d.store, register, owner)
		if err != nil {
			return err
		}
		return d.version.Unseal(metadata)
	})
}

func register(columnar.ObjectName) error { return nil }

func (d *dataset) parts(ctx context.Context, id columnar.DatasetID) ([]columnar.Part, error) {
	w, err := columnar.NewWriter(ctx, d.store, columnar.WriterOptions{
		Dataset: id, Version: 1, Schema: d.table.schema, Columns: d.columns, Keys: d.keys, Register: register, SizeHint: int64(d.table.raw),
	})
	if err != nil {
		return nil, err
	}
	for _, b := range d.table.batches {
		if err := w.Write(b); err != nil {
			_ = w.Abort() // the first error counts
			return nil, err
		}
	}
	return w.Close()
}

// get reads all rows of all columns, each batch let go before the next is taken.
func (d *dataset) get(ctx context.Context) (figures.Cost, error) {
	runtime.GC()
	return figures.Measure(func() error {
		r, err := columnar.NewReader(ctx, d.store, d.version, d, columnar.ReadOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		for rows := 0; ; {
			batch, err := r.Next()
			if err == io.EOF && rows != d.table.rows { //nolint:errorlint // a failure that wraps io.EOF is not the end
				return fmt.Errorf("%d rows of %d", rows, d.table.rows)
			}
			if err == io.EOF { //nolint:errorlint // as above
				return nil
			}
			if err != nil {
				return err
			}
			rows += int(batch.NumRows())
			batch.Release()
		}
	})
}

// VersionKeys makes the dataset columnar.Keys.
func (d *dataset) VersionKeys(context.Context, columnar.DatasetID, columnar.Version) (*columnar.VersionKeys, error) {
	return d.keys.Clone(), nil
}

// size returns the length of all objects.
func (d *dataset) size() (n float64) {
	for _, p := range d.version.Parts {
		n += float64(p.Length)
	}
	return n
}

// remove deletes the objects.
func (d *dataset) remove(ctx context.Context) error {
	for _, p := range d.version.Parts {
		if err := d.store.Delete(ctx, p.Name); err != nil {
			return err
		}
	}
	return nil
}
