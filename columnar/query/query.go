package query

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
)

// Engine answers SQL.
type Engine interface {
	// Query runs one SELECT, in a process of its own. The tables that it names are asked of find, which answers fault.NotFound for those that are not there.
	// Nothing is left running once the result is closed or ctx has ended. Failures, here or of Next:
	//
	//	invalid_request  not SQL, not one statement, an unknown column, a value that cannot be cast, a result type that cannot be written
	//	policy           not a SELECT, a function that reads anything but datasets; an engine that cannot be confined here
	//	too_large        more time, memory, columns or result than the limits allow
	//	not_found        a table that is no dataset
	//	unavailable      the engine is not installed, or not for this system
	//	internal         the engine broke down
	//
	// and those of columnar.NewReader.
	Query(ctx context.Context, sql string, find Find) (Result, error)
	// Warm starts the process of a next statement ahead, unless one waits already or Options.Spare is 0, and waits until it is ready.
	// It has seen nothing, and is ended when it was not needed for that long. Each statement starts the next one as it ends.
	Warm(ctx context.Context) error
	// Rest ends the process that waits. Statements in work go on, but start none when they end; later ones do again.
	Rest()
}

// Find returns the dataset that a name in a statement stands for. The engine closes it.
type Find func(ctx context.Context, name string) (*columnar.Image, error)

// Result is what a statement gave, batch by batch. Next and Close are for one goroutine.
type Result interface {
	Schema() *arrow.Schema
	// Next returns the next batch, which the caller releases; io.EOF once the engine said that the result is complete.
	Next() (arrow.RecordBatch, error)
	// Close ends the engine if it still runs.
	Close() error
}

// Options are the limits of one statement. All must be set but Spare.
type Options struct {
	Program         string // path of coldframe-engine
	AllowUnconfined bool   // run it even where the kernel cannot confine it
	Threads         int
	MemoryMiB       int           // of the engine's own memory
	DataMiB         int           // of columns in the clear
	ResultMiB       int           // of the result, as Arrow
	Time            time.Duration // from start to end
	Spool           string        // folder for sealed spool files of wide results
	Spare           time.Duration // how long a process that was started ahead may wait; 0: none is
}

// MaxSQL bounds a statement in bytes.
const MaxSQL = 64 << 10

// maxFiles bounds the parts of all tables of a statement: each is an open file in both processes.
const maxFiles = 400
