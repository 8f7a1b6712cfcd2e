package main

import (
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows one transfer on a terminal: bytes, rate and, when the total is known, remaining time. Elsewhere it shows nothing.
type progress struct {
	pool *mpb.Progress
	bar  *mpb.Bar
}

// newProgress starts a bar named name; total 0 means unknown.
func newProgress(show bool, name string, total int64) *progress {
	if !show || !term.IsTerminal(int(os.Stderr.Fd())) {
		return &progress{}
	}
	pool := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(60))
	before := []decor.Decorator{decor.Name(name + " "), decor.CountersKiloByte("% .1f / % .1f")}
	after := []decor.Decorator{decor.AverageSpeed(decor.SizeB1000(0), " % .1f"), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)}
	if total <= 0 {
		before[1] = decor.CurrentKiloByte("% .1f")
		after = after[:1]
	}
	bar := pool.AddBar(total, mpb.PrependDecorators(before...), mpb.AppendDecorators(after...))
	return &progress{pool, bar}
}

// reader counts what is read from r.
func (p *progress) reader(r io.Reader) io.Reader {
	if p.bar == nil {
		return r
	}
	return p.bar.ProxyReader(r)
}

// done ends the bar; a failed transfer leaves it where it stood.
func (p *progress) done(ok bool) {
	if p.bar == nil {
		return
	}
	if ok {
		p.bar.SetTotal(-1, true)
	} else {
		p.bar.Abort(false)
	}
	p.pool.Wait()
}
