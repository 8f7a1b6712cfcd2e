package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startCoordinator is `coordinator NAME [FLAG...]`: starts one over the folder $RUN/NAME and sets COORDINATOR to its address.
// Started again it gets the address of before.
func startCoordinator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: coordinator NAME [FLAG...]")
	}
	log := ts.MkAbs(args[0] + ".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer out.Close()
	listen := ts.Getenv("LISTEN_" + args[0])
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	command := []string{"serve", "--data-dir", filepath.Join(ts.Getenv("RUN"), args[0]), "--listen", listen}
	cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "coldframe-coordinator"), append(command, args[1:]...)...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), out
	ts.Check(cmd.Start())
	running(ts)[args[0]] = cmd
	ts.Defer(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 400 {
		if address, tls := listening(log); address != "" {
			ts.Setenv("LISTEN_"+args[0], address)
			ts.Setenv("COORDINATOR", map[bool]string{true: "https://", false: "http://"}[tls]+address)
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	text, _ := os.ReadFile(log)
	ts.Fatalf("the coordinator did not start:\n%s", text)
}

// stopCoordinator is `down NAME`: ends a coordinator by SIGTERM and wants it to exit with 0.
func stopCoordinator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: down NAME")
	}
	cmd := running(ts)[args[0]]
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	late := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	ts.Check(cmd.Wait())
}

// waitForCoordinator is `becomes TEXT`: waits until the status has the text after the coordinator's address.
func waitForCoordinator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: becomes TEXT")
	}
	var out []byte
	for range 600 {
		cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "coldframe"), "status")
		cmd.Env = []string{"COLDFRAME_SOCKET=" + ts.Getenv("COLDFRAME_SOCKET")}
		out, _ = cmd.Output()
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "coordinator ") && strings.HasSuffix(line, " "+args[0]+"\n") {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("never came: %s\n%s", args[0], out)
}

// listening returns the address that a coordinator's log names.
func listening(log string) (address string, tls bool) {
	text, _ := os.ReadFile(log)
	for line := range bytes.Lines(text) {
		var m struct {
			Msg, Address string
			TLS          bool
		}
		if json.Unmarshal(line, &m) == nil && m.Msg == "listening" {
			return m.Address, m.TLS
		}
	}
	return "", false
}

// makeCertificate is `certificate CERT KEY`: a new self-signed certificate for 127.0.0.1, in PEM files.
func makeCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert}, {Type: "PRIVATE KEY", Bytes: private}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}
