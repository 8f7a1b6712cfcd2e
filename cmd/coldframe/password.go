package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"coldframe/internal/fault"
)

// secrets asks for passwords and other secrets: on the terminal without echo, or, when standard input is no terminal, one line each from
// there. They are never arguments and never in the environment.
type secrets struct {
	ctx   context.Context // an interrupt ends the wait
	in    *os.File
	lines *bufio.Reader
	out   io.Writer // prompts
}

func newSecrets(ctx context.Context, in *os.File, out io.Writer) *secrets {
	return &secrets{ctx: ctx, in: in, lines: bufio.NewReaderSize(in, 64<<10), out: out}
}

func (s *secrets) terminal() bool { return term.IsTerminal(int(s.in.Fd())) }

// ask returns one secret.
func (s *secrets) ask(prompt string) (string, error) {
	defer s.interruptible()()
	if !s.terminal() {
		return s.line(prompt)
	}
	fmt.Fprint(s.out, prompt+": ")
	b, err := term.ReadPassword(int(s.in.Fd()))
	fmt.Fprintln(s.out)
	if err != nil {
		return "", err
	}
	return string(b), nil
}

// confirm asks for a word that says that this is meant; it is no secret.
func (a *app) confirm(prompt string) (string, error) {
	defer a.secrets.interruptible()()
	if a.secrets.terminal() {
		fmt.Fprint(a.err, prompt+": ")
	}
	return a.secrets.line(prompt)
}

// interruptible lets an interrupt end the process while a read waits, which nothing else can, with the terminal as it was before. The
// function that it returns ends that.
func (s *secrets) interruptible() func() bool {
	before, err := term.GetState(int(s.in.Fd()))
	return context.AfterFunc(s.ctx, func() {
		if err == nil {
			_ = term.Restore(int(s.in.Fd()), before)
		}
		fmt.Fprintln(s.out, "\ncoldframe: interrupted")
		os.Exit(exitInterrupted)
	})
}

// askNew asks for a new secret, twice on a terminal.
func (s *secrets) askNew(prompt string) (string, error) {
	first, err := s.ask(prompt)
	if err != nil || !s.terminal() {
		return first, err
	}
	again, err := s.ask(prompt + " (again)")
	if err == nil && first != again {
		err = fault.New(fault.InvalidRequest, "the two entries differ")
	}
	return first, err
}

func (s *secrets) line(what string) (string, error) {
	b, err := s.lines.ReadSlice('\n')
	lastLine := errors.Is(err, io.EOF) && len(b) > 0
	if err != nil && !lastLine {
		if errors.Is(err, io.EOF) {
			return "", fault.New(fault.InvalidRequest, "standard input ended before: %s", what)
		}
		return "", err
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}
