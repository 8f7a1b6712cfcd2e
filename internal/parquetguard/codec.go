package parquetguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/DataDog/zstd"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// defaultLevel is libzstd's fastest ordinary level: higher ones cost twice the time for a few percent.
const defaultLevel = 1

// Zstd is Zstandard (RFC 8878) by the C library, for all of arrow-go in this process: 1.4 times as fast as the encoder in Go.
var Zstd compress.Codec = libzstd{}

// StockZstd is the codec that was replaced, for comparison.
var StockZstd = codec(compress.Codecs.Zstd)

// arrow-go looks codecs up in a map without a lock, so the only safe moment to put one there is before anything runs.
func init() {
	compress.RegisterCodec(compress.Codecs.Zstd, Zstd)
	compress.RegisterCodec(compress.Codecs.Snappy, snappy{codec(compress.Codecs.Snappy)})
	for _, c := range []compress.Compression{compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Lz4Raw} {
		compress.RegisterCodec(c, bounded{codec(c)})
	}
}

func codec(c compress.Compression) compress.Codec {
	found, err := compress.GetCodec(c)
	if err != nil {
		panic(err) // it is part of arrow-go
	}
	return found
}

// libzstd decodes and encodes with contexts of about 1 MB each, one for each goroutine at work.
type libzstd struct{}

var contexts = sync.Pool{New: func() any { return zstd.NewCtx() }}

var errLonger = errors.New("parquet: a page is longer than its header says")

func (libzstd) Encode(dst, src []byte) []byte { return libzstd{}.EncodeLevel(dst, src, defaultLevel) }

func (libzstd) EncodeLevel(dst, src []byte, level int) []byte {
	if level < 1 || level > zstd.BestCompression {
		level = defaultLevel
	}
	c := contexts.Get().(zstd.Ctx)
	defer contexts.Put(c)
	out, err := c.CompressLevel(dst, src, level)
	if err != nil {
		panic("parquetguard: zstd: " + err.Error()) // only out of memory
	}
	return out
}

func (libzstd) CompressBound(n int64) int64 { return int64(zstd.CompressBound(int(n))) }

func (libzstd) Decode(dst, src []byte) []byte {
	out, err := libzstd{}.DecodeWithError(dst, src)
	if err != nil {
		panic(err)
	}
	return out
}

// DecodeWithError never makes more than dst holds: its length is what the page header promised, and was checked.
func (libzstd) DecodeWithError(dst, src []byte) ([]byte, error) {
	if len(src) == 0 {
		if len(dst) == 0 {
			return dst, nil // some writers leave out a frame of nothing
		}
		return nil, errors.New("zstd: an empty frame")
	}
	into := dst
	if len(dst) == 0 {
		into = make([]byte, 1) // the library wants room
	}
	c := contexts.Get().(zstd.Ctx)
	defer contexts.Put(c)
	n, err := c.DecompressInto(into, src)
	switch {
	case err != nil:
		return nil, err
	case n > len(dst):
		return nil, errLonger
	}
	return dst[:n], nil
}

// bounded makes sure that a codec is given a destination: without any, arrow-go's own read on to the end of the stream, however far that
// is.
type bounded struct{ compress.Codec }

func (c bounded) DecodeWithError(dst, src []byte) ([]byte, error) {
	if len(dst) > 0 {
		return compress.Decode(c.Codec, dst, src)
	}
	out, err := compress.Decode(c.Codec, make([]byte, 1), src)
	if err == io.EOF { //nolint:errorlint // what gzip says of a stream of nothing
		return dst, nil
	}
	if err == nil && len(out) > 0 {
		err = errLonger
	}
	return dst, err
}

// snappy refuses a block that says it is longer than its page: arrow-go's own allocates what the block says, 4 GiB for five bytes.
type snappy struct{ compress.Codec }

func (c snappy) DecodeWithError(dst, src []byte) ([]byte, error) {
	if n, k := binary.Uvarint(src); k <= 0 || n > uint64(len(dst)) {
		return nil, fmt.Errorf("snappy: a block of %d bytes in a page of %d", n, len(dst))
	}
	return compress.Decode(c.Codec, dst, src)
}
