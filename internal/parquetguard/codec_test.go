package parquetguard

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/compress"
)

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestD13_PagesThatGrow gives each codec a page of 64 MiB of zeros under a header that promises nothing, or 100 bytes.
func TestD13_PagesThatGrow(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for _, c := range []compress.Compression{
		compress.Codecs.Zstd, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli, compress.Codecs.Lz4Raw,
	} {
		codec, err := compress.GetCodec(c)
		if err != nil {
			t.Fatal(err)
		}
		page := codec.Encode(nil, zeros)
		for name, dst := range map[string][]byte{"nothing": nil, "no bytes": {}, "100 bytes": make([]byte, 100)} {
			before := allocated()
			out, err := compress.Decode(codec, dst, page)
			if err == nil && len(out) > len(dst) {
				t.Errorf("%s into %s: %d bytes", c, name, len(out))
			}
			if used := allocated() - before; used > 8<<20 {
				t.Errorf("%s into %s: %d bytes allocated", c, name, used)
			}
		}
		want := zeros[:100]
		if got, err := compress.Decode(codec, make([]byte, 100), codec.Encode(nil, want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", c, len(got), err)
		}
		if got, err := compress.Decode(codec, nil, codec.Encode(nil, nil)); err != nil || len(got) != 0 {
			t.Errorf("%s, an empty page: %d bytes, %v", c, len(got), err)
		}
	}
}
