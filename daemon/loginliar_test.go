package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// forged is an answer to a reading of the vault that fits the user, whatever the body.
func forged(user string, root []byte) *coordinatortest.Answer {
	body := sha256.Sum256(root)
	zero, nonce := make([]byte, 32), make([]byte, 16)
	hash := coordinator.BlobHash(user, "v-root", 1, [32]byte{}, [16]byte{}, root)
	return coordinatortest.JSON(http.StatusOK, coordinator.BlobPage{Blobs: []coordinator.Blob{{
		Name: "v-root", Body: &root, Earlier: []coordinator.BlobVersion{},
		Newest: coordinator.BlobVersion{
			Counter: 1, Previous: zero, Nonce: nonce, BodyHash: body[:], Hash: hash[:], Size: int64(len(root)), Time: time.Now(),
		},
	}}})
}

// rootOf returns the root blob of a user's vault.
func (f *firstMachine) rootBlob() []byte {
	f.t.Helper()
	b, err := f.client.Blob(f.t.Context(), "v-root", 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return b.Body
}

// lies lets the coordinator answer each reading with something else.
func lies(c *coordinatortest.Coordinator, answer func(e *coordinatortest.Exchange)) {
	c.Hook(coordinatortest.Nth("readBlobs", 0, answer))
}

// TestV05_LoginServesAnotherUser has a coordinator that serves a user with the same password the vault of another one.
func TestV05_LoginServesAnotherUser(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, g := newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	theirs := g.rootBlob()
	page, err := g.client.ReadBlobs(t.Context(), coordinator.BlobRead{Names: &[]string{"v-root"}, Bodies: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	b := startAgent(t, t.TempDir(), local)
	for name, answer := range map[string]*coordinatortest.Answer{
		"as it is": coordinatortest.JSON(http.StatusOK, page), "made to fit": forged(f.user, theirs),
	} {
		lies(c, func(e *coordinatortest.Exchange) { e.Answer = answer.Clone() })
		for _, r := range []LoginRequest{f.with(c, testPassword), {URL: c.URL, Kit: f.kitText(), NewPassword: []byte(otherPassword)}} {
			if err := b.Login(t.Context(), r); !errors.Is(err, fault.NotAuthentic) {
				t.Errorf("%s: %v", name, err)
			}
			b.mustBeEmpty()
		}
	}
	c.Hook(nil)
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isOf(f)
}

// TestV01_LoginIsAskedForLess has a coordinator that serves the vault with another derivation than the kit says, within policy and below:
// V02 and V03 are the kind and the salt. Nothing that depends on the password goes out after that, and no answer tells whether it was right.
func TestV01_LoginIsAskedForLess(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	root := f.rootBlob()
	salt := sha256.Sum256([]byte("coldframe/v1/salt\x00" + testMail))
	at := bytes.Index(root, salt[:16]) - 12
	if at < 0 {
		t.Fatal("no key derivation block in the root blob")
	}
	b := startAgent(t, t.TempDir(), local)
	for name, edit := range map[string]func(block []byte){
		"memory":       func(k []byte) { k[7]++ },
		"less memory":  func(k []byte) { k[6], k[7] = 0, 8 },
		"passes":       func(k []byte) { k[11]++ },
		"no key":       func(k []byte) { k[2] = 0 },
		"V02: argon2i": func(k []byte) { k[0] = 1 },
		"V02: 0x10":    func(k []byte) { k[1] = 0x10 },
		"V03: salt":    func(k []byte) { k[12] ^= 1 },
	} {
		body := bytes.Clone(root)
		edit(body[at:])
		lies(c, func(e *coordinatortest.Exchange) { e.Answer = forged(f.user, body) })
		for _, r := range []LoginRequest{f.with(c, testPassword), {URL: c.URL, Kit: f.kitText(), NewPassword: []byte(otherPassword)}} {
			before := len(c.Records())
			if err := b.Login(t.Context(), r); !errors.Is(err, fault.Policy) {
				t.Errorf("%s: %v", name, err)
			}
			var ops []string
			for _, rec := range c.Records()[before:] {
				if rec.Caller == f.user && rec.Operation != "streamEvents" {
					ops = append(ops, rec.Operation)
				}
			}
			if !slices.Equal(ops, []string{"login", "readBlobs", "logout"}) {
				t.Errorf("%s: requests %v", name, ops)
			}
			b.mustBeEmpty()
		}
	}
}

// A coordinator that logs the machine in as somebody else, or lacks a part of the vault, or changed one.
func TestLoginToALiar(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := startAgent(t, t.TempDir(), local)
	parts := func(change func(blob map[string]any)) func(*coordinatortest.Exchange) {
		return func(e *coordinatortest.Exchange) {
			if e.Operation != "readBlobs" || !strings.Contains(string(e.Body), "v-part-") {
				return
			}
			a := e.Forward()
			var page map[string]any
			if err := json.Unmarshal(a.Body, &page); err != nil {
				t.Error(err)
				return
			}
			change(page)
			a.Body, _ = json.Marshal(page)
		}
	}
	for name, lie := range map[string]struct {
		hook func(*coordinatortest.Exchange)
		want fault.Code
	}{
		"other tokens": {func(e *coordinatortest.Exchange) {
			if e.Operation == "login" {
				a := e.Forward()
				a.Body = bytes.Replace(a.Body, []byte(f.user), []byte("00000000-0000-4000-8000-000000000001"), 1)
			}
		}, fault.NotAuthentic},
		"a part is missing": {parts(func(p map[string]any) { p["blobs"] = p["blobs"].([]any)[1:] }), fault.Incomplete},
		"a part is changed": {parts(func(p map[string]any) {
			blob := p["blobs"].([]any)[0].(map[string]any)
			body, _ := base64.StdEncoding.DecodeString(blob["body"].(string))
			body[len(body)-1] ^= 1
			blob["body"] = body
		}), fault.NotAuthentic},
	} {
		c.Hook(lie.hook)
		if err := b.Login(t.Context(), f.with(c, testPassword)); !errors.Is(err, lie.want) {
			t.Errorf("%s: %v, want %s", name, err, lie.want)
		}
		b.mustBeEmpty()
	}
	c.Hook(nil)
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isOf(f)
}
