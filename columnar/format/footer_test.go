package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"coldframe/internal/fault"
)

// footerOf is a file without rows whose footer has these schema elements and row groups, in Thrift's compact protocol.
func footerOf(elements int, schema []byte, groups int, group []byte) []byte {
	list := func(n int) []byte { return binary.AppendUvarint([]byte{0x19, 0xfc}, uint64(n)) }
	footer := append([]byte{0x15, 4}, list(elements)...)
	footer = append(append(footer, schema...), 0x16, 0)
	footer = append(append(footer, list(groups)...), bytes.Repeat(group, groups)...)
	footer = append(footer, 0)
	b := append([]byte("PAR1"), footer...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), "PAR1"...)
}

// TestD13_FooterThatGrows reads footers of some megabytes that a decoder makes hundreds of.
func TestD13_FooterThatGrows(t *testing.T) {
	leaf := []byte{0x15, 4, 0x25, 0, 0x18, 1, 'c', 0} // a required 64-bit integer
	under := func(children int) []byte {              // a group
		return append(binary.AppendUvarint([]byte{0x35, 0, 0x18, 1, 'g', 0x15}, uint64(children)<<1), 0)
	}
	table := append(under(1), leaf...)
	for name, body := range map[string][]byte{
		"columns":          footerOf(1_000_001, append(under(1_000_000), bytes.Repeat(leaf, 1_000_000)...), 0, nil),
		"levels":           footerOf(5_001, append(bytes.Repeat(under(1), 5_000), leaf...), 0, nil),
		"levels, unended":  footerOf(300, bytes.Repeat(under(2), 300), 0, nil),
		"empty row groups": footerOf(2, table, 15<<20, []byte{0}),
		"chunks":           footerOf(2, table, 50_000, []byte{0x19, 0x2c, 0x3c, 0x0, 0x0, 0x3c, 0x0, 0x0, 0}),
	} {
		before := allocated()
		_, _, err := tryRead(Parquet, bytes.NewReader(body), ReadOptions{})
		if !errors.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if used := allocated() - before; used > 64<<20 {
			t.Errorf("%s: %d MiB allocated", name, used>>20)
		}
	}
}
