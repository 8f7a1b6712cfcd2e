// Package dir keeps objects as files of a folder: on this machine, on another disk, on a share.
//
// An object is the file ab/abcdef…: its name below the first two characters of its name, mode 0600 in folders of mode 0700. While it
// is written it is ab/abcdef….<random>.part beside its later place. Closing it goes: fsync of the file, rename that replaces
// nothing, fsync of the folder; only then the object exists. A crash leaves a .part file at most, which AbortUploads removes by
// name, or a whole object that nobody names yet.
//
// Everything happens inside an os.Root: no name, and no link that someone puts into the folder, leads out of it (L13). Writing stops
// with fault.StorageFull while there is still MinFree left, because a disk that is full to the last byte hurts everybody else on it.
//
// An upload holds one file descriptor and no buffer; a reader holds one file descriptor.
package dir
