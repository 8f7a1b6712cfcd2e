package driver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"coldframe/internal/fault"
)

// maxLine is the longest request, in bytes; a dumped state is the longest.
const maxLine = 64 << 20

// Serve answers requests until one of them is quit or the input ends. It returns the failure of in or out.
func Serve(in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	d := &driver{}
	for {
		line, err := readLine(lines)
		if len(bytes.TrimSpace(line)) > 0 {
			answer, quit := d.answer(line)
			if _, err := out.Write(append(answer, '\n')); err != nil || quit {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads up to a line's end. Of a line that is too long it returns enough to be refused.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, piece...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// answer returns the answer to one request, and whether it was quit.
func (d *driver) answer(line []byte) (answer []byte, quit bool) {
	out := fields{"ok": true}
	name, result, err := d.handle(line, out)
	if err != nil {
		clear(result)
		out["ok"], out["error"], out["detail"] = false, fault.CodeOf(err), detail(err)
	}
	for k, v := range result {
		out[k] = v
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("driver: " + err.Error()) // fields holds strings, numbers and raw JSON that was parsed
	}
	return b, name == "quit" && out["ok"] == true
}

// fields is what an answer holds.
type fields map[string]any

// handle runs the request of a line. The request's id goes to out as soon as it is known.
func (d *driver) handle(line []byte, out fields) (name string, result fields, err error) {
	if len(line) > maxLine {
		return "", nil, fault.New(fault.TooLarge, "a request has at most %d bytes", maxLine)
	}
	var request map[string]json.RawMessage
	if json.Unmarshal(line, &request) != nil || request == nil {
		return "", nil, invalid("a request is one JSON object on one line")
	}
	if id, ok := request["id"]; ok {
		out["id"] = id
	}
	if json.Unmarshal(request["cmd"], &name) != nil {
		return "", nil, invalid("no command")
	}
	c, ok := commands[name]
	if !ok {
		return "", nil, invalid("unknown command %q", name)
	}
	if !c.first && d.peer == nil {
		return "", nil, invalid("init or load comes first")
	}
	delete(request, "id")
	delete(request, "cmd")
	if err := c.check(request); err != nil {
		return "", nil, err
	}
	rest, err := json.Marshal(request)
	if err != nil {
		return "", nil, err
	}
	result, err = guard(func() (fields, error) { return c.run(d, rest) })
	return name, result, err
}

// guard makes an error of a panic: whoever is on the other end gets an answer. A panic is a fault of ours, whatever came in.
func guard(run func() (fields, error)) (f fields, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "signalpeer: %v\n%s", p, debug.Stack())
			f, err = nil, fault.New(fault.Internal, "panic: %v", p)
		}
	}()
	return run()
}

func invalid(format string, args ...any) error {
	return fault.New(fault.InvalidRequest, format, args...)
}

// detail returns what a failure says about itself.
func detail(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err == nil {
		return f.Detail
	}
	return err.Error()
}
