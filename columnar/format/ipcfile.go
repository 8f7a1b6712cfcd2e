package format

import (
	"bytes"
	"encoding/binary"
	"io"

	"coldframe/internal/fault"
)

// block is where a message of an IPC file lies.
type block struct{ off, len int64 }

// ipcFile is an Arrow IPC file (Feather version 2): magic, messages, footer. The footer says where the messages are, and not all
// writers leave the messages readable from front to back, so the file is stored first.
type ipcFile struct {
	store
	blocks []block // not read yet: dictionaries, then record batches
}

var ipcMagic = []byte("ARROW1")

const ipcTail = 10 // length of the footer and magic

// openFile stores the body and reads its footer: the schema table and the blocks.
func openFile(in io.Reader, dir string) (*ipcFile, fbTable, error) {
	f := &ipcFile{store: store{dir: dir, limit: maxInMemory}}
	if _, err := io.Copy(&f.store, in); err != nil {
		return f, fbTable{}, err
	}
	if err := f.finish(); err != nil {
		return f, fbTable{}, err
	}
	var tail [ipcTail]byte
	if _, err := f.ReadAt(tail[:], f.size-ipcTail); err != nil || !bytes.Equal(tail[4:], ipcMagic) {
		return f, fbTable{}, fault.New(fault.Incomplete, "the Arrow file does not end with its footer")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxMetadata || n > f.size-ipcTail {
		return f, fbTable{}, badMessage("the footer of the file is too large")
	}
	fb := &flat{b: make([]byte, n)}
	if _, err := f.ReadAt(fb.b, f.size-ipcTail-n); err != nil {
		return f, fbTable{}, err
	}
	footer := fb.root()
	left := f.size
	for _, field := range []int{2, 3} {
		v := footer.vector(field, 24)
		for i := range v.n {
			at := v.pos + 24*i
			meta, body := int64(int32(uint32(fb.u32(at+8)))), fb.i64(at+16)
			b := block{fb.i64(at), meta + body}
			if meta < 8 || body < 0 || body > f.size || b.off < 8 || b.off > f.size-b.len || b.len > left {
				return f, fbTable{}, badMessage("a block of the file lies outside of it, or overlaps another")
			}
			left -= b.len
			f.blocks = append(f.blocks, b)
		}
	}
	schema, ok := footer.table(1)
	if fb.bad || !ok {
		return f, fbTable{}, badMessage("the footer of the file is damaged")
	}
	return f, schema, nil
}

// next returns the bytes of the next message, or io.EOF.
func (f *ipcFile) next() (io.Reader, error) {
	if len(f.blocks) == 0 {
		return nil, io.EOF
	}
	b := f.blocks[0]
	f.blocks = f.blocks[1:]
	return io.NewSectionReader(f, b.off, b.len), nil
}
