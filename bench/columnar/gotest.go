package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// cipher reports what encryption costs a whole write and a whole read, and how fast a file is unsealed. Only the tests of package pme have a
// sealer that copies.
func (b *bench) cipher(context.Context) error {
	out, err := goTest(b.env(), "./columnar/pme", "-run", "^$", "-bench", "EncryptionCost|UnsealFile", "-benchtime", "1x")
	if err != nil {
		return err
	}
	for _, way := range []string{"write", "read"} {
		b.AtMost("columnar.encryption_cpu_"+way, out.value("columnar.encryption."+way), "%", 3)
		b.Note("columnar.encryption_cpu_"+way+"_without", out.value("columnar.without."+way), "s")
		b.Note("columnar.encryption_cpu_"+way+"_with", out.value("columnar.with."+way), "s")
		b.Note("columnar.hashing_cpu_"+way, out.value("columnar.hashing."+way), "%")
	}
	b.Note("columnar.unseal_file", out.value("columnar.unseal"), "MB/s")
	b.Note("columnar.unseal_gcm", out.value("columnar.unseal.gcm"), "MB/s")
	b.AtLeast("columnar.unseal_file_vs_gcm", out.value("columnar.unseal.ratio"), "ratio", 0.8)
	return out.err
}

// subset reports what reading some columns of a table costs at a real bucket, as a test counts it in front of the server.
func (b *bench) subset(context.Context) error {
	gateway, err := output("scripts/tool", "versitygw")
	if err != nil {
		return err
	}
	out, err := goTest(append(b.env(), "COLDFRAME_VERSITYGW="+gateway), "./columnar", "-v", "-run", "^TestColumnSubsetFromS3$")
	if err != nil {
		return err
	}
	b.AtMost("columnar.subset_bytes_vs_asked_for", out.value("columnar.subset.bytes"), "ratio", 1.02)
	b.AtMost("columnar.subset_holes", out.value("columnar.subset.holes"), "%", 10)
	b.AtMost("columnar.subset_requests_beyond_ranges", out.value("columnar.subset.requests"), "", 1)
	return out.err
}

// env is the environment of a test that measures.
func (b *bench) env() []string {
	return append(os.Environ(), fmt.Sprintf("COLDFRAME_BENCH_ROWS=%d", b.rows), fmt.Sprintf("COLDFRAME_BENCH_ROUNDS=%d", b.rounds))
}

// printed is what a test said in lines `name value unit`.
type printed struct {
	values map[string]float64
	text   []byte
	err    error // a figure was asked for that is not there
}

func goTest(env []string, pkg string, args ...string) (*printed, error) {
	cmd := exec.Command("go", append(append([]string{"test", "-count=1"}, args...), pkg)...) //nolint:gosec // our own tests
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("tests of %s: %w\n%s", pkg, err, out)
	}
	p := &printed{values: map[string]float64{}, text: out}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		if v, err := strconv.ParseFloat(words[1], 64); err == nil {
			p.values[words[0]] = v
		}
	}
	return p, nil
}

func (p *printed) value(name string) float64 {
	v, ok := p.values[name]
	if !ok {
		p.err = fmt.Errorf("no figure %s in:\n%s", name, p.text)
	}
	return v
}
