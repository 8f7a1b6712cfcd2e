package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"

	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// serve is our side: the requests of libsignal.mjs, and `reopen N`.
func serve(in io.Reader, out io.Writer, profile string) error {
	if profile != "" {
		w, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer w.Close()
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	a, b, err := connected()
	if err != nil {
		return err
	}
	s := &server{a: a, b: b}
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		answer, err := s.answer(lines.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// server holds the two parties of the contests.
type server struct {
	a, b     *party
	inFlight []ratchet.Message
}

func (s *server) answer(line string) (answer, error) {
	var request string
	var count int
	_, _ = fmt.Sscan(line, &request, &count)
	switch request {
	case "encrypt":
		return measured(func() error { return s.encrypt(count, false) })
	case "reopen":
		a, err := measured(func() error { return s.encrypt(count, true) })
		if err != nil {
			return a, err
		}
		return a, s.decrypt()
	case "decrypt":
		return measured(s.decrypt)
	case "pairs":
		return measured(func() error { return pairs(s.a, s.b, count) })
	case "idle":
		return idleSessions(count)
	}
	return answer{}, fmt.Errorf("no such request")
}

func (s *server) encrypt(count int, reopen bool) error {
	for range count {
		if reopen {
			if err := s.a.reopen(); err != nil {
				return err
			}
		}
		m, err := s.a.encrypt()
		if err != nil {
			return err
		}
		s.inFlight = append(s.inFlight, m)
	}
	return nil
}

func (s *server) decrypt() error {
	for _, m := range s.inFlight {
		if err := s.b.decrypt(m); err != nil {
			return err
		}
	}
	s.inFlight = s.inFlight[:0]
	return nil
}

func pairs(a, b *party, count int) error {
	for range count {
		if err := oneWay(a, b); err != nil {
			return err
		}
		if err := oneWay(b, a); err != nil {
			return err
		}
	}
	return nil
}

func oneWay(from, to *party) error {
	m, err := from.encrypt()
	if err != nil {
		return err
	}
	return to.decrypt(m)
}

// measured tells the processor time of work, of all threads, the collector's too.
func measured(work func() error) (answer, error) {
	before, err := processorTime()
	if err != nil {
		return answer{}, err
	}
	if err := work(); err != nil {
		return answer{}, err
	}
	after, err := processorTime()
	return answer{Seconds: (after - before).Seconds()}, err
}

func processorTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

const differentSessions = 100

// idleSessions keeps so many sessions open. Session i of a hundred has seen i pairs; the others are opened from the same records. Each
// makes one message more, so that it holds what a session in use does.
func idleSessions(count int) (answer, error) {
	parties, total, err := sessionsInAllPhases()
	if err != nil {
		return answer{}, err
	}
	open := make([]*ratchet.Session, count)
	before := heap()
	for i := range open {
		p := parties[i%differentSessions]
		if open[i], err = p.Store.Session(p.Local, p.peer); err != nil {
			return answer{}, err
		}
		if _, err := open[i].Encrypt(plaintext, ratchettest.Day, func(ratchet.Change) error { return nil }); err != nil {
			return answer{}, err
		}
	}
	total.Memory = (heap() - before) / float64(count)
	runtime.KeepAlive(open)
	return total, nil
}

// sessionsInAllPhases returns the parties, and what their records measure on average.
func sessionsInAllPhases() (parties []*party, mean answer, err error) {
	for i := range differentSessions {
		a, b, err := connected()
		if err != nil {
			return nil, mean, err
		}
		if err := pairs(a, b, 1+i); err != nil {
			return nil, mean, err
		}
		parts, err := a.Store.Parts(a.peer)
		if err != nil {
			return nil, mean, err
		}
		for _, p := range parts {
			mean.Stored += float64(len(p.Body)) / differentSessions
		}
		mean.Sealed += float64(a.Store.Size(a.peer)) / differentSessions
		mean.Saved += float64(a.savedBytes) / float64(a.saves) / differentSessions
		parties = append(parties, a)
	}
	return parties, mean, nil
}

// heap returns the bytes of what is reachable.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
