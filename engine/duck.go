package main

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// duck is a database in memory, with one connection.
type duck struct {
	db   duckdb.Database
	conn duckdb.Connection
}

// open makes a database that loads and writes nothing.
func open(memoryMiB, threads int) (*duck, error) {
	var config duckdb.Config
	if duckdb.CreateConfig(&config) != duckdb.StateSuccess {
		return nil, fmt.Errorf("no configuration")
	}
	defer duckdb.DestroyConfig(&config)
	d := &duck{}
	var text string
	if duckdb.OpenExt(":memory:", &d.db, config, &text) != duckdb.StateSuccess {
		return nil, fmt.Errorf("no database: %s", text)
	}
	if duckdb.Connect(d.db, &d.conn) != duckdb.StateSuccess {
		return nil, fmt.Errorf("no connection")
	}
	for _, setting := range []string{
		fmt.Sprintf("memory_limit = '%dMiB'", memoryMiB), fmt.Sprintf("threads = %d", threads), "temp_directory = ''", "TimeZone = 'UTC'",
		"autoinstall_known_extensions = false", "autoload_known_extensions = false", "allow_community_extensions = false",
		"allow_persistent_secrets = false", "enable_external_file_cache = false",
	} {
		if err := d.run("SET " + setting); err != nil {
			return nil, fmt.Errorf("the setting %s is not taken: %w", setting, err)
		}
	}
	return d, nil
}

// run runs a statement of our own.
func (d *duck) run(sql string) error {
	var r duckdb.Result
	defer duckdb.DestroyResult(&r)
	if duckdb.Query(d.conn, sql, &r) != duckdb.StateSuccess {
		return duckError(duckdb.ResultError(&r))
	}
	return nil
}

// text runs a statement of our own whose result is one string.
func (d *duck) text(sql string) (string, error) {
	var r duckdb.Result
	defer duckdb.DestroyResult(&r)
	if duckdb.Query(d.conn, sql, &r) != duckdb.StateSuccess {
		return "", duckError(duckdb.ResultError(&r))
	}
	chunk := duckdb.FetchChunk(r)
	if chunk.Ptr == nil {
		return "", fmt.Errorf("no row")
	}
	defer duckdb.DestroyDataChunk(&chunk)
	return duckdb.StringTData((*duckdb.StringT)(duckdb.VectorGetData(duckdb.DataChunkGetVector(chunk, 0)))), nil
}

// define makes a view over the files of each table, and closes the database to everything else.
func (d *duck) define(tables []table) error {
	var all []string
	for _, t := range tables {
		for _, fd := range t.fds {
			all = append(all, literal(path(fd)))
		}
	}
	for _, sql := range []string{
		"SET allowed_paths = [" + strings.Join(all, ", ") + "]::VARCHAR[]", "SET enable_external_access = false",
	} {
		if err := d.run(sql); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if err := d.run(t.view()); err != nil {
			return err
		}
	}
	if err := d.run("SET lock_configuration = true"); err != nil {
		return err
	}
	return d.run("BEGIN") // so that now() stays what it is from the plan to the end
}

// view returns the statement that makes the view of a table.
func (t table) view() string {
	var files, hidden []string
	for _, fd := range t.fds {
		files = append(files, literal(path(fd)))
	}
	for _, name := range t.Hidden {
		hidden = append(hidden, identifier(name))
	}
	columns := "*"
	if len(hidden) > 0 {
		columns = "* EXCLUDE (" + strings.Join(hidden, ", ") + ")"
	}
	return "CREATE VIEW " + identifier(t.Name) + " AS SELECT " + columns + " FROM read_parquet([" + strings.Join(files, ", ") + "], hive_partitioning = false)"
}

func path(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// prepare returns the statement ready to run. Unknown columns, wrong types and the like are found here.
func (d *duck) prepare(sql string) (duckdb.PreparedStatement, error) {
	var p duckdb.PreparedStatement
	var all duckdb.ExtractedStatements
	n := duckdb.ExtractStatements(d.conn, sql, &all)
	defer duckdb.DestroyExtracted(&all)
	if n != 1 {
		return p, refuse("exactly one statement is needed")
	}
	if duckdb.PrepareExtractedStatement(d.conn, all, 0, &p) != duckdb.StateSuccess {
		err := duckError(duckdb.PrepareError(p))
		duckdb.DestroyPrepare(&p)
		return p, err
	}
	var err error
	switch {
	case duckdb.PreparedStatementType(p) != duckdb.StatementTypeSelect:
		err = forbid("only SELECT is allowed")
	case duckdb.NParams(p) != 0:
		err = refuse("a statement with parameters")
	}
	if err != nil {
		duckdb.DestroyPrepare(&p)
	}
	return p, err
}

// stream runs the statement and writes its result as an Arrow stream. It returns how many rows it has.
func (d *duck) stream(p duckdb.PreparedStatement) (int64, error) {
	var r duckdb.Result
	defer duckdb.DestroyResult(&r)
	if duckdb.ExecutePreparedStreaming(p, &r) != duckdb.StateSuccess {
		return 0, duckError(duckdb.ResultError(&r))
	}
	c, err := newConverter(&r)
	if err != nil {
		return 0, err
	}
	defer c.close()
	w := ipc.NewWriter(result{}, ipc.WithSchema(c.schema))
	rows := int64(0)
	for {
		chunk := duckdb.FetchChunk(r)
		if chunk.Ptr == nil {
			break
		}
		rows += int64(duckdb.DataChunkGetSize(chunk))
		rec, err := c.record(chunk)
		if err != nil {
			return rows, err
		}
		err = w.Write(rec)
		rec.Release()
		if err != nil {
			return rows, err
		}
	}
	if text := duckdb.ResultError(&r); text != "" {
		return rows, duckError(text)
	}
	return rows, w.Close()
}
