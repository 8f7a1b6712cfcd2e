// Package cache keeps ranges of objects that were fetched from a bucket on the local disk: what is read again comes from there without a
// request. It holds the sealed bytes exactly as the store gave them, is trusted for nothing, and may be lost at any time.
//
// A fetched range is one file, ab/NAME.OFFSET.LENGTH, below a folder that one process has at a time. A read takes what files have, in
// any pieces, and asks the store for the rest; what it fetched becomes a file of its own. So a read of some of the columns that were read
// before costs nothing, and a first read asks for not one byte or request more than it would without a cache. Readers that want the
// same bytes at the same time share one fetch.
//
// Nothing here is checked: whoever reads compares the bytes with the hashes of a manifest, as without a cache, and calls Forget when they
// are wrong, so that the store is asked the next time (D17). That is why no file is synced and none has a checksum. What this package
// finds by itself (a file that is absent, or of another length than its name says) is dropped, and the read goes on from the store. A disk
// that is full or broken costs the copy and never the read.
//
// Files have the mode 0600. Their names are those of the store, random; who has the disk sees their lengths and when they were last used.
//
// The limit is of bytes on disk, in blocks, files that are being written included. The least recently used ones go first, by an order
// that survives restarts as the files' times. While too little is free on the disk, the cache shrinks. There are at most MaxEntries files;
// each takes some 170 bytes of memory.
package cache
