package pme

// plainBuilder encodes the footer of a plain file.
type plainBuilder struct {
	file    *File
	columns []int
	fixed96 func(column int) bool // INT96 columns that become fixed_len_byte_array(12); nil: none
}

// placed is a chunk of a plain file: size bytes from at on.
type placed struct {
	metadata []byte // ColumnMetaData, encoded
	at, size int64
	raw      int64 // bytes, uncompressed
}

// encodeGroup returns the RowGroup of chunks that follow each other in a plain file.
func encodeGroup(ordinal int, rows int64, chunks []placed) []byte {
	var e encoder
	raw, size := int64(0), int64(0)
	e.list(rgColumns, tStruct, len(chunks))
	for _, c := range chunks {
		e.beginElement()
		e.integer(ccOffset, tI64, c.at)
		e.field(field{id: ccMetadata, typ: tStruct, raw: c.metadata})
		e.end()
		raw += c.raw
		size += c.size
	}
	e.integer(rgBytes, tI64, raw)
	e.integer(rgRows, tI64, rows)
	if len(chunks) > 0 {
		e.integer(rgOffset, tI64, chunks[0].at)
	}
	e.integer(rgCompressed, tI64, size)
	e.integer(rgOrdinal, tI16, int64(ordinal))
	e.end()
	return e.b
}

func (b *plainBuilder) footer(groups [][]byte, rows int64) []byte {
	m := b.file.meta
	var e encoder
	e.integer(fmVersion, tI32, m.version)
	b.schema(&e)
	e.integer(fmRows, tI64, rows)
	e.list(fmRowGroups, tStruct, len(groups))
	for _, g := range groups {
		e.b = append(e.b, g...)
	}
	if kv := b.keyValues(); len(kv) > 0 {
		e.list(fmKeyValue, tStruct, len(kv))
		for _, raw := range kv {
			e.b = append(e.b, raw...)
		}
	}
	if m.createdBy != nil {
		e.binary(fmCreatedBy, m.createdBy)
	}
	if len(m.columnOrders) > 0 {
		b.columnOrders(&e)
	}
	e.end()
	return e.b
}

// schema writes the root, for as many children as are wanted, and the elements of the wanted columns.
func (b *plainBuilder) schema(e *encoder) {
	s := b.file.meta.schema
	n := 1
	for _, c := range b.columns {
		n += s.columns[c].elements[1] - s.columns[c].elements[0]
	}
	e.list(fmSchema, tStruct, n)
	e.beginElement()
	_ = fields(s.root, func(f field) error {
		if f.id == 5 {
			e.integer(5, tI32, int64(len(b.columns)))
		} else {
			e.field(f)
		}
		return nil
	})
	e.end()
	for _, c := range b.columns {
		for _, el := range s.elements[s.columns[c].elements[0]:s.columns[c].elements[1]] {
			if b.fixed96 != nil && b.fixed96(c) {
				el.raw = fixed96Element(el.raw)
			}
			e.b = append(e.b, el.raw...)
		}
	}
}

const arrowSchemaKey = "ARROW:schema"

func (b *plainBuilder) keyValues() [][]byte {
	var all [][]byte
	whole := len(b.columns) == len(b.file.meta.schema.columns)
	for _, kv := range b.file.meta.keyValue {
		if kv.key == commitmentsKey || kv.key == arrowSchemaKey && !whole {
			continue
		}
		all = append(all, kv.raw)
	}
	return all
}

func (b *plainBuilder) columnOrders(e *encoder) {
	var kept [][]byte
	for _, c := range b.columns {
		first, end := b.file.LeavesOf(c)
		kept = append(kept, b.file.meta.columnOrders[first:end]...)
	}
	e.list(fmColumnOrders, tStruct, len(kept))
	for _, o := range kept {
		e.b = append(e.b, o...)
	}
}
