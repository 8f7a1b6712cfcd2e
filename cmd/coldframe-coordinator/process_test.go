package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const together = 8 // blobs that change in one swap; the first is large

// writer is somebody who changes several blobs at once, over and over, and knows what was acknowledged.
type writer struct {
	heads [together]coordinator.BlobVersion
	made  int64 // the counter that all of them were acknowledged to have
}

// next is a swap of all blobs. Its nonce is made of the counter, so that it is the same when it is made again.
func (w *writer) next() (list []coordinator.Swap) {
	for i, h := range w.heads {
		s := coordinator.Swap{Name: fmt.Sprint("b-", i), Counter: h.Counter + 1, Previous: h.Hash, Nonce: bytes.Repeat([]byte{byte(h.Counter)}, 16), Body: []byte(fmt.Sprint(h.Counter + 1))}
		if h.Counter == 0 {
			s.Previous = make([]byte, coordinator.HashSize)
		}
		if i == 0 {
			s.Body = bytes.Repeat([]byte{byte(h.Counter + 1)}, 1<<20)
		}
		list = append(list, s)
	}
	return list
}

// write swaps until it fails.
func (w *writer) write(ctx context.Context, c *coordinator.Client) error {
	for {
		out, err := c.Swap(ctx, w.next()...)
		if err != nil {
			return err
		}
		copy(w.heads[:], out.Versions)
		w.made = w.heads[0].Counter
	}
}

// look wants all blobs at one counter, with their bodies, as much as the account counts, and goes on from there.
func (w *writer) look(t *testing.T, c *coordinator.Client) {
	t.Helper()
	bodies := true
	page, err := c.ReadBlobs(t.Context(), coordinator.BlobRead{Bodies: &bodies})
	if err != nil || len(page.Blobs) != together {
		t.Fatalf("%d blobs, %v", len(page.Blobs), err)
	}
	size := int64(0)
	for i, b := range page.Blobs {
		if b.Newest.Counter != page.Blobs[0].Newest.Counter {
			t.Fatalf("one blob is at %d, another at %d", b.Newest.Counter, page.Blobs[0].Newest.Counter)
		}
		w.heads[i] = b.Newest
		size += int64(len(*b.Body))
	}
	if a, err := c.Account(t.Context()); err != nil || a.Used.Bytes != size || a.Used.Blobs != together {
		t.Errorf("%+v are used, there are %d bytes, %v", a.Used, size, err)
	}
}

// TestF01_KilledMidSwap: after a kill all blobs of a swap are new or none is, nothing that was acknowledged is lost, and what was not can be made again.
func TestF01_KilledMidSwap(t *testing.T) {
	bin, dir := program(t), filepath.Join(t.TempDir(), "c")
	p, err := start(bin, dir, "--registration", "open")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.kill() }()
	w, as := registered(t, p)
	out, err := as(p).Swap(t.Context(), w.next()...)
	if err != nil {
		t.Fatal(err)
	}
	copy(w.heads[:], out.Versions)
	w.made = 1
	for k := range 6 {
		c := as(p)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.write(t.Context(), c); !errors.Is(err, fault.Unavailable) {
				t.Error(err)
			}
		})
		time.Sleep(time.Duration(150+k*53%200) * time.Millisecond)
		p.kill()
		wg.Wait()
		last := w.next()
		if p, err = start(bin, dir); err != nil {
			t.Fatal(err)
		}
		c = as(p)
		w.look(t, c)
		if now := w.heads[0].Counter; now != w.made && now != w.made+1 {
			t.Fatalf("%d was acknowledged, and %d is there", w.made, now)
		}
		if _, err := c.Swap(t.Context(), last...); err != nil {
			t.Fatalf("made again: %v", err)
		}
		w.look(t, c)
		w.made++
	}
	t.Logf("6 kills, %d swaps", w.made)
}

// registered registers a writer, and returns what makes a client of it for a process.
func registered(t *testing.T, p *process) (*writer, func(*process) *coordinator.Client) {
	t.Helper()
	var session coordinator.Session
	as := func(p *process) *coordinator.Client {
		t.Helper()
		c, err := coordinator.New(p.url, coordinator.Options{Session: session, Save: func(s coordinator.Session) error { session = s; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := register(t.Context(), as(p), 1); err != nil {
		t.Fatal(err)
	}
	return &writer{}, as
}

// TestF14_BackupWhileWriting: a backup of a coordinator that is written to is of one moment, after what was acknowledged before it began.
func TestF14_BackupWhileWriting(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	p, err := start(bin, filepath.Join(dir, "c"), "--registration", "open")
	if err != nil {
		t.Fatal(err)
	}
	w, as := registered(t, p)
	ctx, stop := context.WithCancel(t.Context())
	began := make(chan struct{})
	var wg sync.WaitGroup
	c := as(p)
	wg.Go(func() {
		defer stop()
		for n := 0; ctx.Err() == nil; n++ {
			out, err := c.Swap(t.Context(), w.next()...)
			if err != nil {
				t.Error(err)
				return
			}
			copy(w.heads[:], out.Versions)
			if n == 5 {
				close(began)
			}
		}
	})
	<-began
	var copies []string
	for i := range 3 {
		file := filepath.Join(dir, fmt.Sprint("copy-", i))
		if out, err := exec.Command(bin, "--data-dir", filepath.Join(dir, "c"), "backup", file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		copies = append(copies, file)
	}
	stop()
	wg.Wait()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	for i, file := range copies {
		to := filepath.Join(dir, fmt.Sprint("to-", i))
		if out, err := exec.Command(bin, "--data-dir", to, "restore", file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if p, err = start(bin, to); err != nil {
			t.Fatal(err)
		}
		c, err := coordinator.New(p.url, coordinator.Options{})
		if err := errors.Join(err, login(t.Context(), c, 1)); err != nil {
			t.Fatal(err)
		}
		before := w.heads[0].Counter
		w.look(t, c)
		if now := w.heads[0].Counter; now < 6 || i == 0 && now > before {
			t.Errorf("the backup has %d", now)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestDrainEndsStreams: streams of events go on while health says that the coordinator stops, and end with it, which exits in time and with 0.
func TestDrainEndsStreams(t *testing.T) {
	p, err := start(program(t), filepath.Join(t.TempDir(), "c"), "--drain", "1s", "--registration", "open")
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	w, as := registered(t, p)
	c := as(p)
	events, ended := make(chan string, 64), make(chan struct{})
	go func() {
		for n, err := range c.Follow(t.Context(), "", func() {}) {
			if err != nil {
				close(ended)
				return
			}
			events <- n.Event.Type
		}
	}()
	if first := <-events; first != "resync" {
		t.Errorf("%s came first", first)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if _, err := c.Swap(t.Context(), w.next()...); err != nil {
		t.Errorf("a swap while it drains: %v", err)
	}
	if next := <-events; next != "blobs" {
		t.Errorf("%s came while it drains", next)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream goes on")
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, line := range p.lines() {
		if line["operation"] == "streamEvents" && line["aborted"] != false {
			t.Errorf("the stream was cut: %v", line)
		}
	}
}
