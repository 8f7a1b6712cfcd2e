package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"coldframe/columnar/query/querytest"
	"coldframe/columnar/storetest"
)

// The scripts run the real programs, built here.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "coldframe/cmd/coldframe", "coldframe/cmd/coldframed", "coldframe/cmd/coldframe-coordinator")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if runtime.GOOS == "linux" {
		if err := os.Symlink(querytest.Engine(t), filepath.Join(bin, "coldframe-engine")); err != nil {
			t.Fatal(err)
		}
	}
	tables, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	reference := os.Getenv("COLDFRAME_TESTDATA")
	if reference == "" {
		reference = "../../../shared/testdata"
	}
	if reference, err = filepath.Abs(filepath.Join(reference, "parquet-testing")); err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(reference)
	if missing != nil && os.Getenv("CI") == "true" {
		t.Fatal("the reference files are missing: ", missing)
	}
	bucket := storetest.Fake(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("TABLES", tables)
			e.Setenv("REFERENCE", reference)
			e.Setenv("S3_ENDPOINT", bucket.Endpoint)
			e.Setenv("S3_BUCKET", bucket.Bucket)
			// Sockets have short paths; the scripts' own folders need not.
			run, err := os.MkdirTemp("", "cf")
			if err != nil {
				return err
			}
			e.Defer(func() { os.RemoveAll(run) })
			e.Setenv("RUN", run)
			e.Values[agentsKey{}] = agents{}
			return nil
		},
		Condition: func(cond string) (bool, error) { // only [reference]: whether the reference files are there
			if cond != "reference" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			return missing == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"agent": startAgent, "quit": stopAgent, "coordinator": startCoordinator, "down": stopCoordinator, "becomes": waitForCoordinator, "certificate": makeCertificate,
			"until": retry,
		},
	})
}

// agents of a script, by name.
type agents map[string]*exec.Cmd

type agentsKey struct{}

// startAgent is `agent NAME [ARG...]`: starts an agent in folders of its own, unless it runs, and makes it the one that coldframe speaks to.
func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: agent NAME [ARG...]")
	}
	run := filepath.Join(ts.Getenv("RUN"), args[0])
	ts.Setenv("COLDFRAME_SOCKET", filepath.Join(run, "agent.sock"))
	if running(ts)[args[0]] != nil {
		return
	}
	dir := ts.MkAbs(args[0])
	log, err := os.OpenFile(ts.MkAbs(args[0]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "coldframed"), append([]string{"--data-dir", dir + "/data", "--state-dir", dir + "/state", "--runtime-dir", run, "--no-tcp"}, args[1:]...)...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + ts.Getenv("PATH"), "CREDENTIALS_DIRECTORY=" + ts.Getenv("CREDENTIALS_DIRECTORY")}
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	running(ts)[args[0]] = cmd
	ts.Defer(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 200 {
		if ts.Exec("coldframe", "--quiet", "status") == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	ts.Fatalf("the agent did not start:\n%s", text)
}

// stopAgent is `quit NAME`: ends an agent by SIGTERM and wants it to exit with 0 in ten seconds.
func stopAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: quit NAME")
	}
	cmd := running(ts)[args[0]]
	delete(running(ts), args[0])
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		ts.Check(err)
	case <-time.After(10 * time.Second):
		ts.Fatalf("the agent did not stop within ten seconds")
	}
	if _, err := os.Lstat(ts.Getenv("COLDFRAME_SOCKET")); err == nil {
		ts.Check(fmt.Errorf("the socket is still there"))
	}
}

// retry is `until COMMAND [ARG...]`: exec, tried for half a minute until it succeeds. The last try decides.
func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: until COMMAND [ARG...]")
	}
	for range 300 {
		if ts.Exec(args[0], args[1:]...) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("never: %q", args)
}

func running(ts *testscript.TestScript) agents {
	return ts.Value(agentsKey{}).(agents)
}
