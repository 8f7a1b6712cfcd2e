package columnar

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// filter is a comparison of a column of a version.
type filter struct {
	column  int // place in the version
	nested  bool
	op      op
	literal arrow.Array // one value of the storage type; nil beside IS NULL
}

// Check tells whether w can be asked of a table with this schema. fault.InvalidRequest names the column that is not there, or that a
// literal does not fit.
func (w Where) Check(s *arrow.Schema) error {
	_, err := w.bind(s)
	return err
}

func (w Where) bind(s *arrow.Schema) ([]filter, error) {
	var out []filter
	for _, t := range w.terms {
		found := s.FieldIndices(t.column)
		if len(found) != 1 {
			return nil, fault.New(fault.InvalidRequest, "where: there is no column %q", t.column)
		}
		typ := s.Field(found[0]).Type
		stored, err := storageType(typ, 0)
		if err != nil {
			return nil, fault.New(fault.NotAuthentic, "column %q is of a type that is never written", t.column)
		}
		f := filter{column: found[0], nested: arrow.IsNested(stored.ID()), op: t.op}
		if t.op != opIsNull && t.op != opIsNotNull {
			if f.literal = t.literal(typ, stored); f.literal == nil {
				return nil, t.misfit(typ)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

func (t term) misfit(typ arrow.DataType) error {
	as := comparedAs(typ)
	if as == nil {
		return fault.New(fault.InvalidRequest, "where: column %q has no order: it can only be asked whether it IS NULL", t.column)
	}
	return fault.New(fault.InvalidRequest, "where: column %q is compared as %s, which the literal at position %d is not", t.column, format.FormatType(as), t.at)
}

// literal returns the literal as a value of the storage type of a column of type t; nil if it is none.
func (t term) literal(typ, stored arrow.DataType) arrow.Array {
	as := comparedAs(typ)
	if as == nil || !t.fitsKind(as) {
		return nil
	}
	v, ok := format.ParseValue(as, t.text)
	if !ok {
		return nil
	}
	defer v.Release()
	s, err := toStorage(v, stored)
	if err != nil {
		return nil
	}
	return s
}

// fitsKind reports whether a literal written as this one can be a value of a type: numbers, TRUE and FALSE stand bare, all else is in
// quotes. Floats may be, for NaN and infinities.
func (t term) fitsKind(typ arrow.DataType) bool {
	switch id := typ.ID(); {
	case id == arrow.BOOL:
		return t.kind == tokenWord
	case arrow.IsFloating(id):
		return t.kind == tokenNumber || t.kind == tokenString
	case arrow.IsInteger(id), arrow.IsDecimal(id):
		return t.kind == tokenNumber
	}
	return t.kind == tokenString
}

// comparedAs returns the type as which literals for a column of type t are read; nil if it has no order.
func comparedAs(t arrow.DataType) arrow.DataType {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return comparedAs(t.ValueType)
	case arrow.ExtensionType:
		return comparedAs(t.StorageType())
	case *arrow.Date64Type:
		return &arrow.TimestampType{Unit: arrow.Millisecond}
	case *arrow.DurationType:
		return arrow.PrimitiveTypes.Int64
	case *arrow.Decimal32Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}
	case *arrow.Decimal64Type:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}
	case *arrow.NullType, arrow.NestedType:
		return nil
	}
	return t
}

// wanted tells, for each operator, whether a value below, equal to or above the literal fulfils it.
var wanted = [...][3]bool{
	opEqual: {false, true, false}, opNotEqual: {true, false, true}, opLess: {true, false, false}, opLessEqual: {true, true, false},
	opGreater: {false, false, true}, opGreaterEqual: {false, true, true},
}

// match clears keep where a does not fulfil f. a is of the storage type; scratch is as long as a.
func (f filter) match(a arrow.Array, keep []bool, scratch []int8) error {
	switch f.op {
	case opIsNull, opIsNotNull:
		all := a.DataType().ID() == arrow.NULL // whose arrays say of no value that it is null
		for i := range keep {
			keep[i] = keep[i] && (all || a.IsNull(i)) == (f.op == opIsNull)
		}
		return nil
	}
	if a.DataType().ID() != f.literal.DataType().ID() {
		return fault.New(fault.NotAuthentic, "a column of type %s where %s was written", a.DataType(), f.literal.DataType())
	}
	order(a, f.literal, scratch)
	want := wanted[f.op]
	for i := range keep {
		keep[i] = keep[i] && want[scratch[i]+1]
	}
	if a.NullN() > 0 {
		for i := range keep {
			keep[i] = keep[i] && a.IsValid(i)
		}
	}
	return nil
}

// order tells of each value of a, nulls aside, whether it is below (-1), equal to (0) or above (1) the only one of literal. Both are of
// one storage type.
func order(a, literal arrow.Array, out []int8) {
	switch a := a.(type) {
	case *array.Boolean:
		orderBooleans(a, int8(b2i(literal.(*array.Boolean).Value(0))), out)
	case *array.Int8:
		orderNumbers(a.Int8Values(), literal.(*array.Int8).Value(0), out)
	case *array.Int16:
		orderNumbers(a.Int16Values(), literal.(*array.Int16).Value(0), out)
	case *array.Int32:
		orderNumbers(a.Int32Values(), literal.(*array.Int32).Value(0), out)
	case *array.Int64:
		orderNumbers(a.Int64Values(), literal.(*array.Int64).Value(0), out)
	case *array.Uint8:
		orderNumbers(a.Uint8Values(), literal.(*array.Uint8).Value(0), out)
	case *array.Uint16:
		orderNumbers(a.Uint16Values(), literal.(*array.Uint16).Value(0), out)
	case *array.Uint32:
		orderNumbers(a.Uint32Values(), literal.(*array.Uint32).Value(0), out)
	case *array.Uint64:
		orderNumbers(a.Uint64Values(), literal.(*array.Uint64).Value(0), out)
	case *array.Date32:
		orderNumbers(a.Date32Values(), literal.(*array.Date32).Value(0), out)
	case *array.Time32:
		orderNumbers(a.Time32Values(), literal.(*array.Time32).Value(0), out)
	case *array.Time64:
		orderNumbers(a.Time64Values(), literal.(*array.Time64).Value(0), out)
	case *array.Timestamp:
		orderNumbers(a.TimestampValues(), literal.(*array.Timestamp).Value(0), out)
	case *array.Float32:
		orderFloats(a.Float32Values(), literal.(*array.Float32).Value(0), out)
	case *array.Float64:
		orderFloats(a.Float64Values(), literal.(*array.Float64).Value(0), out)
	default:
		orderOthers(a, literal, out)
	}
}

func orderOthers(a, literal arrow.Array, out []int8) {
	var at func(i int) int
	switch a := a.(type) {
	case *array.Float16:
		l := literal.(*array.Float16).Value(0).Float32()
		at = func(i int) int { return orderFloat(a.Value(i).Float32(), l) }
	case *array.String:
		l := literal.(*array.String).Value(0)
		at = func(i int) int { return strings.Compare(a.Value(i), l) }
	case *array.Binary:
		l := literal.(*array.Binary).Value(0)
		at = func(i int) int { return bytes.Compare(a.Value(i), l) }
	case *array.FixedSizeBinary:
		l := literal.(*array.FixedSizeBinary).Value(0)
		at = func(i int) int { return bytes.Compare(a.Value(i), l) }
	case *array.Decimal128:
		l := literal.(*array.Decimal128).Value(0)
		at = func(i int) int { return a.Value(i).Cmp(l) }
	case *array.Decimal256:
		l := literal.(*array.Decimal256).Value(0)
		at = func(i int) int { return a.Value(i).Cmp(l) }
	default:
		panic("columnar: no order of " + a.DataType().Name())
	}
	for i := range a.Len() {
		if a.IsValid(i) {
			out[i] = int8(at(i))
		}
	}
}

func orderBooleans(a *array.Boolean, literal int8, out []int8) {
	for i := range out {
		out[i] = int8(b2i(a.Value(i))) - literal
	}
}

func orderNumbers[T cmp.Ordered](values []T, literal T, out []int8) {
	for i, v := range values {
		switch {
		case v < literal:
			out[i] = -1
		case v > literal:
			out[i] = 1
		default:
			out[i] = 0
		}
	}
}

func orderFloats[T float32 | float64](values []T, literal T, out []int8) {
	for i, v := range values {
		out[i] = int8(orderFloat(v, literal))
	}
}

// orderFloat compares as SQL does: NaN is equal to itself and above all else.
func orderFloat[T float32 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	return -cmp.Compare(a, b) // one is NaN, which that has below all else
}
