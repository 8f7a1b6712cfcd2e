package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"coldframe/bench/figures"
	"coldframe/coordinator"
	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/storetest"
)

// serve is a coordinator with cheap logins and no rate limits, until standard input ends. It prints its URL.
func serve(dir string) (err error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	st, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	s, err := newState(ctx, st, agents)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return server.New(s, server.Options{Rates: server.Rates{}, Proxied: true}).Serve(ctx, l)
}

// child is that coordinator, from outside.
type child struct {
	cmd *exec.Cmd
	in  io.Closer
	url string
}

func startChild(dir string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, "-serve", dir)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.url, err = bufio.NewReader(out).ReadString('\n')
	c.url = strings.TrimSpace(c.url)
	return c, err
}

func (c *child) stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// resident returns the child's memory in bytes.
func (c *child) resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var total, pages float64
	_, err = fmt.Sscan(string(b), &total, &pages)
	return pages * float64(os.Getpagesize()), err
}

// connected measures a coordinator at which many agents wait.
func connected(ctx context.Context, dir string, turn time.Duration, f *figures.List) (err error) {
	c, err := startChild(filepath.Join(dir, "child"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	all, err := login(ctx, c.url)
	if err != nil {
		return err
	}
	over := &side{name: "mail over HTTP", op: func(w, n int) error {
		err := all[w].Send(ctx, string(storetest.UserN(writers+w)), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: make([]byte, size)})
		return err
	}}
	n, err := over.turn(turn)
	if err != nil {
		return err
	}
	f.Note(over.name, n, "op/s")
	shared.CloseIdleConnections()
	before, err := c.resident()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	woken, wait, err := listenAll(ctx, all)
	defer wait()
	defer stop()
	if err != nil {
		return err
	}
	after, err := c.resident()
	if err != nil {
		return err
	}
	f.Note("memory for each of 2,000 agents", (after-before)/agents/1024, "KiB")
	return latency(ctx, all, woken, f)
}

// shared makes the requests of all agents, so that connections are used again.
var shared = func() *http.Client {
	t := coordinator.NewTransport()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, writers
	return &http.Client{Transport: t}
}()

func login(ctx context.Context, url string) ([]*coordinator.Client, error) {
	all := make([]*coordinator.Client, agents)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range all {
		g.Go(func() error {
			c, err := coordinator.New(url, coordinator.Options{HTTP: shared})
			if err != nil {
				return err
			}
			user := string(storetest.UserN(i))
			all[i] = c
			return c.Login(ctx, coordinator.Login{User: &user, Proof: bytes32(i)})
		})
	}
	return all, g.Wait()
}

// listenAll lets every agent wait for events, and returns once all do.
func listenAll(ctx context.Context, all []*coordinator.Client) (woken []chan time.Time, wait func(), err error) {
	var listening, ended sync.WaitGroup
	woken = make([]chan time.Time, len(all))
	for i, c := range all {
		woken[i] = make(chan time.Time, 16)
		listening.Add(1)
		ended.Go(func() {
			for n, err := range c.Follow(ctx, "", func() {}) {
				switch {
				case err != nil:
					return
				case n.Event.Type == "resync":
					listening.Done()
				default:
					woken[i] <- time.Now()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { listening.Wait(); close(done) }()
	select {
	case <-done:
		return woken, ended.Wait, nil
	case <-time.After(2 * time.Minute):
		return woken, ended.Wait, errors.New("not all agents were let in")
	}
}

// latency sends messages, one at a time, and measures until the event is there: the time in which the message becomes durable is in it.
func latency(ctx context.Context, all []*coordinator.Client, woken []chan time.Time, f *figures.List) error {
	var took []float64
	for i := range wakes {
		to := (i*7 + 1) % len(all)
		start := time.Now()
		if err := all[0].Send(ctx, string(storetest.UserN(to)), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: make([]byte, size)}); err != nil {
			return err
		}
		select {
		case at := <-woken[to]:
			took = append(took, at.Sub(start).Seconds()*1000)
		case <-time.After(time.Minute):
			return errors.New("an event did not come")
		}
	}
	f.Note("wake-up, p50", figures.Quantile(took, 0.5), "ms")
	f.Note("wake-up, p99", figures.Quantile(took, 0.99), "ms")
	return nil
}
