package format

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"coldframe/internal/fault"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// piece is one buffer of a message body, decompressed: a range of the store.
type piece struct{ off, len int64 }

// codecs holds the decompressors of a stream.
type codecs struct {
	zstd *zstd.Decoder
	lz4  *lz4.Reader
}

const maxZstdWindow = 16 << 20

// reader returns the decompressed form of in, for a codec number of BodyCompression.
func (c *codecs) reader(codec int, in io.Reader) (io.Reader, error) {
	switch codec {
	case 0:
		if c.lz4 == nil {
			c.lz4 = lz4.NewReader(nil)
		}
		c.lz4.Reset(in)
		return c.lz4, nil
	case 1:
		if c.zstd == nil {
			var err error
			if c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)); err != nil {
				return nil, err
			}
		}
		return c.zstd, c.zstd.Reset(in)
	}
	return nil, badMessage("an unknown compression")
}

func (c *codecs) close() {
	if c.zstd != nil {
		c.zstd.Close()
		c.zstd = nil
	}
	c.lz4 = nil
}

// fetch reads the body of a message into the store, each buffer of the RecordBatch table rb decompressed, and returns where they are.
func (r *arrowReader) fetch(m ipcMessage, rb fbTable) ([]piece, error) {
	if err := r.body.reset(); err != nil {
		return nil, err
	}
	v := rb.vector(2, 16)
	codec := -1
	if c, ok := rb.table(3); ok {
		codec = c.i8(0, 0)
		if c.i8(1, 0) != 0 {
			return nil, badMessage("an unknown compression method")
		}
	}
	if rb.f.bad || v.n > 8*maxColumns {
		return nil, badMessage("the metadata of a batch is damaged")
	}
	if m.bodyLen > maxMessage {
		return nil, tooLargeMessage()
	}
	wire := make([]piece, v.n)
	order := make([]int, v.n)
	for i := range wire {
		wire[i] = piece{rb.f.i64(v.pos + 16*i), rb.f.i64(v.pos + 16*i + 8)}
		order[i] = i
		if p := wire[i]; p.off < 0 || p.len < 0 || p.len > m.bodyLen || p.off > m.bodyLen-p.len {
			return nil, badMessage("a buffer lies outside of its message")
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(wire[a].off, wire[b].off) })
	out := make([]piece, v.n)
	var pos int64
	for _, i := range order {
		p := wire[i]
		if p.len == 0 {
			continue
		}
		if p.off < pos {
			return nil, badMessage("two buffers of a message overlap")
		}
		if err := r.skip(p.off - pos); err != nil {
			return nil, err
		}
		pos = p.off + p.len
		out[i].off = r.body.size
		if err := r.buffer(codec, p.len); err != nil {
			return nil, err
		}
		out[i].len = r.body.size - out[i].off
	}
	if err := r.skip(m.bodyLen - pos); err != nil {
		return nil, err
	}
	return out, r.body.finish()
}

func tooLargeMessage() error {
	return fault.New(fault.TooLarge, "an Arrow message is larger than %d bytes; send smaller batches (max_chunksize)", int64(maxMessage))
}

func (r *arrowReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, r.in, n)
	return cutShort(err)
}

// cutShort turns the end of the input into the error that it is inside a message.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		return fault.New(fault.Incomplete, "the Arrow stream ends in the middle of a message")
	}
	return err
}

// buffer copies one buffer of n bytes from the input to the store.
func (r *arrowReader) buffer(codec int, n int64) error {
	if codec >= 0 {
		var head [8]byte
		if n < 8 {
			return badMessage("a compressed buffer without its length")
		}
		if err := r.full(head[:]); err != nil {
			return err
		}
		n -= 8
		if size := int64(binary.LittleEndian.Uint64(head[:])); size != -1 { // -1: this one is not compressed
			return r.inflate(codec, n, size)
		}
	}
	got, err := io.CopyN(&r.body, r.in, n)
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return cutShort(err)
}

// inflate copies n compressed bytes, which must give size bytes.
func (r *arrowReader) inflate(codec int, n, size int64) error {
	if size < 0 {
		return badMessage("a compressed buffer of negative length")
	}
	if size > maxMessage-r.body.size {
		return tooLargeMessage()
	}
	in := &tracked{in: io.LimitedReader{R: r.in, N: n}}
	dec, err := r.codecs.reader(codec, in)
	if err != nil {
		return err
	}
	got, err := io.Copy(&r.body, io.LimitReader(dec, size))
	if err == nil && got == size { // nothing may follow
		if extra, _ := dec.Read(make([]byte, 1)); extra > 0 {
			err = errors.New("longer than declared")
		}
	}
	if in.err != nil {
		return cutShort(in.err)
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if err != nil || got != size {
		return badMessage("a compressed buffer is damaged, or was compressed with a window above 16 MiB")
	}
	return r.skip(in.in.N)
}

// tracked remembers how its input failed, and tells the end of the input from the end of the buffer.
type tracked struct {
	in  io.LimitedReader
	err error
}

func (t *tracked) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	switch {
	case err == io.EOF && t.in.N > 0: //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		t.err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF: //nolint:errorlint // a wrapped io.EOF is a failure, not the end
		t.err = err
	}
	return n, err
}
