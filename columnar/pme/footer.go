package pme

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// DefaultMaxFooter bounds a footer when a limit is not given; the writer never exceeds it.
const DefaultMaxFooter = 16 << 20

// maxChunks bounds row groups times leaf columns of a file.
const maxChunks = 1 << 18

// ReadOptions say what a file must be.
type ReadOptions struct {
	// AADPrefix is the one that the file must carry. A file without a prefix is only opened when none is given.
	AADPrefix []byte
	// Foreign accepts what other writers do: no key commitments, columns under the footer key, columns in the clear inside an encrypted
	// file. Files of this project are never opened so.
	Foreign bool
	// PlaintextFooter, TakePrefix and AllowCTR are for foreign files that are imported. PlaintextFooter opens one whose footer is in the
	// clear, after its signature was checked. TakePrefix takes the prefix that the file holds if AADPrefix is not given. AllowCTR opens
	// what can be changed without notice: AES_GCM_CTR_V1, and version 2 pages of parquet-java, whose levels are under no tag.
	PlaintextFooter, TakePrefix, AllowCTR bool
	// MaxFooter and MaxPage bound the footer and each page; 0 is the default.
	MaxFooter, MaxPage int
}

// TailSize returns how long the tail of a file is whose last 8 bytes are end: what OpenFooter must be given.
func TailSize(end []byte, fileSize int64, o ReadOptions) (int64, error) {
	if len(end) < footerTrailer || fileSize < int64(magicSize+footerTrailer) {
		return 0, fault.New(fault.NotAuthentic, "the file is too short")
	}
	end = end[len(end)-footerTrailer:]
	switch {
	case bytes.Equal(end[4:], magicPlain) && o.Foreign && o.PlaintextFooter:
	case bytes.Equal(end[4:], magicPlain):
		return 0, fault.New(fault.Policy, "a plaintext Parquet file, or one with a plaintext footer, where an encrypted one belongs")
	case !bytes.Equal(end[4:], magicEncrypted):
		return 0, fault.New(fault.NotAuthentic, "not an encrypted Parquet file")
	}
	n := int64(binary.LittleEndian.Uint32(end))
	if n < frameOverhead {
		return 0, fault.New(fault.NotAuthentic, "a footer of %d bytes", n)
	}
	if n > int64(o.maxFooter()) {
		return 0, fault.New(fault.TooLarge, "a footer of %d bytes, %d allowed", n, o.maxFooter())
	}
	if n > fileSize-int64(magicSize+footerTrailer) {
		return 0, fault.New(fault.NotAuthentic, "a footer longer than its file")
	}
	return n + footerTrailer, nil
}

func (o ReadOptions) maxFooter() int {
	if o.MaxFooter > 0 {
		return o.MaxFooter
	}
	return DefaultMaxFooter + 64<<10 // the crypto header and the frame come on top
}

func (o ReadOptions) maxPage() int {
	if o.MaxPage > 0 {
		return o.MaxPage
	}
	return DefaultMaxPage
}

// OpenFooter opens the footer of a file of fileSize bytes. tail holds the end of the file, at least TailSize bytes of it; it is
// decrypted in place and kept. Columns whose key is not had are hidden; a footer without its key is fault.Forbidden.
func OpenFooter(tail []byte, fileSize int64, keys DataKeys, o ReadOptions) (*File, error) {
	n, err := TailSize(tail, fileSize, o)
	if err != nil {
		return nil, err
	}
	if n > int64(len(tail)) {
		return nil, fault.New(fault.Incomplete, "%d bytes of the file's end are given, %d are needed", len(tail), n)
	}
	f := &File{footerAt: fileSize - n, options: o}
	open := f.openCrypto
	if bytes.HasSuffix(tail, magicPlain) {
		open = f.openPlain
	}
	footer, err := open(tail[int64(len(tail))-n:len(tail)-footerTrailer], keys)
	if err != nil {
		return nil, err
	}
	if f.meta, err = parseFileMeta(footer); err != nil {
		return nil, err
	}
	if err := f.openGroups(keys); err != nil {
		return nil, err
	}
	return f, nil
}

// openCrypto reads FileCryptoMetaData and decrypts the footer module behind it.
func (f *File) openCrypto(b []byte, keys DataKeys) ([]byte, error) {
	var n int
	var err error
	if f.crypto, n, err = parseFileCrypto(b); err != nil {
		return nil, err
	}
	if err := f.judgeCrypto(); err != nil {
		return nil, err
	}
	if !f.options.Foreign && !f.crypto.asWritten(b[:n]) {
		return nil, fault.New(fault.NotAuthentic, "the file's crypto header is not as it was written")
	}
	frame, rest, err := nextFrame(b[n:])
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fault.New(fault.NotAuthentic, "bytes between the footer and its length")
	}
	dek, err := f.footerDataKey(keys)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(dek)
	if !f.options.Foreign {
		u := f.crypto.unique
		if len(u) != uniqueSize || !committed(u[saltSize:], dek, u[:saltSize], footerIndex) {
			return nil, fault.New(fault.NotAuthentic, "the footer's key is not the one that the file commits to")
		}
	}
	if f.footerKey, err = f.newKey(dek); err != nil {
		return nil, err
	}
	return f.footerKey.open(frame, footerAAD(f.aad))
}

// openGroups takes the row groups apart and decrypts the metadata of every chunk whose key is had.
func (f *File) openGroups(keys DataKeys) error {
	commitments, err := f.commitments()
	if err != nil {
		return err
	}
	f.leaves = make([]openLeaf, len(f.meta.schema.leaves))
	n, err := listLen(f.meta.rowGroups)
	if err != nil {
		return err
	}
	if n > maxOrdinal+1 || n*len(f.leaves) > maxChunks {
		return fault.New(fault.TooLarge, "a file of %d row groups and %d leaf columns", n, len(f.leaves))
	}
	rows := int64(0)
	err = eachElement(f.meta.rowGroups, tStruct, maxOrdinal+1, func(i int, raw []byte) error {
		g, err := f.openGroup(i, raw, keys, commitments)
		if err != nil {
			return err
		}
		if rows += g.rows; rows < 0 {
			return errThrift("row groups of too many rows")
		}
		f.groups = append(f.groups, g)
		return nil
	})
	if err == nil && rows != f.meta.rows {
		err = errThrift("row groups whose rows do not add up")
	}
	return err
}

// commitments returns those of the leaves behind one another, or nil in a foreign file.
func (f *File) commitments() ([]byte, error) {
	if f.options.Foreign {
		return nil, nil
	}
	all, err := base64.StdEncoding.Strict().DecodeString(string(f.meta.value(commitmentsKey)))
	if err != nil || len(all) != commitmentSize*len(f.meta.schema.leaves) {
		return nil, fault.New(fault.NotAuthentic, "the footer does not commit to the keys of its columns")
	}
	return all, nil
}

func (f *File) openGroup(ordinal int, raw []byte, keys DataKeys, commitments []byte) (openGroup, error) {
	g, err := parseRowGroup(raw)
	if err != nil {
		return openGroup{}, err
	}
	if g.ordinal >= 0 && g.ordinal != int64(ordinal) {
		return openGroup{}, fault.New(fault.NotAuthentic, "row group %d stands in place %d", g.ordinal, ordinal)
	}
	out := openGroup{rows: g.rows, chunks: make([]openChunk, 0, len(f.leaves))}
	err = eachElement(g.columns, tStruct, len(f.leaves), func(i int, raw []byte) error {
		cc, err := parseColumnChunk(raw)
		if err != nil {
			return err
		}
		if err := f.openKey(i, cc, keys, commitments); err != nil {
			return err
		}
		chunk, err := f.openChunk(ordinal, i, cc, g.rows)
		out.chunks = append(out.chunks, chunk)
		return err
	})
	if err == nil && len(out.chunks) != len(f.leaves) {
		err = errThrift("a row group lacks columns")
	}
	return out, err
}

// openKey finds out how leaf i is encrypted, and gets its data key, at its first chunk; later chunks must say the same.
func (f *File) openKey(i int, cc columnChunk, keys DataKeys, commitments []byte) error {
	p, path, metadata, err := parseProtection(cc.crypto)
	if err != nil {
		return err
	}
	leaf, l := &f.meta.schema.leaves[i], &f.leaves[i]
	if p == underColumnKey && !samePath(path, leaf.Path) {
		return fault.New(fault.NotAuthentic, "a column carries the key of another one")
	}
	if l.protection != 0 {
		if l.protection != p || !bytes.Equal(l.keyMetadata, metadata) {
			return fault.New(fault.NotAuthentic, "a column changes its key between row groups")
		}
		return nil
	}
	l.protection, l.keyMetadata = p, metadata
	if p != underColumnKey {
		if !f.options.Foreign {
			return fault.New(fault.Policy, "a column without a key of its own")
		}
		if p == underFooterKey {
			l.key = f.footerKey
		}
		return nil
	}
	dek, err := keys.DataKey(leaf, metadata)
	if err != nil {
		return err
	}
	defer secret.Wipe(dek)
	if l.hidden = dek == nil; l.hidden {
		return nil
	}
	if c := commitments; c != nil && !committed(c[commitmentSize*i:commitmentSize*(i+1)], dek, f.crypto.unique[:saltSize], uint32(i)) {
		return fault.New(fault.NotAuthentic, "a column's key is not the one that the file commits to")
	}
	l.key, err = f.newKey(dek)
	return err
}

// parseProtection reads ColumnCryptoMetaData: a union of 1, encrypted with the footer key, and 2, with a key of its own.
func parseProtection(f field) (p protection, path field, metadata []byte, err error) {
	if f.typ == 0 {
		return inTheClear, field{}, nil, nil
	}
	err = fields(f.raw, func(f field) error {
		b, err := f.nested()
		if err != nil || p != 0 {
			return errThrift("a column's protection is not one")
		}
		switch f.id {
		case 1:
			p = underFooterKey
			return nil
		case 2:
			p = underColumnKey
		default:
			return fault.New(fault.Policy, "a column protected in an unknown way")
		}
		return fields(b, func(f field) (err error) {
			switch f.id {
			case 1:
				path = f
			case 2:
				metadata, err = f.binary()
			}
			return err
		})
	})
	if err == nil && p == 0 {
		err = errThrift("a column's protection is not one")
	}
	return p, path, metadata, err
}

// openChunk decrypts and checks the metadata of a chunk, unless its column is hidden.
func (f *File) openChunk(rowGroup, leaf int, cc columnChunk, rows int64) (openChunk, error) {
	l := &f.leaves[leaf]
	if l.hidden {
		return openChunk{}, nil
	}
	raw := cc.metadata
	if l.protection == underColumnKey || l.protection == underFooterKey && cc.encrypted != nil {
		frame, rest, err := nextFrame(cc.encrypted)
		if err != nil || len(rest) != 0 {
			return openChunk{}, fault.New(fault.NotAuthentic, "a column's sealed metadata is damaged")
		}
		aad := newPageAAD(f.aad, rowGroup, leaf)
		if raw, err = l.key.open(frame, aad.module(moduleColumnMetadata)); err != nil {
			return openChunk{}, err
		}
	}
	m, err := parseChunkMeta(raw)
	if err != nil {
		return openChunk{}, err
	}
	c := openChunk{metadata: raw, offset: m.start(), length: m.compressed}
	switch {
	case cc.otherFile && !f.options.Foreign:
		err = fault.New(fault.Policy, "a column chunk in another file")
	case !f.options.Foreign && m.codec != CodecNone && m.codec != CodecZstd:
		err = fault.New(fault.Policy, "a column compressed in a way that is never written")
	case !samePath(m.path, f.meta.schema.leaves[leaf].Path):
		err = fault.New(fault.NotAuthentic, "a column carries the metadata of another one")
	case c.offset < magicSize || c.length > f.footerAt-c.offset:
		err = errThrift("a column chunk outside its file")
	case !f.meta.schema.repeated[leaf] && m.values != rows || m.values < rows:
		err = errThrift("a column chunk with another number of rows than its row group")
	}
	return c, err
}
