package cache

import (
	"strconv"
	"strings"

	"coldframe/columnar"
)

// fileRange is what the name of a file says: a range of an object.
type fileRange struct {
	name   columnar.ObjectName
	off, n int64
}

// fileName returns the name of the file of a range, inside its folder.
func (r fileRange) fileName() string {
	return string(r.name) + "." + strconv.FormatInt(r.off, 10) + "." + strconv.FormatInt(r.n, 10)
}

func (r fileRange) path() string { return folderOf(r.name) + "/" + r.fileName() }

func (r fileRange) end() int64 { return r.off + r.n }

// folderOf returns the folder of an object's files: one for each first two characters.
func folderOf(name columnar.ObjectName) string { return string(name[:2]) }

// parseFileName reads the name of a file in its only spelling.
func parseFileName(s string) (fileRange, bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return fileRange{}, false
	}
	name, err := columnar.ParseObjectName(parts[0])
	off, offErr := strconv.ParseInt(parts[1], 10, 64)
	n, lengthErr := strconv.ParseInt(parts[2], 10, 64)
	r := fileRange{name, off, n}
	if err != nil || offErr != nil || lengthErr != nil || off < 0 || n < 1 || n > maxFile || off+n < off || r.fileName() != s {
		return fileRange{}, false
	}
	return r, true
}
