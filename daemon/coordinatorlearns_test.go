package daemon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coldframe/coordinator/state"
)

// TestG03_CoordinatorLearnsNothing looks through all that a coordinator was sent and has stored while an account did everything.
func TestG03_CoordinatorLearnsNothing(t *testing.T) {
	c, dir, log := newCoordinator(t, state.Open), t.TempDir(), new(bytes.Buffer)
	a := startAgent(t, dir, func(cfg *Config, o *Options) {
		local(cfg, o)
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	scenario(t, a)
	a.connect(c)
	a.becomes("online")
	id := a.create("canarytitle")
	a.mustWrite(WriteRequest{Dataset: id}, "canarycolumn,n\ncanaryvalue,1\n")
	next := testPassword + " next"
	if err := a.ChangePassword(t.Context(), []byte(testPassword), []byte(next)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no proofs that wait", func() bool { return countPrefix(t, a, linkPrefix) == 1 })
	words := canaries()
	for name, key := range map[string][]byte{
		"local key": bytes.Clone(a.session.local.key.Bytes()), "signing key": bytes.Clone(a.session.signer.Key.Bytes()),
	} {
		words[name] = key
		words["base64 of "+name] = []byte(base64.StdEncoding.EncodeToString(key)[:16])
		words["hex of "+name] = []byte(hex.EncodeToString(key)[:16])
	}
	for range 5 { // a session that the change of the password ended begins with the proof, not with the refresh token
		if err := errors.Join(a.Lock(t.Context()), a.tryUnlock(next)); err != nil {
			t.Fatal(err)
		}
		a.becomes("online")
		if c.hasHeard("cfr_") {
			break
		}
	}
	user := a.vault.UserID()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	c.down()
	heard := c.heard.Bytes()
	tokens := map[string][]byte{"an access token": []byte("cfa_"), "a refresh token": []byte("cfr_")}
	for _, word := range append([][]byte{[]byte(user)}, tokens["an access token"], tokens["a refresh token"]) {
		if !bytes.Contains(heard, word) {
			t.Fatalf("%s was not even sent: this shows nothing", word)
		}
	}
	searchTree(t, dir, tokens)
	tokens["the coordinator's address"] = []byte(c.address)
	for name, word := range tokens {
		if bytes.Contains(log.Bytes(), word) {
			t.Errorf("%s is in the agent's log", name)
		}
	}
	for name, word := range words {
		if bytes.Contains(heard, word) {
			t.Errorf("the coordinator was sent %s", name)
		}
	}
	err := filepath.WalkDir(c.dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		for name, word := range words {
			if bytes.Contains(b, word) {
				t.Errorf("the coordinator stored %s in %s", name, strings.TrimPrefix(p, c.dir))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
