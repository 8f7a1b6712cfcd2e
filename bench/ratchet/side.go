package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// side is one of the two processes that compete: a request a line, an answer a line. Only the one that was asked works.
type side struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// answer has the fields that a request is about.
type answer struct {
	Seconds float64 `json:"seconds"` // of processor time

	Memory float64 `json:"memory"` // bytes of an open session
	Stored float64 `json:"stored"` // of its record
	Sealed float64 `json:"sealed"` // of its sealed record
	Saved  float64 `json:"saved"`  // of the record, for one message, before they are sealed
}

// startOurs starts this program once more.
func startOurs(core int, profile string) (*side, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(core, self, "-serve", "-cpuprofile", profile)
}

// startLibsignal starts libsignal.mjs, with the room for young objects that suits it best of those tried (2, 16, 64, 128 MB).
// interop/libsignal/install has the client, unless COLDFRAME_LIBSIGNAL names a folder.
func startLibsignal(core int) (*side, error) {
	home := os.Getenv("COLDFRAME_LIBSIGNAL")
	if home == "" {
		install := exec.Command("interop/libsignal/install")
		install.Stderr = os.Stderr
		out, err := install.Output()
		if err != nil {
			return nil, fmt.Errorf("install the official client (run this from the root of the repository): %w", err)
		}
		home = strings.TrimSpace(string(out))
	}
	if err := os.Setenv("COLDFRAME_LIBSIGNAL", home); err != nil {
		return nil, err
	}
	return start(core, "node", "--expose-gc", "--max-semi-space-size=64", filepath.Join("bench", "ratchet", "libsignal.mjs"))
}

// start starts a program on one core: all its threads, so that neither side has help from another core.
func start(core int, command ...string) (*side, error) {
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, command...)...)
	cmd.Env = append(os.Environ(), "UV_THREADPOOL_SIZE=1", "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &side{cmd: cmd, in: in, out: bufio.NewScanner(out)}, cmd.Start()
}

func (s *side) ask(request string) (answer, error) {
	var a answer
	if _, err := fmt.Fprintln(s.in, request); err != nil {
		return a, err
	}
	if !s.out.Scan() {
		return a, fmt.Errorf("%s gave no answer to %q", s.cmd.Args[3], request)
	}
	return a, json.Unmarshal(s.out.Bytes(), &a)
}

func (s *side) stop() {
	s.in.Close()
	s.cmd.Wait()
}
