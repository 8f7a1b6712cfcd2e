package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// The files that the agent leaves open beside the three standard ones, which are /dev/null.
const (
	controlFD = 3 // a stream socket: messages, and memory files beside them
	resultFD  = 4 // a pipe: the result as an Arrow stream
)

// maxMessage bounds a message in bytes, on both sides.
const maxMessage = 8 << 20

// request is a message of the agent. They come in this order: limits, statement, tables (with their files behind it), run.
type request struct {
	SQL       string  `json:"sql,omitempty"`
	MemoryMiB int     `json:"memory_mib,omitempty"`
	Threads   int     `json:"threads,omitempty"`
	Tables    []table `json:"tables,omitempty"`
}

// table is a name in the statement and how many of the files, which follow the message, are its.
type table struct {
	Name   string   `json:"name"`
	Files  int      `json:"files"`
	Hidden []string `json:"hidden,omitempty"` // columns that the view leaves out
	fds    []int
}

// reply is a message to the agent: one of its fields.
type reply struct {
	Confined *confined   `json:"confined,omitempty"`
	Names    *names      `json:"names,omitempty"`
	Scans    []scan      `json:"scans,omitempty"`
	Rows     *int64      `json:"rows,omitempty"` // the result is complete
	Error    *queryError `json:"error,omitempty"`
}

// control speaks with the agent, by calls that block.
type control struct{}

func (control) Read(p []byte) (int, error) {
	n, err := unix.Read(controlFD, p)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(controlFD, p)
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

func (control) Write(p []byte) (int, error) { return writeAll(controlFD, p) }

// receive reads a message: its length, big endian, and JSON.
func (c control) receive(m *request) error {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("a message of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	return json.Unmarshal(b, m)
}

func (c control) send(m reply) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// files receives n open files: each comes beside a byte of its own.
func (control) files(n int) ([]int, error) {
	var fds []int
	oob := make([]byte, unix.CmsgSpace(4))
	for len(fds) < n {
		var b [1]byte
		got, oobn, flags, _, err := unix.Recvmsg(controlFD, b[:], oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got != 1 || flags&unix.MSG_CTRUNC != 0 {
			return nil, fmt.Errorf("a file that did not arrive: %w", err)
		}
		m, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(m) != 1 {
			return nil, errors.New("a byte without a file")
		}
		fd, err := unix.ParseUnixRights(&m[0])
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd...)
	}
	return fds, nil
}

// result is where the Arrow stream goes.
type result struct{}

func (result) Write(p []byte) (int, error) { return writeAll(resultFD, p) }

func writeAll(fd int, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(fd, p[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
