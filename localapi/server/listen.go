package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

const (
	socketMode    = 0o600
	folderMode    = 0o700
	maxSocketPath = 100 // bytes; sun_path has 108 on Linux and 104 on macOS
)

// listenUnix makes the socket localapi.SocketName in a folder that is 0700 and belongs to this user. A socket that a dead process left is replaced; one at
// which a process listens is not (L24).
func listenUnix(folder string) (net.Listener, error) {
	if err := ownFolder(folder); err != nil {
		return nil, err
	}
	path := filepath.Join(folder, localapi.SocketName)
	if len(path) > maxSocketPath {
		return nil, fault.New(fault.InvalidRequest, "the path of the socket is longer than %d bytes", maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the socket cannot be made")
	}
	l.SetUnlinkOnClose(false)
	s := &socket{UnixListener: l, path: path}
	if err := s.protect(); err != nil {
		s.Close() //nolint:errcheck // the first error is told
		return nil, err
	}
	return s, nil
}

// ownFolder makes the folder if it is not there, and wants it to be a folder, this user's, and closed to others.
func ownFolder(path string) error {
	if err := os.MkdirAll(path, folderMode); err != nil {
		return fault.Wrap(fault.Policy, err, "the folder of the socket cannot be made")
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fault.Wrap(fault.Policy, err, "the folder of the socket cannot be looked at")
	}
	if !info.IsDir() {
		return fault.New(fault.Policy, "the place for the folder of the socket is taken by something else")
	}
	return own(info, "the folder of the socket")
}

// own refuses what belongs to another user or is open to others.
func own(info fs.FileInfo, what string) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(st.Uid) != os.Geteuid():
		return fault.New(fault.Policy, "%s belongs to another user", what)
	case info.Mode().Perm()&0o077 != 0:
		return fault.New(fault.Policy, "%s is open to other users (mode %04o)", what, info.Mode().Perm())
	}
	return nil
}

// removeStale removes a socket of this user at which nobody listens any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Policy, err, "the socket cannot be looked at")
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fault.New(fault.Policy, "the place of the socket is taken by something else")
	}
	if err := own(info, "the old socket"); err != nil {
		return err
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", path)
	if err == nil {
		c.Close() //nolint:errcheck // it was a question
		return fault.New(fault.Conflict, "an agent listens at the socket already")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fault.Wrap(fault.Policy, err, "it cannot be told whether an agent listens at the socket")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Policy, err, "the old socket cannot be removed")
	}
	return nil
}

// socket removes its file when it closes, if the file is still its own.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

// protect sets the mode of the file, in a folder that others cannot enter, and notes which file it is.
func (s *socket) protect() error {
	if err := os.Chmod(s.path, socketMode); err != nil {
		return fault.Wrap(fault.Policy, err, "the mode of the socket cannot be set")
	}
	info, err := os.Lstat(s.path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return fault.Wrap(fault.Policy, err, "the socket was replaced by something else")
	}
	s.info = info
	return own(info, "the socket")
}

func (s *socket) Close() error {
	if info, err := os.Lstat(s.path); err == nil && s.info != nil && os.SameFile(info, s.info) {
		os.Remove(s.path) //nolint:errcheck // the next start replaces it
	}
	return s.UnixListener.Close()
}

// listenTCP listens on 127.0.0.1 and, on a machine that has it, ::1, with the same port; 0 means any.
func listenTCP(port int) ([]net.Listener, error) {
	four, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, err, "port %d on 127.0.0.1 cannot be had", port)
	}
	port = four.Addr().(*net.TCPAddr).Port
	six, err := new(net.ListenConfig).Listen(context.Background(), "tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
	switch {
	case err == nil:
		return []net.Listener{four, six}, nil
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return []net.Listener{four}, nil
	}
	four.Close() //nolint:errcheck // the first error is told
	return nil, fault.Wrap(fault.Conflict, err, "port %d on ::1 cannot be had", port)
}

// checkListener refuses a listener that others than the processes of this machine, or on a Unix socket of this user, could reach (L01). It
// looks at where the listener is bound, so it holds for those that were handed in as well.
func checkListener(l net.Listener) error {
	switch a := l.Addr().(type) {
	case *net.TCPAddr:
		if !a.IP.Equal(net.IPv4(127, 0, 0, 1)) && !a.IP.Equal(net.IPv6loopback) {
			return fault.New(fault.Policy, "the agent listens on 127.0.0.1 and ::1 only, not on %s", a.IP)
		}
		return nil
	case *net.UnixAddr:
		return checkSocketFile(a.Name)
	}
	return fault.New(fault.Policy, "the agent listens on TCP and on Unix sockets only, not on %s", l.Addr().Network())
}

func checkSocketFile(path string) error {
	if !filepath.IsAbs(path) {
		return fault.New(fault.Policy, "the socket has no absolute path")
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return fault.Wrap(fault.Policy, err, "the socket is not at its place")
	}
	if err := own(info, "the socket"); err != nil {
		return err
	}
	folder, err := os.Lstat(filepath.Dir(path))
	if err != nil {
		return fault.Wrap(fault.Policy, err, "the folder of the socket cannot be looked at")
	}
	return own(folder, "the folder of the socket")
}

// hostsOf returns what a request that comes in through a listener may name as its Host (L02).
func hostsOf(l net.Listener) []string {
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return []string{"localhost"}
	}
	return []string{fmt.Sprintf("127.0.0.1:%d", a.Port), fmt.Sprintf("localhost:%d", a.Port), fmt.Sprintf("[::1]:%d", a.Port)}
}
