package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"coldframe/columnar/query"
	"coldframe/columnar/query/querytest"
	"coldframe/internal/fault"
)

// endless is a statement that does not end by itself, and holds little memory.
const endless = `SELECT sum(sin(r.range)) FROM range(100000000000000) r`

// The engine tries all that it must not be able to do.
func TestConfinement(t *testing.T) {
	cmd := exec.Command(querytest.Engine(t), "check")
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("refused: ")) != 12 || bytes.Contains(out, []byte("POSSIBLE")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestLimits(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(50_000)
	less := func(change func(*query.Options)) query.Options {
		o := o
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		o   query.Options
		sql string
	}{
		"time":               {less(func(o *query.Options) { o.Time = 500 * time.Millisecond }), endless},
		"memory of DuckDB":   {less(func(o *query.Options) { o.MemoryMiB = 64 }), `SELECT count(*) FROM (SELECT DISTINCT hash(range) || token AS x FROM range(3000), mixed)`},
		"memory of strings":  {less(func(o *query.Options) { o.MemoryMiB = 64 }), `SELECT length(string_agg(repeat(token, 1000), '')) FROM mixed`},
		"data":               {less(func(o *query.Options) { o.DataMiB = 1 }), `SELECT * FROM mixed`},
		"result":             {less(func(o *query.Options) { o.ResultMiB = 1 }), `SELECT * FROM mixed`},
		"result of one cell": {less(func(o *query.Options) { o.ResultMiB = 1 }), `SELECT repeat('x', 20000000)`},
	} {
		_, err := w.run(context.Background(), c.o, c.sql)
		if !errors.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantNoEngine(t)
}

// An engine that dies fails its own query and no other.
func TestKilledEngine(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	failed := make(chan error)
	go func() {
		_, err := w.run(context.Background(), o, endless)
		failed <- err
	}()
	pid := waitForEngine(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, fault.Internal) {
		t.Errorf("the query of a killed engine: %v", err)
	}
	if got, err := w.run(context.Background(), o, `SELECT count(*) FROM mixed`); err != nil || cells(got) != "1000" {
		t.Errorf("the next query: %s, %v", cells(got), err)
	}
	wantNoEngine(t)
}

func TestCancel(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	ctx, cancel := context.WithCancelCause(context.Background())
	failed := make(chan error)
	go func() {
		_, err := w.run(ctx, o, endless)
		failed <- err
	}()
	waitForEngine(t)
	cancel(fault.New(fault.Locked, "locked"))
	if err := <-failed; !errors.Is(err, fault.Locked) {
		t.Errorf("a cancelled query: %v", err)
	}
	wantNoEngine(t)
}

// A result that nobody reads on is closed at once, and the engine with it.
func TestCloseEarly(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	r, err := query.New(o).Query(context.Background(), `SELECT * FROM mixed, range(100000)`, w.find)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wantNoEngine(t)
}

// The engine has an empty environment, no arguments, and beside /dev/null only its two pipes and memory files.
func TestSecrets(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	t.Setenv("COLDFRAME_CANARY", "a secret of the agent's environment")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, o, endless+` WHERE r.range % 1000 NOT IN (SELECT id FROM mixed WHERE id > 5)`)
	}()
	proc := fmt.Sprintf("/proc/%d/", waitForEngine(t))
	time.Sleep(300 * time.Millisecond) // past the handing over of files
	if env, err := os.ReadFile(proc + "environ"); errors.Is(err, os.ErrPermission) {
		t.Log("the engine cannot be looked into by this user, as it should be")
	} else if err != nil || len(env) != 0 {
		t.Errorf("environment %q, %v", env, err)
	}
	if args, err := os.ReadFile(proc + "cmdline"); err == nil && strings.Count(string(args), "\x00") != 1 {
		t.Errorf("arguments %q", args)
	}
	fds, _ := filepath.Glob(proc + "fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		ok := to == "/dev/null" || strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "/memfd:") || strings.HasPrefix(to, "anon_inode:")
		if err == nil && !ok {
			t.Errorf("the engine has %s open", to)
		}
	}
	cancel()
	<-done
	wantNoEngine(t)
}

// waitForEngine returns the engine once it has run for a while of processor time: it is past its start.
func waitForEngine(t *testing.T) int {
	t.Helper()
	for range 2000 {
		for _, pid := range querytest.Running() {
			if stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); userTicks(string(stat)) > 20 {
				return pid
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no engine runs")
	return 0
}

func userTicks(stat string) int {
	_, rest, _ := strings.Cut(stat, ") ")
	fields := strings.Fields(rest)
	if len(fields) < 12 {
		return 0
	}
	n, _ := strconv.Atoi(fields[11])
	return n
}

func wantNoEngine(t *testing.T) {
	t.Helper()
	if left := querytest.Running(); len(left) > 0 {
		t.Errorf("engines are left: %v", left)
	}
}
