package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"coldframe/bench/columnar/agent"
	"coldframe/bench/figures"
	"coldframe/columnar/columnartest"
	"coldframe/localapi"
)

// agent compares put and get through a real agent with the folder store with arrow-go alone, which writes and reads plain zstd Parquet.
func (b *bench) agent(ctx context.Context) error {
	t := b.mixed()
	path, parquet, plain := filepath.Join(b.work, "table.arrow"), filepath.Join(b.work, "plain.parquet"), filepath.Join(b.work, "plain")
	if err := t.file(path); err != nil {
		return err
	}
	if out, err := exec.Command("go", "build", "-o", plain, "./bench/plain").CombinedOutput(); err != nil {
		return fmt.Errorf("build the peer: %w\n%s", err, out)
	}
	a, id, err := startAgent(ctx, b.work+"/speed")
	if err != nil {
		return err
	}
	defer a.Stop()
	// The agent is a process of its own: its CPU seconds are asked for.
	measured := func(fn func() error) func() (figures.Cost, error) {
		return func() (figures.Cost, error) {
			before := a.CPUSeconds()
			cost, err := figures.Measure(fn)
			cost.CPU = a.CPUSeconds() - before
			return cost, err
		}
	}
	c, err := b.contest("agent",
		contestant{"arrow_write", func() (figures.Cost, error) { return arrowGo(plain, "write", path, parquet) }},
		contestant{"put", measured(func() error { return putFile(ctx, a.Client, id, path) })},
		contestant{"arrow_read", func() (figures.Cost, error) { return arrowGo(plain, "read", parquet) }},
		contestant{"get", measured(func() error { return getAll(ctx, a.Client, id) })})
	if err != nil {
		return err
	}
	b.Note("agent.put", t.raw/1e6/medianWall(c["put"]), "MB/s")
	b.Note("agent.get", t.raw/1e6/medianWall(c["get"]), "MB/s")
	b.Faster("agent.put_vs_arrow_plain", c["put"], c["arrow_write"], 0.8)
	b.Faster("agent.get_vs_arrow_plain", c["get"], c["arrow_read"], 0.8)
	return b.appended(ctx, a.Client, id)
}

// appended puts 10 MB onto the table and reports what that uploaded.
func (b *bench) appended(ctx context.Context, c *localapi.Client, id string) error {
	small := newMixed(10_000_000 / columnartest.RowBytes)
	result, err := putStream(ctx, c, id, small, 0, localapi.PutOptions{Format: "arrow", Append: true})
	if err != nil {
		return err
	}
	b.AtMost("agent.append_10MB_uploads", float64(result.Bytes)/1e6, "MB", 12)
	return nil
}

// memory reports the highest resident size of an agent while it takes and gives a long stream, beyond what it had before; the argon2
// buffer is given back by then. The stream is made as it is sent.
func (b *bench) memory(ctx context.Context) error {
	t := b.mixed()
	a, id, err := startAgent(ctx, b.work+"/memory")
	if err != nil {
		return err
	}
	defer a.Stop()
	idle := a.ResidentMiB()
	b.Note("agent.rss_idle", idle, "MiB")
	in := func() error {
		_, err := putStream(ctx, a.Client, id, t, b.stream, localapi.PutOptions{Format: "arrow"})
		return err
	}
	out := func() error { return getAll(ctx, a.Client, id) }
	for _, way := range []struct {
		name string
		run  func() error
	}{{"in", in}, {"out", out}} {
		if err := a.ResetPeak(); err != nil {
			return err
		}
		cost, err := figures.Measure(way.run)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("agent.rss_%gGB_%s", b.stream/1e9, way.name)
		b.Note(name+"_took", cost.Wall, "s")
		b.AtMost(name+"_over_idle", a.PeakMiB()-idle, "MiB", 256)
	}
	return nil
}

func startAgent(ctx context.Context, dir string) (*agent.Agent, string, error) {
	a, err := agent.Start(dir)
	if err != nil {
		return nil, "", err
	}
	d, err := a.Client.CreateDataset(ctx, "bench", "")
	if err != nil {
		a.Stop()
		return nil, "", err
	}
	return a, d.Id, nil
}

// putStream sends the table so often that it has so many bytes.
func putStream(ctx context.Context, c *localapi.Client, id string, t *table, bytes float64, o localapi.PutOptions) (localapi.WriteResult, error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(t.stream(w, bytes))
	}()
	result, err := c.Put(ctx, id, r, o)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	<-done
	return result, err
}

func putFile(ctx context.Context, c *localapi.Client, id, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = c.Put(ctx, id, in, localapi.PutOptions{Format: "arrow"})
	return err
}

func getAll(ctx context.Context, c *localapi.Client, id string) error {
	r, err := c.Get(ctx, id, localapi.GetOptions{Format: "arrow"})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// arrowGo runs bench/plain, which measures itself.
func arrowGo(program string, args ...string) (cost figures.Cost, err error) {
	out, err := output(program, args...)
	if err != nil {
		return cost, fmt.Errorf("peer: %w", err)
	}
	_, err = fmt.Sscan(out, &cost.Wall, &cost.CPU)
	return cost, err
}
