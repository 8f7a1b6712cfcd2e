// Package columnartest makes the tables that tests and benchmarks write.
package columnartest

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// RowBytes is about what a row of Mixed takes in memory.
const RowBytes = 134

// MixedSchema is a table of ten columns of mixed types.
var MixedSchema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "price", Type: arrow.PrimitiveTypes.Float64},
	{Name: "city", Type: arrow.BinaryTypes.String},
	{Name: "token", Type: arrow.BinaryTypes.String},
	{Name: "time", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
	{Name: "flag", Type: arrow.FixedWidthTypes.Boolean},
	{Name: "count", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "tags", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
	{Name: "amount", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}},
	{Name: "note", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

var words = []string{
	"amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "larch", "marsh", "north", "ocean", "plain",
}

// Mixed generates batches of MixedSchema, the same ones for the same seed. It is for one goroutine.
type Mixed struct {
	random *rand.Rand
	build  *array.RecordBuilder
	next   int64
}

// NewMixed returns a generator.
func NewMixed(seed uint64) *Mixed {
	return &Mixed{
		random: rand.New(rand.NewPCG(seed, seed)),
		build:  array.NewRecordBuilder(memory.DefaultAllocator, MixedSchema),
	}
}

// Batch returns the next n rows. The caller releases them.
func (m *Mixed) Batch(n int) arrow.RecordBatch {
	r, b := m.random, m.build
	b.Reserve(n)
	var token [8]byte
	for range n {
		i := m.next
		m.next++
		b.Field(0).(*array.Int64Builder).Append(i)
		b.Field(1).(*array.Float64Builder).Append(float64(r.IntN(1_000_000)) / 100)
		b.Field(2).(*array.StringBuilder).Append("city-" + strconv.Itoa(r.IntN(200)))
		for j := range token {
			token[j] = byte(r.Uint32())
		}
		b.Field(3).(*array.StringBuilder).Append(hex.EncodeToString(token[:]))
		b.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000 + i*1_000_000 + r.Int64N(1_000_000)))
		b.Field(5).(*array.BooleanBuilder).Append(r.IntN(3) == 0)
		m.count(b.Field(6).(*array.Int64Builder))
		m.tags(b.Field(7).(*array.ListBuilder))
		b.Field(8).(*array.Decimal128Builder).Append(decimal128.FromI64(r.Int64N(10_000_000_000)))
		m.note(b.Field(9).(*array.StringBuilder))
	}
	return b.NewRecordBatch()
}

func (m *Mixed) count(b *array.Int64Builder) {
	if m.random.IntN(10) == 0 {
		b.AppendNull()
		return
	}
	b.Append(m.random.Int64N(100_000))
}

func (m *Mixed) tags(b *array.ListBuilder) {
	b.Append(true)
	values := b.ValueBuilder().(*array.Int32Builder)
	for range m.random.IntN(4) {
		values.Append(m.random.Int32N(1000))
	}
}

func (m *Mixed) note(b *array.StringBuilder) {
	if m.random.IntN(4) == 0 {
		b.AppendNull()
		return
	}
	var s []byte
	for range 3 + m.random.IntN(6) {
		s = append(s, words[m.random.IntN(len(words))]...)
		s = append(s, ' ')
	}
	b.Append(string(s[:len(s)-1]))
}
