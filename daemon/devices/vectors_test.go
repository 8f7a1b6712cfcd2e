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

// writeVectors makes the vectors anew. Keys are random, so they differ each time; what is in the repository stays.
func writeVectors(t *testing.T) {
	write := func(name string, c vector) {
		raw, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("../../docs/vectors/devices", name+".json"), append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := setup(t)
	subkey := secret.Random()
	w.sealer = seal.NewSealer(subkey, seal.RandomKeyID(), Purpose)
	a := w.begin("desk")
	list := func(comment string, links [][]byte, l *List) vector {
		c := vector{Comment: comment, User: w.id.String(), Public: hex.EncodeToString(w.signing.Public())}
		for _, link := range links {
			c.Links = append(c.Links, hex.EncodeToString(link))
		}
		if l == nil {
			return c
		}
		c.Head, c.Epoch, c.Devices, c.Removed = l.Hash.String(), l.Epoch, []string{}, []string{}
		for _, e := range l.Devices {
			c.Devices = append(c.Devices, e.ID.String())
		}
		for _, id := range l.Removed {
			c.Removed = append(c.Removed, id.String())
		}
		return c
	}
	write("list-first", list("a list of one device", w.links, a.list))

	n, sealed, p := w.ask("laptop")
	before := a.list
	typed := string(p.Text())
	asking, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	n.confirm(a.must(a.sign(Changes{Add: []*Approved{a.approve(n.d.ID, sealed, p.Text())}})))
	request := list("a request, its code, and the link that approves it", w.links, a.list)
	request.VaultSubkey, request.Device, request.Request = hex.EncodeToString(subkey.Bytes()), n.d.ID.String(), hex.EncodeToString(sealed)
	request.Code, request.Name = typed, "laptop"
	write("approval", request)
	wrong := request
	wrong.Comment, wrong.Refused = "the last digit of the code is another", "untrusted_key"
	wrong.Code = request.Code[:len(request.Code)-1] + string('0'+(request.Code[len(request.Code)-1]-'0'+1)%10)
	write("refused-code", wrong)
	wrong.Comment, wrong.Refused, wrong.Code = "a digit of the code is missing", "invalid_request", request.Code[1:]
	write("refused-code-short", wrong)
	wrong.Comment, wrong.Refused, wrong.Code = "the request in the place of another device's", "not_authentic", request.Code
	wrong.Device = a.d.ID.String()
	write("refused-request-moved", wrong)
	forged := copyOf(a.list.Link)
	for i := range forged.Devices {
		if forged.Devices[i].ID == n.d.ID {
			forged.Devices[i].Approval = random(32)
		}
	}
	unapproved := a.forge(forged)
	a.list = before
	l, err := before.Next(unapproved)
	if err != nil {
		t.Fatal(err)
	}
	c := list("the new device is listed by somebody who does not know the code", [][]byte{w.links[0], unapproved}, l)
	c.VaultSubkey, c.Device, c.Request, c.Code, c.Name = request.VaultSubkey, request.Device, request.Request, request.Code, request.Name
	c.Refused = "untrusted_key"
	write("refused-approval", c)
	a.follow()
	n.follow()

	w.now = w.now.Add(Day)
	if err := a.d.Stage(w.now); err != nil {
		t.Fatal(err)
	}
	a.must(a.sign(Changes{NewKey: true, Rotate: true}))
	last := a.must(a.sign(Changes{Remove: []DeviceID{n.d.ID}}))
	file, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := a.ring.Current()
	record := list("a device added, its keys replaced, a device removed; the wraps record of the last link", w.links, a.list)
	record.VaultSubkey, record.Record, record.KeyFile = request.VaultSubkey, hex.EncodeToString(last.Wraps), hex.EncodeToString(file)
	record.Device, record.PublicKey = a.d.ID.String(), a.d.present.hash().String()
	record.Name, record.StateKey = "desk", hex.EncodeToString(k.Key.Bytes())
	write("record", record)
	removedFile, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	c = record
	c.Comment, c.Refused = "the same for the device that was removed", "revoked"
	c.KeyFile, c.Device, c.PublicKey = hex.EncodeToString(removedFile), n.d.ID.String(), n.d.present.hash().String()
	write("refused-removed", c)
	c = record
	c.Comment, c.Refused, c.Record = "the record of another link", "not_authentic", hex.EncodeToString(w.records["d-wraps-"+a.d.ID.String()+"-0"])
	write("refused-record", c)

	file2 := vector{Comment: "a key file of one generation", User: w.id.String(), KeyFile: record.KeyFile, Device: record.Device, PublicKey: record.PublicKey}
	write("key-file", file2)
	asks := vector{Comment: "a key file of a device that asks to be approved", User: w.id.String(), KeyFile: hex.EncodeToString(asking), Code: request.Code}
	asks.Device, asks.PublicKey = n.d.ID.String(), n.d.present.hash().String()
	write("key-file-asking", asks)
	if err := a.d.Stage(w.now); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(a.path); err != nil {
		t.Fatal(err)
	}
	file2.Comment, file2.KeyFile = "a key file with the next generation", hex.EncodeToString(file)
	write("key-file-next", file2)
	refuse := func(name, comment, code string, edit func(b []byte)) {
		b := bytes.Clone(file)
		edit(b)
		f := file2
		f.Comment, f.Refused, f.KeyFile = comment, code, hex.EncodeToString(b)
		write("refused-key-file-"+name, f)
	}
	refuse("version", "another format version", "policy", func(b []byte) { b[4] = 2 })
	refuse("damaged", "one bit of a seed", "not_authentic", func(b []byte) { b[60] ^= 1 })
	file2.Comment, file2.User, file2.Refused = "of another user", NewUser().String(), "not_authentic"
	write("refused-key-file-user", file2)

	other, err := n.list.Sign(n.author(), n.recordOf(n.list), n.ring, Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	fork := append(slices.Clone(w.links), other.Link)
	c = list("another link with the number of the third, after the fourth", fork, nil)
	c.Refused = "rolled_back"
	write("refused-older", c)
	c = list("another third link, then the fourth", [][]byte{w.links[0], w.links[1], other.Link, w.links[3]}, nil)
	c.Refused = "forked"
	write("refused-fork", c)
	c = list("the third link is missing", [][]byte{w.links[0], w.links[1], w.links[3]}, nil)
	c.Refused = "incomplete"
	write("refused-gap", c)
	again, _ := a.successor(Changes{})
	entry, _ := n.list.device(n.d.ID)
	entry.Approval = []byte{}
	again.Devices, again.Removed = append(again.Devices, entry), []DeviceID{}
	sortDevices(&again)
	c = list("a removed device is listed again", append(slices.Clone(w.links), a.forge(again)), nil)
	c.Refused = "revoked"
	write("refused-listed-again", c)
	stranger := w.machine()
	next, _ := a.successor(Changes{})
	c = list("signed by the user, and not by the device that it says made it", append(slices.Clone(w.links), stranger.forge(next)), nil)
	c.Refused = "not_authentic"
	write("refused-author", c)
	b := bytes.Clone(w.links[3])
	b[len(b)-1] ^= 1
	c = list("the user's signature is damaged", [][]byte{w.links[0], w.links[1], w.links[2], b}, nil)
	c.Refused = "not_authentic"
	write("refused-signature", c)
	recovery, err := a.list.Recover(stranger.author(), "new")
	if err != nil {
		t.Fatal(err)
	}
	write("list-recovery", list("a new device begins again", append(slices.Clone(w.links), recovery.Link), recovery.List))
}
