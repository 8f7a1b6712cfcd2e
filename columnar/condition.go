package columnar

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
)

// Condition tells which rows of an Image are asked for: those for which it is true. It only serves to find row groups that have none, so a
// part of it that is not known is left out. The zero Condition is true of all rows.
type Condition struct {
	all, any []Condition
	filter   *filter
}

// All is true where each of the conditions is.
func All(c ...Condition) Condition { return Condition{all: c} }

// Any is true where one of the conditions is.
func Any(c ...Condition) Condition { return Condition{any: c} }

// Stored returns the type that literals have for a column of the image, by its place in Schema.
func (i *Image) Stored(column int) (arrow.DataType, error) {
	return storageType(i.plan.schema.Field(column).Type, 0)
}

// Compare compares a column of the image, by its place in Schema, with the one value of literal, which is not null and of the type that
// Stored returns. op is = != < <= > or >=, and they mean what they mean in a Where. fault.InvalidRequest for another, and for a column
// that has no order.
func (i *Image) Compare(column int, op string, literal arrow.Array) (Condition, error) {
	o, ok := operators[op]
	stored, err := i.Stored(column)
	if err != nil {
		return Condition{}, err
	}
	if !ok || arrow.IsNested(stored.ID()) || stored.ID() == arrow.NULL || !arrow.TypeEqual(stored, literal.DataType()) ||
		literal.Len() != 1 || literal.NullN() > 0 {
		return Condition{}, fault.New(fault.InvalidRequest, "a column of type %s is not compared like that", stored)
	}
	return Condition{filter: &filter{column: i.plan.columns[column], op: o, literal: literal}}, nil
}

// IsNull is true where a column of the image, by its place in Schema, is null; not, where it is not.
func (i *Image) IsNull(column int, not bool) Condition {
	stored, err := i.Stored(column)
	f := filter{column: i.plan.columns[column], op: opIsNull, nested: err != nil || arrow.IsNested(stored.ID())}
	if not {
		f.op = opIsNotNull
	}
	return Condition{filter: &f}
}

// excludes reports whether the condition is true for no row of a row group. Then it is not for a row either that has, in each column, null
// if there are nulls in the row group or it is not known, and else the least bound: what stands in for the row group (pme.File.Constant).
func (c Condition) excludes(p *readPart, rowGroup int) bool {
	excluded := func(c Condition) bool { return c.excludes(p, rowGroup) }
	switch {
	case c.filter != nil:
		leaf, _ := p.file.LeavesOf(c.filter.column)
		return !c.filter.possible(p.file.Statistics(rowGroup, leaf), p.file.RowGroupRows(rowGroup))
	case len(c.any) > 0:
		return !slices.ContainsFunc(c.any, func(c Condition) bool { return !excluded(c) })
	}
	return slices.ContainsFunc(c.all, excluded)
}
