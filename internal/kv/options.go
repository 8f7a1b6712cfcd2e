package kv

import (
	"log/slog"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"coldframe/internal/freespace"
)

const (
	// DefaultMinFree is the free space that a write leaves on the disk, in bytes: room for what Badger writes in the background.
	DefaultMinFree = 64 << 20

	// maxCompaction is what merging tables needs for a while on top of that, in bytes, or the size of all tables if that is less:
	// the tables of level 0 (at most 4 × 8 MiB) and what they overlap below (about 10 MiB), and a table of another level with its own.
	maxCompaction = 64 << 20
)

// MaxValue is the size of the largest value, in bytes.
const MaxValue = 8 << 20

// Options of a store. The zero value is good.
type Options struct {
	// FreeSpace returns how many bytes this user may still write to the file system of dir. Default: ask the system.
	FreeSpace func(dir string) (uint64, error)
	// MinFree is the reserve, in bytes. Default: DefaultMinFree.
	MinFree uint64
	// Spare is room beside the reserve that only UpdateSpare may use, in bytes.
	Spare uint64
	// Logger gets Badger's messages at debug level. They hold no keys and no values. Default: none.
	Logger *slog.Logger
	// LogValues is the size from which on a value is in the value log and not in a table, in bytes. Default: 256 KiB.
	LogValues int64
	// CleanEvery is the time between two rounds of giving back the space of deleted values. Default: 10 minutes.
	CleanEvery time.Duration

	memTable int64 // bytes before a table is written out; default: 8 MiB
}

func (o Options) withDefaults() Options {
	if o.FreeSpace == nil {
		o.FreeSpace = freespace.Of
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LogValues == 0 {
		o.LogValues = 256 << 10
	}
	if o.CleanEvery == 0 {
		o.CleanEvery = 10 * time.Minute
	}
	if o.memTable == 0 {
		o.memTable = 8 << 20
	}
	return o
}

// badgerOptions are those of THREATS section 7, and small tables: a compaction stays well within the reserve.
func (o Options) badgerOptions(dir string, log badger.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(log).
		WithSyncWrites(true).
		WithMemTableSize(o.memTable).
		WithNumMemtables(2).
		WithValueThreshold(o.LogValues).
		WithValueLogFileSize(logFile).
		WithBlockCacheSize(0).
		WithCompression(options.None). // sealed values do not shrink
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(4).
		WithNumCompactors(2).
		WithCompactL0OnClose(false). // merging at the end would need room at a moment that nobody can choose
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnTableAndBlockRead).
		WithDetectConflicts(false). // writers run one after the other
		WithMetricsEnabled(false)
}
