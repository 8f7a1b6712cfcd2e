package devices

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	vectors "coldframe/docs/vectors/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

var update = flag.Bool("update", false, "write the cases of docs/vectors/devices")

// vector is one case of docs/vectors/devices. Byte strings are hexadecimal. Everything in it opens to what it says, or is refused.
type vector struct {
	Comment string   `json:"comment"`
	User    string   `json:"user"`
	Public  string   `json:"public,omitempty"` // the user's signing key
	Links   []string `json:"links,omitempty"`
	Head    string   `json:"head,omitempty"` // hash of the last link
	Devices []string `json:"devices,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Epoch   uint64   `json:"epoch,omitempty"`

	VaultSubkey string `json:"vault_subkey,omitempty"` // seals record and request
	Record      string `json:"record,omitempty"`       // of the last link
	KeyFile     string `json:"key_file,omitempty"`     // of a device on the list
	Name        string `json:"name,omitempty"`         // of that device, or of the one that asks
	PublicKey   string `json:"hpke_public_key_sha256,omitempty"`
	StateKey    string `json:"state_key,omitempty"`

	Device  string `json:"device,omitempty"` // that asks
	Request string `json:"request,omitempty"`
	Code    string `json:"code,omitempty"` // what was typed in; with links, the last of them approves the request

	Refused string `json:"refused,omitempty"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVector(t testing.TB, name string) (c vector) {
	t.Helper()
	raw, err := vectors.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

func vectorNames(t testing.TB) []string {
	t.Helper()
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no vectors: ", err)
	}
	return names
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
		t.Skip("written; run again to read them")
	}
	opened, refused := 0, 0
	for _, name := range vectorNames(t) {
		t.Run(name, func(t *testing.T) {
			c := readVector(t, name)
			err := runVector(t, c)
			if c.Refused == "" && err != nil || c.Refused != "" && string(fault.CodeOf(err)) != c.Refused {
				t.Fatalf("got %v, want %q", err, c.Refused)
			}
			if c.Refused == "" {
				opened++
			} else {
				refused++
			}
		})
	}
	t.Logf("%d vectors opened, %d refused", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("no vectors run")
	}
}

func userOf(t testing.TB, s string) UserID {
	t.Helper()
	id, err := ParseDeviceID(s)
	if err != nil {
		t.Fatal(err)
	}
	return UserID(id)
}

func runVector(t *testing.T, c vector) error {
	user := userOf(t, c.User)
	var sealer Sealer
	if c.VaultSubkey != "" {
		key, err := secret.FromBytes(unhex(t, c.VaultSubkey))
		if err != nil {
			t.Fatal(err)
		}
		sealer = byKey{key}
	}
	var l, before *List
	if len(c.Links) > 0 {
		links := make([][]byte, 0, len(c.Links))
		for _, link := range c.Links {
			links = append(links, unhex(t, link))
		}
		var err error
		if l, err = OpenList(Owner{User: user, Key: unhex(t, c.Public)}, Head{}, links); err != nil {
			return err
		}
		if len(links) > 1 {
			if before, err = OpenList(Owner{User: user, Key: unhex(t, c.Public)}, Head{}, links[:len(links)-1]); err != nil {
				return err
			}
		}
		checkList(t, c, l)
	}
	if c.Request != "" {
		return runRequest(t, c, user, sealer, before)
	}
	if c.KeyFile == "" {
		return nil
	}
	return runKeyFile(t, c, l, sealer)
}

// byKey seals under one key and opens whatever its id.
type byKey struct{ key secret.Key }

func (s byKey) Seal(c seal.Context, b []byte) []byte {
	return seal.Seal(s.key, seal.RandomKeyID(), Purpose, c, b)
}

func (s byKey) Open(c seal.Context, b []byte) ([]byte, error) { return seal.Open(s.key, Purpose, c, b) }

func checkList(t *testing.T, c vector, l *List) {
	t.Helper()
	devices, removed := []string{}, []string{}
	for _, e := range l.Devices {
		devices = append(devices, e.ID.String())
	}
	for _, id := range l.Removed {
		removed = append(removed, id.String())
	}
	if l.Hash.String() != c.Head || l.Epoch != c.Epoch || !slices.Equal(devices, c.Devices) || !slices.Equal(removed, c.Removed) {
		t.Errorf("head %s, epoch %d, devices %v, removed %v", l.Hash, l.Epoch, devices, removed)
	}
}

func runRequest(t *testing.T, c vector, user UserID, sealer Sealer, before *List) error {
	id, err := ParseDeviceID(c.Device)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRequest(sealer, user, id, unhex(t, c.Request))
	if err != nil {
		return err
	}
	code, err := ParseCode([]byte(c.Code))
	if err != nil {
		return err
	}
	a, err := r.Approve(code)
	if err != nil {
		return err
	}
	if r.Name != c.Name {
		t.Errorf("name %q", r.Name)
	}
	if before == nil {
		return nil
	}
	l, err := before.Next(unhex(t, c.Links[len(c.Links)-1]))
	if err != nil {
		return err
	}
	d := &Device{
		User: user, ID: id, present: newPair(day0), standing: standingAsking, code: code, request: a.request,
		files: atomicfile.OS, path: filepath.Join(t.TempDir(), "device.key"),
	}
	return d.Confirm(l)
}

func runKeyFile(t *testing.T, c vector, l *List, sealer Sealer) error {
	path := filepath.Join(t.TempDir(), "device.key")
	if err := os.WriteFile(path, unhex(t, c.KeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDevice(atomicfile.OS, path, userOf(t, c.User))
	if err != nil {
		return err
	}
	if d.ID.String() != c.Device || d.present.hash().String() != c.PublicKey {
		t.Errorf("device %s, public key %s", d.ID, d.present.hash())
	}
	if c.Code != "" {
		if code, err := d.Code(); err != nil || string(code.Text()) != c.Code {
			t.Errorf("the code: %v", err)
		}
	}
	if l == nil {
		return nil
	}
	r, err := OpenRecord(l, sealer, unhex(t, c.Record))
	if err != nil {
		return err
	}
	k, err := r.Unwrap(d)
	if err != nil {
		return err
	}
	if hex.EncodeToString(k.Key.Bytes()) != c.StateKey || r.Name(d.ID) != c.Name {
		t.Errorf("state key %x, name %q", k.Key.Bytes(), r.Name(d.ID))
	}
	return nil
}
