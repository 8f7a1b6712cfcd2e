package server_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
	"coldframe/localapi/server"
)

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cf")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestL01_Listeners(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	for path, mode := range map[string]os.FileMode{w.Socket: 0o600, filepath.Dir(w.Socket): 0o700} {
		info, err := os.Lstat(path)
		must(t, err)
		if info.Mode().Perm() != mode || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode())
		}
	}
	_, port, err := net.SplitHostPort(w.TCP)
	must(t, err)
	for _, address := range listening(t, port) {
		if address != "0100007F" && address != "00000000000000000000000001000000" {
			t.Errorf("the kernel says that the agent listens on %s", address)
		}
	}
	if len(w.Server.Addrs()) < 2 {
		t.Errorf("listens on %v", w.Server.Addrs())
	}
	for name, change := range map[string]func(*daemon.Listen){"unix": func(l *daemon.Listen) { l.TCP = false }, "tcp": func(l *daemon.Listen) { l.Unix = false }} {
		only := localapitest.Start(t, localapitest.Options{Config: func(c *daemon.Config) { change(&c.Listen) }})
		for _, a := range only.Server.Addrs() {
			if a.Network() != name {
				t.Errorf("with %s alone it listens on %v", name, a)
			}
		}
	}
}

// listening reads from the kernel on which addresses there is a listener with this port.
func listening(t *testing.T, port string) []string {
	t.Helper()
	n, err := strconv.Atoi(port)
	must(t, err)
	hex := strings.ToUpper(strconv.FormatInt(int64(n)+0x10000, 16)[1:])
	var out []string
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && file[len(file)-1] == '6' {
			continue
		}
		must(t, err)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], ":"+hex) {
				out = append(out, strings.TrimSuffix(f[1], ":"+hex))
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("the kernel knows of no listener")
	}
	return out
}

func TestL01_WiderBindIsRefused(t *testing.T) {
	addresses := []string{"0.0.0.0:0", "[::]:0", ":0", "127.0.0.2:0"}
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			addresses = append(addresses, net.JoinHostPort(n.IP.String(), "0"))
		}
	}
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s cannot be had here: %v", address, err)
			continue
		}
		if _, err := server.Listen(daemon.Listen{}, "", []net.Listener{l}); !errors.Is(err, fault.Policy) {
			t.Errorf("%s: %v", address, err)
		}
		if err := l.(*net.TCPListener).SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s is still open: %v", address, err)
			l.Close()
		}
	}
	if _, err := server.Listen(daemon.Listen{}, "", nil); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("no listener at all: %v", err)
	}
}

func TestL01_ListenersHandedIn(t *testing.T) {
	dir := folder(t)
	open := filepath.Join(dir, "open.sock")
	l, err := net.Listen("unix", open)
	must(t, err)
	must(t, os.Chmod(open, 0o666))
	if _, err := server.Listen(daemon.Listen{}, dir, []net.Listener{l}); !errors.Is(err, fault.Policy) {
		t.Errorf("a socket open to all: %v", err)
	}
	good := filepath.Join(dir, "good.sock")
	l, err = net.Listen("unix", good)
	must(t, err)
	must(t, os.Chmod(good, 0o600))
	got, err := server.Listen(daemon.Listen{Unix: true}, dir, []net.Listener{l})
	must(t, err)
	defer got[0].Close()
	if len(got) != 1 || got[0] != l {
		t.Errorf("%v", got)
	}
}

func TestL18_SocketPlaceTaken(t *testing.T) {
	for name, prepare := range map[string]func(dir, path string) error{
		"a file":               func(_, path string) error { return os.WriteFile(path, nil, 0o600) },
		"a link to a file":     func(dir, path string) error { return os.Symlink(filepath.Join(dir, "x"), path) },
		"a folder":             func(_, path string) error { return os.Mkdir(path, 0o700) },
		"folder open to group": func(dir, _ string) error { return os.Chmod(dir, 0o750) },
		"folder open to all":   func(dir, _ string) error { return os.Chmod(dir, 0o755) },
		"a link to a socket": func(dir, path string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "x"))
			if err == nil {
				t.Cleanup(func() { l.Close() })
				err = os.Symlink(filepath.Join(dir, "x"), path)
			}
			return err
		},
		"a dead socket open to all": func(_, path string) error {
			if err := deadSocket(path); err != nil {
				return err
			}
			return os.Chmod(path, 0o666)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			path := filepath.Join(dir, localapi.SocketName)
			must(t, prepare(dir, path))
			if l, err := server.Listen(daemon.Listen{Unix: true}, dir, nil); !errors.Is(err, fault.Policy) {
				t.Errorf("%v, %v", l, err)
			}
		})
	}
}

// deadSocket leaves a socket at which nobody listens.
func deadSocket(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	return l.Close()
}

func TestL24_StaleSocket(t *testing.T) {
	dir := folder(t)
	must(t, deadSocket(filepath.Join(dir, localapi.SocketName)))
	first, err := server.Listen(daemon.Listen{Unix: true}, dir, nil)
	must(t, err)
	if _, err := server.Listen(daemon.Listen{Unix: true}, dir, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("beside a live one: %v", err)
	}
	must(t, first[0].Close())
	if _, err := os.Lstat(filepath.Join(dir, localapi.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestL24_StopUnderLoad(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	d, err := c.CreateDataset(t.Context(), "load", "")
	must(t, err)
	events, stopped := 0, make(chan struct{})
	go func() {
		defer close(stopped)
		for _, err := range c.Events(t.Context(), "0") {
			if err != nil {
				return
			}
			events++
			if events == 1 {
				go w.Stop()
			}
		}
	}()
	endless := &pacedRows{}
	_, err = c.Put(t.Context(), d.Id, endless, localapi.PutOptions{Format: "csv"})
	if err == nil {
		t.Error("an endless body became a version")
	}
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopped after %v", took)
	}
	for _, path := range []string{w.Socket, filepath.Join(w.Config.Folders.Runtime, localapi.TokenName)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", filepath.Base(path))
		}
	}
}

// pacedRows is a CSV body without an end.
type pacedRows struct{ begun bool }

func (r *pacedRows) Read(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		return copy(p, "a,b\n"), nil
	}
	time.Sleep(time.Millisecond)
	return copy(p, "1,2\n"), nil
}

const otherUser = 65534

// TestL10_AnotherUser connects as a second user id. The modes of socket and folder keep it out; here they are opened on purpose, to see the check behind.
func TestL10_AnotherUser(t *testing.T) {
	if path := os.Getenv("COLDFRAME_TEST_SOCKET"); path != "" {
		connectAsOther(t, path)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become a second user")
	}
	w := localapitest.Start(t, localapitest.Options{})
	must(t, os.Chmod(w.Dir(), 0o755))
	must(t, os.Chmod(filepath.Dir(w.Socket), 0o755))
	must(t, os.Chmod(w.Socket, 0o666))
	exe, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir := folder(t)
	must(t, os.Chmod(dir, 0o755))
	bin := filepath.Join(dir, "test")
	must(t, os.WriteFile(bin, exe, 0o755)) //nolint:gosec // another user runs it
	cmd := exec.CommandContext(t.Context(), bin, "-test.run=^TestL10_AnotherUser$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "COLDFRAME_TEST_SOCKET="+w.Socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "closed without an answer") {
		t.Errorf("%v\n%s", err, out)
	}
	newCaller(t, w, "unix").send("GET", "/healthz", "").want(t, 200, "")
	newCaller(t, w, "tcp").send("GET", "/v1/status", "").want(t, 401, localapi.Unauthorized)
}

func connectAsOther(t *testing.T, path string) {
	if os.Getuid() != otherUser {
		t.Fatal("not the other user")
	}
	c, err := net.Dial("unix", path)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")) //nolint:errcheck // the answer counts
	b := make([]byte, 100)
	if n, err := c.Read(b); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q, %v", b[:n], err)
	}
	t.Log("closed without an answer")
}
