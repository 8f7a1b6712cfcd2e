package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"coldframe/bench/figures"
	"coldframe/columnar"
	"coldframe/columnar/dir"
	"coldframe/columnar/query"
)

const (
	groupBy = `SELECT city, count(*), sum(price), avg(price) FROM mixed GROUP BY city`
	cities  = 200
)

// query compares a statement over two of the columns, from a folder, with DuckDB on its own plain file on the RAM disk.
func (b *bench) query(ctx context.Context) error {
	t := b.mixed()
	p, err := b.startPeers(t)
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := p.writes("duckdb_plain").run(); err != nil {
		return err
	}
	store, err := dir.New(filepath.Join(b.work, "objects"), dir.Options{})
	if err != nil {
		return err
	}
	d := t.in(store)
	if _, err := d.put(ctx); err != nil {
		return err
	}
	program, err := filepath.Abs("bin/coldframe-engine")
	if err != nil {
		return err
	}
	engine := query.New(query.Options{
		Program: program, Threads: 2, MemoryMiB: 1024, DataMiB: 2048, ResultMiB: 64, Time: time.Minute, Spool: b.work,
		Spare: time.Minute,
	})
	defer engine.Rest()
	if err := engine.Warm(ctx); err != nil {
		return err
	}
	q, err := b.contest("group by",
		contestant{"ours", func() (figures.Cost, error) { return d.ask(ctx, engine) }},
		contestant{"duckdb", func() (figures.Cost, error) { return p.ask("duckdb_query", "duckdb_plain", groupBy, cities) }})
	if err != nil {
		return err
	}
	b.Slower("columnar.mixed.group_by_vs_duckdb_plain", q["ours"], q["duckdb"], 3)
	return nil
}

// ask has a process that was started ahead, and waits until the next one is ready: that it starts is not to disturb the peer.
func (d *dataset) ask(ctx context.Context, engine query.Engine) (figures.Cost, error) {
	cost, err := figures.Measure(func() error {
		r, err := engine.Query(ctx, groupBy, func(ctx context.Context, _ string) (*columnar.Image, error) {
			return columnar.NewImage(ctx, d.store, d.version, d)
		})
		if err != nil {
			return err
		}
		defer r.Close()
		for rows := 0; ; {
			batch, err := r.Next()
			if err == io.EOF && rows == cities { //nolint:errorlint // a failure that wraps io.EOF is not the end
				return nil
			}
			if err != nil {
				return fmt.Errorf("after %d rows: %w", rows, err)
			}
			rows += int(batch.NumRows())
			batch.Release()
		}
	})
	if err != nil {
		return cost, err
	}
	return cost, engine.Warm(ctx)
}
