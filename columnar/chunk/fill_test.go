package chunk

import (
	"fmt"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
)

// Values is where the values of a test come from.
type Values interface {
	Null() bool
	Elements() int // of a list
	Number() int64
	Clock(most int64) int64 // of a day
	Float() float64
	Half() float32
	Decimal(precision int32) decimal128.Num
	Text() []byte
	Fixed(width int) []byte
}

// AppendValue appends a value of any type that is stored.
func AppendValue(b array.Builder, v Values, nullable bool) { //nolint:cyclop,funlen // a case for each type
	if nullable && v.Null() {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(v.Number()%3 == 0)
	case *array.Int8Builder:
		b.Append(int8(v.Number()))
	case *array.Int16Builder:
		b.Append(int16(v.Number()))
	case *array.Int32Builder:
		b.Append(int32(v.Number()))
	case *array.Int64Builder:
		b.Append(v.Number())
	case *array.Uint8Builder:
		b.Append(uint8(v.Number()))
	case *array.Uint16Builder:
		b.Append(uint16(v.Number()))
	case *array.Uint32Builder:
		b.Append(uint32(v.Number()))
	case *array.Uint64Builder:
		b.Append(uint64(v.Number()))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.Number()))
	case *array.Time32Builder:
		b.Append(arrow.Time32(v.Clock(86_400_000)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(v.Clock(86_400_000_000)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.Number()))
	case *array.Float16Builder:
		b.Append(float16.New(v.Half()))
	case *array.Float32Builder:
		b.Append(float32(v.Float()))
	case *array.Float64Builder:
		b.Append(v.Float())
	case *array.Decimal128Builder:
		b.Append(v.Decimal(b.Type().(*arrow.Decimal128Type).Precision))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromI64(v.Number()).Mul(decimal256.FromI64(v.Number())))
	case *array.StringBuilder:
		b.Append(string(v.Text()))
	case *array.BinaryBuilder:
		b.Append(v.Text())
	case *array.FixedSizeBinaryBuilder:
		b.Append(v.Fixed(b.Type().(*arrow.FixedSizeBinaryType).ByteWidth))
	case *array.MapBuilder:
		b.Append(true)
		for range v.Elements() {
			AppendValue(b.KeyBuilder(), v, false)
			AppendValue(b.ItemBuilder(), v, true)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range v.Elements() {
			AppendValue(b.ValueBuilder(), v, true)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			AppendValue(b.FieldBuilder(i), v, true)
		}
	default:
		panic(fmt.Sprintf("no values for %T", b))
	}
}

// filler makes random values. Few different ones make runs and dictionaries.
type filler struct {
	*rand.Rand
	nulls    float64
	distinct int64
}

func (f filler) Null() bool        { return f.Float64() < f.nulls }
func (f filler) Elements() int     { return f.IntN(4) }
func (f filler) Clock(int64) int64 { return f.Number() }
func (f filler) Float() float64    { return float64(f.Number()) }
func (f filler) Half() float32     { return float32(f.Number() % 1000) }
func (f filler) Text() []byte      { return f.Fixed(f.length()) }

func (f filler) Number() int64 {
	n := f.Int64N(f.distinct)
	if f.distinct > 1000 {
		return n*0x9e3779b97f4a7c1 - n<<60
	}
	return n
}

func (f filler) Decimal(precision int32) decimal128.Num {
	v := decimal128.FromI64(f.Number() % 1_000_000_000)
	if precision > 18 {
		v = v.Mul(decimal128.FromI64(1_000_000_007))
	}
	return v
}

func (f filler) Fixed(width int) []byte {
	b := make([]byte, width)
	for i := range b {
		b[i] = byte(f.Number())
	}
	return b
}

// length is mostly short, and sometimes beyond what is copied at once.
func (f filler) length() int { return []int{0, 1, 5, 15, 16, 17, 63, 64, 65, 200}[f.IntN(10)] }
