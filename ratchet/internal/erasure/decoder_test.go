package erasure

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

// drawStream draws a stream of a real length or of any other.
func drawStream(t *rapid.T) []byte {
	n := rapid.OneOf(rapid.SampledFrom([]int{3, 5, 30, 36}), rapid.IntRange(minChunks, maxChunks)).Draw(t, "N")
	return rapid.SliceOfN(rapid.Byte(), n*ChunkSize, n*ChunkSize).Draw(t, "data")
}

// drawNumbers draws different chunk numbers: small ones, as come first, and any.
func drawNumbers(t *rapid.T, count int) []uint16 {
	number := rapid.OneOf(rapid.Uint16Range(0, 80), rapid.Uint16())
	return rapid.SliceOfNDistinct(number, count, count, rapid.ID).Draw(t, "numbers")
}

// Any N different chunks give the stream back, not one earlier, through the stored form at any moment.
func TestAnyChunksGiveTheStreamBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawStream(t)
		e, d := NewEncoder(data), NewDecoder(len(data))
		for _, number := range drawNumbers(t, len(data)/ChunkSize) {
			if d.Complete() {
				t.Fatal("complete too early")
			}
			chunk := e.Chunk(number)
			if d = d.Add(number, &chunk); rapid.Bool().Draw(t, "store") {
				d = reopened(t, d)
			}
		}
		if !d.Complete() || !bytes.Equal(d.Data(), data) {
			t.Fatal("another stream")
		}
		extra := [ChunkSize]byte{1}
		if d.Add(rapid.Uint16().Draw(t, "extra"), &extra) != d {
			t.Fatal("a complete decoder took a chunk")
		}
	})
}

// reopened returns the decoder that was stored and read again.
func reopened(t *rapid.T, d Decoder) Decoder {
	got, rest, err := ParseDecoder(d.AppendTo([]byte("before"))[len("before"):])
	if err != nil || len(rest) != 0 {
		t.Fatal(rest, err)
	}
	return got
}

// Chunks that come twice count once, and it is the first that counts.
func TestDuplicatesAreIgnored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawStream(t)
		e, d := NewEncoder(data), NewDecoder(len(data))
		seen := []uint16{}
		for _, number := range drawNumbers(t, len(data)/ChunkSize) {
			if len(seen) > 0 {
				var other [ChunkSize]byte
				copy(other[:], rapid.SliceOfN(rapid.Byte(), ChunkSize, ChunkSize).Draw(t, "other"))
				if d.Add(rapid.SampledFrom(seen).Draw(t, "again"), &other) != d {
					t.Fatal("a number was taken twice")
				}
			}
			chunk := e.Chunk(number)
			d, seen = d.Add(number, &chunk), append(seen, number)
		}
		if !bytes.Equal(d.Data(), data) {
			t.Fatal("another stream")
		}
	})
}

// What is added to a decoder, however often, is never seen by an older copy, a newer one or one that went another way.
func TestDecodersAreValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawStream(t)
		e := NewEncoder(data)
		decoders := []Decoder{NewDecoder(len(data))}
		var stored [][]byte
		stored = append(stored, decoders[0].AppendTo(nil))
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			from := rapid.SampledFrom(decoders).Draw(t, "from")
			number := rapid.Uint16Range(0, 80).Draw(t, "number")
			chunk := e.Chunk(number)
			next := from.Add(number, &chunk)
			if rapid.Bool().Draw(t, "reopen") {
				next = reopened(t, next)
			}
			chunk[0]++ // the caller's
			decoders, stored = append(decoders, next), append(stored, next.AppendTo(nil))
			for i, d := range decoders {
				if !bytes.Equal(d.AppendTo(nil), stored[i]) {
					t.Fatalf("decoder %d changed", i)
				}
				if d.Complete() && !bytes.Equal(d.Data(), data) {
					t.Fatalf("decoder %d has another stream", i)
				}
			}
		}
	})
}

func TestDataBelongToTheCaller(t *testing.T) {
	data := stream(96)
	d := full(data, 1)
	clear(d.Data())
	if !bytes.Equal(d.Data(), data) {
		t.Error("the decoder's data changed")
	}
}

// full returns a decoder with the N chunks from this number on.
func full(data []byte, from uint16) Decoder {
	e, d := NewEncoder(data), NewDecoder(len(data))
	for i := range len(data) / ChunkSize {
		chunk := e.Chunk(from + uint16(i))
		d = d.Add(from+uint16(i), &chunk)
	}
	return d
}

// Numbers wrap after 65535.
func TestNumbersWrap(t *testing.T) {
	if data := stream(1152); !bytes.Equal(full(data, 65520).Data(), data) {
		t.Error("another stream")
	}
}

func TestIncompleteDecoderHasNoData(t *testing.T) {
	for _, d := range []Decoder{{}, NewDecoder(96)} {
		if d = d.Add(7, new([ChunkSize]byte)); d.Complete() {
			t.Error("complete")
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("data of an incomplete decoder")
				}
			}()
			d.Data()
		}()
	}
}

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

func BenchmarkAdd(b *testing.B) { // the 36th chunk
	d := full(stream(1152), 40)
	d = Decoder{size: d.size, last: d.last.before}
	chunk := NewEncoder(stream(1152)).Chunk(39)
	b.ReportAllocs()
	for b.Loop() {
		d.Add(39, &chunk)
	}
}

func BenchmarkData(b *testing.B) {
	for name, from := range map[string]uint16{"none missing": 0, "1 missing": 1, "all missing": 36} {
		b.Run(name, func(b *testing.B) {
			d := full(stream(1152), from)
			b.ReportAllocs()
			for b.Loop() {
				d.Data()
			}
		})
	}
}

func BenchmarkParseDecoder(b *testing.B) {
	stored := full(stream(1152), 40).AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseDecoder(stored)
	}
}

func BenchmarkAppendTo(b *testing.B) {
	d := full(stream(1152), 40)
	room := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		d.AppendTo(room)
	}
}
