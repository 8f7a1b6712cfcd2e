package seal

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

// libraryBytes is the associated data as an encoder of the whole of CBOR writes it.
func libraryBytes(t testing.TB, header []byte, c Context) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal([]any{header, []any{c.Owner, c.Type, c.ID, c.Field, c.Version}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAssociatedDataIsDeterministicCBOR(t *testing.T) {
	for _, n := range []uint64{0, 1, 23, 24, math.MaxUint8, 1 << 8, math.MaxUint16, 1 << 16, math.MaxUint32, 1 << 32, math.MaxUint64} {
		c := Context{Owner: "u1", Type: "vault", ID: strings.Repeat("i", int(min(n, 1<<16))), Field: "\u00fc", Version: n}
		if got, want := associate(make([]byte, 80), c), libraryBytes(t, make([]byte, 80), c); !bytes.Equal(got, want) {
			t.Errorf("%d: %x, want %x", n, got[:min(len(got), 200)], want[:min(len(want), 200)])
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.String()
		c := Context{text.Draw(r, "owner"), text.Draw(r, "type"), text.Draw(r, "id"), text.Draw(r, "field"), rapid.Uint64().Draw(r, "version")}
		header := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "header")
		if got, want := associate(header, c), libraryBytes(t, header, c); !bytes.Equal(got, want) {
			r.Fatalf("%+v: %x, want %x", c, got, want)
		}
	})
}
