package main

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"rsc.io/qr"

	"coldframe/internal/fault"
)

const (
	qrQuiet = 4   // modules of light around a code (ISO/IEC 18004 section 9.1)
	qrBytes = 512 // more than that does not fit on a terminal

	// Black on white by number, 16 and 231 of the 256 colours: the first sixteen are the theme's, and dark ones of it are light on others.
	qrColours = "\x1b[38;5;16;48;5;231m"
	qrPlain   = "\x1b[0m"
)

// writeQR draws data as a QR code of two modules a character, upper and lower half. With colours it is black on white whatever the terminal's
// theme is; without, it is drawn in the light modules, which is right on dark terminals, and most cameras read the inverse too. More
// than 512 bytes are fault.TooLarge.
func writeQR(w io.Writer, data []byte, colours bool) error {
	if len(data) > qrBytes {
		return fault.New(fault.TooLarge, "a code for the terminal holds at most %d bytes", qrBytes)
	}
	code, err := qr.Encode(string(data), qr.L)
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "no code can be made of this")
	}
	var out bytes.Buffer
	for y := -qrQuiet; y < code.Size+qrQuiet; y += 2 {
		if colours {
			out.WriteString(qrColours)
		}
		for x := -qrQuiet; x < code.Size+qrQuiet; x++ {
			out.WriteRune(qrHalves(drawn(code, x, y, colours), drawn(code, x, y+1, colours)))
		}
		if colours {
			out.WriteString(qrPlain)
		}
		out.WriteByte('\n')
	}
	_, err = out.WriteTo(w)
	return err
}

// drawn reports whether ink goes to a module: the dark ones with colours, else the light ones. Below the last row of the quiet zone,
// where the last line has half a character left, there is nothing.
func drawn(code *qr.Code, x, y int, colours bool) bool {
	if y >= code.Size+qrQuiet {
		return false
	}
	return code.Black(x, y) == colours
}

func qrHalves(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	}
	return ' '
}

// writeSafetyNumber shows a safety number: the code to be scanned, and the groups of digits to be read aloud, four a line.
func writeSafetyNumber(w io.Writer, groups []string, code []byte, colours bool) error {
	if err := writeQR(w, code, colours); err != nil {
		return err
	}
	var out bytes.Buffer
	for line := range slices.Chunk(groups, 4) {
		out.WriteString("    " + strings.Join(line, "  ") + "\n")
	}
	_, err := out.WriteTo(w)
	return err
}
