package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// program builds the real program.
func program(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "coldframe-coordinator")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// process is a running coordinator.
type process struct {
	cmd *exec.Cmd
	url string
	log string
}

// start starts a coordinator in a folder and waits until it listens.
func start(bin, dir string, args ...string) (*process, error) {
	p := &process{log: dir + ".log"}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(bin, append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Stderr = out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 400 {
		for _, line := range p.lines() {
			if line["msg"] == "listening" {
				p.url = map[any]string{true: "https://", false: "http://"}[line["tls"]] + line["address"].(string)
				return p, nil
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	p.kill()
	text, _ := os.ReadFile(p.log)
	return nil, fmt.Errorf("the coordinator did not start:\n%s", text)
}

func (p *process) lines() (list []map[string]any) {
	text, _ := os.ReadFile(p.log)
	for _, line := range bytes.Split(text, []byte("\n")) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil {
			list = append(list, m)
		}
	}
	return list
}

// kill ends it without warning.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// stop ends it by SIGTERM and wants it to exit with 0 within 15 seconds.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(15*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	return p.cmd.Wait()
}

type processKey struct{}

// The scripts run the real program. `serve NAME [FLAG...]` starts one, `quit` ends it, `register N [INVITATION]` and `login N` act as the nth user, `send N M`
// sends a message from one to another, `inbox N COUNT` wants that many messages.
func TestScripts(t *testing.T) {
	bin := program(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
			run, err := os.MkdirTemp("", "cfc") // sockets have short paths
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(run) })
			e.Setenv("RUN", run)
			e.Values[processKey{}] = new(process)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": func(ts *testscript.TestScript, _ bool, args []string) {
				p, err := start(bin, args[0], args[1:]...)
				ts.Check(err)
				*running(ts) = *p
				ts.Setenv("COLDFRAME_COORDINATOR", p.url)
				ts.Defer(p.kill)
			},
			"quit": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(running(ts).stop()) },
			"register": asUser(func(ctx context.Context, c *coordinator.Client, n int, args []string) error {
				return register(ctx, c, n, args...)
			}),
			"login": asUser(func(ctx context.Context, c *coordinator.Client, n int, _ []string) error { return login(ctx, c, n) }),
			"send": asUser(func(ctx context.Context, c *coordinator.Client, n int, args []string) error {
				if err := login(ctx, c, n); err != nil {
					return err
				}
				err := c.Send(ctx, userN(number(args[0])), coordinator.OutgoingMessage{Id: coordinator.NewRequestID(), Body: []byte("sealed")})
				return err
			}),
			"inbox": asUser(func(ctx context.Context, c *coordinator.Client, n int, args []string) error {
				if err := login(ctx, c, n); err != nil {
					return err
				}
				in, err := c.Inbox(ctx, 0)
				if err == nil && len(in.Messages) != number(args[0]) {
					err = fmt.Errorf("%d messages", len(in.Messages))
				}
				return err
			}),
		},
	})
}

func running(ts *testscript.TestScript) *process { return ts.Value(processKey{}).(*process) }

func number(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

// asUser makes a command of what a user does; a leading ! wants it to fail.
func asUser(fn func(context.Context, *coordinator.Client, int, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		c, err := coordinator.New(running(ts).url, coordinator.Options{})
		ts.Check(err)
		if len(args) > 1 && number(args[1]) == 0 { // a file
			args[1] = strings.TrimSpace(ts.ReadFile(args[1]))
		}
		err = fn(context.Background(), c, number(args[0]), args[1:])
		if err != nil {
			ts.Logf("%v", err)
		}
		if (err != nil) != neg {
			ts.Fatalf("%v: %v", args, err)
		}
	}
}

func userN(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func bytesN(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

func register(ctx context.Context, c *coordinator.Client, n int, invitation ...string) error {
	r := coordinator.Registration{User: userN(n), EmailHash: bytesN(n), Proof: bytesN(n)}
	if len(invitation) > 0 {
		r.Invitation = &invitation[0]
	}
	return c.Register(ctx, r)
}

func login(ctx context.Context, c *coordinator.Client, n int) error {
	user := userN(n)
	return c.Login(ctx, coordinator.Login{User: &user, Proof: bytesN(n)})
}

// TestF01_KilledCoordinator kills the program while four agents send and one receives: no message that was acknowledged to its sender is lost, and none
// comes again after it was acknowledged by its receiver.
func TestF01_KilledCoordinator(t *testing.T) {
	bin, dir := program(t), filepath.Join(t.TempDir(), "c")
	kills := 5
	if n := number(os.Getenv("COLDFRAME_KILLS")); n > 0 {
		kills = n
	}
	p, err := start(bin, dir, "--registration", "open")
	if err != nil {
		t.Fatal(err)
	}
	var sessions [5]coordinator.Session
	for i := range sessions {
		c, err := coordinator.New(p.url, coordinator.Options{Save: func(s coordinator.Session) error { sessions[i] = s; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if err := register(t.Context(), c, i); err != nil {
			t.Fatal(err)
		}
	}
	as := func(i int) *coordinator.Client {
		c, err := coordinator.New(p.url, coordinator.Options{Session: sessions[i]})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := &receiver{seen: map[string]bool{}, done: map[string]bool{}}
	var sent [5][]string
	for k := range kills {
		var wg sync.WaitGroup
		for i := 1; i < len(sessions); i++ {
			c := as(i)
			wg.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("%08x-0000-4000-8000-%012x", k, n)
					err := c.Send(t.Context(), userN(0), coordinator.OutgoingMessage{Id: id, Body: []byte("sealed")})
					if errors.Is(err, fault.Unavailable) {
						return
					}
					if err == nil {
						sent[i] = append(sent[i], userN(i)+id)
					}
				}
			})
		}
		c := as(0)
		wg.Go(func() {
			for r.receive(t, c) == nil {
			}
		})
		time.Sleep(time.Duration(100+k*37%200) * time.Millisecond)
		p.kill()
		wg.Wait()
		if p, err = start(bin, dir); err != nil {
			t.Fatal(err)
		}
	}
	for c := as(0); ; {
		before := len(r.done)
		if err := r.receive(t, c); err != nil {
			t.Fatal(err)
		}
		if len(r.done) == before {
			break
		}
	}
	n := 0
	for _, list := range sent {
		for _, m := range list {
			n++
			if !r.seen[m] {
				t.Errorf("%s was acknowledged to its sender and is lost", m)
			}
		}
	}
	t.Logf("%d kills, %d messages acknowledged to their senders, %d received", kills, n, len(r.seen))
	if n == 0 || len(r.done) == 0 {
		t.Error("nothing was sent")
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// receiver remembers what came, and what it has acknowledged.
type receiver struct{ seen, done map[string]bool }

// receive takes what is there and acknowledges it.
func (r *receiver) receive(t *testing.T, c *coordinator.Client) error {
	in, err := c.Inbox(t.Context(), 0)
	if err != nil || len(in.Messages) == 0 {
		return err
	}
	var acks []coordinator.Acknowledgement
	for _, m := range in.Messages {
		if r.done[m.Sender+m.Id] {
			t.Errorf("%s came again after it was acknowledged", m.Id)
		}
		r.seen[m.Sender+m.Id] = true
		acks = append(acks, coordinator.Acknowledgement{Sequence: m.Sequence, Id: m.Id})
	}
	if err := c.Acknowledge(t.Context(), acks...); err != nil {
		return err
	}
	for _, m := range in.Messages {
		r.done[m.Sender+m.Id] = true
	}
	return nil
}

// A certificate that is replaced is used without a restart; one that does not fit its key is not.
func TestCertificateIsReloaded(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	p, err := start(bin, filepath.Join(dir, "c"), "--tls-cert", cert, "--tls-key", key)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	serial := func() int64 {
		c, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if serial() != 1 {
		t.Fatal("another certificate")
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	wait := func(want int64) {
		for range 100 {
			if serial() == want {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("the certificate is still %d", serial())
	}
	writePair(t, cert, key, 2)
	wait(2)
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	wait(2)
	writePair(t, cert, key, 3)
	wait(3)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "coordinator"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// While it drains, health says so and the API still answers.
func TestDrain(t *testing.T) {
	p, err := start(program(t), filepath.Join(t.TempDir(), "c"), "--drain", "2s", "--metrics", "127.0.0.1:0", "--registration", "open")
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	beside := ""
	for _, line := range p.lines() {
		if line["msg"] == "figures" {
			beside = "http://" + line["address"].(string)
		}
	}
	status := func(url string) int {
		r, err := http.Get(url)
		if err != nil {
			return 0
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	c, err := coordinator.New(p.url, coordinator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := register(t.Context(), c, 1); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{p.url + "/healthz", beside + "/healthz", beside + "/metrics"} {
		if got := status(url); got != 200 {
			t.Errorf("%s: %d", url, got)
		}
	}
	if got := status(p.url + "/metrics"); got != 404 {
		t.Errorf("figures on the API's listener: %d", got)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for range 40 {
		if status(beside+"/healthz") == 503 {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	if got := status(p.url + "/healthz"); got != 503 {
		t.Errorf("health while it drains: %d", got)
	}
	if _, err := c.Account(t.Context()); err != nil {
		t.Errorf("a request while it drains: %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := c.Account(t.Context()); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}
