package format

import (
	"strings"
	"unicode/utf8"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// Canonical returns the schema as Coldframe stores it:
//
//   - large and view variants of string, binary and list, and fixed-size lists, become string, binary and list;
//   - run-end encoded values become plain ones; extension types become their storage type;
//   - a dictionary of string or binary at the top level keeps its form with int32 indices; any other becomes its value type;
//   - a duration becomes an int64 of its unit, for arrow-go cannot read one from Parquet;
//   - date64 becomes date32; time32[s] becomes time32[ms]; timestamp[s] becomes timestamp[ms];
//   - decimals become decimal128 up to 38 digits, decimal256 up to 76;
//   - the element of a list is called element, the entries of a map key and value; all metadata is dropped.
//
// Unions, intervals, structs without fields, decimals with a scale below 0 or above the precision, empty or repeated names, more
// than 10,000 columns and more than 64 levels are refused: fault.InvalidRequest, naming the column.
func Canonical(s *arrow.Schema) (*arrow.Schema, error) {
	if s.NumFields() == 0 {
		return nil, fault.New(fault.InvalidRequest, "a table needs at least one column")
	}
	c := canonicalizer{}
	fields, err := c.fields(s.Fields(), "", 1)
	if err != nil {
		return nil, err
	}
	return arrow.NewSchema(fields, nil), nil
}

type canonicalizer struct{ count int }

// fields makes the fields of a schema or struct canonical. path is "" at the top and ends in a dot below.
func (c *canonicalizer) fields(in []arrow.Field, path string, depth int) ([]arrow.Field, error) {
	if len(in) > maxColumns {
		return nil, fault.New(fault.TooLarge, "more than %d columns", maxColumns)
	}
	seen := make(map[string]bool, len(in))
	out := make([]arrow.Field, len(in))
	for i, f := range in {
		switch {
		case f.Name == "":
			return nil, fault.New(fault.InvalidRequest, "column %d of %s has no name", i+1, place(path))
		case len(f.Name) > maxNameBytes:
			return nil, fault.New(fault.InvalidRequest, "a column name is longer than %d bytes", maxNameBytes)
		case !utf8.ValidString(f.Name):
			return nil, fault.New(fault.InvalidRequest, "the name of column %d of %s is not UTF-8", i+1, place(path))
		case seen[f.Name]:
			return nil, fault.New(fault.InvalidRequest, "column %q occurs twice", path+f.Name)
		}
		seen[f.Name] = true
		var err error
		if out[i], err = c.field(f, path+f.Name, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func place(path string) string {
	if path == "" {
		return "the table"
	}
	return "column " + strings.TrimSuffix(path, ".")
}

func (c *canonicalizer) field(f arrow.Field, path string, depth int) (arrow.Field, error) {
	c.count++
	if c.count > maxColumns {
		return arrow.Field{}, fault.New(fault.TooLarge, "more than %d columns, nested ones counted", maxColumns)
	}
	if depth > maxDepth {
		return arrow.Field{}, fault.New(fault.TooLarge, "column %q is nested more than %d levels deep", shorten(path), maxDepth)
	}
	t, err := c.dataType(f.Type, path, depth)
	if err != nil {
		return arrow.Field{}, err
	}
	return arrow.Field{Name: f.Name, Type: t, Nullable: f.Nullable || t.ID() == arrow.NULL}, nil
}

func shorten(path string) string {
	if len(path) > 200 {
		return strings.ToValidUTF8(path[:200], "") + "…"
	}
	return path
}

func (c *canonicalizer) dataType(t arrow.DataType, path string, depth int) (arrow.DataType, error) {
	refuse := func(why string) (arrow.DataType, error) {
		return nil, fault.New(fault.InvalidRequest, "column %q: %s", shorten(path), why)
	}
	switch t := t.(type) {
	case *arrow.NullType, *arrow.BooleanType, *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type,
		*arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type, *arrow.Float16Type, *arrow.Float32Type,
		*arrow.Float64Type, *arrow.StringType, *arrow.BinaryType, *arrow.Date32Type:
		return t, nil
	case *arrow.LargeStringType, *arrow.StringViewType:
		return arrow.BinaryTypes.String, nil
	case *arrow.LargeBinaryType, *arrow.BinaryViewType:
		return arrow.BinaryTypes.Binary, nil
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth < 1 || t.ByteWidth > 1<<20 {
			return refuse("fixed_size_binary needs a width from 1 to 1048576")
		}
		return t, nil
	case *arrow.Date64Type:
		return arrow.FixedWidthTypes.Date32, nil
	case *arrow.Time32Type:
		return arrow.FixedWidthTypes.Time32ms, nil
	case *arrow.Time64Type:
		return &arrow.Time64Type{Unit: t.Unit}, nil
	case *arrow.TimestampType:
		if !validZone(t.TimeZone) {
			return refuse("the time zone is not a zone name")
		}
		return &arrow.TimestampType{Unit: max(t.Unit, arrow.Millisecond), TimeZone: t.TimeZone}, nil
	case *arrow.DurationType:
		return arrow.PrimitiveTypes.Int64, nil
	case arrow.DecimalType:
		return canonicalDecimal(t, refuse)
	case arrow.ExtensionType:
		return c.dataType(t.StorageType(), path, depth+1)
	case *arrow.RunEndEncodedType:
		f, err := c.field(arrow.Field{Type: t.Encoded()}, path, depth+1)
		return f.Type, err
	case *arrow.DictionaryType:
		f, err := c.field(arrow.Field{Type: t.ValueType}, path, depth+1)
		if err != nil || depth > 1 || (f.Type.ID() != arrow.STRING && f.Type.ID() != arrow.BINARY) {
			return f.Type, err
		}
		return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: f.Type, Ordered: t.Ordered}, nil
	case *arrow.MapType:
		return c.mapType(t, path, depth, refuse)
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return refuse("a struct without fields cannot be stored")
		}
		fields, err := c.fields(t.Fields(), path+".", depth+1)
		if err != nil {
			return nil, err
		}
		return arrow.StructOf(fields...), nil
	case arrow.ListLikeType:
		e, err := c.field(t.ElemField(), path+".element", depth+1)
		if err != nil {
			return nil, err
		}
		e.Name = "element"
		return arrow.ListOfField(e), nil
	}
	return refuse("type " + t.Name() + " is not supported")
}

func (c *canonicalizer) mapType(t *arrow.MapType, path string, depth int, refuse func(string) (arrow.DataType, error)) (arrow.DataType, error) {
	k, err := c.field(t.KeyField(), path+".key", depth+1)
	if err != nil {
		return nil, err
	}
	if arrow.IsNested(k.Type.ID()) || k.Type.ID() == arrow.NULL {
		return refuse("the key of a map must be a plain value")
	}
	v, err := c.field(t.ItemField(), path+".value", depth+1)
	if err != nil {
		return nil, err
	}
	return arrow.MapOfFields(arrow.Field{Name: "key", Type: k.Type}, arrow.Field{Name: "value", Type: v.Type, Nullable: v.Nullable}), nil
}

func canonicalDecimal(t arrow.DecimalType, refuse func(string) (arrow.DataType, error)) (arrow.DataType, error) {
	p, s := t.GetPrecision(), t.GetScale()
	switch {
	case p < 1 || p > 76 || s < 0 || s > p:
		return refuse("a decimal has 1 to 76 digits, and a scale from 0 to that number")
	case p > 38:
		return &arrow.Decimal256Type{Precision: p, Scale: s}, nil
	}
	return &arrow.Decimal128Type{Precision: p, Scale: s}, nil
}

// validZone reports whether z may stand for a time zone: none, a name of the zone database, or an offset. Whether the zone exists is
// not looked at, for the values are in UTC whatever it is.
func validZone(z string) bool {
	if len(z) > 64 {
		return false
	}
	for i := range len(z) {
		if c := z[i]; !isNameByte(c) && c != '+' && c != '-' && c != '/' && c != ':' {
			return false
		}
	}
	return true
}

func isNameByte(c byte) bool {
	return c == '_' || c-'0' < 10 || c|0x20 >= 'a' && c|0x20 <= 'z'
}
