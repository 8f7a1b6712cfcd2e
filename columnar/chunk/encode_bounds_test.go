package chunk

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Bounds are short, hold what they were cut from between them, and those of text are text.
func TestCutBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isText := rapid.Bool().Draw(t, "text")
		var v []byte
		if isText {
			v = []byte(rapid.StringN(0, 100, -1).Draw(t, "string"))
			if !utf8.Valid(v) {
				t.Skip("not text")
			}
		} else {
			v = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")
		}
		low, high := cutBelow(v, isText), cutAbove(v, isText)
		if low == nil || len(low) > maxBound || bytes.Compare(low, v) > 0 || isText && !utf8.Valid(low) {
			t.Fatalf("%q cut below to %q", v, low)
		}
		if high != nil && (len(high) > maxBound+utf8.UTFMax || bytes.Compare(high, v) < 0 || isText && !utf8.Valid(high)) {
			t.Fatalf("%q cut above to %q", v, high)
		}
	})
	for in, want := range map[string]string{
		strings.Repeat("a", 65):                strings.Repeat("a", 63) + "b",
		strings.Repeat("a", 63) + "éé":         strings.Repeat("a", 62) + "b",
		strings.Repeat("\U0010ffff", 17):       "",
		"b" + strings.Repeat("\U0010ffff", 17): "c",
		strings.Repeat("퟿", 22):                strings.Repeat("퟿", 20) + "\ue000",
	} {
		if got := cutAbove([]byte(in), true); string(got) != want {
			t.Errorf("%q cut above to %q, want %q", in, got, want)
		}
	}
	if got := cutAbove(bytes.Repeat([]byte{0xff}, 65), false); got != nil {
		t.Errorf("nothing is above, got %x", got)
	}
	if cutBelow([]byte("\xff"), true) != nil || cutAbove([]byte(strings.Repeat("\xff", 65)), true) != nil {
		t.Error("bounds of what is no text")
	}
}
