package query

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// Room beside what the options allow.
const (
	overheadMiB = 384  // memory of the engine beside the database: its program, Go, threads, one result batch
	openFiles   = 4096 // a part is opened again for each time that a statement reads it
	graceCPU    = 5    // seconds
	graceReply  = 5 * time.Second
)

// child is an engine that runs.
type child struct {
	cmd     *exec.Cmd
	control *net.UnixConn
	result  *os.File
	once    sync.Once
	release func() // unties it from the context of its statement; nil: it was started for it
}

// start starts an engine that ends with ctx, bounds it, has it open its database, and checks that it is confined. It has seen two numbers.
func start(ctx context.Context, o Options) (*child, error) {
	c := &child{}
	if err := c.spawn(ctx, o); err != nil {
		return nil, err
	}
	if err := c.limit(o); err != nil {
		c.stop()
		return nil, fault.Wrap(fault.Policy, err, "the query engine cannot be limited on this system")
	}
	err := writeRequest(c.control, request{MemoryMiB: o.MemoryMiB, Threads: o.Threads})
	var m *reply
	if err == nil {
		m, err = readReply(c.control)
	}
	if err == nil && m.Confined == nil {
		err = errBroken
	}
	if err == nil && !o.AllowUnconfined {
		err = m.Confined.enough()
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// enough says what is missing. A network namespace is not needed beside the filter of system calls, which has no sockets.
func (c confined) enough() error {
	var missing []string
	for _, part := range []struct {
		name string
		has  bool
	}{{"Landlock", c.Files}, {"seccomp", c.Syscalls}, {"no_new_privs without capabilities", c.Privileges}} {
		if !part.has {
			missing = append(missing, part.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fault.New(fault.Policy, "the query engine cannot be confined on this system, which lacks %s: queries are refused unless query.allow_unconfined is set",
		strings.Join(missing, " and "))
}

func (c *child) spawn(ctx context.Context, o Options) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer ours.Close()   //nolint:errcheck // net.FileConn has a copy
	defer theirs.Close() //nolint:errcheck // the engine has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		conn.Close() //nolint:errcheck // nothing was sent
		return err
	}
	defer out.Close() //nolint:errcheck // the engine has a copy
	c.control, c.result = conn.(*net.UnixConn), in
	c.cmd = exec.CommandContext(ctx, o.Program) //nolint:gosec // of the configuration, or beside our own
	c.cmd.Env, c.cmd.Dir, c.cmd.ExtraFiles = []string{}, "/", []*os.File{theirs, out}
	if err := c.cmd.Start(); err != nil {
		c.close()
		if errors.Is(err, fs.ErrNotExist) {
			return fault.Wrap(fault.Unavailable, err, "the query engine is not installed: coldframe-engine is to be beside coldframed, or where query.engine says")
		}
		return fault.Wrap(fault.Unavailable, err, "the query engine cannot be started")
	}
	return nil
}

// limit bounds the engine from outside, before it is given anything.
func (c *child) limit(o Options) error {
	for what, n := range map[int]uint64{
		unix.RLIMIT_DATA:   uint64(o.MemoryMiB+overheadMiB) << 20,
		unix.RLIMIT_CPU:    uint64(o.Time/time.Second)*uint64(o.Threads) + graceCPU,
		unix.RLIMIT_NOFILE: openFiles,
		unix.RLIMIT_CORE:   0,
	} {
		var now unix.Rlimit
		if err := unix.Prlimit(c.cmd.Process.Pid, what, nil, &now); err != nil {
			return err
		}
		n = min(n, now.Max)
		if err := unix.Prlimit(c.cmd.Process.Pid, what, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			return err
		}
	}
	return nil
}

// give hands over an open file beside one byte.
func (c *child) give(f *os.File) error {
	_, _, err := c.control.WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
	if err != nil {
		return errBroken
	}
	return nil
}

// last returns how the engine says that it ended; a result that is not read to its end ends it. What it has not said soon it will not say.
func (c *child) last() (int64, error) {
	c.result.Close()                                      //nolint:errcheck // read to its end, or not wanted any more
	c.control.SetReadDeadline(time.Now().Add(graceReply)) //nolint:errcheck // shows in the read
	m, err := readReply(io.LimitReader(c.control, maxMessage))
	if err == nil && m.Rows == nil {
		err = errBroken
	}
	if err != nil {
		return 0, err
	}
	return *m.Rows, nil
}

// stop ends the engine, whatever it does, and waits for it.
func (c *child) stop() {
	c.once.Do(func() {
		c.cmd.Process.Kill() //nolint:errcheck // it has ended already
		c.close()
		c.cmd.Wait() //nolint:errcheck // killed, or it told its failure
		if c.release != nil {
			c.release()
		}
	})
}

func (c *child) close() {
	c.control.Close() //nolint:errcheck // nobody listens
	c.result.Close()  //nolint:errcheck // only read from
}
