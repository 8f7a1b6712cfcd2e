// Command ratchet measures messages of 100 bytes on one core, side by side with the official libsignal of npm, in short turns on the same
// core: encrypting in one chain, decrypting in one chain, and pairs of messages with a new Diffie-Hellman key each. Here the record is
// serialised and sealed with AES-256-GCM-SIV at every message; libsignal runs through node and serialises its record at every message,
// into a Map. Neither writes to a disk. Then: the memory of 10,000 idle sessions.
//
// Each figure is a line `name value unit target ok|FAIL`, at the end. The exit code is 1 if one falls short.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"

	"coldframe/bench/figures"
)

const sessions = 10_000

// The turns of both sides take about as long, half a second: what else the machine does then disturbs both alike, and either's collector
// runs a few times.
const (
	ourChain, theirChain = 32_000, 4_000 // messages
	ourPairs, theirPairs = 2_400, 600
	reopened             = 4_000 // messages
)

func main() {
	rounds := flag.Int("rounds", 15, "rounds of each comparison")
	core := flag.Int("core", runtime.NumCPU()-1, "the core that both sides are kept on")
	serving := flag.Bool("serve", false, "be our own side (used by this program itself)")
	profile := flag.String("cpuprofile", "", "write a profile of our own side to this file")
	flag.Parse()
	var err error
	if *serving {
		err = serve(os.Stdin, os.Stdout, *profile)
	} else {
		err = run(*rounds, *core, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratchet:", err)
		os.Exit(1)
	}
}

func run(rounds, core int, profile string) error {
	ours, err := startOurs(core, profile)
	if err != nil {
		return err
	}
	defer ours.stop()
	libsignal, err := startLibsignal(core)
	if err != nil {
		return err
	}
	var f figures.List
	err = speed(ours, libsignal, &f, rounds)
	libsignal.stop()
	if err != nil {
		return err
	}
	// What a process has in its memory cannot be told from what it has freed, so this asks a new one.
	if libsignal, err = startLibsignal(core); err != nil {
		return err
	}
	defer libsignal.stop()
	if err := idle(ours, libsignal, &f); err != nil {
		return err
	}
	return f.Print()
}

// contest is one thing that both sides do. A pair is two messages.
type contest struct {
	name         string
	ours, theirs turn
	target       float64 // how many times as fast we have to be
}

type turn struct {
	request  string
	messages float64
}

var contests = []contest{
	{"encrypt", turn{fmt.Sprint("encrypt ", ourChain), ourChain}, turn{fmt.Sprint("encrypt ", theirChain), theirChain}, 5},
	{"decrypt", turn{"decrypt", ourChain}, turn{"decrypt", theirChain}, 5},
	{"dh_pairs", turn{fmt.Sprint("pairs ", ourPairs), 2 * ourPairs}, turn{fmt.Sprint("pairs ", theirPairs), 2 * theirPairs}, 2},
}

// speed holds the contests in turns. The first two rounds warm up. Between two rounds the post-quantum ratchet moves on with the pairs,
// so that the chains begin in all of its phases.
func speed(ours, libsignal *side, f *figures.List, rounds int) error {
	const warm = 2
	rates := map[string][3][]float64{} // ours, libsignal's, ratio
	for round := range rounds + warm {
		for _, c := range contests {
			mine, theirs, err := oneTurnEach(ours, libsignal, c, round%2 == 0)
			if err != nil {
				return err
			}
			if round < warm {
				continue
			}
			r := rates[c.name]
			for i, v := range []float64{mine, theirs, mine / theirs} {
				r[i] = append(r[i], v)
			}
			rates[c.name] = r
		}
	}
	for _, c := range contests {
		r := rates[c.name]
		f.Note("ratchet."+c.name, figures.Median(r[0]), "msg/s")
		f.Note("ratchet."+c.name+"_libsignal", figures.Median(r[1]), "msg/s")
		f.AtLeast("ratchet."+c.name+"_vs_libsignal", figures.Median(r[2]), "ratio", c.target)
		slices.Sort(r[2])
		fmt.Printf("%s: %d rounds, ratios from %.1f to %.1f\n", c.name, rounds, r[2][0], r[2][len(r[2])-1])
	}
	return reopening(ours, f, rounds)
}

// oneTurnEach returns the messages per second of both.
func oneTurnEach(ours, libsignal *side, c contest, oursFirst bool) (mine, theirs float64, err error) {
	if oursFirst {
		if mine, err = ours.rate(c.ours); err != nil {
			return 0, 0, err
		}
		theirs, err = libsignal.rate(c.theirs)
		return mine, theirs, err
	}
	if theirs, err = libsignal.rate(c.theirs); err != nil {
		return 0, 0, err
	}
	mine, err = ours.rate(c.ours)
	return mine, theirs, err
}

func (s *side) rate(t turn) (float64, error) {
	a, err := s.ask(t.request)
	return t.messages / a.Seconds, err
}

// reopening tells what encrypting costs if the session is opened from its sealed record for every message, as libsignal's form of store
// has it, instead of staying open.
func reopening(ours *side, f *figures.List, rounds int) error {
	var rates []float64
	for range rounds {
		rate, err := ours.rate(turn{fmt.Sprint("reopen ", reopened), reopened})
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	f.Note("ratchet.encrypt_reopened", figures.Median(rates), "msg/s")
	return nil
}

func idle(ours, libsignal *side, f *figures.List) error {
	for _, s := range []struct {
		*side
		suffix string
	}{{ours, ""}, {libsignal, "_libsignal"}} {
		a, err := s.ask(fmt.Sprintf("idle %d", sessions))
		if err != nil {
			return err
		}
		f.Note("ratchet.idle_10000"+s.suffix, a.Memory*sessions/(1<<20), "MiB")
		f.Note("ratchet.idle_one"+s.suffix, a.Memory, "bytes")
		f.Note("ratchet.stored_one"+s.suffix, a.Stored, "bytes")
		if a.Sealed > 0 {
			f.Note("ratchet.sealed_one"+s.suffix, a.Sealed, "bytes")
			f.Note("ratchet.saved_per_message", a.Saved, "bytes")
		}
	}
	return nil
}
