package s3

import (
	"encoding/binary"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// token is what it takes to go on with a multipart upload: "CFU1", name (26 characters), mark (26 characters), part size in bytes
// (8 bytes, most significant first), upload id (the rest, 1 to 1024 printable ASCII characters).
type token struct {
	name     columnar.ObjectName
	mark     string
	partSize int64
	uploadID string
}

const (
	tokenMagic  = "CFU1"
	tokenHeader = len(tokenMagic) + 2*columnar.ObjectNameSize + 8
)

// isUploadID reports whether s is 1 to 1024 printable ASCII characters.
func isUploadID(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 1024
}

func (t token) marshal() []byte {
	b := make([]byte, 0, tokenHeader+len(t.uploadID))
	b = append(b, tokenMagic...)
	b = append(b, t.name...)
	b = append(b, t.mark...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.partSize)) //nolint:gosec // not negative
	return append(b, t.uploadID...)
}

func parseToken(b []byte) (token, error) {
	bad := fault.New(fault.InvalidRequest, "not the token of an upload")
	if len(b) < tokenHeader || string(b[:len(tokenMagic)]) != tokenMagic {
		return token{}, bad
	}
	rest := b[len(tokenMagic):]
	name, err := columnar.ParseObjectName(string(rest[:columnar.ObjectNameSize]))
	mark, err2 := columnar.ParseObjectName(string(rest[columnar.ObjectNameSize : 2*columnar.ObjectNameSize]))
	size := binary.BigEndian.Uint64(rest[2*columnar.ObjectNameSize:])
	id := string(b[tokenHeader:])
	if err != nil || err2 != nil || size < MinPartSize || size > MaxPartSize || !isUploadID(id) {
		return token{}, bad
	}
	return token{name: name, mark: string(mark), partSize: int64(size), uploadID: id}, nil //nolint:gosec // bounded above
}
