package sse

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

func TestReader(t *testing.T) {
	type event struct{ N int }
	f := Format{MaxLine: 64, ValidID: func(s string) bool { return len(s) == 1 }}
	for name, c := range map[string]struct {
		in   string
		want []string // ids and numbers
		err  error
	}{
		"events":           {"id: a\nevent: x\ndata: {\"n\":1}\n\n:\n\nretry: 1\n\ndata: {\"n\":2}\n\n", []string{"a1", "a2"}, io.ErrUnexpectedEOF},
		"lines":            {"data:{\"n\":\r\ndata:3}\r\nid:b\r\n\r\n", []string{"b3"}, io.ErrUnexpectedEOF},
		"id of no use":     {"id: bb\ndata: {\"n\":1}\n\nid: c\n\ndata: {\"n\":2}\n\n", []string{"z1", "c2"}, io.ErrUnexpectedEOF},
		"no JSON":          {"id: a\ndata: x\n\ndata: {}\n\n", nil, fault.Incomplete},
		"broken off":       {"id: a\ndata: {\"n\":1}\n", nil, io.ErrUnexpectedEOF},
		"a line too long":  {"data: " + strings.Repeat(" ", 600), nil, bufio.ErrTooLong},
		"too many of data": {"data: {\"n\":1}\n" + strings.Repeat("data: "+strings.Repeat(" ", 50)+"\n", 9) + "\n", []string{"z1"}, io.ErrUnexpectedEOF},
	} {
		var got []string
		r := NewReader[event](strings.NewReader(c.in), "z", f)
		for r.Next() {
			got = append(got, r.ID+string(rune('0'+r.Event.N)))
		}
		if !reflect.DeepEqual(got, c.want) || !errors.Is(r.Err, c.err) {
			t.Errorf("%s: %q, %v", name, got, r.Err)
		}
	}
}
