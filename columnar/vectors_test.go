package columnar

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// vector is one case of docs/vectors/roster or docs/vectors/manifest. Byte strings are hexadecimal.
type vector struct {
	Comment  string   `json:"comment"`
	Dataset  string   `json:"dataset"`
	Roster   []string `json:"roster"`             // the chain
	Manifest string   `json:"manifest,omitempty"` // an envelope
	Head     *struct {
		Version        uint64 `json:"version"`
		Hash           string `json:"hash"`
		RosterSequence uint64 `json:"roster_sequence"`
	} `json:"head,omitempty"` // the version that it is held against
	MetadataKey   string     `json:"metadata_key,omitempty"`
	MetadataKeyID string     `json:"metadata_key_id,omitempty"`
	Refused       fault.Code `json:"refused,omitempty"`
	Hash          string     `json:"hash,omitempty"` // of the last link, or of the manifest
	Names         []string   `json:"names,omitempty"`
	Rows          uint64     `json:"rows,omitempty"`
}

const vectorDir = "../docs/vectors"

func TestVectors(t *testing.T) {
	if os.Getenv("COLDFRAME_WRITE_VECTORS") != "" {
		writeVectors(t)
	}
	var files []string
	for _, dir := range []string{"roster", "manifest"} {
		found, err := filepath.Glob(filepath.Join(vectorDir, dir, "*.json"))
		if err != nil || len(found) == 0 {
			t.Fatal("no vectors", err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			err = v.run(t)
			if v.Refused == "" && err != nil || v.Refused != "" && fault.CodeOf(err) != v.Refused {
				t.Errorf("%v, want %q", err, v.Refused)
			}
		})
	}
	t.Logf("%d vectors", len(files))
}

func (v vector) run(t *testing.T) error {
	var chain [][]byte
	for _, s := range v.Roster {
		chain = append(chain, unhex(t, s))
	}
	link, err := OpenRoster(DatasetID(v.Dataset), chain)
	if err != nil {
		return err
	}
	if v.Manifest == "" {
		if v.Refused == "" && link.Hash.String() != v.Hash {
			t.Errorf("hash %s, want %s", link.Hash, v.Hash)
		}
		return nil
	}
	head := Head{Version: Version(v.Head.Version), Hash: Hash(unhex(t, v.Head.Hash)), RosterSequence: v.Head.RosterSequence}
	m, err := VerifyManifest(unhex(t, v.Manifest), link, head)
	if err != nil {
		return err
	}
	key, err := secret.FromBytes(unhex(t, v.MetadataKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unseal(MetadataKey{ID: seal.KeyID(unhex(t, v.MetadataKeyID)), Key: key}); err != nil {
		return err
	}
	if v.Refused == "" && (m.Hash.String() != v.Hash || m.Contents.Rows != v.Rows || !slices.Equal(m.Contents.Names, v.Names)) {
		t.Errorf("%s, %d rows of %v, want %+v", m.Hash, m.Contents.Rows, m.Contents.Names, v)
	}
	return nil
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeVectors makes the vectors anew. Keys and nonces are random: they differ each time.
func writeVectors(t *testing.T) {
	c := newChronicle(t)
	third, _, err := c.link.Sign(c.ada, c.link.Roster, testTime)
	if err != nil {
		t.Fatal(err)
	}
	fork, _, err := c.first.Sign(c.ada, c.first.Roster, testTime)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(c.envelopes[1])
	bad[len(bad)-1] ^= 1
	rosters := map[string]vector{
		"one-link":      {Comment: "the owner alone", Roster: hexes(c.envelopes[0]), Hash: c.first.Hash.String()},
		"two-links":     {Comment: "a writer and two readers were added", Roster: hexes(c.envelopes...), Hash: c.link.Hash.String()},
		"bad-signature": {Comment: "last bit of the signature flipped", Roster: hexes(c.envelopes[0], bad), Refused: fault.NotAuthentic},
		"gap":           {Comment: "the second link is missing", Roster: hexes(c.envelopes[0], third), Refused: fault.Incomplete},
		"fork":          {Comment: "two links with number 2", Roster: hexes(c.envelopes[0], c.envelopes[1], fork), Refused: fault.Forked},
		"headless":      {Comment: "begins with the second link", Roster: hexes(c.envelopes[1:]...), Refused: fault.Incomplete},
	}
	for name, v := range rosters {
		v.Dataset = string(c.first.ID)
		saveVector(t, "roster", name, v)
	}
	base := func(comment string, e []byte, head Head, refused fault.Code) vector {
		v := vector{Comment: comment, Dataset: string(c.first.ID), Roster: hexes(c.envelopes...), Manifest: hex.EncodeToString(e), Refused: refused}
		v.Head = &struct {
			Version        uint64 `json:"version"`
			Hash           string `json:"hash"`
			RosterSequence uint64 `json:"roster_sequence"`
		}{uint64(head.Version), head.Hash.String(), head.RosterSequence}
		v.MetadataKey, v.MetadataKeyID = hex.EncodeToString(c.metadata.Key.Bytes()), c.metadata.ID.String()
		if refused == "" {
			v.Hash, v.Names, v.Rows = Hash(signed.Hash(e)).String(), []string{"a", "b"}, 10
		}
		return v
	}
	fork2, _ := c.sign(t, c.ada, c.v1.Head(), 2)
	byReader, _ := c.sign(t, c.joe, c.v2.Head(), 3)
	saveVector(t, "manifest", "first", base("version 1", c.e1, Head{}, ""))
	saveVector(t, "manifest", "second", base("version 2, by a writer", c.e2, c.v1.Head(), ""))
	saveVector(t, "manifest", "rolled-back", base("version 1 where 2 is known", c.e1, c.v2.Head(), fault.RolledBack))
	saveVector(t, "manifest", "forked", base("another version 2", fork2, c.v2.Head(), fault.Forked))
	saveVector(t, "manifest", "gap", base("version 2 where none is known", c.e2, Head{}, fault.Incomplete))
	saveVector(t, "manifest", "by-a-reader", base("its author may not write", byReader, c.v2.Head(), fault.NotAuthentic))
	older := base("signed under an older roster than the highest", c.e2, c.v1.Head(), fault.RolledBack)
	older.Roster = hexes(append(slices.Clone(c.envelopes), third)...)
	saveVector(t, "manifest", "old-roster", older)
}

func hexes(b ...[]byte) []string {
	var out []string
	for _, e := range b {
		out = append(out, hex.EncodeToString(e))
	}
	return out
}

func saveVector(t *testing.T, kind, name string, v vector) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(vectorDir, kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ToLower(name)+".json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
