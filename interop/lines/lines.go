// Package lines asks a peer in the lines of interop/signalpeer: one JSON object per line each way, bytes as hex. The peer is ours (the
// driver of signalpeer), or the official Signal client in a process of node (interop/libsignal). Nothing but tests may import it.
package lines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
)

// Versions of libsignal that are tried, the newest first.
var Versions = []string{"0.103.0", "0.94.1", "0.92.2"}

// Full reports whether dialogues have their promised length, and every version is tried.
func Full() bool { return os.Getenv("COLDFRAME_DIALOGUES") == "full" }

// Tried returns the versions of libsignal to talk to.
func Tried() []string {
	if Full() {
		return Versions
	}
	return Versions[:1]
}

// Fields is a request.
type Fields map[string]any

// Answer is what any command may answer.
type Answer struct {
	ID          int             `json:"id"`
	OK          bool            `json:"ok"`
	Error       string          `json:"error"`
	Detail      string          `json:"detail"`
	IdentityKey string          `json:"identity_key"`
	Bundle      json.RawMessage `json:"bundle"`
	Type        int             `json:"type"`
	Ciphertext  string          `json:"ciphertext"`
	Plaintext   string          `json:"plaintext"`
	Displayable string          `json:"displayable"`
	Scannable   string          `json:"scannable"`
	State       string          `json:"state"`
	Exists      bool            `json:"exists"`
	Archived    int             `json:"archived"`
	Epoch       int             `json:"epoch"`
}

// Peer is who answers.
type Peer struct {
	Kind string // what it is, for messages of tests

	in       io.Writer
	out      *bufio.Reader
	stderr   *bytes.Buffer
	requests int
}

// New returns the peer behind two pipes.
func New(kind string, in io.Writer, out io.Reader) *Peer {
	return &Peer{Kind: kind, in: in, out: bufio.NewReaderSize(out, 1<<20), stderr: &bytes.Buffer{}}
}

// Libsignal runs a version of the official client, which holds nothing yet and ends with the test. Tests in a folder beside
// interop/libsignal call it.
func Libsignal(t testing.TB, version string) *Peer {
	t.Helper()
	command := exec.CommandContext(context.Background(), "node", "../libsignal/peer.mjs", version) //nolint:gosec // of the list above
	command.Env = append(os.Environ(), "COLDFRAME_LIBSIGNAL="+folder(t))
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := New(version, in, out)
	command.Stderr = p.stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = command.Wait() })
	return p
}

// folder returns the folder of the official clients, or skips the test.
func folder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("COLDFRAME_LIBSIGNAL")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("COLDFRAME_LIBSIGNAL is not set: run interop/libsignal/install")
		}
		t.Skip("COLDFRAME_LIBSIGNAL is not set: interop/libsignal/install prints its value")
	}
	return dir
}

// Call sends a request and returns the answer, which may be a refusal.
func (p *Peer) Call(t testing.TB, cmd string, f Fields) Answer {
	t.Helper()
	p.requests++
	request := Fields{"cmd": cmd, "id": p.requests}
	for k, v := range f {
		request[k] = v
	}
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %v\n%s", p.Kind, err, p.stderr)
	}
	return p.read(t)
}

func (p *Peer) read(t testing.TB) Answer {
	t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s ended: %v\n%s", p.Kind, err, p.stderr)
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("%s: %v in %q", p.Kind, err, line)
	}
	if a.ID != p.requests {
		t.Fatalf("%s: an answer to request %d, not %d: %s", p.Kind, a.ID, p.requests, line)
	}
	return a
}

// Must is Call for a request that has to succeed.
func (p *Peer) Must(t testing.TB, cmd string, f Fields) Answer {
	t.Helper()
	a := p.Call(t, cmd, f)
	if !a.OK {
		t.Fatalf("%s refused %s: %s: %s", p.Kind, cmd, a.Error, a.Detail)
	}
	return a
}
