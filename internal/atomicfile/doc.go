// Package atomicfile writes small files whole or not at all, and reads private ones only if nobody else could have written them.
//
// # Terms
//
// A layer (Layer) is the file system as this package sees it: one small interface, so that tests can make every single call
// fail (THREATS F06, F07). OS is the real one. A file is durable once its content and its directory were synced; an error
// of either sync means that it is not, and is never tried again into a success (THREATS R19).
//
// # Order
//
// Write makes a new file under a random name in the same directory, writes and syncs it, renames it over the target and syncs the
// directory. A failure before the rename leaves the old file as it was and removes the new one; what a process leaves that dies
// there, RemoveUnfinished removes.
package atomicfile
