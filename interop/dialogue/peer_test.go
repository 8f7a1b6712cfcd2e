package dialogue

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
)

// ours is the kind of a peer that is package ratchet; any other kind is a version of libsignal.
const ours = "ratchet"

// versions of libsignal that are tried, the newest first.
var versions = []string{"0.103.0", "0.94.1", "0.92.2"}

// peer is one end of a dialogue.
type peer struct {
	kind, name string
	identity   string // 33 bytes as hex
	in         io.Writer
	out        *bufio.Reader
	stderr     *bytes.Buffer
	requests   int
}

// fields is a request.
type fields map[string]any

// answer is what any command may answer.
type answer struct {
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

// start runs a peer of a kind, with a fresh identity and the given name.
func start(t testing.TB, kind, name string) *peer {
	t.Helper()
	p := connect(t, kind)
	p.name = name
	p.identity = p.must(t, "init", fields{"name": name}).IdentityKey
	return p
}

// connect runs a peer of a kind that holds nothing yet.
func connect(t testing.TB, kind string) *peer {
	t.Helper()
	if kind == ours {
		return connectOurs(t)
	}
	command := exec.Command("node", "../libsignal/peer.mjs", kind)
	command.Env = append(os.Environ(), "COLDFRAME_LIBSIGNAL="+libsignal(t))
	p := &peer{kind: kind, stderr: &bytes.Buffer{}}
	command.Stderr = p.stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = command.Wait() })
	p.in, p.out = in, bufio.NewReaderSize(out, 1<<20)
	return p
}

// libsignal returns the folder of the official clients, or skips the test.
func libsignal(t testing.TB) string {
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

// call sends a request and returns the answer, which may be a refusal.
func (p *peer) call(t testing.TB, cmd string, f fields) answer {
	t.Helper()
	p.requests++
	request := fields{"cmd": cmd, "id": p.requests}
	for k, v := range f {
		request[k] = v
	}
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %v\n%s", p.kind, err, p.stderr)
	}
	return p.read(t)
}

func (p *peer) read(t testing.TB) answer {
	t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s ended: %v\n%s", p.kind, err, p.stderr)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("%s: %v in %q", p.kind, err, line)
	}
	if a.ID != p.requests {
		t.Fatalf("%s: an answer to request %d, not %d: %s", p.kind, a.ID, p.requests, line)
	}
	return a
}

// must is call for a request that has to succeed.
func (p *peer) must(t testing.TB, cmd string, f fields) answer {
	t.Helper()
	a := p.call(t, cmd, f)
	if !a.OK {
		t.Fatalf("%s refused %s: %s: %s", p.kind, cmd, a.Error, a.Detail)
	}
	return a
}

// address is how p is named in a request to another peer.
func (p *peer) address() fields { return fields{"name": p.name, "device": 1} }

// message is one that a peer sent.
type message struct {
	kind      int    // 2 or 3
	body      []byte // as it travels
	plaintext string // hex
	held      bool   // left out of one delivery already
}

func (p *peer) encrypt(t testing.TB, to *peer, plaintext []byte) message {
	t.Helper()
	a := p.must(t, "encrypt", fields{"remote": to.address(), "plaintext": hex.EncodeToString(plaintext)})
	body, err := hex.DecodeString(a.Ciphertext)
	if err != nil || len(body) == 0 {
		t.Fatalf("%s: ciphertext %q", p.kind, a.Ciphertext)
	}
	return message{kind: a.Type, body: body, plaintext: hex.EncodeToString(plaintext)}
}

func (p *peer) decrypt(t testing.TB, from *peer, m message) answer {
	t.Helper()
	return p.call(t, "decrypt", fields{"remote": from.address(), "type": m.kind, "ciphertext": hex.EncodeToString(m.body)})
}

// opens asks that p can read m, once.
func (p *peer) opens(t testing.TB, from *peer, m message) {
	t.Helper()
	if a := p.decrypt(t, from, m); !a.OK || a.Plaintext != m.plaintext {
		t.Fatalf("%s could not read a message of %s: %s %s %q", p.kind, from.kind, a.Error, a.Detail, a.Plaintext)
	}
}

// refuses asks that p refuses m, with one of the codes.
func (p *peer) refuses(t testing.TB, from *peer, m message, codes ...string) {
	t.Helper()
	a := p.decrypt(t, from, m)
	if a.OK {
		t.Fatalf("%s took a message of %s that it should refuse with %v", p.kind, from.kind, codes)
	}
	for _, code := range codes {
		if a.Error == code {
			return
		}
	}
	t.Fatalf("%s refused with %s (%s), not %v", p.kind, a.Error, a.Detail, codes)
}

// starts makes p hold a new session with to, from a bundle of to.
func (p *peer) starts(t testing.TB, to *peer, options fields) {
	t.Helper()
	bundle := to.must(t, "bundle", options).Bundle
	p.must(t, "process_bundle", fields{"bundle": bundle})
}

// reload has p go on from what it dumps.
func (p *peer) reload(t testing.TB) {
	t.Helper()
	state := p.must(t, "dump", nil).State
	if a := p.must(t, "load", fields{"state": state}); a.IdentityKey != p.identity {
		t.Fatalf("%s has another identity after load", p.kind)
	}
	if again := p.must(t, "dump", nil).State; p.kind == ours && again != state {
		t.Fatalf("%s dumps another state after load", p.kind)
	}
}
