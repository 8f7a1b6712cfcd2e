package seal

import (
	"bytes"
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

var place = Context{Owner: "u1", Type: "vault", ID: "item-1", Field: "body", Version: 7}

func TestOpensWhatWasSealed(t *testing.T) {
	key, id := secret.Random(), RandomKeyID()
	for _, size := range []int{0, 1, 15, 16, 17, 1000} {
		plaintext := bytes.Repeat([]byte{0x5a}, size)
		sealed := Seal(key, id, "vault/item", place, plaintext)
		if len(sealed) != size+Overhead("vault/item") {
			t.Errorf("%d bytes sealed into %d, overhead %d", size, len(sealed), Overhead("vault/item"))
		}
		got, err := Open(key, "vault/item", place, sealed)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: got %d bytes, %v", size, len(got), err)
		}
		if got, err := IDOf(sealed); err != nil || got != id {
			t.Errorf("IDOf = %v, %v, want %v", got, err, id)
		}
	}
}

func TestRefusesWhatIsNotItsOwn(t *testing.T) {
	key := secret.Random()
	sealed := Seal(key, RandomKeyID(), "vault/item", place, []byte("value"))
	for name, edit := range map[string]func(c *Context){
		"owner":   func(c *Context) { c.Owner = "u2" },
		"type":    func(c *Context) { c.Type = "index" },
		"id":      func(c *Context) { c.ID = "item-2" },
		"field":   func(c *Context) { c.Field = "" },
		"version": func(c *Context) { c.Version-- },
	} {
		c := place
		edit(&c)
		if _, err := Open(key, "vault/item", c, sealed); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
	if _, err := Open(key, "vault/inde", place, sealed); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("other purpose: %v", err)
	}
	if _, err := Open(secret.Random(), "vault/item", place, sealed); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("other key: %v", err)
	}
	if _, err := Open(secret.Key{}, "vault/item", place, sealed); !errors.Is(err, fault.Locked) {
		t.Errorf("no key: %v", err)
	}
}
