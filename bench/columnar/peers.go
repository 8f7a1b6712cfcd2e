package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"coldframe/bench/figures"
)

// peers is a process with DuckDB and pyarrow that holds a table.
type peers struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	folder string
	sizes  map[string]float64 // of the files written, in bytes
}

// startPeers starts the process and waits until it has the table.
func (b *bench) startPeers(t *table) (*peers, error) {
	path := filepath.Join(b.shm, t.name+".arrow")
	if err := t.file(path); err != nil {
		return nil, err
	}
	defer os.Remove(path)
	p := &peers{cmd: exec.Command(filepath.Join(b.install, "bin/python"), "bench/columnar/peers.py", path), folder: b.shm, sizes: map[string]float64{}}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.out.Decode(&struct{}{}); err != nil {
		p.stop()
		return nil, fmt.Errorf("the peers do not start: %w", err)
	}
	return p, nil
}

func (p *peers) stop() {
	_ = p.in.Close() // it ends at the end of its input
	_ = p.cmd.Wait() // whatever it says
}

// ask lets the peers do something with a file of theirs, and expects so many rows of it.
func (p *peers) ask(do, file, sql string, rows int) (figures.Cost, error) {
	var answer struct {
		figures.Cost
		Rows  int
		Bytes float64
	}
	request := map[string]string{"do": do, "path": filepath.Join(p.folder, file+".parquet"), "sql": sql}
	if err := json.NewEncoder(p.in).Encode(request); err != nil {
		return figures.Cost{}, err
	}
	if err := p.out.Decode(&answer); err != nil {
		return figures.Cost{}, err
	}
	if answer.Rows != rows {
		return figures.Cost{}, fmt.Errorf("%s gives %d rows of %d", do, answer.Rows, rows)
	}
	p.sizes[file] = answer.Bytes
	return answer.Cost, nil
}

// writes and reads are contestants of that name.
func (p *peers) writes(name string) contestant {
	return contestant{name, func() (figures.Cost, error) { return p.ask(name, name, "", 0) }}
}

func (p *peers) reads(name, file string, rows int) contestant {
	return contestant{name, func() (figures.Cost, error) { return p.ask(name, file, "", rows) }}
}

// output returns what a command prints.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
