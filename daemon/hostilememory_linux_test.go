package daemon

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// maxOverIdle is what hostile input may cost, in MiB (D13).
const maxOverIdle = 64

// TestD13_MemoryOfHostileInput has an agent, in a process of its own, import hostile Parquet files and read parts that an insider made and
// signed. Each is refused, and the peak of the resident size stays near that of the idle agent.
func TestD13_MemoryOfHostileInput(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestHostileInputChild$", "-test.v") //nolint:gosec // this test itself
	cmd.Env = append(os.Environ(), "COLDFRAME_HOSTILE_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cases := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		_, rest, ok := strings.Cut(lines.Text(), "hostile: ")
		if !ok {
			continue
		}
		var grown int
		what, after, _ := strings.Cut(rest, ": ")
		if _, err := fmt.Sscan(after, &grown); err != nil {
			t.Fatal(rest)
		}
		cases++
		t.Log(rest)
		if grown > maxOverIdle && !raceEnabled {
			t.Errorf("%s: the peak grew by %d MiB, %d allowed", what, grown, maxOverIdle)
		}
	}
	if cases < 10 {
		t.Errorf("only %d cases came\n%s", cases, out)
	}
}

// TestHostileInputChild is the process of the test above.
func TestHostileInputChild(t *testing.T) {
	if os.Getenv("COLDFRAME_HOSTILE_CHILD") == "" {
		return // it is nothing by itself
	}
	w := startAttacked(t)
	for _, c := range []struct {
		name string
		body []byte
		want []fault.Code
	}{
		{"a million columns", plainParquet(manyColumns(1_000_000), nil), []fault.Code{fault.TooLarge}},
		{"columns nested 5,000 deep", plainParquet(nestedColumns(5000), nil), []fault.Code{fault.TooLarge}},
		{"as many columns as are looked at", plainParquet(manyColumns(29_000), nil), []fault.Code{fault.TooLarge}},
		{"15 million row groups", plainParquet(rowGroups(15<<20, []byte{0}), nil), []fault.Code{fault.TooLarge}},
		{"a million chunks", plainParquet(rowGroups(1, emptyChunks(1<<20)), nil), []fault.Code{fault.TooLarge}},
		{"as many chunks as are looked at", plainParquet(rowGroups(1, emptyChunks(75_000)), nil), []fault.Code{fault.TooLarge, fault.InvalidRequest}},
		{"15 million encodings", plainParquet(rowGroups(1, chunkOf(15<<20)), nil), []fault.Code{fault.TooLarge}},
		{"a page of a gigabyte", parquetOfOnePage(1<<30, 1<<30), []fault.Code{fault.TooLarge}},
		{"a page of more than it says", parquetOfOnePage(1<<20, 1<<30), []fault.Code{fault.TooLarge, fault.InvalidRequest}},
	} {
		id := w.create(c.name)
		measure(t, "import, "+c.name, c.want, func() error {
			_, err := w.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.Parquet}, bytes.NewReader(c.body))
			return err
		})
	}
	for v, c := range []struct {
		name string
		part func(v columnar.Version, k *columnar.VersionKeys) columnar.Part
		want []fault.Code
	}{
		{"a million columns", w.partWithFooter(manyColumns(1_000_000)), []fault.Code{fault.TooLarge}},
		{"columns nested 5,000 deep", w.partWithFooter(nestedColumns(5000)), []fault.Code{fault.TooLarge}},
		{"pages that expand a thousandfold", func(v columnar.Version, k *columnar.VersionKeys) columnar.Part {
			return w.forgedPart(v, k, expandingRows, expandingPages(t)...)
		}, []fault.Code{fault.TooLarge}},
	} {
		keys := columnar.NewVersionKeys(w.columns[w.id])
		w.publish(w.id, keys, []columnar.Part{c.part(columnar.Version(v+2), keys)})
		measure(t, "read, "+c.name, c.want, func() error {
			got, err := w.read(ReadRequest{Dataset: w.id})
			return empty(got, err)
		})
		measure(t, "read by condition, "+c.name, c.want, func() error {
			got, err := w.read(ReadRequest{Dataset: w.id, Columns: []string{"word"}, Where: "n >= 0"})
			return empty(got, err)
		})
		measure(t, "query, "+c.name, c.want, func() error {
			got, err := w.query("SELECT max(n), max(word), max(price) FROM mine")
			return empty(got, err)
		})
	}
}

func empty(got string, err error) error {
	if strings.Count(got, "\n") > 1 {
		return fmt.Errorf("%d bytes of rows came", len(got))
	}
	return err
}

// measure prints how much fn brought the peak of the resident size above what it was.
func measure(t *testing.T, what string, want []fault.Code, fn func() error) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal("cannot reset the peak: ", err)
	}
	before := residentPeak()
	err := fn()
	fmt.Printf("hostile: %s: %d MiB, %v\n", what, residentPeak()-before, err)
	for _, c := range want {
		if fault.CodeOf(err) == c {
			return
		}
	}
	t.Errorf("%s: %v, want one of %v", what, err, want)
}

// thrift writes the compact protocol: fields rise within a struct.
type thrift struct {
	bytes.Buffer
	last []byte // ids of the fields before, one for each open struct
}

const (
	tI32, tI64, tBinary, tList, tStruct = 5, 6, 8, 9, 12
)

func (e *thrift) field(id, kind byte) {
	if len(e.last) == 0 {
		e.last = []byte{0}
	}
	top := &e.last[len(e.last)-1]
	e.WriteByte((id-*top)<<4 | kind)
	*top = id
}

func (e *thrift) varint(n uint64) { e.Write(binary.AppendUvarint(nil, n)) }

func (e *thrift) number(id, kind byte, n int64) {
	e.field(id, kind)
	e.varint(uint64(n)<<1 ^ uint64(n>>63)) //nolint:gosec // zigzag
}

func (e *thrift) text(id byte, s string) {
	e.field(id, tBinary)
	e.varint(uint64(len(s)))
	e.WriteString(s)
}

func (e *thrift) list(id, kind byte, n int) {
	e.field(id, tList)
	if n < 15 {
		e.WriteByte(byte(n)<<4 | kind)
		return
	}
	e.WriteByte(0xf0 | kind)
	e.varint(uint64(n)) //nolint:gosec // not negative
}

func (e *thrift) open() { e.last = append(e.last, 0) }

func (e *thrift) stop() {
	e.WriteByte(0)
	e.last = e.last[:max(len(e.last)-1, 0)]
}

// element writes a SchemaElement: a leaf of 64-bit integers, or a group.
func (e *thrift) element(name string, children int64) {
	e.open()
	if children == 0 {
		e.number(1, tI32, 2)
	}
	e.number(3, tI32, 0)
	e.text(4, name)
	if children > 0 {
		e.number(5, tI32, children)
	}
	e.stop()
}

// manyColumns and nestedColumns are FileMetaData without rows.
func manyColumns(n int) []byte {
	return fileMetaData(n+1, func(e *thrift) {
		e.element("root", int64(n))
		for range n {
			e.element("c", 0)
		}
	})
}

func nestedColumns(depth int) []byte {
	return fileMetaData(depth+1, func(e *thrift) {
		for range depth {
			e.element("g", 1)
		}
		e.element("c", 0)
	})
}

// rowGroups are FileMetaData of one column whose row groups are all these bytes.
func rowGroups(n int, group []byte) []byte {
	var e thrift
	e.number(1, tI32, 2)
	e.list(2, tStruct, 2)
	e.element("root", 1)
	e.element("c", 0)
	e.number(3, tI64, 0)
	e.list(4, tStruct, n)
	e.Write(bytes.Repeat(group, n))
	e.stop()
	return e.Bytes()
}

// emptyChunks is a row group of chunks with nothing but an empty metadata with empty statistics.
func emptyChunks(n int) []byte {
	var e thrift
	e.list(1, tStruct, n)
	e.Write(bytes.Repeat([]byte{3<<4 | tStruct, 12<<4 | tStruct, 0, 0, 0}, n))
	e.stop()
	return e.Bytes()
}

// chunkOf is a row group of one chunk with that many encodings.
func chunkOf(encodings int) []byte {
	var e thrift
	e.list(1, tStruct, 1)
	e.open()
	e.field(3, tStruct)
	e.open()
	e.list(2, tI32, encodings)
	e.Write(make([]byte, encodings))
	for range 3 {
		e.stop()
	}
	return e.Bytes()
}

func fileMetaData(elements int, schema func(*thrift)) []byte {
	var e thrift
	e.number(1, tI32, 2)
	e.list(2, tStruct, elements)
	schema(&e)
	e.number(3, tI64, 0)
	e.list(4, tStruct, 0)
	e.stop()
	return e.Bytes()
}

func plainParquet(footer, pages []byte) []byte {
	b := append([]byte("PAR1"), pages...)
	b = append(b, footer...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), "PAR1"...) //nolint:gosec // some MiB
}

// parquetOfOnePage is a file of one column whose only page is zeros and says another length than it has.
func parquetOfOnePage(says, has int64) []byte {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err)
	}
	if _, err := io.CopyN(z, zeros{}, has); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	values := says / 8
	var page thrift
	page.number(1, tI32, 0)
	page.number(2, tI32, says)
	page.number(3, tI32, int64(packed.Len()))
	page.field(5, tStruct)
	page.open()
	page.number(1, tI32, values)
	page.number(2, tI32, 0)
	page.number(3, tI32, 3)
	page.number(4, tI32, 3)
	page.stop()
	page.stop()
	page.Write(packed.Bytes())

	var e thrift
	e.number(1, tI32, 2)
	e.list(2, tStruct, 2)
	e.element("root", 1)
	e.element("c", 0)
	e.number(3, tI64, values)
	e.list(4, tStruct, 1)
	e.open() // row group
	e.list(1, tStruct, 1)
	e.open() // column chunk
	e.number(2, tI64, 4)
	e.field(3, tStruct)
	e.open() // its metadata
	e.number(1, tI32, 2)
	e.list(2, tI32, 1)
	e.varint(0)
	e.list(3, tBinary, 1)
	e.varint(1)
	e.WriteString("c")
	e.number(4, tI32, 6)
	e.number(5, tI64, values)
	e.number(6, tI64, says+int64(page.Len()-packed.Len()))
	e.number(7, tI64, int64(page.Len()))
	e.number(9, tI64, 4)
	e.stop()
	e.stop()
	e.number(2, tI64, says)
	e.number(3, tI64, values)
	e.stop()
	e.stop()
	return plainParquet(e.Bytes(), page.Bytes())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// partWithFooter seals another footer into a part, under its own key and in its own place, and says so in the part.
func (w *attacked) partWithFooter(footer []byte) func(columnar.Version, *columnar.VersionKeys) columnar.Part {
	return func(v columnar.Version, keys *columnar.VersionKeys) columnar.Part {
		w.t.Helper()
		p := w.upload(w.id, v, keys, attackedBatch(0).NewSlice(0, 10))[0]
		body, err := storetest.Get(w.t.Context(), w.store, p.Name, 0, int64(p.Length)) //nolint:gosec // small
		if err != nil {
			w.t.Fatal(err)
		}
		tail := body[p.TailOffset:]
		frame := 0
		for 4+frame+int(binary.LittleEndian.Uint32(tail[frame:])) != len(tail)-8 {
			frame++
		}
		var m struct{ WrappedDEK string }
		if err := json.Unmarshal(regexp.MustCompile(`\{"keyMaterialType":"PKMT1"[^}]*\}`).Find(tail), &m); err != nil {
			w.t.Fatal(err)
		}
		key, err := keys.Footer.Unwrap(m.WrappedDEK)
		if err != nil {
			w.t.Fatal(err)
		}
		at := bytes.Index(tail, []byte{0x18, 48}) + 2 // aad_file_unique, behind the prefix
		aad := append(bytes.Clone(tail[at-34:at-2]), tail[at:at+48]...)
		sealed := sealFrame(w.t, key, footer, append(aad, 0))
		end := append(bytes.Clone(tail[:frame]), sealed...)
		end = append(binary.LittleEndian.AppendUint32(end, uint32(frame+len(sealed))), "PARE"...) //nolint:gosec // some MiB
		if err := w.store.Replace(w.t.Context(), p.Name, append(body[:p.TailOffset:p.TailOffset], end...)); err != nil {
			w.t.Fatal(err)
		}
		p.Length, p.TailHash = p.TailOffset+uint64(len(end)), sha256.Sum256(end)
		return p
	}
}

func sealFrame(t *testing.T, key, plain, aad []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 12)
	nonce[0] = 0xff
	b := binary.LittleEndian.AppendUint32(nil, uint32(12+len(plain)+16)) //nolint:gosec // some MiB
	return aead.Seal(append(b, nonce...), nonce, plain, aad)
}
