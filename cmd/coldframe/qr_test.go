package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"rsc.io/qr"

	"coldframe/internal/fault"
)

// safetyNumberSize is the length of what a safety number's code holds.
const safetyNumberSize = 74

// modules reads a drawing back: true is ink.
func modules(t *testing.T, drawing string) [][]bool {
	t.Helper()
	var out [][]bool
	for _, line := range strings.Split(strings.TrimSuffix(drawing, "\n"), "\n") {
		var upper, lower []bool
		for _, r := range line {
			u, l := strings.ContainsRune("█▀", r), strings.ContainsRune("█▄", r)
			if !u && !l && r != ' ' {
				t.Fatalf("%q is no half block", r)
			}
			upper, lower = append(upper, u), append(lower, l)
		}
		out = append(out, upper, lower)
	}
	return out
}

// The drawing, read back, is the code that the library makes, in a frame of four light modules, with and without colours.
func TestQRReadsBack(t *testing.T) {
	for n := range 64 {
		sum := sha256.Sum256([]byte{byte(n)})
		data := bytes.Repeat(sum[:], 3)[:safetyNumberSize]
		code, err := qr.Encode(string(data), qr.L)
		if err != nil {
			t.Fatal(err)
		}
		for _, colours := range []bool{true, false} {
			var b strings.Builder
			if err := writeQR(&b, data, colours); err != nil {
				t.Fatal(err)
			}
			drawing := b.String()
			lines := strings.Count(drawing, "\n")
			if strings.Count(drawing, qrColours) != strings.Count(drawing, qrPlain) || (strings.Count(drawing, qrColours) == lines) != colours {
				t.Fatal("colours are not set and reset line by line")
			}
			got := modules(t, strings.NewReplacer(qrColours, "", qrPlain, "").Replace(drawing))
			compareModules(t, code, got, colours)
		}
	}
}

func compareModules(t *testing.T, code *qr.Code, got [][]bool, colours bool) {
	t.Helper()
	side := code.Size + 2*qrQuiet
	if len(got) != side+side%2 {
		t.Fatalf("%d rows, want %d", len(got), side)
	}
	for y, row := range got[:side] {
		if len(row) != side {
			t.Fatalf("row %d has %d modules, want %d", y, len(row), side)
		}
		for x, ink := range row {
			dark := ink == colours
			inside := x >= qrQuiet && x < qrQuiet+code.Size && y >= qrQuiet && y < qrQuiet+code.Size
			if dark != (inside && code.Black(x-qrQuiet, y-qrQuiet)) {
				t.Fatalf("module %d, %d is wrong", x, y)
			}
		}
	}
}

func TestQRIsBounded(t *testing.T) {
	var b strings.Builder
	if err := writeQR(&b, make([]byte, qrBytes+1), true); !errors.Is(err, fault.TooLarge) || b.Len() > 0 {
		t.Fatal(err, b.Len())
	}
	if err := writeQR(&b, make([]byte, qrBytes), true); err != nil {
		t.Fatal(err)
	}
}

func TestSafetyNumberIsShown(t *testing.T) {
	groups := strings.Fields(strings.Repeat("12345 67890 ", 6))
	var b strings.Builder
	if err := writeSafetyNumber(&b, groups, make([]byte, safetyNumberSize), false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if n := len(lines); n != 24 || lines[21] != "    12345  67890  12345  67890" || lines[23] != lines[21] {
		t.Fatalf("%d lines: %q", n, lines[n-3:])
	}
	if err := writeSafetyNumber(&b, groups, make([]byte, qrBytes+1), false); !errors.Is(err, fault.TooLarge) {
		t.Fatal(err)
	}
}
