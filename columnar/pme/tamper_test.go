package pme_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// frames splits a sealed chunk into its modules.
func frames(t *testing.T, chunk []byte) [][]byte {
	t.Helper()
	var all [][]byte
	for len(chunk) > 0 {
		n := 4 + int(binary.LittleEndian.Uint32(chunk))
		all = append(all, chunk[:n])
		chunk = chunk[n:]
	}
	if len(all)%2 != 0 {
		t.Fatal("a chunk is not pairs of header and page")
	}
	return all
}

func chunkBytes(t *testing.T, f *pme.File, b []byte, group, leaf int) []byte {
	t.Helper()
	off, n, err := f.Range(group, leaf)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b[off : off+n])
}

// wantRefused asks that a chunk is refused, that nothing of it is returned, and that what was opened of it is gone.
func wantRefused(t *testing.T, name string, f *pme.File, group, leaf int, chunk []byte) {
	t.Helper()
	u, err := f.UnsealChunk(group, leaf, chunk)
	if !errors.Is(err, fault.NotAuthentic) || u != nil {
		t.Errorf("%s: row group %d, leaf %d: want not_authentic, got %v", name, group, leaf, err)
	}
	if !bytes.Equal(chunk, make([]byte, len(chunk))) {
		t.Errorf("%s: the buffer still holds something", name)
	}
}

func TestD06_PagesAndRowGroupsMoved(t *testing.T) {
	for _, sh := range []shape{shapes()[0], shapes()[2]} {
		k := newKeyring(testSchema.NumFields())
		s, _ := sealShape(t, k, sh, 21)
		f, err := open(s.bytes, k.keys(), strict)
		if err != nil {
			t.Fatal(err)
		}
		cases := 0
		for leaf := range f.Leaves() {
			whole := chunkBytes(t, f, s.bytes, 0, leaf)
			wantRefused(t, "of another row group", f, 1, leaf, bytes.Clone(whole))
			wantRefused(t, "cut by a byte", f, 0, leaf, bytes.Clone(whole[:len(whole)-1]))
			wantRefused(t, "with a byte more", f, 0, leaf, append(bytes.Clone(whole), 0))
			wantRefused(t, "empty", f, 0, leaf, nil)
			p := frames(t, whole)
			join := func(modules ...[]byte) []byte { return bytes.Join(modules, nil) }
			wantRefused(t, "last page cut", f, 0, leaf, join(p[:len(p)-2]...))
			wantRefused(t, "first page cut", f, 0, leaf, join(p[2:]...))
			wantRefused(t, "a page doubled", f, 0, leaf, join(append(p, p[len(p)-2], p[len(p)-1])...))
			wantRefused(t, "header and page changed places", f, 0, leaf, join(append([][]byte{p[1], p[0]}, p[2:]...)...))
			for i := 0; i+3 < len(p); i += 2 {
				cases++
				q := append([][]byte(nil), p...)
				q[i], q[i+1], q[i+2], q[i+3] = p[i+2], p[i+3], p[i], p[i+1]
				wantRefused(t, "two pages swapped", f, 0, leaf, join(q...))
				q[i], q[i+1], q[i+2], q[i+3] = p[i], p[i+3], p[i+2], p[i+1]
				wantRefused(t, "two pages swapped under their headers", f, 0, leaf, join(q...))
				q[i], q[i+1], q[i+2], q[i+3] = p[i+2], p[i+1], p[i], p[i+3]
				wantRefused(t, "two headers swapped", f, 0, leaf, join(q...))
			}
		}
		if cases < 20 {
			t.Fatalf("%s: only %d pairs of pages", sh.name, cases)
		}
	}
}

// TestD06_PageDoubledInPlace replaces a page by one of the same length, so that no length tells.
func TestD06_PageDoubledInPlace(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 22)
	f, err := open(s.bytes, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for leaf := range f.Leaves() {
		whole := chunkBytes(t, f, s.bytes, 0, leaf)
		p := frames(t, whole)
		for i := 0; i+3 < len(p); i += 2 {
			if len(p[i]) == len(p[i+2]) && len(p[i+1]) == len(p[i+3]) {
				same++
				q := append([][]byte(nil), p...)
				q[i+2], q[i+3] = p[i], p[i+1]
				wantRefused(t, "a page in the place of its neighbour", f, 0, leaf, bytes.Join(q, nil))
			}
		}
	}
	if same == 0 {
		t.Fatal("no two pages of one length")
	}
}

// flipPositions is the number of positions for each shape.
const flipPositions = 500

func TestD08_BitFlips(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			const seed = 99
			t.Logf("seed %d", seed)
			r := newRand(seed)
			sh.rows /= 3
			k := newKeyring(testSchema.NumFields())
			s, recs := sealShape(t, k, sh, 23)
			dataEnd := 4
			for _, c := range s.chunks {
				dataEnd = max(dataEnd, int(c.Offset+c.Length))
			}
			sealedFooter := int(s.tail.Offset) // from where on nothing is in the clear is found below
			clearEnd := sealedFooter + cryptoSize(t, s)
			refused, harmless := 0, 0
			for i := range flipPositions {
				at := r.IntN(len(s.bytes))
				if i%4 == 0 { // a quarter of them in the tail, which is small
					at = int(s.tail.Offset) + r.IntN(int(s.tail.Length))
				}
				b := bytes.Clone(s.bytes)
				b[at] ^= 1 << r.IntN(8)
				got, err := readAll(b, k.keys(), strict, nil)
				idle := at < 4 || at >= dataEnd && at < int(s.tail.Offset) // lead magic and filler
				inClear := at >= sealedFooter && at < clearEnd || at >= len(b)-8
				switch {
				case err == nil && idle:
					same(t, got, recs, all())
					harmless++
				case err == nil:
					t.Fatalf("a bit flipped at %d of %d went unnoticed", at, len(b))
				case idle:
					t.Fatalf("a bit flipped at %d, which nobody reads: %v", at, err)
				case errors.Is(err, fault.NotAuthentic), inClear && (errors.Is(err, fault.TooLarge) || errors.Is(err, fault.Policy)):
					refused++
				default:
					t.Fatalf("a bit flipped at %d of %d: %v", at, len(b), err)
				}
			}
			t.Logf("%d positions: %d refused, %d harmless", flipPositions, refused, harmless)
		})
	}
}

// TestD08_ClearBytes flips every bit of the tail that no tag protects: the crypto header, the footer's length and the magic bytes.
func TestD08_ClearBytes(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 27)
	places := make([]int, 0, 1024)
	for at := range cryptoSize(t, s) {
		places = append(places, int(s.tail.Offset)+at)
	}
	for at := len(s.bytes) - 8; at < len(s.bytes); at++ {
		places = append(places, at)
	}
	for _, at := range places {
		for bit := range 8 {
			b := bytes.Clone(s.bytes)
			b[at] ^= 1 << bit
			_, err := open(b, k.keys(), strict)
			if !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.TooLarge) && !errors.Is(err, fault.Policy) {
				t.Errorf("bit %d of byte %d of the tail flipped: %v", bit, at-int(s.tail.Offset), err)
			}
		}
	}
	t.Logf("%d bytes", len(places))
}

// cryptoSize returns the length of FileCryptoMetaData at the start of the tail: what the footer's frame leaves of it.
func cryptoSize(t *testing.T, s sealed) int {
	t.Helper()
	tail := s.bytes[s.tail.Offset:]
	_, n, err := pme.ParseFileCrypto(tail)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestD09_OtherColumn(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 24)
	f, err := open(s.bytes, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	sameLength := false
	for a := range f.Leaves() {
		for b := range f.Leaves() {
			if a == b {
				continue
			}
			chunk := chunkBytes(t, f, s.bytes, 0, b)
			_, n, _ := f.Range(0, a)
			sameLength = sameLength || int(n) == len(chunk)
			wantRefused(t, "the chunk of another column", f, 0, a, chunk)
		}
	}
	if !sameLength {
		t.Fatal("no two chunks of one length")
	}
	for name, other := range map[string]pme.NamedKey{
		"the key of another column":                 k.columns[1],
		"the key of another column under this name": {ID: k.columns[0].ID, Key: k.columns[1].Key},
		"this key under another name":               {ID: k.columns[1].ID, Key: k.columns[0].Key},
	} {
		wrong := *k
		wrong.columns = append([]pme.NamedKey{other}, k.columns[1:]...)
		if _, err := open(s.bytes, wrong.keys(), strict); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestD10_KeyMetadataEdited(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 25)
	forge := func() *pme.Forged {
		f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if _, err := open(forge().Seal(testPrefix), k.keys(), strict); err != nil {
		t.Fatal("the file put together unchanged: ", err)
	}
	wrapped := func(mk pme.NamedKey, dek []byte, footer bool) []byte {
		m, err := pme.WrapKey(mk, dek, nil, footer)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	edits := map[string]func(f *pme.Forged){
		"the name alone": func(f *pme.Forged) {
			f.KeyMetadata = bytes.Replace(f.KeyMetadata, []byte("key-footer"), []byte("key-1"), 1)
		},
		"another key that we have": func(f *pme.Forged) { f.KeyMetadata = wrapped(k.columns[1], f.DEK, true) },
		"a key of the attacker": func(f *pme.Forged) {
			f.KeyMetadata = wrapped(pme.NamedKey{ID: k.footer.ID, Key: secret.Random()}, f.DEK, true)
		},
		"a column's key metadata":     func(f *pme.Forged) { f.KeyMetadata = wrapped(k.footer, f.DEK, false) },
		"another data key":            func(f *pme.Forged) { f.KeyMetadata = wrapped(k.footer, make([]byte, 32), true) },
		"a shorter data key":          func(f *pme.Forged) { f.KeyMetadata = wrapped(k.footer, f.DEK[:16], true) },
		"a data key of wrong size":    func(f *pme.Forged) { f.KeyMetadata = wrapped(k.footer, f.DEK[:31], true) },
		"no key metadata":             func(f *pme.Forged) { f.KeyMetadata = nil },
		"a column's name alone":       func(f *pme.Forged) { f.Footer = bytes.ReplaceAll(f.Footer, []byte("key-1"), []byte("key-2")) },
		"a column's wrapped data key": func(f *pme.Forged) { swapColumnMetadata(t, f) },
	}
	for name, edit := range edits {
		f := forge()
		edit(f)
		if _, err := open(f.Seal(testPrefix), k.keys(), strict); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: want not_authentic, got %v", name, err)
		}
	}
}

// swapColumnMetadata exchanges the wrapped data keys of columns 0 and 1, whose metadata is of one length, but not their names.
func swapColumnMetadata(t *testing.T, f *pme.Forged) {
	t.Helper()
	mark := []byte(`"wrappedDEK":"`)
	i := bytes.Index(f.Footer, mark) + len(mark)
	j := i + bytes.Index(f.Footer[i:], mark) + len(mark)
	if i < len(mark) || j < i+len(mark) {
		t.Fatal("no two wrapped keys")
	}
	a := bytes.Clone(f.Footer[i : i+80])
	copy(f.Footer[i:i+80], f.Footer[j:j+80])
	copy(f.Footer[j:j+80], a)
}

func TestWrongPlace(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 26)
	for _, prefix := range [][]byte{nil, []byte("dataset, version, part2"), []byte("dataset")} {
		if _, err := open(s.bytes, k.keys(), pme.ReadOptions{AADPrefix: prefix}); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	// The clear prefix of a file from elsewhere is edited to the one that is expected.
	other := []byte("another dataset")
	moved := f.SealWith(other, pme.Frame(f.DEK, f.Footer, f.AAD(testPrefix)))
	if _, err := open(moved, k.keys(), pme.ReadOptions{AADPrefix: other}); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("an edited prefix: %v", err)
	}
}
