package signed

import (
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

type note struct {
	Author string `cbor:"author"`
	Number uint64 `cbor:"number"`
	Prev   []byte `cbor:"prev,omitempty"`
}

func TestOpensWhatWasSigned(t *testing.T) {
	s := Signer{User: "ada", Key: secret.Random()}
	want := note{Author: "ada", Number: 1 << 40}
	e, err := Sign(s, "note", want)
	if err != nil {
		t.Fatal(err)
	}
	var got note
	if err := Open(s.Public(), "note", e, &got); err != nil || got.Author != want.Author || got.Number != want.Number {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	var seen struct {
		Author string `cbor:"author"`
	}
	if err := Peek(e, &seen); err != nil || seen.Author != "ada" {
		t.Errorf("Peek: %v, %v", seen, err)
	}
	if err := Open(s.Public(), "roster", e, &got); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("under another type: %v", err)
	}
	if err := Open(Signer{Key: secret.Random()}.Public(), "note", e, &got); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("under another key: %v", err)
	}
	if err := Open(s.Public(), "note", e, &seen); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("with unknown fields: %v", err)
	}
}
