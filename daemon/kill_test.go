package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// The kill test runs agents as processes: this test binary again, told so by childVariable. What the child is to do comes on its standard
// input, the password with it; what it did goes to its standard output, a line each. The harness keeps the lines that reached it.
const childVariable = "COLDFRAME_TEST_AGENT"

func TestMain(m *testing.M) {
	if what := os.Getenv(childVariable); what != "" {
		if err := child(what, os.Stdin, os.Stdout); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// order is what the harness tells a child.
type order struct {
	Dir      string
	Password string
	Dataset  string        // to write to; empty: make one
	Acked    []int         // operations on this dataset that were acknowledged
	Doubt    int           // an operation that was under way at the last kill, or 0
	Next     int           // number of the next new operation
	Pause    bool          // harden, unlock, say so, and wait for the end of the input
	Login    *LoginRequest // log in, say so, and wait for the end of the input
	Stream   int64         // write a table of so many bytes, read it back, say how much memory that took
}

func childAgent(in io.Reader, out io.Writer) error {
	var o order
	dec := json.NewDecoder(in)
	if err := dec.Decode(&o); err != nil {
		return err
	}
	secret.Harden()
	config := testConfig(o.Dir)
	if o.Login != nil {
		local(&config, nil)
	}
	a, err := New(config, Options{Profile: cheap})
	if err != nil {
		return err
	}
	ctx := context.Background()
	go a.Run(ctx) //nolint:errcheck // it ends with the process
	<-a.Ready()
	fmt.Fprintln(out, "ready")
	if o.Login != nil {
		if err := a.Login(ctx, *o.Login); err != nil {
			return err
		}
		fmt.Fprintln(out, "done")
		_, err := io.Copy(io.Discard, in)
		return err
	}
	if a.vaultState() == StateUnregistered {
		_, err = a.Register(ctx, RegisterRequest{Email: testMail, Password: []byte(o.Password)})
	} else {
		err = a.Unlock(ctx, UnlockRequest{Password: []byte(o.Password)})
	}
	if err != nil {
		return err
	}
	if o.Pause {
		var rlimit unix.Rlimit
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		unix.Getrlimit(unix.RLIMIT_CORE, &rlimit) //nolint:errcheck // the zero value would pass, so make it visible
		mask := unix.Umask(0o077)
		fmt.Fprintln(out, "unlocked", dumpable, rlimit.Cur, rlimit.Max, mask)
		_, err := io.Copy(io.Discard, in)
		return err
	}
	if o.Stream > 0 {
		return stream(ctx, a, o.Stream, out)
	}
	return (&load{a: a, o: o, out: out}).run(ctx)
}

// stream writes a table of about size bytes, reads it back as Parquet and reports the peak of the resident memory before and after.
func stream(ctx context.Context, a *Agent, size int64, out io.Writer) error {
	idle := residentPeak()
	d, err := a.CreateDataset(ctx, user, CreateDatasetRequest{Title: "stream"})
	if err != nil {
		return err
	}
	begun := time.Now()
	w, err := a.WriteData(ctx, user, WriteRequest{Dataset: d.ID, Format: format.CSV}, &tableBody{left: size})
	if err != nil {
		return err
	}
	put := time.Since(begun)
	begun = time.Now()
	s, err := a.ReadData(ctx, user, ReadRequest{Dataset: d.ID})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.WriteTo(ctx, io.Discard, format.Arrow); err != nil {
		return err
	}
	rate := func(t time.Duration) float64 { return float64(size) / (1 << 20) / t.Seconds() }
	fmt.Fprintln(out, "stream", idle, residentPeak(), w.Rows, int(rate(put)), int(rate(time.Since(begun))))
	return nil
}

// tableBody is a CSV table of mixed columns that are not all the same.
type tableBody struct {
	left int64
	row  int64
	rest []byte
}

func (b *tableBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.left <= 0 {
			return 0, io.EOF
		}
		if b.row == 0 {
			b.rest = append(b.rest, "id,name,value,flag,day,note\n"...)
		}
		for len(b.rest) < 64<<10 {
			b.row++
			b.rest = fmt.Appendf(b.rest, "%d,station %d,%d.%02d,%t,2024-%02d-%02d,note %x\n", b.row, b.row%5000, b.row*7919%1000,
				b.row%100, b.row%3 == 0, b.row%12+1, b.row%28+1, uint32(b.row)*2654435761)
		}
		b.left -= int64(len(b.rest))
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// residentPeak is the most memory that this process ever had resident, in MiB.
func residentPeak() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0]) // 0 fails the test
			return n >> 10
		}
	}
	return 0
}

// load checks what the kill left and then writes until it is killed.
type load struct {
	a   *Agent
	o   order
	out io.Writer
	id  string
}

func (l *load) run(ctx context.Context) error {
	if l.id = l.o.Dataset; l.id == "" {
		d, err := l.a.CreateDataset(ctx, user, CreateDatasetRequest{Title: "kills"})
		if err != nil {
			return err
		}
		l.id = d.ID
		fmt.Fprintln(l.out, "dataset", l.id)
	}
	if err := l.noOrphans(); err != nil {
		return err
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	if l.o.Doubt != 0 {
		if err := l.append(ctx, l.o.Doubt); err != nil {
			return err
		}
		l.o.Acked = append(l.o.Acked, l.o.Doubt)
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	fmt.Fprintln(l.out, "checked")
	for n := l.o.Next; ; n++ {
		fmt.Fprintln(l.out, "begin", n)
		if err := l.append(ctx, n); err != nil {
			return err
		}
	}
}

func (l *load) append(ctx context.Context, n int) error {
	body := fmt.Sprintf("op,text\n%d,%s\n", n, strings.Repeat("x", n%700))
	w, err := l.a.WriteData(ctx, user, WriteRequest{
		Dataset: l.id, Append: true, Format: format.CSV, IdempotencyKey: "op-" + strconv.Itoa(n),
	}, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("operation %d: %w", n, err)
	}
	fmt.Fprintln(l.out, "ack", n, w.Version)
	return nil
}

// noOrphans waits for the sweep after unlocking and compares the folder with what the agent knows.
func (l *load) noOrphans() error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		var n int
		if err := l.a.db.View(func(tx *kv.Tx) (err error) { n, err = countRecords(tx, uploadPrefix); return err }); err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d names stay in the journal", n)
		}
	}
	known, err := l.a.knownObjects()
	if err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(l.o.Dir, "data", "objects"), func(p string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if _, ok := known[columnar.ObjectName(d.Name())]; !ok {
			return fmt.Errorf("orphan in the store: %s", d.Name())
		}
		return nil
	})
}

// check reads everything: each acknowledged operation must be there once, and nothing twice.
func (l *load) check(ctx context.Context) error {
	if len(l.o.Acked) == 0 {
		return nil
	}
	s, err := l.a.ReadData(ctx, user, ReadRequest{Dataset: l.id})
	if err != nil {
		return err
	}
	defer s.Close()
	var b strings.Builder
	if err := s.WriteTo(ctx, &b, format.CSV); err != nil {
		return err
	}
	seen := map[int]int{}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n")[1:] {
		number, text, _ := strings.Cut(line, ",")
		n, err := strconv.Atoi(number)
		if err != nil || len(text) != n%700 {
			return fmt.Errorf("half a row: %q (%w)", line, err)
		}
		if seen[n]++; seen[n] > 1 {
			return fmt.Errorf("operation %d was done twice", n)
		}
	}
	for _, n := range l.o.Acked {
		if seen[n] != 1 {
			return fmt.Errorf("acknowledged operation %d is lost", n)
		}
	}
	for n := range seen {
		if n != l.o.Doubt && !slices.Contains(l.o.Acked, n) {
			return fmt.Errorf("operation %d is there, which nobody asked for", n)
		}
	}
	return nil
}

// process is a child agent.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	begun time.Time
}

func startProcess(t *testing.T, o order) *process {
	t.Helper()
	return startChild(t, "1", o)
}

// startChild starts this test binary as what childVariable is to say, and tells it the first thing that it asks for.
func startChild(t *testing.T, what string, first any) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), begun: time.Now()} //nolint:gosec // this test binary
	p.cmd.Env = append(os.Environ(), childVariable+"="+what)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may be dead
		p.cmd.Wait()         //nolint:errcheck // it was killed
	})
	p.in, p.lines = in, bufio.NewScanner(out)
	if err := json.NewEncoder(in).Encode(first); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestF01_KilledUnderWriteLoad(t *testing.T) {
	kills := 100
	if os.Getenv("COLDFRAME_NIGHTLY") != "" {
		kills = 1000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // moments of kills
	record, err := os.Create(filepath.Join(t.TempDir(), "acknowledged"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	o := order{Dir: t.TempDir(), Password: testPassword, Next: 1}
	var slowest time.Duration
	acked := 0
	for kill := range kills {
		if len(o.Acked) > 60 {
			o.Dataset, o.Acked, o.Doubt = "", nil, 0
		}
		p := startProcess(t, o)
		var timer *time.Timer
		for p.lines.Scan() {
			word, rest, _ := strings.Cut(p.lines.Text(), " ")
			switch word {
			case "ready":
				slowest = max(slowest, time.Since(p.begun))
				if random.IntN(4) == 0 { // a quarter dies while it opens, sweeps or checks
					timer = time.AfterFunc(time.Duration(random.IntN(60))*time.Millisecond, func() { p.cmd.Process.Kill() }) //nolint:errcheck // it may be dead
				}
			case "dataset":
				o.Dataset = rest
			case "checked":
				if timer == nil {
					timer = time.AfterFunc(time.Duration(random.IntN(100))*time.Millisecond, func() { p.cmd.Process.Kill() }) //nolint:errcheck // it may be dead
				}
			case "begin":
				o.Doubt = atoi(t, rest)
				o.Next = o.Doubt + 1
			case "ack":
				n, _, _ := strings.Cut(rest, " ")
				fmt.Fprintln(record, rest)
				o.Acked, o.Doubt = append(o.Acked, atoi(t, n)), 0
				acked++
			case "error":
				t.Fatalf("kill %d: %s", kill, rest)
			}
		}
		if timer == nil {
			t.Fatalf("kill %d: the agent ended by itself: %v", kill, p.cmd.Wait())
		}
		p.cmd.Wait() //nolint:errcheck // it was killed
	}
	if acked < kills/2 {
		t.Fatalf("%d operations were acknowledged over %d kills: no load", acked, kills)
	}
	t.Logf("%d kills, %d acknowledged, lost 0, half 0, doubled 0, orphans 0; slowest start to ready %v", kills, acked, slowest.Round(time.Millisecond))
	if slowest > 2*time.Second {
		t.Logf("slower than 2 s on this machine now")
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestF17_MemoryOfAStream(t *testing.T) {
	size := int64(64 << 20)
	if raceEnabled {
		size = 16 << 20
	}
	if os.Getenv("COLDFRAME_NIGHTLY") != "" {
		size = 1 << 30
	}
	p := startProcess(t, order{Dir: t.TempDir(), Password: testPassword, Stream: size})
	for p.lines.Scan() {
		word, rest, _ := strings.Cut(p.lines.Text(), " ")
		if word == "error" {
			t.Fatal(rest)
		}
		if word != "stream" {
			continue
		}
		f := strings.Fields(rest)
		idle, peak := atoi(t, f[0]), atoi(t, f[1])
		t.Logf("%d MiB of CSV, %s rows: idle %d MiB, peak %d MiB, in %s MB/s, out %s MB/s (argon2 is the cheap profile here)", size>>20, f[2], idle, peak, f[3], f[4])
		switch {
		case raceEnabled:
			t.Log("the race detector multiplies memory: not judged")
		case idle == 0 || idle > 80:
			t.Errorf("idle agent: %d MiB resident, at most 80", idle)
		case peak > 256:
			t.Errorf("streaming agent: %d MiB resident, at most 256", peak)
		}
		return
	}
	t.Fatal("the agent said nothing")
}

// pausedAgent is a child that has hardened itself and unlocked.
func pausedAgent(t *testing.T) (*process, []string) {
	t.Helper()
	p := startProcess(t, order{Dir: t.TempDir(), Password: testPassword, Pause: true})
	for p.lines.Scan() {
		if word, rest, _ := strings.Cut(p.lines.Text(), " "); word == "unlocked" {
			return p, strings.Fields(rest)
		}
	}
	t.Fatal("the agent did not unlock")
	return nil, nil
}

func TestL15_PasswordNotInArgumentsOrEnvironment(t *testing.T) {
	p, _ := pausedAgent(t)
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
		if errors.Is(err, os.ErrPermission) {
			continue // not dumpable: nobody but root reads it
		}
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		for _, word := range []string{testPassword, testMail, "cf_user_", "cfu_"} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s holds %q", name, word)
			}
		}
	}
}

func TestL22_ProcessIsHardened(t *testing.T) {
	p, fields := pausedAgent(t)
	if want := []string{"0", "0", "0", "63"}; !slices.Equal(fields, want) { // 63 is 0077
		t.Errorf("dumpable, core limit (soft, hard), umask: %v, want %v", fields, want)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "Max core file size        0                    0") {
		t.Errorf("core files are on:\n%s", b)
	}
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmLck:"); ok && strings.TrimSpace(rest) == "0 kB" {
			t.Error("no page is locked in memory")
		}
	}
}

func TestL15_UnlockErrorsNameNoSecret(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := a.Unlock(t.Context(), UnlockRequest{Password: []byte("canary wrong password")})
	wantCode(t, "wrong password", err, fault.NotAuthentic)
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error holds the password: %v", err)
	}
}
