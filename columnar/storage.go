package columnar

import (
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
)

// maxNesting bounds lists in structs in maps …: Parquet's levels and our recursion stay small.
const maxNesting = 12

// maxIntegerDecimal is the highest precision of decimals that Parquet keeps as integers.
const maxIntegerDecimal = 18

// maxLeaves bounds the leaf columns of a table: Parquet's associated data counts them in 16 bits.
const maxLeaves = 32_000

// storageSchema returns the schema under which Parquet keeps a table: s with each type replaced by one that arrow-go writes and
// reads back exactly. fault.InvalidRequest names the column that has none.
func storageSchema(s *arrow.Schema) (*arrow.Schema, error) {
	if s.NumFields() == 0 {
		return nil, fault.New(fault.InvalidRequest, "a table needs at least one column")
	}
	if s.NumFields() > MaxColumns {
		return nil, fault.New(fault.InvalidRequest, "a table has at most %d columns", MaxColumns)
	}
	fields, seen, leaves := make([]arrow.Field, s.NumFields()), map[string]bool{}, 0
	for i, f := range s.Fields() {
		if seen[f.Name] {
			return nil, fault.New(fault.InvalidRequest, "column %q is there twice", f.Name)
		}
		seen[f.Name] = true
		t, err := storageType(f.Type, 0)
		if err == nil {
			err = checkName(f)
		}
		if err != nil {
			return nil, fault.New(fault.InvalidRequest, "column %q: %s", f.Name, err)
		}
		fields[i] = arrow.Field{Name: f.Name, Type: t, Nullable: f.Nullable || hasNull(t)}
		leaves += leafCount(t)
	}
	if leaves > maxLeaves {
		return nil, fault.New(fault.InvalidRequest, "a table has at most %d columns and nested fields", maxLeaves)
	}
	return arrow.NewSchema(fields, nil), nil
}

func checkName(f arrow.Field) error {
	if !utf8.ValidString(f.Name) {
		return fmt.Errorf("the name is not valid UTF-8")
	}
	return nil
}

func hasNull(t arrow.DataType) bool { return t.ID() == arrow.NULL }

// storageType returns the type that stands for t in a Parquet file:
//
//	seconds           milliseconds (Parquet has no coarser unit), range checked when written
//	date64            timestamps in milliseconds: Parquet's dates would drop a time of day
//	duration          its integers
//	decimal32, 64     decimal128
//	fixed-size lists  lists
//	dictionaries      their values
//	extensions        their storage
//
// All others stand for themselves; fields inside are nullable.
func storageType(t arrow.DataType, depth int) (arrow.DataType, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested more than %d deep", maxNesting)
	}
	switch t := t.(type) {
	case *arrow.Time32Type:
		return &arrow.Time32Type{Unit: arrow.Millisecond}, nil
	case *arrow.TimestampType:
		return storageTimestamp(t)
	case *arrow.Date64Type:
		return &arrow.TimestampType{Unit: arrow.Millisecond}, nil
	case *arrow.DurationType:
		return arrow.PrimitiveTypes.Int64, nil
	case arrow.DecimalType:
		return storageDecimal(t)
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth <= 0 {
			return nil, fmt.Errorf("fixed-size binary of no bytes cannot be kept in Parquet")
		}
		return t, nil
	case *arrow.DictionaryType:
		return storageDictionary(t, depth)
	case arrow.ExtensionType:
		return storageType(t.StorageType(), depth+1)
	case *arrow.MapType, *arrow.ListType, *arrow.FixedSizeListType, *arrow.StructType:
		return storageNested(t, depth)
	}
	if !plainStorage[t.ID()] {
		return nil, fmt.Errorf("type %s cannot be kept", t)
	}
	return t, nil
}

var plainStorage = map[arrow.Type]bool{
	arrow.NULL: true, arrow.BOOL: true, arrow.INT8: true, arrow.INT16: true, arrow.INT32: true, arrow.INT64: true,
	arrow.UINT8: true, arrow.UINT16: true, arrow.UINT32: true, arrow.UINT64: true,
	arrow.FLOAT16: true, arrow.FLOAT32: true, arrow.FLOAT64: true, arrow.STRING: true, arrow.BINARY: true,
	arrow.DATE32: true, arrow.TIME64: true,
}

func storageTimestamp(t *arrow.TimestampType) (arrow.DataType, error) {
	unit := t.Unit
	if unit == arrow.Second {
		unit = arrow.Millisecond
	}
	zone := ""
	if t.TimeZone != "" {
		zone = "UTC"
	}
	return &arrow.TimestampType{Unit: unit, TimeZone: zone}, nil
}

func storageDecimal(t arrow.DecimalType) (arrow.DataType, error) {
	p, s := t.GetPrecision(), t.GetScale()
	if s < 0 || p < 1 || s > p {
		return nil, fmt.Errorf("no decimal in Parquet has precision %d and scale %d", p, s)
	}
	if p <= 38 {
		return &arrow.Decimal128Type{Precision: p, Scale: s}, nil
	}
	if p > 76 {
		return nil, fmt.Errorf("a decimal has at most 76 digits")
	}
	return &arrow.Decimal256Type{Precision: p, Scale: s}, nil
}

func storageDictionary(t *arrow.DictionaryType, depth int) (arrow.DataType, error) {
	switch v := t.ValueType; {
	case v.ID() == arrow.DICTIONARY, v.ID() == arrow.EXTENSION, v.ID() == arrow.NULL, arrow.IsNested(v.ID()):
		return nil, fmt.Errorf("a dictionary of %s cannot be kept", v)
	}
	return storageType(t.ValueType, depth+1)
}

func storageNested(t arrow.DataType, depth int) (arrow.DataType, error) {
	inner := func(f arrow.Field, name string, nullable bool) (arrow.Field, error) {
		if err := checkName(f); err != nil {
			return arrow.Field{}, err
		}
		s, err := storageType(f.Type, depth+1)
		return arrow.Field{Name: name, Type: s, Nullable: nullable}, err
	}
	switch t := t.(type) {
	case *arrow.MapType:
		key, err := inner(t.KeyField(), "key", false)
		if err != nil {
			return nil, err
		}
		if hasNull(key.Type) {
			return nil, fmt.Errorf("a map needs keys")
		}
		item, err := inner(t.ItemField(), "value", true)
		if err != nil {
			return nil, err
		}
		return arrow.MapOfFields(key, item), nil
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return nil, fmt.Errorf("a struct without fields has no form in Parquet")
		}
		fields := make([]arrow.Field, t.NumFields())
		for i, f := range t.Fields() {
			var err error
			if fields[i], err = inner(f, f.Name, true); err != nil {
				return nil, err
			}
		}
		return arrow.StructOf(fields...), nil
	default:
		elem, err := inner(t.(arrow.ListLikeType).ElemField(), "element", true)
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(elem), nil
	}
}

// leafCount returns the number of Parquet columns that a storage type takes.
func leafCount(t arrow.DataType) int {
	nested, ok := t.(arrow.NestedType)
	if !ok {
		return 1
	}
	n := 0
	for _, f := range nested.Fields() {
		n += leafCount(f.Type)
	}
	return n
}
