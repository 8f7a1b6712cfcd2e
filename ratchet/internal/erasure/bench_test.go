package erasure

import (
	"testing"
)

func BenchmarkChunk(b *testing.B) {
	for _, c := range []struct {
		name   string
		size   int
		number uint16
	}{{"data", 1152, 3}, {"vector", 1152, 36}, {"c1", 960, 36}, {"c2", 160, 36}, {"header", 96, 36}} {
		b.Run(c.name, func(b *testing.B) {
			e := NewEncoder(stream(c.size))
			number := c.number
			b.ReportAllocs()
			for b.Loop() {
				e.Chunk(number)
				if int(c.number) >= c.size/ChunkSize {
					number = max(number+1, c.number)
				}
			}
		})
	}
}

func BenchmarkNewEncoder(b *testing.B) {
	data := stream(1152)
	b.ReportAllocs()
	for b.Loop() {
		NewEncoder(data)
	}
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
