package messages

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	vectors "coldframe/docs/vectors/messages"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

var update = flag.Bool("update", false, "write new cases to docs/vectors/messages")

// vector is one case of docs/vectors/messages: body has the content given, or is refused with the code in Refused.
type vector struct {
	Comment string       `json:"comment"`
	Body    string       `json:"body"`
	ID      string       `json:"id,omitempty"`
	Kind    string       `json:"kind,omitempty"`
	Heads   []vectorHead `json:"heads,omitempty"`
	Echoes  []vectorHead `json:"echoes,omitempty"`
	Payload string       `json:"payload,omitempty"`
	Refused string       `json:"refused,omitempty"`
}

type vectorHead struct {
	Type     string `json:"type"`
	ID       string `json:"id"`
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
}

func vectorHeads(list []Head) (out []vectorHead) {
	for _, h := range list {
		out = append(out, vectorHead{h.Type, h.ID, h.Sequence, hex.EncodeToString(h.Hash[:])})
	}
	return out
}

func vectorOf(b *Body) vector {
	return vector{
		ID: b.ID.String(), Kind: b.Kind, Heads: vectorHeads(b.Heads), Echoes: vectorHeads(b.Echoes), Payload: hex.EncodeToString(b.Payload),
	}
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no vectors: ", err)
	}
	opened, refused := 0, 0
	for _, name := range names {
		file, err := vectors.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		d := json.NewDecoder(bytes.NewReader(file))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, err := hex.DecodeString(v.Body)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseBody(raw)
		if v.Refused != "" {
			if refused++; err == nil || string(fault.CodeOf(err)) != v.Refused {
				t.Errorf("%s: %v, want %s", name, err, v.Refused)
			}
			continue
		}
		opened++
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := v
		want.Comment, want.Body = "", ""
		if got := vectorOf(b); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if again, err := b.encode([randomSize]byte(raw)); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%s is encoded in another way, %v", name, err)
		}
	}
	t.Logf("%d cases read, %d refused", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("no cases run")
	}
}

// writeVectors makes all cases anew: use it only when the format changes.
func writeVectors(t *testing.T) {
	write := func(name string, v vector) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("../../docs/vectors/messages", name+".json")
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	random := [randomSize]byte{0: 0xf0, 15: 0xff}
	encode := func(b *Body) []byte {
		out, err := b.encode(random)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	id := ID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0x46, 0xa7, 0x88, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}
	user := "00000000-0000-4000-8000-000000000001"
	full := &Body{
		ID: id, Kind: "secret/1", Payload: []byte("the payload"),
		Heads:  []Head{{"vault", user, 7, [hashSize]byte{7}}, {"devices", user, 1 << 40, [hashSize]byte{8}}},
		Echoes: []Head{{"vault", "00000000-0000-4000-8000-000000000002", 0, [hashSize]byte{9}}},
	}
	large := &Body{ID: id, Kind: "large", Payload: make([]byte, 1000)}
	heads := &Body{ID: id, Kind: KindHeads, Heads: full.Heads, Echoes: full.Echoes}
	for name, b := range map[string]*Body{"reads": full, "reads-heads": heads, "reads-least": {Kind: "a"}, "reads-large": large} {
		v := vectorOf(b)
		v.Comment, v.Body = "reads", hex.EncodeToString(encode(b))
		write(name, v)
	}
	refuse := func(name, comment string, code fault.Code, raw []byte) {
		write(name, vector{Comment: comment, Body: hex.EncodeToString(raw), Refused: string(code)})
	}
	right := encode(full)
	edit := func(fn func(b []byte) []byte) []byte { return fn(bytes.Clone(right)) }
	refuse("nothing", "no bytes", fault.NotAuthentic, nil)
	refuse("short", "last byte missing", fault.NotAuthentic, right[:len(right)-1])
	refuse("long", "one zero more than the Padmé length", fault.NotAuthentic, edit(func(b []byte) []byte { return append(b, 0) }))
	refuse("filler", "what it is filled up with is not zero", fault.NotAuthentic, edit(func(b []byte) []byte { b[len(b)-1] = 1; return b }))
	refuse("length", "the length is one more", fault.NotAuthentic, edit(func(b []byte) []byte { b[randomSize+3]++; return b }))
	refuse("length-beyond", "the length is beyond the end", fault.NotAuthentic, edit(func(b []byte) []byte { b[randomSize] = 0xff; return b }))
	wire := func(name, comment string, fn func(w *wireBody)) {
		w := full.wire()
		fn(&w)
		inner, err := signed.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, padme(prefixSize+len(inner)))
		copy(raw, random[:])
		raw[randomSize+2], raw[randomSize+3] = byte(len(inner)>>8), byte(len(inner))
		copy(raw[prefixSize:], inner)
		refuse(name, comment, fault.NotAuthentic, raw)
	}
	wire("id-short", "an id of 15 bytes", func(w *wireBody) { w.ID = w.ID[:15] })
	wire("kind-empty", "no kind", func(w *wireBody) { w.Kind = "" })
	wire("kind-letters", "a kind with a capital letter", func(w *wireBody) { w.Kind = "Secret" })
	wire("heads-payload", "heads alone, with a payload", func(w *wireBody) { w.Kind = KindHeads })
	wire("hash-long", "a hash of 33 bytes", func(w *wireBody) { w.Heads[0].Hash = append(w.Heads[0].Hash, 0) })
	wire("head-type", "a head without a type", func(w *wireBody) { w.Heads[1].Type = "" })
	wire("heads-many", "65 heads", func(w *wireBody) {
		for len(w.Heads) <= MaxHeads {
			w.Heads = append(w.Heads, w.Heads[0])
		}
	})
	wire("echoes-null", "null in the place of no echoes", func(w *wireBody) { w.Echoes = nil })
}
