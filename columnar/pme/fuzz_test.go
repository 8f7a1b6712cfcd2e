package pme_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"coldframe/columnar/pme"
)

func FuzzPageHeader(f *testing.F) {
	for _, h := range []hostilePage{
		{raw: 64, values: 3}, {kind: 2, raw: 100, values: 9}, {kind: 3, raw: 70, values: 3, levels: 2}, {kind: 1, raw: 1 << 30}, {raw: 9, values: 1, pad: 300},
	} {
		f.Add(h.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := pme.ParsePageHeader(b)
		if err != nil {
			return
		}
		if n > len(b) {
			t.Fatalf("a header of %d bytes in %d", n, len(b))
		}
		once, err := pme.ResizePage(b[:n], 77)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := pme.ResizePage(once, 77)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x (%v)", once, twice, err)
		}
		if _, err := pme.ParsePageHeader(once); err != nil {
			t.Fatal("a rewritten header does not parse: ", err)
		}
	})
}

func FuzzFileCryptoMetaData(f *testing.F) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(f, k, shapes()[5], 71)
	f.Add(s.bytes[s.tail.Offset:])
	f.Add([]byte("\x1c\x1c\x18\x06tester\x18\x0812345678\x11\x00\x00\x18\x02kf\x00"))
	f.Add([]byte("\x1c\x2c\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		once, n, err := pme.ParseFileCrypto(b)
		if err != nil {
			return
		}
		if n > len(b) {
			t.Fatalf("a struct of %d bytes in %d", n, len(b))
		}
		twice, n, err := pme.ParseFileCrypto(once)
		if err != nil || n != len(once) || !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x (%v)", once, twice, err)
		}
	})
}

func FuzzKeyMetadata(f *testing.F) {
	names, _ := filepath.Glob("../../docs/vectors/pme/*.json")
	for _, name := range names {
		var v vector
		b, err := os.ReadFile(name)
		if err == nil && json.Unmarshal(b, &v) == nil && v.Metadata != "" {
			f.Add([]byte(v.Metadata))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := pme.ParseMaterial(b)
		if err != nil {
			return
		}
		twice, err := pme.ParseMaterial(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s (%v)", once, twice, err)
		}
	})
}

// FuzzFooterTail opens tails. An even first byte: the rest is the end of a file as it stands, and must not open. An odd one: an insider
// sealed the rest as a footer.
func FuzzFooterTail(f *testing.F) {
	k := newKeyring(testSchema.NumFields())
	for _, sh := range shapes()[1:] {
		s, _ := sealShape(f, k, sh, 72)
		forged, err := pme.Forge(s.bytes, k.keys(), testPrefix)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte{1}, forged.Footer...))
		f.Add(append([]byte{0}, s.bytes[s.tail.Offset:]...))
	}
	s, _ := sealShape(f, k, shapes()[5], 73)
	forged, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		f.Fatal(err)
	}
	keys := k.keys() // of this run: a tail from another run, as the corpus holds them, does not open
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if b[0]%2 == 0 {
			if n, err := pme.TailSize(b[1:], 1<<30, strict); err == nil && n < 40 { // the footer's frame, its length and the magic number
				t.Fatalf("a tail of %d bytes", n)
			}
			if file, err := open(b[1:], keys, strict); err == nil && len(file.Leaves()) != 11 {
				t.Fatal("a tail opens that nobody sealed")
			}
			return
		}
		g := *forged
		g.Footer = b[1:]
		whole := g.Seal(testPrefix)
		file, err := open(whole, keys, pme.ReadOptions{AADPrefix: testPrefix, Foreign: true})
		if err != nil {
			return
		}
		readRanges(t, file, whole)
	})
}

// readRanges takes every chunk that a footer names. It lies in the file, and is nothing that anybody sealed, so it is refused or was
// never encrypted; what may be read goes through the decoder.
func readRanges(t *testing.T, file *pme.File, whole []byte) {
	columns := make([]int, len(file.Columns()))
	for i := range columns {
		columns[i] = i
		for first, end := file.LeavesOf(i); first < end; first++ {
			for g := range file.NumRowGroups() {
				file.Statistics(g, first) // whatever stands there
				if off, n, err := file.Range(g, first); err == nil && (off < 4 || n < 0 || off+n > int64(len(whole))) {
					t.Fatalf("a chunk of %d bytes at %d in a file of %d", n, off, len(whole))
				}
			}
		}
	}
	if p, err := plainFile(file, whole, columns); err == nil && p.Size() > int64(len(whole))+1<<20 {
		t.Fatalf("a plain file of %d bytes out of %d", p.Size(), len(whole))
	}
}

// FuzzChunk seals a chunk of arbitrary pages, as an insider can, and unseals it: what can be sealed comes back page for page, and the
// decoder behind it fails, if it does, with an error. A chunk that nobody sealed never opens.
func FuzzChunk(f *testing.F) {
	rec := column(testRecord(newRand(74), 20, ""), 0)
	template := encode(f, rec)
	k := newKeyring(1)
	f.Add(hostilePage{raw: 64, values: 20}.encode(), uint16(20))
	f.Add(append(hostilePage{kind: 2, raw: 64, values: 8}.encode(), hostilePage{raw: 64, values: 20}.encode()...), uint16(20))
	f.Add(hostilePage{kind: 3, raw: 64, values: 20, levels: 3}.encode(), uint16(20))
	f.Fuzz(func(t *testing.T, pages []byte, values uint16) {
		var out bytes.Buffer
		w, err := pme.NewFileWriter(&out, pme.FileConfig{
			Template: template, AADPrefix: testPrefix, Footer: k.footer, NoFiller: true,
			ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.SealPlain(0, 0, pme.PlainWithChunk(template, pages, int64(values)), nil)
		if err != nil {
			return
		}
		if _, err := w.AppendRowGroup([]*pme.SealedColumn{c}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := open(out.Bytes(), k.keys(), strict)
		if err != nil {
			t.Fatal("a file of sealed pages does not open: ", err)
		}
		_, n, _ := file.Range(0, 0)
		if u, err := file.UnsealChunk(0, 0, make([]byte, n)); n > 0 && err == nil {
			t.Fatalf("a chunk that nobody sealed opens to %d bytes", len(u.Bytes()))
		}
		sealed := bytes.Clone(out.Bytes()[4 : 4+n])
		u, err := file.UnsealChunk(0, 0, sealed)
		if err != nil {
			return // a dictionary without data, or pages whose order only the reader judges
		}
		want, got := pageBodies(t, pages), pageBodies(t, u.Bytes())
		if len(want) != len(got) {
			t.Fatalf("%d pages became %d", len(want), len(got))
		}
		for i := range want {
			if !bytes.Equal(want[i], got[i]) {
				t.Fatalf("page %d changed", i)
			}
		}
	})
}

// pageBodies splits plain pages.
func pageBodies(t *testing.T, b []byte) [][]byte {
	t.Helper()
	var all [][]byte
	for len(b) > 0 {
		n, size, err := pme.PageSize(b)
		if err != nil || n+size > len(b) {
			t.Fatal("unsealed pages do not parse: ", err)
		}
		all = append(all, b[n:n+size])
		b = b[n+size:]
	}
	return all
}
