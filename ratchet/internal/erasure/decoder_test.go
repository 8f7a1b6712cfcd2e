package erasure

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
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
