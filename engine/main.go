// Command coldframe-engine answers one SELECT and ends. The agent starts it: it speaks with nobody else, holds no key, opens no file by its
// name, and sees the columns that the statement needs as plain Parquet in memory files. docs/query.md tells the protocol.
package main

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// Exit codes, for whoever starts it by hand.
const (
	exitDone  = 0
	exitFault = 1
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "check" {
		os.Exit(check())
	}
	var c control
	rows, err := answer(c)
	last := reply{Rows: &rows}
	if err != nil {
		last = reply{Error: asQueryError(err)}
	}
	if err := c.send(last); err != nil || last.Error != nil {
		os.Exit(exitFault)
	}
	os.Exit(exitDone)
}

// answer takes the agent's messages in order, one statement.
func answer(c control) (int64, error) {
	var limits, first, second, third request
	if err := c.receive(&limits); err != nil {
		return 0, err
	}
	d, err := open(limits.MemoryMiB, limits.Threads)
	if err != nil {
		return 0, err
	}
	sandbox := confinement()
	if err := c.send(reply{Confined: &sandbox}); err != nil {
		return 0, err
	}
	if err := c.receive(&first); err != nil { // some time later, if this is the spare engine
		return 0, err
	}
	sql := first.SQL
	if strings.ContainsRune(sql, 0) {
		return 0, refuse("a statement with a zero byte")
	}
	n, err := d.judge(sql)
	if err != nil {
		return 0, err
	}
	if err := c.send(reply{Names: n}); err != nil {
		return 0, err
	}
	if err := c.receive(&second); err != nil {
		return 0, err
	}
	for i := range second.Tables {
		t := &second.Tables[i]
		if t.fds, err = c.files(t.Files); err != nil {
			return 0, err
		}
	}
	if err := d.define(second.Tables); err != nil {
		return 0, err
	}
	before, err := d.plan(sql, second.Tables)
	if err != nil {
		return 0, err
	}
	if err := c.send(reply{Scans: before}); err != nil {
		return 0, err
	}
	if err := c.receive(&third); err != nil {
		return 0, err
	}
	go func() {
		c.Read(make([]byte, 1)) //nolint:errcheck // nothing more comes but the end of the agent, and then nobody wants the answer
		os.Exit(exitFault)
	}()
	p, err := d.prepare(sql) // anew: the footers say more than before
	if err != nil {
		return 0, err
	}
	if err := d.unchanged(sql, second.Tables, before); err != nil {
		return 0, err
	}
	return d.stream(p)
}

// plan returns what the statement reads, after finding that it can be run.
func (d *duck) plan(sql string, tables []table) ([]scan, error) {
	p, err := d.prepare(sql)
	if err != nil {
		return nil, err
	}
	duckdb.DestroyPrepare(&p)
	return d.scans(sql, tables)
}

// unchanged makes sure that the statement takes no rows but those that the agent was told of: others may not be there.
func (d *duck) unchanged(sql string, tables []table, before []scan) error {
	if !slices.ContainsFunc(before, func(s scan) bool { return s.Where != nil }) {
		return nil
	}
	after, err := d.scans(sql, tables)
	if err == nil && !reflect.DeepEqual(before, after) {
		err = errors.New("another plan than before")
	}
	return err
}
