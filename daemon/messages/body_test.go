package messages

import (
	"bytes"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

// The lengths of bodies tell little: few of them, and at most 12 % more than what is inside.
func TestBodiesHavePadmeLengths(t *testing.T) {
	lengths := map[int]bool{}
	for n := 0; n <= MaxPayload; n += 1 + n/64 {
		raw, err := (&Body{Kind: "text", Payload: make([]byte, n)}).encode([randomSize]byte{})
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(raw)] = true
		if float64(len(raw)) > 1.12*float64(prefixSize+n+40) || len(raw) > maxBody {
			t.Errorf("%d bytes become %d", n, len(raw))
		}
	}
	if len(lengths) > 200 { // 2 to 16 for each power of two
		t.Errorf("%d lengths", len(lengths))
	}
}

// The largest body, with all its heads, fits into a mailbox.
func TestLargestBody(t *testing.T) {
	b := &Body{Kind: strings.Repeat("k", MaxKind), Payload: make([]byte, MaxPayload)}
	for range MaxHeads {
		h := Head{Type: strings.Repeat("t", maxHeadType), ID: strings.Repeat("i", maxHeadID), Sequence: 1<<64 - 1}
		b.Heads, b.Echoes = append(b.Heads, h), append(b.Echoes, h)
	}
	raw, err := b.encode([randomSize]byte{})
	if err != nil || len(raw) > 192<<10-8<<10 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	if _, err := parseBody(raw); err != nil {
		t.Error(err)
	}
	b.Heads = append(b.Heads, b.Heads[0])
	_, err = b.encode([randomSize]byte{})
	wantCode(t, "65 heads", err, fault.InvalidRequest)
	_, err = parseBody(make([]byte, maxBody+1))
	wantCode(t, "too large", err, fault.TooLarge)
}

func FuzzBody(f *testing.F) {
	full := &Body{Kind: "text", Payload: []byte("p"), Heads: []Head{{Type: "vault", ID: "x"}}, Echoes: []Head{{Type: "v", ID: "y", Sequence: 300}}}
	for _, b := range []*Body{{Kind: "a"}, full} {
		raw, err := b.encode([randomSize]byte{1})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := parseBody(raw)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.NotAuthentic && c != fault.TooLarge {
				t.Fatal(err)
			}
			return
		}
		if again, err := b.encode([randomSize]byte(raw)); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("%x is encoded as %x, %v", raw, again, err)
		}
	})
}

// FuzzIndex reads the plaintext of heads of records, which only a holder of the state key can make.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0x86, 1, 0x40, 0xf4, 1, 0x80, 0x40})
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, err := parseIndex(raw)
		if err == nil && len(w.Parts) > maxParts {
			t.Fatal("too many parts")
		}
	})
}
