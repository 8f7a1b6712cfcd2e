package pme

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// DefaultMaxPage bounds a page, compressed or not, when a limit is not given. What the writer lets through the reader takes.
const DefaultMaxPage = 48 << 20

// FileConfig says how a file is written.
type FileConfig struct {
	// Template is a plain Parquet file of the whole schema, with or without rows, as the encoder that makes the chunks wrote it. Its
	// schema, column orders and key-value metadata (ARROW:schema) go into the sealed footer.
	Template []byte
	// AADPrefix binds every module to its place. It is stored in the file, and readers compare it with what they expect.
	AADPrefix []byte
	// Footer wraps the data key of the footer.
	Footer NamedKey
	// ColumnKey gives the key that wraps the data key of a leaf. Called once for each leaf, in order. A leaf without key: fault.Policy.
	ColumnKey func(Leaf) NamedKey
	// CreatedBy names the program in the sealed footer. Empty: as in the template.
	CreatedBy string
	// MaxPage bounds a page; 0 is DefaultMaxPage.
	MaxPage int
	// NoFiller leaves out the filler that hides the file's true length.
	NoFiller bool
}

// Chunk tells where a sealed column chunk lies and what its bytes are.
type Chunk struct {
	RowGroup, Leaf int
	Offset, Length int64
	SHA256         [sha256.Size]byte
}

// Tail tells where the end of a file lies, from the crypto header to the last magic, and what its bytes are. It ends with the file.
type Tail struct {
	Offset, Length int64
	SHA256         [sha256.Size]byte
}

// FileWriter writes one sealed file. SealColumn may be called from several goroutines at once; the other methods from one, which may
// run beside SealColumn. After an error of NewFileWriter, AppendRowGroup or Close the file is of no use.
type FileWriter struct {
	w        io.Writer
	template *fileMeta
	crypto   fileCrypto
	aad      []byte
	footer   *dataKey
	leaves   []leafKey
	maxPage  int
	noFiller bool

	offset int64
	rows   int64
	groups [][]byte
	err    error
}

// leafKey is the data key of a leaf column, and how it is told to readers.
type leafKey struct {
	key        *dataKey
	metadata   []byte
	commitment []byte
}

// NewFileWriter draws the data keys of a new file and writes its first bytes to w. A wrong template is fault.Internal: it comes from
// the encoder beside this package.
func NewFileWriter(w io.Writer, c FileConfig) (*FileWriter, error) {
	template, err := plainFooter(bytes.Clone(c.Template))
	if err != nil {
		return nil, err
	}
	f := &FileWriter{w: w, template: template, maxPage: c.MaxPage, noFiller: c.NoFiller}
	if f.maxPage == 0 {
		f.maxPage = DefaultMaxPage
	}
	if c.CreatedBy != "" {
		template.createdBy = []byte(c.CreatedBy)
	}
	if err := f.drawFooterKey(c); err != nil {
		return nil, err
	}
	for _, leaf := range template.schema.leaves {
		if err := f.drawLeafKey(leaf, c.ColumnKey(leaf)); err != nil {
			return nil, err
		}
	}
	return f, f.write(magicEncrypted)
}

func (f *FileWriter) drawFooterKey(c FileConfig) error {
	dek := secret.Random()
	defer dek.Wipe()
	metadata, err := wrapKey(c.Footer, dek.Bytes(), nil, true)
	if err != nil {
		return err
	}
	f.crypto = fileCrypto{unique: newUnique(dek.Bytes()), keyMetadata: metadata}
	if len(c.AADPrefix) > 0 {
		f.crypto.prefix = append([]byte(nil), c.AADPrefix...)
	}
	f.aad = append(append([]byte(nil), c.AADPrefix...), f.crypto.unique...)
	f.footer, err = newDataKey(dek.Bytes())
	return err
}

func (f *FileWriter) drawLeafKey(leaf Leaf, mk NamedKey) error {
	dek := secret.Random()
	defer dek.Wipe()
	metadata, err := wrapKey(mk, dek.Bytes(), nil, false)
	if err != nil {
		return err
	}
	k := leafKey{metadata: metadata, commitment: commitment(dek.Bytes(), f.crypto.unique[:saltSize], uint32(leaf.Index))}
	if k.key, err = newDataKey(dek.Bytes()); err != nil {
		return err
	}
	f.leaves = append(f.leaves, k)
	return nil
}

// write passes b on; the first error sticks.
func (f *FileWriter) write(b []byte) error {
	if f.err != nil {
		return f.err
	}
	n, err := f.w.Write(b)
	f.offset += int64(n)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	f.err = err
	return err
}

// AppendRowGroup writes the next row group: every top-level column of it in order, as SealColumn returned them. It reports where
// each chunk lies, leaf by leaf.
func (f *FileWriter) AppendRowGroup(columns []*SealedColumn) ([]Chunk, error) {
	if f.err != nil {
		return nil, f.err
	}
	if len(columns) != len(f.template.schema.columns) {
		panic("pme: a row group has all columns")
	}
	g := groupEncoder{start: f.offset}
	var chunks []Chunk
	for i, c := range columns {
		if c.RowGroup != len(f.groups) || c.Column != i {
			panic("pme: a column in the wrong place")
		}
		if c.Rows != columns[0].Rows {
			f.err = fault.New(fault.Internal, "columns of one row group have %d and %d rows", columns[0].Rows, c.Rows)
			return nil, f.err
		}
		start := f.offset
		for _, leaf := range c.leaves {
			if err := f.appendLeaf(&g, leaf, c.RowGroup, start); err != nil {
				f.err = err
				return nil, err
			}
			chunks = append(chunks, Chunk{
				RowGroup: c.RowGroup, Leaf: leaf.index, Offset: start, Length: leaf.length, SHA256: leaf.sum,
			})
			start += leaf.length
		}
		if err := f.write(c.Data); err != nil {
			return nil, err
		}
	}
	group := g.encode(columns[0].Rows, len(f.groups))
	f.groups = append(f.groups, group)
	f.rows += columns[0].Rows
	return chunks, nil
}

// appendLeaf seals the metadata of a chunk that will lie at offset start, and adds it to the row group.
func (f *FileWriter) appendLeaf(g *groupEncoder, leaf sealedLeaf, rowGroup int, start int64) error {
	k := f.leaves[leaf.index]
	aad := newPageAAD(f.aad, rowGroup, leaf.index)
	metadata := leaf.meta.place(start, start+leaf.data, leaf.length)
	sealed, err := k.key.seal(nil, metadata, aad.module(moduleColumnMetadata))
	if err != nil {
		return err
	}
	g.add(f.template.schema.leaves[leaf.index].Path, k.metadata, sealed, start)
	g.raw += leaf.meta.rawSize
	g.size += leaf.length
	return nil
}

// Close writes filler and footer, and reports the tail. It does not close the underlying writer.
func (f *FileWriter) Close() (Tail, error) {
	tail, err := f.tail()
	if err != nil {
		f.err = err
		return Tail{}, err
	}
	if !f.noFiller && f.err == nil {
		whole := f.offset + int64(len(tail))
		n := padme(whole) - whole
		f.err = writeFiller(f.w, n)
		f.offset += n
	}
	t := Tail{Offset: f.offset, Length: int64(len(tail)), SHA256: sha256.Sum256(tail)}
	if err := f.write(tail); err != nil {
		return Tail{}, err
	}
	f.err = fault.New(fault.Internal, "the file is closed")
	return t, nil
}

// tail returns FileCryptoMetaData ‖ sealed footer ‖ length of both ‖ PARE.
func (f *FileWriter) tail() ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	footer := f.encodeFooter()
	if len(footer) > DefaultMaxFooter {
		return nil, fault.New(fault.TooLarge, "a footer of %d bytes, %d allowed", len(footer), DefaultMaxFooter)
	}
	tail, err := f.footer.seal(f.crypto.encode(), footer, footerAAD(f.aad))
	if err != nil {
		return nil, err
	}
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(tail)))
	return append(tail, magicEncrypted...), nil
}
