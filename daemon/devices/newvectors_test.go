package devices

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// vectorWriter makes the vectors anew, from one life of a list: desk begins it, approves laptop, replaces its keys, removes laptop. Keys
// are random, so they differ each time; what is in the repository stays.
type vectorWriter struct {
	t      *testing.T
	w      *world
	subkey secret.Key
	a, n   *machine

	code   string // of laptop's request
	asking []byte // laptop's key file while it asked
	record vector // written by records
}

func writeVectors(t *testing.T) {
	v := &vectorWriter{t: t, w: setup(t), subkey: secret.Random()}
	v.w.sealer = seal.NewSealer(v.subkey, seal.RandomKeyID(), Purpose)
	v.a = v.w.begin("desk")
	v.write("list-first", v.list("a list of one device", v.w.links, v.a.list))
	v.approval()
	v.records()
	v.keyFiles()
	v.chains()
	v.forgeries()
}

func (v *vectorWriter) write(name string, c vector) {
	v.t.Helper()
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("../../docs/vectors/devices", name+".json"), append(raw, '\n'), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// refuse writes a case that is refused.
func (v *vectorWriter) refuse(name, comment, code string, c vector) {
	v.t.Helper()
	c.Comment, c.Refused = comment, code
	v.write("refused-"+name, c)
}

func (v *vectorWriter) file(m *machine) []byte {
	v.t.Helper()
	b, err := os.ReadFile(m.path)
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

// list returns a case of links, which open as l if there is one.
func (v *vectorWriter) list(comment string, links [][]byte, l *List) vector {
	c := vector{Comment: comment, User: v.w.id.String(), Public: hex.EncodeToString(v.w.signing.Public())}
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

// approval lets laptop ask and be approved.
func (v *vectorWriter) approval() {
	n, sealed, p := v.w.ask("laptop")
	v.n, v.code, v.asking = n, string(p.Text()), v.file(n)
	before := v.a.list
	n.confirm(v.a.must(v.a.sign(Changes{Add: []*Approved{v.a.approve(n.d.ID, sealed, p.Text())}})))
	c := v.list("a request, its code, and the link that approves it", v.w.links, v.a.list)
	c.VaultSubkey, c.Device, c.Request = hex.EncodeToString(v.subkey.Bytes()), n.d.ID.String(), hex.EncodeToString(sealed)
	c.Code, c.Name = v.code, "laptop"
	v.write("approval", c)

	last := len(v.code) - 1
	wrong := c
	wrong.Code = v.code[:last] + string('0'+(v.code[last]-'0'+1)%10)
	v.refuse("code", "the last digit of the code is another", "untrusted_key", wrong)
	wrong.Code = v.code[1:]
	v.refuse("code-short", "a digit of the code is missing", "invalid_request", wrong)
	wrong.Code, wrong.Device = v.code, v.a.d.ID.String()
	v.refuse("request-moved", "the request in the place of another device's", "not_authentic", wrong)

	forged := copyOf(v.a.list.Link)
	for i := range forged.Devices {
		if forged.Devices[i].ID == n.d.ID {
			forged.Devices[i].Approval = random(32)
		}
	}
	link := v.a.forge(forged)
	l, err := before.Next(link)
	if err != nil {
		v.t.Fatal(err)
	}
	unapproved := v.list("", [][]byte{v.w.links[0], link}, l)
	unapproved.VaultSubkey, unapproved.Device, unapproved.Request = c.VaultSubkey, c.Device, c.Request
	unapproved.Code, unapproved.Name = c.Code, c.Name
	v.refuse("approval", "the new device is listed by somebody who does not know the code", "untrusted_key", unapproved)
	n.follow()
}

// records replaces keys, and removes laptop.
func (v *vectorWriter) records() {
	v.w.now = v.w.now.Add(Day)
	if err := v.a.d.Stage(v.w.now); err != nil {
		v.t.Fatal(err)
	}
	former := v.a.must(v.a.sign(Changes{NewKey: true, Rotate: true}))
	last := v.a.must(v.a.sign(Changes{Remove: []DeviceID{v.n.d.ID}}))
	k, _ := v.a.ring.Current()
	c := v.list("a device added, its keys replaced, a device removed; the wraps record of the last link", v.w.links, v.a.list)
	c.VaultSubkey, c.Record = hex.EncodeToString(v.subkey.Bytes()), hex.EncodeToString(last.Wraps)
	c.KeyFile, c.Device, c.PublicKey = hex.EncodeToString(v.file(v.a)), v.a.d.ID.String(), v.a.d.present.hash().String()
	c.Name, c.StateKey = "desk", hex.EncodeToString(k.Key.Bytes())
	v.write("record", c)
	v.record = c
	c.Record = hex.EncodeToString(former.Wraps)
	v.refuse("record", "the record of another link", "not_authentic", c)
	c.Record = v.record.Record
	c.KeyFile, c.Device, c.PublicKey = hex.EncodeToString(v.file(v.n)), v.n.d.ID.String(), v.n.d.present.hash().String()
	v.refuse("removed", "the same for the device that was removed", "revoked", c)
}

func (v *vectorWriter) keyFiles() {
	user := v.w.id.String()
	desk := vector{User: user, KeyFile: v.record.KeyFile, Device: v.record.Device, PublicKey: v.record.PublicKey}
	desk.Comment = "a key file of one generation"
	v.write("key-file", desk)
	v.write("key-file-asking", vector{
		Comment: "a key file of a device that asks to be approved", User: user, KeyFile: hex.EncodeToString(v.asking),
		Code: v.code, Device: v.n.d.ID.String(), PublicKey: v.n.d.present.hash().String(),
	})
	if err := v.a.d.Stage(v.w.now); err != nil {
		v.t.Fatal(err)
	}
	file := v.file(v.a)
	desk.Comment, desk.KeyFile = "a key file with the next generation", hex.EncodeToString(file)
	v.write("key-file-next", desk)
	edited := func(at int) vector {
		c, b := desk, bytes.Clone(file)
		b[at] ^= 3
		c.KeyFile = hex.EncodeToString(b)
		return c
	}
	v.refuse("key-file-version", "another format version", "policy", edited(4))
	v.refuse("key-file-damaged", "two bits of a seed", "not_authentic", edited(60))
	desk.User = NewUser().String()
	v.refuse("key-file-user", "of another user", "not_authentic", desk)
}

// chains are of honest links, in another order.
func (v *vectorWriter) chains() {
	links := v.w.links
	other, err := v.n.list.Sign(v.n.author(), v.n.recordOf(v.n.list), v.n.ring, Changes{Rotate: true})
	if err != nil {
		v.t.Fatal(err)
	}
	older := v.list("", append(slices.Clone(links), other.Link), nil)
	v.refuse("older", "another link with the number of the third, after the fourth", "rolled_back", older)
	v.refuse("fork", "another third link, then the fourth", "forked", v.list("", [][]byte{links[0], links[1], other.Link, links[3]}, nil))
	v.refuse("gap", "the third link is missing", "incomplete", v.list("", [][]byte{links[0], links[1], links[3]}, nil))
	stranger := v.w.machine()
	recovery, err := v.a.list.Recover(stranger.author(), "new")
	if err != nil {
		v.t.Fatal(err)
	}
	v.write("list-recovery", v.list("a new device begins again", append(slices.Clone(links), recovery.Link), recovery.List))
}

func (v *vectorWriter) forgeries() {
	after := func(link []byte) vector { return v.list("", append(slices.Clone(v.w.links), link), nil) }
	again, _ := v.a.successor(Changes{})
	entry, _ := v.n.list.device(v.n.d.ID)
	entry.Approval = []byte{}
	again.Devices, again.Removed = append(again.Devices, entry), []DeviceID{}
	sortDevices(&again)
	v.refuse("listed-again", "a removed device is listed again", "revoked", after(v.a.forge(again)))
	next, update := v.a.successor(Changes{})
	author := after(v.w.machine().forge(next))
	v.refuse("author", "signed by the user, and not by the device that it says made it", "not_authentic", author)
	update.Link[len(update.Link)-1] ^= 1
	v.refuse("signature", "the user's signature is damaged", "not_authentic", after(update.Link))
}
