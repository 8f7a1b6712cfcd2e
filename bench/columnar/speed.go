package main

import (
	"context"

	"coldframe/bench/figures"
)

// speed compares sealing into memory and reading from it with what the peers do on a RAM disk.
func (b *bench) speed(ctx context.Context, t *table) error {
	p, err := b.startPeers(t)
	if err != nil {
		return err
	}
	defer p.stop()
	d := t.in(newMemStore())
	put := func() (figures.Cost, error) {
		if d.version != nil {
			if err := d.remove(ctx); err != nil {
				return figures.Cost{}, err
			}
		}
		return d.put(ctx)
	}
	w, err := b.contest(t.name+" write", contestant{"ours", put},
		p.writes("duckdb_plain"), p.writes("duckdb_encrypted"), p.writes("pyarrow_encrypted"))
	if err != nil {
		return err
	}
	r, err := b.contest(t.name+" read", contestant{"ours", func() (figures.Cost, error) { return d.get(ctx) }},
		p.reads("duckdb_read", "duckdb_plain", t.rows), p.reads("pyarrow_read", "pyarrow_encrypted", t.rows))
	if err != nil {
		return err
	}
	name := "columnar." + t.name
	b.Note(name+".raw", t.raw/1e6, "MB")
	b.Note(name+".write", t.raw/1e6/medianWall(w["ours"]), "MB/s")
	b.Faster(name+".write_vs_duckdb_plain", w["ours"], w["duckdb_plain"], 1.2)
	b.Faster(name+".write_vs_duckdb_encrypted_mbedtls", w["ours"], w["duckdb_encrypted"], 2)
	b.Faster(name+".write_vs_pyarrow_encrypted", w["ours"], w["pyarrow_encrypted"], 1.5)
	b.Note(name+".size", d.size()/1e6, "MB")
	b.AtMost(name+".size_vs_smallest", d.size()/min(p.sizes["duckdb_plain"], p.sizes["duckdb_encrypted"], p.sizes["pyarrow_encrypted"]), "ratio", 1.05)
	b.Note(name+".read", t.raw/1e6/medianWall(r["ours"]), "MB/s")
	b.Faster(name+".read_vs_duckdb_plain", r["ours"], r["duckdb_read"], 1.5)
	b.Faster(name+".read_vs_pyarrow_decrypting", r["ours"], r["pyarrow_read"], 1.5)
	return nil
}

func medianWall(costs []figures.Cost) float64 {
	var walls []float64
	for _, c := range costs {
		walls = append(walls, c.Wall)
	}
	return figures.Median(walls)
}
