package chunk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"pgregory.net/rapid"

	"coldframe/columnar/chunk"
	"coldframe/columnar/pme"
	"coldframe/internal/secret"
)

var flat = []arrow.DataType{
	arrow.Null, arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
	arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32,
	arrow.PrimitiveTypes.Uint64, arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
	arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, &arrow.FixedSizeBinaryType{ByteWidth: 3}, &arrow.FixedSizeBinaryType{ByteWidth: 70},
	arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Timestamp_ns,
	&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 18, Scale: 2},
	&arrow.Decimal128Type{Precision: 30, Scale: 2}, &arrow.Decimal256Type{Precision: 60, Scale: 2},
}

func drawType(t *rapid.T, depth int) arrow.DataType {
	switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); {
	case depth == 0 || kind < 3:
		return rapid.SampledFrom(flat).Draw(t, "type")
	case kind == 3:
		return arrow.ListOfField(arrow.Field{Name: "element", Type: drawType(t, depth-1), Nullable: true})
	case kind == 4:
		key := rapid.SampledFrom([]arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int16}).Draw(t, "key")
		return arrow.MapOfFields(arrow.Field{Name: "key", Type: key}, arrow.Field{Name: "value", Type: drawType(t, depth-1), Nullable: true})
	}
	var fields []arrow.Field
	for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("f", i), Type: drawType(t, depth-1), Nullable: true})
	}
	return arrow.StructOf(fields...)
}

// source makes values: at random, of few different ones, or rising.
type source struct {
	t    *rapid.T
	mode int
	next int64
	nan  bool // a type that can be printed with NaN in it
}

func (s *source) Number() int64 {
	s.next++
	switch s.mode {
	case 0:
		return rapid.Int64().Draw(s.t, "number")
	case 1:
		return s.next * s.next % 7
	}
	return s.next * 1000
}

func (s *source) Float() float64 {
	if f := s.Number(); s.mode > 0 {
		return math.Mod(float64(f), 480_000) / 8 // a half float has them all: the text of a nested one that is infinite is none
	}
	if !s.nan {
		return rapid.Float64Range(-60_000, 60_000).Draw(s.t, "float")
	}
	special := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1)}
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom(special)).Draw(s.t, "float")
}

func (s *source) text(n int) []byte {
	if s.mode > 0 {
		return fmt.Appendf(nil, "text %0*d", s.mode*40, s.Number())
	}
	return []byte(rapid.StringN(0, n, -1).Draw(s.t, "text"))
}

func (s *source) Null() bool             { return rapid.IntRange(0, 4).Draw(s.t, "null") == 0 }
func (s *source) Elements() int          { return rapid.IntRange(0, 3).Draw(s.t, "elements") }
func (s *source) Clock(most int64) int64 { return int64(uint64(s.Number()) % uint64(most)) }
func (s *source) Half() float32          { return float32(s.Float()) }
func (s *source) Text() []byte           { return s.text(90) }
func (s *source) Fixed(width int) []byte {
	return append(s.text(width), make([]byte, width)...)[:width]
}

func (s *source) Decimal(precision int32) decimal128.Num {
	n := s.Number()
	if precision < 30 {
		n %= 1_000_000_000
	}
	return decimal128.FromI64(n)
}

// drawArrays makes arrays of a column, the first of them not from its start.
func drawArrays(t *rapid.T, f arrow.Field) []arrow.Array {
	s := &source{t: t, mode: rapid.IntRange(0, 2).Draw(t, "mode"), nan: !arrow.IsNested(f.Type.ID())}
	var arrays []arrow.Array
	for i := range rapid.IntRange(1, 3).Draw(t, "arrays") {
		b := array.NewBuilder(memory.DefaultAllocator, f.Type)
		for range rapid.SampledFrom([]int{1, 3, 20, 150}).Draw(t, "rows") {
			chunk.AppendValue(b, s, f.Nullable)
		}
		a := b.NewArray()
		if i == 0 && f.Type.ID() != arrow.NULL {
			a = array.NewSlice(a, int64(rapid.IntRange(0, a.Len()-1).Draw(t, "from")), int64(a.Len()))
		}
		arrays = append(arrays, a)
	}
	return arrays
}

var (
	stockOptions = parquet.NewWriterProperties(
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithStoreDecimalAsInteger(true), parquet.WithMaxStatsSize(1<<20))
	prefix = []byte("prefix")
)

func emptyFile(t rapid.TB, f arrow.Field) []byte { return stock(t, f, nil) }

// stock writes arrays with arrow-go.
func stock(t rapid.TB, f arrow.Field, arrays []arrow.Array) []byte {
	var out bytes.Buffer
	s := arrow.NewSchema([]arrow.Field{f}, nil)
	w, err := pqarrow.NewFileWriter(s, &out, stockOptions, pqarrow.NewArrowWriterProperties())
	if err != nil {
		t.Fatal(err)
	}
	if len(arrays) > 0 {
		c := arrow.NewChunked(f.Type, arrays)
		w.NewRowGroup()
		if err := w.WriteColumnChunked(c, 0, int64(c.Len())); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sealed writes arrays with this package and package pme: row groups of the same rows.
func sealed(t *rapid.T, key pme.NamedKey, f arrow.Field, arrays []arrow.Array, groups int) []byte {
	var out bytes.Buffer
	w, err := pme.NewFileWriter(&out, pme.FileConfig{
		Template: emptyFile(t, f), AADPrefix: prefix, Footer: key, ColumnKey: func(pme.Leaf) pme.NamedKey { return key },
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pqarrow.ToParquet(arrow.NewSchema([]arrow.Field{f}, nil), stockOptions, pqarrow.NewArrowWriterProperties())
	if err != nil {
		t.Fatal(err)
	}
	var leaves []*schema.Column
	for i := range p.NumColumns() {
		leaves = append(leaves, p.Column(i))
	}
	rows := int64(0)
	for _, a := range arrays {
		rows += int64(a.Len())
	}
	e := chunk.NewEncoder(f, leaves)
	for g := range groups {
		s, err := w.SealColumn(g, 0, rows, nil)
		if err == nil {
			err = e.Encode(s, arrays)
		}
		if err == nil {
			_, err = w.AppendRowGroup([]*pme.SealedColumn{s.Close()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// stockKeys gives arrow-go's decryption the data keys.
type stockKeys struct {
	t    *rapid.T
	keys pme.Keys
}

func (s stockKeys) GetKey(metadata []byte) string {
	var m struct {
		Footer bool `json:"isFooterKey"`
	}
	if err := json.Unmarshal(metadata, &m); err != nil {
		s.t.Fatal(err)
	}
	leaf := &pme.Leaf{}
	if m.Footer {
		leaf = nil
	}
	dek, err := s.keys.DataKey(leaf, metadata)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(dek)
}

func texts(arrays []arrow.Array) (out []string) {
	for _, a := range arrays {
		for i := range a.Len() {
			out = append(out, a.ValueStr(i))
		}
	}
	return out
}

// TestStockReader has arrow-go read columns of all types, and compares their statistics with those that it writes itself.
func TestStockReader(t *testing.T) {
	for _, size := range []int{200, 1 << 20} {
		t.Run(fmt.Sprint("pages of ", size), func(t *testing.T) {
			defer chunk.SetPageBytes(size)()
			rapid.Check(t, checkStock)
		})
	}
}

func checkStock(t *rapid.T) {
	typ := drawType(t, 3)
	f := arrow.Field{Name: "x", Type: typ, Nullable: typ.ID() == arrow.NULL || rapid.Bool().Draw(t, "nullable")}
	arrays := drawArrays(t, f)
	key := pme.NamedKey{ID: "k", Key: secret.Random()}
	keys := pme.Keys{Footer: key, Column: func(pme.Leaf) (pme.NamedKey, bool) { return key, true }}
	b := sealed(t, key, f, arrays, 2)
	props := parquet.NewReaderProperties(memory.DefaultAllocator)
	props.FileDecryptProps = parquet.NewFileDecryptionProperties(
		parquet.WithKeyRetriever(stockKeys{t: t, keys: keys}), parquet.WithDecryptAadPrefix(string(prefix)))
	pf, err := file.NewParquetReader(bytes.NewReader(b), file.WithReadProps(props))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	var leaves []int
	for i := range pf.MetaData().Schema.NumColumns() {
		leaves = append(leaves, i)
	}
	for g := range 2 {
		table, err := r.ReadRowGroups(context.Background(), leaves, []int{g})
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		got, want := texts(table.Column(0).Data().Chunks()), texts(arrays)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s:\ngot  %q\nwant %q", typ, got, want)
		}
		compareStatistics(t, pf, g, stock(t, f, arrays), arrays)
	}
}

// compareStatistics compares the count of nulls of each leaf with arrow-go's, whose bounds are wrong in nested columns, and the bounds
// of flat columns with what all values say.
func compareStatistics(t *rapid.T, ours *file.Reader, group int, b []byte, arrays []arrow.Array) {
	theirs, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for leaf := range theirs.MetaData().Schema.NumColumns() {
		want, got := statisticsOf(t, theirs, 0, leaf), statisticsOf(t, ours, group, leaf)
		if want != nil && got.NullCount() != want.NullCount() { // nil: of a column of nulls
			t.Fatalf("leaf %d: %d nulls, want %d", leaf, got.NullCount(), want.NullCount())
		}
	}
	if id := arrays[0].DataType().ID(); arrow.IsNested(id) || id == arrow.NULL {
		return
	}
	got := statisticsOf(t, ours, group, 0)
	low, high := extremes(arrays)
	switch {
	case low == nil || len(low.plain) > 64 && low.text == "":
		if got.HasMinMax() {
			t.Fatalf("bounds %x %x", got.EncodeMin(), got.EncodeMax())
		}
	case len(low.plain) > 64 || len(high.plain) > 64:
		l, h := got.EncodeMin(), got.EncodeMax()
		if len(l) > 64 || !bytes.HasPrefix(low.plain, l) || len(h) > 68 || h != nil && bytes.Compare(h, high.plain) < 0 {
			t.Fatalf("bounds %q %q, want %q %q", l, h, low.plain, high.plain)
		}
	case !bytes.Equal(got.EncodeMin(), low.plain) || !bytes.Equal(got.EncodeMax(), high.plain):
		t.Fatalf("%s: bounds %x %x, want %x %x", arrays[0].DataType(), got.EncodeMin(), got.EncodeMax(), low.plain, high.plain)
	}
}

// value is one value: as a number or, if that is nil, text, and as Parquet keeps it.
type value struct {
	number *big.Float
	text   string
	plain  []byte
}

func (v *value) less(w *value) bool {
	if v.number != nil {
		return v.number.Cmp(w.number) < 0
	}
	return bytes.Compare(v.plain, w.plain) < 0
}

// extremes returns the least and the greatest of all values, nil if there is none.
func extremes(arrays []arrow.Array) (low, high *value) {
	for _, a := range arrays {
		for i := range a.Len() {
			v := valueOf(a, i)
			if a.IsNull(i) || v == nil {
				continue
			}
			if low == nil || v.less(low) {
				low = v
			}
			if high == nil || high.less(v) {
				high = v
			}
		}
	}
	if low == high && low != nil {
		same := *low
		high = &same
	}
	if low != nil && low.number != nil && arrow.IsFloating(arrays[0].DataType().ID()) { // which zero is there is not told
		if low.number.Sign() == 0 {
			low.plain = append(make([]byte, len(low.plain)-1), 0x80)
		}
		if high.number.Sign() == 0 {
			high.plain = make([]byte, len(high.plain))
		}
	}
	return low, high
}

// valueOf returns a value of a flat array; nil if it is NaN.
func valueOf(a arrow.Array, i int) *value { //nolint:cyclop // a case for each type
	n := new(big.Float).SetPrec(300)
	four := func(v int64) *value {
		return &value{n.SetInt64(v), "", binary.LittleEndian.AppendUint32(nil, uint32(v))}
	}
	eight := func(v int64) *value {
		return &value{n.SetInt64(v), "", binary.LittleEndian.AppendUint64(nil, uint64(v))}
	}
	float := func(f float64, plain []byte) *value {
		if math.IsNaN(f) {
			return nil
		}
		return &value{n.SetFloat64(f), "", plain}
	}
	switch a := a.(type) {
	case *array.Boolean:
		v := byte(0)
		if a.Value(i) {
			v = 1
		}
		return &value{n.SetInt64(int64(v)), "", []byte{v}}
	case *array.Int8:
		return four(int64(a.Value(i)))
	case *array.Int16:
		return four(int64(a.Value(i)))
	case *array.Int32:
		return four(int64(a.Value(i)))
	case *array.Uint8:
		return four(int64(a.Value(i)))
	case *array.Uint16:
		return four(int64(a.Value(i)))
	case *array.Uint32:
		return four(int64(a.Value(i)))
	case *array.Date32:
		return four(int64(a.Value(i)))
	case *array.Time32:
		return four(int64(a.Value(i)))
	case *array.Int64:
		return eight(a.Value(i))
	case *array.Time64:
		return eight(int64(a.Value(i)))
	case *array.Timestamp:
		return eight(int64(a.Value(i)))
	case *array.Uint64:
		return &value{n.SetUint64(a.Value(i)), "", binary.LittleEndian.AppendUint64(nil, a.Value(i))}
	case *array.Float16:
		return float(float64(a.Value(i).Float32()), a.Value(i).ToLEBytes())
	case *array.Float32:
		return float(float64(a.Value(i)), binary.LittleEndian.AppendUint32(nil, math.Float32bits(a.Value(i))))
	case *array.Float64:
		return float(a.Value(i), binary.LittleEndian.AppendUint64(nil, math.Float64bits(a.Value(i))))
	case *array.String:
		return &value{nil, "text", []byte(a.Value(i))}
	case *array.Binary:
		return &value{nil, "text", a.Value(i)}
	case *array.FixedSizeBinary:
		return &value{nil, "", a.Value(i)}
	case *array.Decimal128:
		v := a.Value(i)
		switch p := a.DataType().(*arrow.Decimal128Type).Precision; {
		case p <= 9:
			return four(int64(v.LowBits()))
		case p <= 18:
			return eight(int64(v.LowBits()))
		default:
			return bigEndian(v.BigInt(), 13)
		}
	case *array.Decimal256:
		return bigEndian(a.Value(i).BigInt(), 26)
	}
	panic("a type without values")
}

// bigEndian is a long decimal.
func bigEndian(v *big.Int, width int) *value {
	plain := make([]byte, width)
	wrapped := new(big.Int).And(v, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*width)), big.NewInt(1)))
	return &value{new(big.Float).SetPrec(300).SetInt(v), "", wrapped.FillBytes(plain)}
}

func statisticsOf(t *rapid.T, f *file.Reader, group, leaf int) metadata.TypedStatistics {
	c, err := f.MetaData().RowGroup(group).ColumnChunk(leaf)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Statistics()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
