package erasure

import (
	"bytes"
	"errors"
	"testing"

	"coldframe/internal/fault"
)

func TestStoredDecoderIsReadStrictly(t *testing.T) {
	good := full(stream(96), 2).AppendTo(nil)
	for name, b := range map[string][]byte{
		"nothing":         {},
		"no decoder":      Decoder{}.AppendTo(nil),
		"a size between":  with(good, 1, 97),
		"a size too long": with(good, 0, 5),
		"a chunk more":    with(append(bytes.Clone(good), make([]byte, storedChunk)...), 2, 4),
		"a number twice":  with(good, storedHead+1, 3),
	} {
		if _, _, err := ParseDecoder(b); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, _, err := ParseDecoder(good[:n]); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	d, rest, err := ParseDecoder(append(bytes.Clone(good), "rest"...))
	if err != nil || string(rest) != "rest" || !bytes.Equal(d.Data(), stream(96)) {
		t.Errorf("%q, %v", rest, err)
	}
}

func with(b []byte, at int, value byte) []byte {
	b = bytes.Clone(b)
	b[at] = value
	return b
}

// What parses has the same stored form again, and is a decoder like any other.
func FuzzDecoder(f *testing.F) {
	f.Add(NewDecoder(96).AppendTo(nil))
	f.Add(full(stream(96), 2).AppendTo(nil))
	f.Add(append(full(stream(160), 65533).AppendTo(nil), 1, 2))
	f.Add(full(stream(1152), 30).AppendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, rest, err := ParseDecoder(b)
		if err != nil {
			if !errors.Is(err, fault.NotAuthentic) || rest != nil || d != (Decoder{}) {
				t.Fatal(err)
			}
			return
		}
		if again := d.AppendTo(nil); !bytes.Equal(append(again, rest...), b) {
			t.Fatalf("%x, was %x", again, b)
		}
		for number := uint16(0); !d.Complete(); number++ {
			d = d.Add(number, new([ChunkSize]byte))
		}
		// The stream that the chunks give has these chunks.
		e := NewEncoder(d.Data())
		for n := d.last; n != nil; n = n.before {
			if e.Chunk(n.number) != n.chunk {
				t.Fatalf("chunk %d of the restored stream is another", n.number)
			}
		}
	})
}
