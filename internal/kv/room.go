package kv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"coldframe/internal/fault"
)

// checkFree refuses to write size bytes that would not leave the reserve, room for merging tables, room for cleaning and the spare.
func (db *DB) checkFree(size uint64) error { return db.checkSpare(size + db.o.Spare) }

// checkSpare is checkFree for what may use the spare.
func (db *DB) checkSpare(size uint64) error {
	tables, log, err := db.measure()
	if err != nil {
		return err
	}
	return db.checkRoom(size + db.reserve(tables) + db.cleanRoom(log))
}

// checkCleaning is checkFree for what cleaning writes: it may use its own room.
func (db *DB) checkCleaning(size uint64) error {
	tables, _, err := db.measure()
	if err != nil {
		return err
	}
	return db.checkRoom(size + db.reserve(tables))
}

func (db *DB) reserve(tables uint64) uint64 { return db.o.MinFree + min(tables, maxCompaction) }

// cleanRoom is what cleaning needs: the table in memory is filled, in its log and on the disk, and a file of the value log is written anew, as far as it is
// not dead.
func (db *DB) cleanRoom(log uint64) uint64 { return 3*uint64(db.o.memTable) + min(log, logFile) }

// checkClosing refuses when there is no room for the tables that are still in memory.
func (db *DB) checkClosing() error { return db.checkRoom(2 * uint64(db.o.memTable)) }

func (db *DB) checkRoom(need uint64) error {
	free, err := db.o.FreeSpace(db.dir)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the free space cannot be measured")
	}
	if free < need {
		return fault.New(fault.StorageFull, "%d MiB free, %d MiB needed", free>>20, (need+1<<20-1)>>20)
	}
	return nil
}

// measure returns how much room the tables and the value log take on the disk, in bytes; Badger makes files longer than they are full.
func (db *DB) measure() (tables, log uint64, err error) {
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return 0, 0, fault.Wrap(fault.Unavailable, err, "the store cannot be measured")
	}
	for _, e := range entries {
		sum := &tables
		switch filepath.Ext(e.Name()) {
		case ".sst":
		case ".vlog":
			sum = &log
		default:
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // merged into another one meanwhile
			continue
		}
		if err != nil {
			return 0, 0, fault.Wrap(fault.Unavailable, err, "the store cannot be measured")
		}
		*sum += onDisk(info)
	}
	return tables, log, nil
}
