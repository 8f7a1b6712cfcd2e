package query_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coldframe/columnar/query"
	"coldframe/internal/fault"
)

const good = `{"confined":{"privileges":true,"files":true,"syscalls":true,"namespaces":false}}`

// fake is an engine that is a script: it says what it is told to, whatever it hears.
func fake(t *testing.T, script string) query.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return query.Options{Program: path, Threads: 1, MemoryMiB: 64, DataMiB: 64, ResultMiB: 64, Time: 10 * time.Second, Spool: t.TempDir()}
}

// say is the command that sends messages, each with its length.
func say(messages ...string) string {
	var b strings.Builder
	for _, m := range messages {
		for _, c := range append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...) {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return "printf '" + b.String() + "' >&3"
}

// Whatever an engine says, its query fails, at once, with a code that tells which of the two is at fault.
func TestHostileEngine(t *testing.T) {
	w := newWorld(t)
	w.add(100)
	names, scans := `{"names":{"tables":["mixed"],"local":[]}}`, `{"scans":[{"columns":[0]}]}`
	for name, c := range map[string]struct {
		script string
		want   fault.Code
	}{
		"ends at once":           {"exit 0", fault.Internal},
		"not confined":           {say(`{"confined":{"privileges":true,"files":false,"syscalls":true,"namespaces":true}}`) + "; sleep 5", fault.Policy},
		"says nothing of it":     {say(names), fault.Internal},
		"garbage":                {"head -c 100 /dev/zero | tr '\\0' 'x' >&3; sleep 5", fault.Internal},
		"long message":           {`printf '\377\377\377\377' >&3; sleep 5`, fault.Internal},
		"cut message":            {`printf '\000\000\001\000{' >&3`, fault.Internal},
		"unknown field":          {say(good, `{"names":{"tables":[],"local":[]},"more":1}`), fault.Internal},
		"no names":               {say(good, scans), fault.Internal},
		"table that is not":      {say(good, `{"names":{"tables":["other"],"local":[]}}`) + "; sleep 5", fault.NotFound},
		"column that is not":     {say(good, names, `{"scans":[{"columns":[99]}]}`) + "; sleep 5", fault.Internal},
		"negative column":        {say(good, names, `{"scans":[{"columns":[-1]}]}`) + "; sleep 5", fault.Internal},
		"condition on no column": {say(good, names, `{"scans":[{"columns":[0],"where":{"column":99,"op":"=","type":"BIGINT","value":"5"}}]}`), fault.Internal},
		"condition of nonsense":  {say(good, names, `{"scans":[{"columns":[0],"where":{"column":0,"op":"~","type":"BLOB","value":"5"}}]}`), fault.Internal},
		"condition nested deep":  {say(good, names, `{"scans":[{"columns":[0],"where":`+strings.Repeat(`{"all":[`, 300)+`{}`+strings.Repeat(`]}`, 300)+`}]}`), fault.Internal},
		"too few scans":          {say(good, names, `{"scans":[]}`) + "; sleep 5", fault.Internal},
		"no result":              {say(good, names, scans), fault.Internal},
		"result of garbage":      {say(good, names, scans) + "; echo garbage garbage garbage >&4", fault.Internal},
		"rows without a result":  {say(good, names, scans, `{"rows":5}`), fault.Internal},
		"a code of its own":      {say(good, names, `{"error":{"code":"not_authentic","text":"x"}}`), fault.Internal},
		"a refusal":              {say(good, names, `{"error":{"code":"invalid_request","text":"no such column"}}`) + "; sleep 5", fault.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			o := fake(t, c.script)
			begun := time.Now()
			_, err := w.run(context.Background(), o, `SELECT id FROM mixed`)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if time.Since(begun) > o.Time {
				t.Error("it took the whole time")
			}
		})
	}
}

// An engine that says nothing is ended when its time is over.
func TestSilentEngine(t *testing.T) {
	w := newWorld(t)
	w.add(100)
	for _, script := range []string{"exec sleep 60", say(good) + "; exec sleep 60"} {
		o := fake(t, script)
		o.Time = time.Second
		if _, err := w.run(context.Background(), o, `SELECT id FROM mixed`); !errors.Is(err, fault.TooLarge) {
			t.Errorf("%v", err)
		}
	}
}

// Who allows it gets an engine that is not confined; an engine that is not there is told.
func TestUnconfined(t *testing.T) {
	w := newWorld(t)
	w.add(100)
	o := fake(t, say(`{"confined":{"privileges":false,"files":false,"syscalls":false,"namespaces":false}}`, `{"error":{"code":"invalid_request","text":"it ran"}}`)+"; sleep 5")
	if _, err := w.run(context.Background(), o, `SELECT 1`); !errors.Is(err, fault.Policy) || !strings.Contains(err.Error(), "Landlock and seccomp") {
		t.Errorf("refused with %v", err)
	}
	o.AllowUnconfined = true
	if _, err := w.run(context.Background(), o, `SELECT 1`); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("allowed, but %v", err)
	}
	o.Program = "/nonexistent/coldframe-engine"
	if _, err := w.run(context.Background(), o, `SELECT 1`); !errors.Is(err, fault.Unavailable) {
		t.Errorf("without an engine: %v", err)
	}
}
