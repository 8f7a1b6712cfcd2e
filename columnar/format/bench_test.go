package format

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sys/unix"
)

// mixedTable is a table of ten columns of mixed types, 64 Ki rows.
func mixedTable(b *testing.B) (*arrow.Schema, []arrow.RecordBatch) {
	schema := mustSchema(b, "id int64, price float64, city string, token string, at timestamp[us], flag bool, count int64, amount decimal(18,4), day date, note string")
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 64 << 10 {
		rb.Field(0).(*array.Int64Builder).Append(int64(i) * 7919)
		rb.Field(1).(*array.Float64Builder).Append(float64(i%10000) / 100)
		rb.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("city %d", i%200))
		rb.Field(3).(*array.StringBuilder).Append(fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15))
		rb.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(1.7e15 + int64(i)*1_000_001))
		rb.Field(5).(*array.BooleanBuilder).Append(i%3 == 0)
		if i%5 == 0 {
			rb.Field(6).AppendNull()
			rb.Field(9).AppendNull()
		} else {
			rb.Field(6).(*array.Int64Builder).Append(int64(i % 1000))
			rb.Field(9).(*array.StringBuilder).Append(`a note, with "quotes"`)
		}
		if err := rb.Field(7).AppendValueFromString(fmt.Sprintf("%d.%04d", i, i%10000)); err != nil {
			b.Fatal(err)
		}
		rb.Field(8).(*array.Date32Builder).Append(arrow.Date32(i % 20000))
	}
	return schema, []arrow.RecordBatch{rb.NewRecordBatch()}
}

// BenchmarkIn reads each format with its types declared; MB/s are bytes of the body.
func BenchmarkIn(b *testing.B) {
	schema, table := mixedTable(b)
	for _, k := range Kinds() {
		body := write(b, k, schema, table)
		b.Run(string(k), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			startCPU := cpu(b)
			for b.Loop() {
				readAll(b, k, body, ReadOptions{Schema: schema})
			}
			report(b, cpu(b)-startCPU, len(body), table)
		})
	}
}

// BenchmarkInfer reads CSV and NDJSON without a schema.
func BenchmarkInfer(b *testing.B) {
	schema, table := mixedTable(b)
	for _, k := range []Kind{CSV, NDJSON} {
		body := write(b, k, schema, table)
		b.Run(string(k), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			startCPU := cpu(b)
			for b.Loop() {
				if _, _, err := tryRead(k, bytes.NewReader(body), ReadOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			report(b, cpu(b)-startCPU, len(body), table)
		})
	}
}

// cpu returns the processor time that this process has used: on a machine that others use too, the clock says little.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report gives the bytes of the body, and of the table in memory, for a second of one processor.
func report(b *testing.B, used time.Duration, size int, table []arrow.RecordBatch) {
	per := func(n int) float64 { return float64(n) * float64(b.N) / used.Seconds() / 1e6 }
	b.ReportMetric(per(size), "MB/cpu-s")
	b.ReportMetric(per(batchBytes(table[0])), "raw-MB/cpu-s")
}

// BenchmarkOut writes each format; MB/s are bytes of the body.
func BenchmarkOut(b *testing.B) {
	schema, table := mixedTable(b)
	for _, k := range Kinds() {
		size := len(write(b, k, schema, table))
		b.Run(string(k), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			startCPU := cpu(b)
			for b.Loop() {
				w, err := NewWriter(k, io.Discard, schema)
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Write(table[0]); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			report(b, cpu(b)-startCPU, size, table)
		})
	}
}
