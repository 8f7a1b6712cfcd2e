// Package query answers SQL over datasets with DuckDB, which runs in a process of its own for each statement: the program coldframe-engine,
// from the module in the folder engine. docs/query.md tells the whole of it.
//
// The engine is taken for hostile from the moment that it has seen a table: rows come from other people, and its decoders are large. It is
// started with an empty environment and two files, confines itself before its first byte of input and says what it reached; less than
// enough is refused. It gets the columns that the statement needs, in the clear, in memory files; never a key, a token, a file or a socket
// of the agent. What it answers is bounded and parsed as any bytes from outside, the filters by which row groups are left out included: with
// false ones it hides rows from its own statement.
package query
