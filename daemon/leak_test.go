package daemon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/kv"
)

// canaries are what must be found nowhere.
func canaries() map[string][]byte {
	out := map[string][]byte{}
	for _, w := range []string{testMail, testPassword, "canarytitle", "canaryname", "canarycolumn", "canaryvalue", "73914662805517"} {
		out[w] = []byte(w)
		out["hex of "+w] = []byte(hex.EncodeToString([]byte(w)))
		out["base64 of "+w] = []byte(base64.RawStdEncoding.EncodeToString([]byte(w))[:8])
	}
	return out
}

// scenario does everything once, with canaries in every place where a user can put text.
func scenario(t *testing.T, a *running) {
	t.Helper()
	a.register()
	id := a.create("canarytitle")
	row := "canarycolumn,n\ncanaryvalue,73914662805517\n"
	a.mustWrite(WriteRequest{Dataset: id, IdempotencyKey: "i"}, row)
	a.mustWrite(WriteRequest{Dataset: id, Append: true}, row)
	if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"canarycolumn"}}); !strings.Contains(got, "canaryvalue") {
		t.Fatalf("read %q", got)
	}
	app, token, err := a.CreateApp(t.Context(), user, AppRequest{Name: "canaryname", Scopes: []Scope{ScopeRead, ScopeAdmin}, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []func() error{
		func() error {
			_, err := a.read(ReadRequest{Dataset: id, Columns: []string{"canarycolumnx"}})
			return err
		},
		func() error { _, err := a.write(WriteRequest{Dataset: id}, "canarycolumn\ncanaryvalue\n"); return err },
		func() error {
			_, err := a.write(WriteRequest{Dataset: id}, "canarycolumn,n\ncanaryvalue,canaryvalue\n")
			return err
		},
		func() error { return a.tryUnlock(testPassword + "x") },
		func() error { _, err := a.Authenticate(string(token) + "x"); return err },
	} {
		if err := call(); err == nil {
			t.Error("a call that must fail did not")
		}
	}
	if _, err := a.RenameDataset(t.Context(), user, id, "canarytitle 2", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteApp(t.Context(), user, app.ID); err != nil {
		t.Fatal(err)
	}
	secretsScenario(t, deliveryTo(t, a))
	gone := a.create("canarytitle")
	a.mustWrite(WriteRequest{Dataset: gone}, row)
	if err := a.DeleteDataset(t.Context(), user, gone); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Lock(t.Context()), a.tryUnlock(testPassword)); err != nil {
		t.Fatal(err)
	}
}

// secretsScenario takes secrets from a stranger who becomes a contact, and removes one.
func secretsScenario(t *testing.T, d *delivery) {
	t.Helper()
	bob := uuid.NewString()
	for id := range byte(2) {
		d.receive(bob, 1, id, "canarytitle", "canaryvalue 73914662805517", 1)
	}
	_, err := d.AcceptContact(t.Context(), bob)
	if err == nil {
		_, err = d.RenameContact(t.Context(), bob, "canaryname")
	}
	if err == nil {
		_, err = d.RemoveSecret(t.Context(), d.secrets()[0].Ref)
	}
	if _, refused := d.AddContact(t.Context(), AddContactRequest{User: bob, Name: "canaryname"}); err != nil || refused == nil || len(d.secrets()) != 1 {
		t.Fatal(err, refused)
	}
}

func searchTree(t *testing.T, dir string, words map[string][]byte) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		for name, w := range words {
			if bytes.Contains(b, w) || strings.Contains(p, string(w)) {
				t.Errorf("%s is in %s", name, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestG01_CanaryIsFoundNowhere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	a := startAgent(t, dir, func(_ *Config, o *Options) { o.Logger = debugLog(&log) })
	scenario(t, a)
	words := canaries()
	for name, key := range map[string][]byte{"signing key": a.session.signer.Key.Bytes(), "local key": a.session.local.key.Bytes()} {
		words[name] = bytes.Clone(key)
		words["hex of "+name] = []byte(hex.EncodeToString(key))
	}
	if n := searchTree(t, dir, words); n < 5 {
		t.Fatalf("only %d files were searched", n)
	}
	if log.String() == "" {
		t.Fatal("nothing was logged")
	}
	for name, w := range words {
		if strings.Contains(log.String(), string(w)) {
			t.Errorf("%s is in the log", name)
		}
	}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile("/proc/self/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for word, w := range words {
			if bytes.Contains(b, w) {
				t.Errorf("%s is in %s", word, name)
			}
		}
	}
}

func TestG03_NoPlaintextLeaves(t *testing.T) {
	dir := t.TempDir()
	capture := map[columnar.ObjectName][]byte{}
	var mu sync.Mutex
	a := startAgent(t, dir, func(_ *Config, o *Options) {
		o.WrapStore = func(s columnar.Store) columnar.Store {
			return storetest.NewHostile(s, storetest.Hooks{Keep: func(n columnar.ObjectName, b []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				capture[n] = bytes.Clone(b)
				return b
			}})
		}
	})
	scenario(t, a)
	if len(capture) < 3 {
		t.Fatalf("%d objects were captured", len(capture))
	}
	for n, b := range capture {
		for name, w := range canaries() {
			if bytes.Contains(b, w) || strings.Contains(string(n), string(w)) {
				t.Errorf("%s is in an object", name)
			}
		}
	}
	if n := searchTree(t, filepath.Join(a.Config().Folders.Data, "kv"), canaries()); n == 0 {
		t.Fatal("no file of the local store was searched")
	}
	if err := a.db.View(func(tx *kv.Tx) error {
		return tx.Scan("", func(key string, value []byte) error {
			for name, w := range canaries() {
				if strings.Contains(key, string(w)) || bytes.Contains(value, w) {
					t.Errorf("%s is in the record %s", name, key)
				}
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}
