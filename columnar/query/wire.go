package query

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"coldframe/internal/fault"
)

// maxMessage bounds a message of either side in bytes, maxText the words of an error in it.
const (
	maxMessage = 8 << 20
	maxText    = 4 << 10
)

// request is a message to the engine. They go out in this order: limits, statement, tables with their files behind it, and an empty one: run.
type request struct {
	SQL       string  `json:"sql,omitempty"`
	MemoryMiB int     `json:"memory_mib,omitempty"`
	Threads   int     `json:"threads,omitempty"`
	Tables    []table `json:"tables,omitempty"`
}

type table struct {
	Name   string   `json:"name"`
	Files  int      `json:"files"`
	Hidden []string `json:"hidden,omitempty"` // columns that the view leaves out
}

// reply is a message of the engine: one of its fields.
type reply struct {
	Confined *confined   `json:"confined"`
	Names    *names      `json:"names"`
	Scans    []scan      `json:"scans"`
	Rows     *int64      `json:"rows"` // the result is complete
	Error    *queryError `json:"error"`
}

type confined struct {
	Privileges bool `json:"privileges"`
	Files      bool `json:"files"`
	Syscalls   bool `json:"syscalls"`
	Namespaces bool `json:"namespaces"`
}

type names struct {
	Tables []string `json:"tables"` // each once, as written
	Local  []string `json:"local"`  // named in the statement itself, by WITH
}

// scan says which columns of a table are read, and a condition without which no row of it is.
type scan struct {
	All     bool       `json:"all"`
	Columns []int      `json:"columns"`
	Where   *condition `json:"where"`
}

type queryError struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// fault is the failure that the engine told, if it is one that it may tell.
func (e *queryError) fault() error {
	code := fault.Code(e.Code)
	if !slices.Contains([]fault.Code{fault.InvalidRequest, fault.Policy, fault.TooLarge}, code) {
		return errBroken
	}
	return fault.New(code, "%s", e.Text[:min(len(e.Text), maxText)])
}

// errBroken says that the engine failed, or said what it may not; errSilent that it ended without a word.
var (
	errBroken = fault.New(fault.Internal, "the query engine broke down")
	errSilent = fault.New(fault.Internal, "the query engine ended")
)

// readReply reads a message: its length, big endian, and JSON. A failure that the engine tells is returned as one.
func readReply(r io.Reader) (*reply, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, errSilent
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, errBroken
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, errBroken
	}
	m, err := parseReply(b)
	if err != nil {
		return nil, errBroken
	}
	if m.Error != nil {
		return nil, m.Error.fault()
	}
	return m, nil
}

func parseReply(b []byte) (*reply, error) {
	var m reply
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("more than one message")
	}
	return &m, nil
}

func writeRequest(w io.Writer, m request) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fault.New(fault.TooLarge, "the statement is too long")
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return errBroken
	}
	return nil
}

// columns returns the columns of a scan in a table of n, or an error if the engine named others.
func (s scan) columns(n int) ([]int, error) {
	if s.All {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	out := slices.Clone(s.Columns)
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > 0 && (out[0] < 0 || out[len(out)-1] >= n) {
		return nil, errBroken
	}
	return out, nil
}
