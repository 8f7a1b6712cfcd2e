package pme

import "encoding/base64"

// encodeFooter returns the FileMetaData of everything appended so far.
func (f *FileWriter) encodeFooter() []byte {
	t := f.template
	var e encoder
	e.integer(fmVersion, tI32, t.version)
	e.list(fmSchema, tStruct, 1+len(t.schema.elements))
	e.b = append(e.b, t.schema.root...)
	for _, el := range t.schema.elements {
		e.b = append(e.b, el.raw...)
	}
	e.integer(fmRows, tI64, f.rows)
	e.list(fmRowGroups, tStruct, len(f.groups))
	for _, g := range f.groups {
		e.b = append(e.b, g...)
	}
	e.list(fmKeyValue, tStruct, 1+len(t.keyValue))
	for _, kv := range t.keyValue {
		e.b = append(e.b, kv.raw...)
	}
	e.beginElement()
	e.binary(1, []byte(commitmentsKey))
	e.binary(2, f.commitments())
	e.end()
	e.binary(fmCreatedBy, t.createdBy)
	if len(t.columnOrders) > 0 {
		e.list(fmColumnOrders, tStruct, len(t.columnOrders))
		for _, o := range t.columnOrders {
			e.b = append(e.b, o...)
		}
	}
	e.end()
	return e.b
}

// commitments returns those of the leaves, in base64.
func (f *FileWriter) commitments() []byte {
	all := make([]byte, 0, commitmentSize*len(f.leaves))
	for _, k := range f.leaves {
		all = append(all, k.commitment...)
	}
	return base64.StdEncoding.AppendEncode(nil, all)
}

// groupEncoder builds the RowGroup of a footer.
type groupEncoder struct {
	chunks [][]byte
	start  int64
	raw    int64
	size   int64
}

// add appends the ColumnChunk of a column with its own key: no metadata in the clear.
func (g *groupEncoder) add(path []string, keyMetadata, sealed []byte, offset int64) {
	var e encoder
	e.integer(ccOffset, tI64, offset)
	e.begin(ccCrypto)
	e.begin(2) // ENCRYPTION_WITH_COLUMN_KEY
	e.list(1, tBinary, len(path))
	for _, name := range path {
		e.element([]byte(name))
	}
	e.binary(2, keyMetadata)
	e.end()
	e.end()
	e.binary(ccEncrypted, sealed)
	e.end()
	g.chunks = append(g.chunks, e.b)
}

func (g *groupEncoder) encode(rows int64, ordinal int) []byte {
	var e encoder
	e.list(rgColumns, tStruct, len(g.chunks))
	for _, c := range g.chunks {
		e.b = append(e.b, c...)
	}
	e.integer(rgBytes, tI64, g.raw)
	e.integer(rgRows, tI64, rows)
	e.integer(rgOffset, tI64, g.start)
	e.integer(rgCompressed, tI64, g.size)
	e.integer(rgOrdinal, tI16, int64(ordinal))
	e.end()
	return e.b
}
