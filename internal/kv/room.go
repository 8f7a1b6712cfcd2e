package kv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"coldframe/internal/fault"
)

// checkFree refuses to write size bytes that would not leave the reserve and room for merging tables.
func (db *DB) checkFree(size uint64) error {
	tables, err := bytesOf(db.dir, ".sst")
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the store cannot be measured")
	}
	return db.checkRoom(size + db.o.MinFree + min(tables, maxCompaction))
}

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

// bytesOf returns how much room the files with this extension take on the disk; Badger makes them longer than they are full.
func bytesOf(dir, extension string) (uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	sum := uint64(0)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != extension {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // merged into another one meanwhile
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += onDisk(info)
	}
	return sum, nil
}
