// Command ratchet measures messages of 100 bytes on one core, side by side with the official libsignal of npm, in short turns on the same
// core: encrypting in one chain, decrypting in one chain, and pairs of messages with a new Diffie-Hellman key each. Here the record is
// serialised and sealed with AES-256-GCM-SIV at every message; libsignal runs through node and serialises its record at every message,
// into a Map. Neither writes to a disk. Then: the memory of 10,000 idle sessions.
//
// Each figure is a line `name value unit target ok|short`, at the end. The exit code is 1 if one falls short.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

const sessions = 10_000

// turn is how much each side does in one turn: a quarter of a second or less.
const (
	chainLength = 1_000 // messages
	pairCount   = 150
)

func main() {
	rounds := flag.Int("rounds", 31, "rounds of each comparison")
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
	defer libsignal.stop()
	var f figures
	if err := speed(ours, libsignal, &f, rounds); err != nil {
		return err
	}
	if err := idle(ours, libsignal, &f); err != nil {
		return err
	}
	fmt.Println(strings.Join(f.lines, "\n"))
	if f.short {
		return fmt.Errorf("a figure falls short of its target")
	}
	return nil
}

// contest is one thing that both sides do. A pair is two messages.
type contest struct {
	name     string
	request  string
	messages int
	target   float64 // how many times as fast ours has to be
}

var contests = []contest{
	{"encrypt", fmt.Sprintf("encrypt %d", chainLength), chainLength, 5},
	{"decrypt", "decrypt", chainLength, 5},
	{"dh_pairs", fmt.Sprintf("pairs %d", pairCount), 2 * pairCount, 2},
}

// speed holds the contests in turns. The first two rounds warm up. Between two rounds the post-quantum ratchet moves on with the pairs,
// so that the chains begin in all of its phases.
func speed(ours, libsignal *side, f *figures, rounds int) error {
	const warm = 2
	rates := map[string][3][]float64{} // ours, libsignal's, ratio
	for round := range rounds + warm {
		for _, c := range contests {
			mine, theirs, err := oneTurnEach(ours, libsignal, c.request, round%2 == 0)
			if err != nil {
				return err
			}
			if round < warm {
				continue
			}
			r := rates[c.name]
			for i, v := range []float64{float64(c.messages) / mine, float64(c.messages) / theirs, theirs / mine} {
				r[i] = append(r[i], v)
			}
			rates[c.name] = r
		}
	}
	for _, c := range contests {
		r := rates[c.name]
		f.note("ratchet."+c.name, median(r[0]), "msg/s")
		f.note("ratchet."+c.name+"_libsignal", median(r[1]), "msg/s")
		f.add("ratchet."+c.name+"_vs_libsignal", median(r[2]), "ratio", c.target)
		slices.Sort(r[2])
		fmt.Printf("%s: %d rounds, ratios from %.1f to %.1f\n", c.name, rounds, r[2][0], r[2][len(r[2])-1])
	}
	return reopening(ours, f, rounds)
}

func oneTurnEach(ours, libsignal *side, request string, oursFirst bool) (mine, theirs float64, err error) {
	order := []*side{ours, libsignal}
	if !oursFirst {
		slices.Reverse(order)
	}
	for _, s := range order {
		a, err := s.ask(request)
		if err != nil {
			return 0, 0, err
		}
		if s == ours {
			mine = a.Seconds
		} else {
			theirs = a.Seconds
		}
	}
	return mine, theirs, nil
}

// reopening tells what encrypting costs if the session is opened from its sealed record for every message, as libsignal's form of store
// has it, instead of staying open.
func reopening(ours *side, f *figures, rounds int) error {
	var rate []float64
	for range rounds {
		a, err := ours.ask(fmt.Sprintf("reopen %d", chainLength/4))
		if err != nil {
			return err
		}
		rate = append(rate, chainLength/4/a.Seconds)
	}
	f.note("ratchet.encrypt_reopened", median(rate), "msg/s")
	return nil
}

func idle(ours, libsignal *side, f *figures) error {
	for _, s := range []struct {
		*side
		suffix string
	}{{ours, ""}, {libsignal, "_libsignal"}} {
		a, err := s.ask(fmt.Sprintf("idle %d", sessions))
		if err != nil {
			return err
		}
		f.note("ratchet.idle_10000"+s.suffix, a.Memory*sessions/(1<<20), "MiB")
		f.note("ratchet.idle_one"+s.suffix, a.Memory, "bytes")
		f.note("ratchet.stored_one"+s.suffix, a.Stored, "bytes")
		if a.Sealed > 0 {
			f.note("ratchet.sealed_one"+s.suffix, a.Sealed, "bytes")
			f.note("ratchet.saved_per_message", a.Saved, "bytes")
		}
	}
	return nil
}

// figures collects the lines of the end.
type figures struct {
	lines []string
	short bool
}

func (f *figures) add(name string, value float64, unit string, bound float64) {
	verdict := "ok"
	if value < bound {
		verdict, f.short = "short", true
	}
	f.lines = append(f.lines, fmt.Sprintf("%-34s %10.3f %-6s >=%g %s", name, value, unit, bound, verdict))
}

func (f *figures) note(name string, value float64, unit string) {
	f.lines = append(f.lines, fmt.Sprintf("%-34s %10.0f %-6s - ok", name, value, unit))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
