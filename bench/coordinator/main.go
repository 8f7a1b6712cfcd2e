// Command coordinator measures the coordinator. Operations a second of 32 writers on the embedded store, each waiting for its own: mail, fetches of
// prekeys and swaps of blobs with 1 KiB each, in turns with bare Badger with SyncWrites writing the same bytes to the same disk; mail over HTTP. Then 2,000
// agents that wait for events at one coordinator, a process of its own: memory for each, and the time from a message being sent to its receiver's event.
//
// Each figure is a line `name value unit target ok|short`, at the end. The exit code is 1 if one falls short.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"coldframe/bench/figures"
)

const (
	writers = 32
	size    = 1 << 10 // bytes of a body
	agents  = 2_000
	wakes   = 400
)

func main() {
	rounds := flag.Int("rounds", 5, "turns of each side")
	turn := flag.Duration("turn", 2*time.Second, "length of a turn")
	serving := flag.String("serve", "", "be the coordinator, over this folder (used by this program itself)")
	flag.Parse()
	var err error
	if *serving != "" {
		err = serve(*serving)
	} else {
		err = run(context.Background(), *rounds, *turn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "coordinator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, turn time.Duration) error {
	dir, err := os.MkdirTemp("", "coldframe-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var f figures.List
	if err := writes(ctx, dir, rounds, turn, &f); err != nil {
		return err
	}
	if err := connected(ctx, dir, turn, &f); err != nil {
		return err
	}
	return f.Print()
}
