package ratchet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wireTag begins a field of any number and wire type.
func wireTag(number uint64, kind byte) []byte {
	return binary.AppendUvarint(nil, number<<3|uint64(kind))
}

// wireUnknown draws a field that no message here has, of any wire type.
func wireUnknown(t *rapid.T, depth int) []byte {
	number := rapid.Uint64Range(protoKnown, protoMaxNumber).Draw(t, "number")
	kinds := []byte{protoNumber, protoFixed64, protoBytes, protoFixed32, protoGroup}
	if depth > 3 {
		kinds = kinds[:4]
	}
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	b := wireTag(number, kind)
	switch kind {
	case protoNumber:
		return binary.AppendUvarint(b, rapid.Uint64().Draw(t, "value"))
	case protoFixed64:
		return append(b, "12345678"...)
	case protoFixed32:
		return append(b, "1234"...)
	case protoBytes:
		value := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
		return append(binary.AppendUvarint(b, uint64(len(value))), value...)
	}
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		b = append(b, wireUnknown(t, depth+1)...)
	}
	return append(b, wireTag(number, protoGroupEnd)...)
}

func TestProtoFieldsComeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type field struct {
			number uint64
			bytes  []byte
		}
		var want protoFields
		var list []field
		for range rapid.IntRange(0, 12).Draw(t, "fields") {
			switch n := rapid.Uint64Range(1, 4).Draw(t, "which"); n {
			case 1, 2:
				v := rapid.Uint32().Draw(t, "value")
				list = append(list, field{n, appendProtoNumber(nil, byte(n), v)})
			case 3:
				list = append(list, field{n, appendProtoBytes(nil, 3, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes"))})
			default:
				list = append(list, field{0, wireUnknown(t, 0)})
			}
		}
		list = rapid.Permutation(list).Draw(t, "order")
		var b []byte
		for _, f := range list {
			b = append(b, f.bytes...)
			switch f.number {
			case 0:
				continue
			case 3:
				_, rest, _ := cutProtoNumber(f.bytes[1:])
				want.bytes[3] = rest
			default:
				v, _ := binary.Uvarint(f.bytes[1:])
				want.numbers[f.number] = uint32(v)
			}
			want.present |= 1 << f.number
		}
		var got protoFields
		if !got.parse(b, protoSetOf(1, 2), protoSetOf(3)) {
			t.Fatalf("%x does not parse", b)
		}
		if got.present != want.present || got.numbers != want.numbers || !bytes.Equal(got.bytes[3], want.bytes[3]) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestProtoRefusesTheMalformed(t *testing.T) {
	nested := func(depth int) []byte {
		return append(bytes.Repeat(wireTag(20, protoGroup), depth), bytes.Repeat(wireTag(20, protoGroupEnd), depth)...)
	}
	long := bytes.Repeat([]byte{0x80}, 9)
	cases := []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"nothing", nil, true},
		{"shortest form not used", []byte{0x88, 0x00, 0x85, 0x80, 0x00}, true},
		{"number of ten bytes", slices.Concat([]byte{8}, long, []byte{0}), true},
		{"number of eleven bytes", slices.Concat([]byte{8}, long, []byte{0x80, 0}), false},
		{"number of 65 bits", slices.Concat(wireTag(20, 0), long, []byte{2}), false},
		{"unknown number of 64 bits", slices.Concat(wireTag(20, 0), long, []byte{1}), true},
		{"number of 32 bits", binary.AppendUvarint([]byte{8}, 1<<32-1), true},
		{"number of 33 bits", binary.AppendUvarint([]byte{8}, 1<<32), false},
		{"number cut off", []byte{8, 0x80}, false},
		{"no value", []byte{8}, false},
		{"bytes for a number", []byte{10, 0}, false},
		{"number for bytes", []byte{24, 0}, false},
		{"bytes cut off", []byte{26, 2, 0}, false},
		{"bytes of a size above all bounds", binary.AppendUvarint([]byte{26}, 1<<64-1), false},
		{"field 0", []byte{0, 0}, false},
		{"largest field", append(wireTag(protoMaxNumber, 0), 0), true},
		{"field above the largest", append(wireTag(protoMaxNumber+1, 0), 0), false},
		{"fixed 32 cut off", append(wireTag(20, protoFixed32), 1, 2, 3), false},
		{"fixed 64 cut off", append(wireTag(20, protoFixed64), 1, 2, 3, 4, 5, 6, 7), false},
		{"wire type 6", append(wireTag(20, 6), 0), false},
		{"wire type 7", append(wireTag(20, 7), 0), false},
		{"end without a group", wireTag(20, protoGroupEnd), false},
		{"group without an end", wireTag(20, protoGroup), false},
		{"end of another group", append(wireTag(20, protoGroup), wireTag(21, protoGroupEnd)...), false},
		{"groups 100 deep", nested(protoMaxDepth), true},
		{"groups 101 deep", nested(protoMaxDepth + 1), false},
		{"groups without end", bytes.Repeat(wireTag(20, protoGroup), 1<<19), false},
	}
	for _, c := range cases {
		var f protoFields
		if ok := f.parse(c.b, protoSetOf(1, 2), protoSetOf(3)); ok != c.ok {
			t.Errorf("%s: %v", c.name, ok)
		}
	}
}
