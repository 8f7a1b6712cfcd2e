package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// cheap is keystoretest.Cheap, which this package's own tests cannot import.
func cheap() Profile {
	cost := Params{Memory: 64, Time: 1, Threads: 1}
	return Profile{Floor: cost, Ceiling: Params{Memory: 1024, Time: 4, Threads: 4}, Start: cost, Fixed: cost}
}

const testPassword = "tundra-violet-47-anvil-orbit"

func newVault(t testing.TB) *Vault {
	t.Helper()
	dir := t.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(db, Options{Dir: dir, Profile: cheap()})
}

func registered(t testing.TB) (*Vault, RecoveryKit) {
	t.Helper()
	v := newVault(t)
	kit, err := v.Register(t.Context(), Registration{Email: "ada@example.org", Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	return v, kit
}

// The tests of golang.org/x/crypto/argon2 for argon2id, made with the reference program. RFC 9106 section 5.3 has secret and
// associated data, which the package does not take.
func TestArgon2idVectors(t *testing.T) {
	vectors := []struct {
		time, memory uint32
		threads      uint8
		hash         string
	}{
		{1, 64, 1, "655ad15eac652dc59f7170a7332bf49b8469be1fdb9c28bb"},
		{2, 64, 1, "068d62b26455936aa6ebe60060b0a65870dbfa3ddf8d41f7"},
		{2, 64, 2, "350ac37222f436ccb5c0972f1ebd3bf6b958bf2071841362"},
		{3, 256, 2, "4668d30ac4187e6878eedeacf0fd83c5a0a30db2cc16ef0b"},
		{4, 4096, 4, "145db9733a9f4ee43edf33c509be96b934d505a4efb33c5a"},
		{4, 1024, 8, "8dafa8e004f8ea96bf7c0f93eecf67a6047476143d15577f"},
		{2, 64, 3, "4a15b31aec7c2590b87d1f520be7d96f56658172deaa3079"},
		{3, 1024, 6, "1640b932f4b60e272f5d2207b9a9c626ffa1bd88d2349016"},
	}
	for _, c := range vectors {
		got := argon2.IDKey([]byte("password"), []byte("somesalt"), c.time, c.memory, c.threads, 24)
		if hex.EncodeToString(got) != c.hash {
			t.Errorf("m=%d t=%d p=%d: %x", c.memory, c.time, c.threads, got)
		}
	}
	t.Logf("%d vectors", len(vectors))
}

func TestCalibrateFollowsTheClock(t *testing.T) {
	p := Production()
	for _, c := range []struct {
		now  Params
		took time.Duration
		want Params
	}{
		{Params{256 << 10, 3, 4}, 1200 * time.Millisecond, Params{256 << 10, 3, 4}},
		{Params{256 << 10, 3, 4}, 600 * time.Millisecond, Params{256 << 10, 6, 4}},
		{Params{256 << 10, 3, 4}, 10 * time.Millisecond, Params{256 << 10, 10, 4}},
		{Params{256 << 10, 10, 4}, 500 * time.Millisecond, Params{512 << 10, 3, 4}},
		{Params{1024 << 10, 10, 4}, 500 * time.Millisecond, Params{1024 << 10, 10, 4}},
		{Params{256 << 10, 3, 4}, 3 * time.Second, Params{128 << 10, 3, 4}},
		{Params{64 << 10, 3, 4}, 3 * time.Second, Params{64 << 10, 3, 4}},
		{Params{256 << 10, 8, 4}, 2 * time.Second, Params{256 << 10, 5, 4}},
	} {
		got := p.next(c.now, c.took)
		if got != c.want {
			t.Errorf("%v took %v: next %v, want %v", c.now, c.took, got, c.want)
		}
		if err := p.check(got); err != nil {
			t.Error(err)
		}
	}
}

func TestV13_LabelledSalt(t *testing.T) {
	block := kdfBlock{Params: cheap().Start, accountKey: true, salt: emailSalt("ada@example.org")}
	account := accountKeyFrom(make([]byte, accountKeySize))
	root := func(b kdfBlock, a AccountKey) secret.Key {
		k, err := rootKey(t.Context(), []byte(testPassword), b, a)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := root(block, account)
	other := block
	copy(other.salt[:], "ada@example.org ") // the address itself, as another service might
	if root(other, account).Equal(base) {
		t.Error("same key under another label")
	}
	withoutAccount := block
	withoutAccount.accountKey = false
	if root(withoutAccount, AccountKey{}).Equal(base) {
		t.Error("the account key does not count")
	}
	if root(block, newAccountKey()).Equal(base) {
		t.Error("the account key does not count")
	}
	if !root(block, account).Equal(base) {
		t.Error("not deterministic")
	}
}

func TestNormalForms(t *testing.T) {
	for in, want := range map[string]string{
		"Ada@Example.ORG":      "ada@example.org",
		" ada@example.org. ":   "ada@example.org",
		"ada+tag@example.org":  "ada+tag@example.org",
		"ÄRA@bücher.example":   "ära@xn--bcher-kva.example",
		"a\u0308ra@example.eu": "ära@example.eu",
		"ａｄａ@example.org":      "ada@example.org",
	} {
		if got, err := normalEmail(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if again, err := normalEmail(want); err != nil || again != want {
			t.Errorf("%q is no normal form: %q, %v", want, again, err)
		}
	}
	for in, want := range map[string]string{
		"A\u030angstro\u0308m":   "Ångström",
		"two\u00a0words\u3000or": "two words or",
		" Kept As It Is ":        " Kept As It Is ",
	} {
		src := []byte(in)
		got, err := normalPassword(src)
		if err != nil || string(got) != want || string(src) != in {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestKitSurvivesHandwriting(t *testing.T) {
	_, kit := registered(t)
	text := kit.Text()
	sloppy := strings.NewReplacer("-", " ", "\n", "\r\n\r\n", "O", "0", "I", "1").Replace(string(text[len(kitTitle):]))
	sloppy = strings.NewReplacer("E ma1l", "E-mail", "[", " [").Replace(strings.ToLower(strings.ReplaceAll(sloppy, "E ma", "E-ma")))
	sloppy = restoreLines(string(text), sloppy)
	got, err := ParseRecoveryKit([]byte(sloppy))
	if err != nil {
		t.Fatalf("%v\n%s", err, sloppy)
	}
	if !bytes.Equal(got.Text(), text) {
		t.Fatal("another kit")
	}
	for i, line := range strings.SplitAfter(string(text), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		bad := strings.Replace(string(text), line, "", 1)
		if _, err := ParseRecoveryKit([]byte(bad)); !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("line %d missing: %v", i, err)
		}
	}
	for i := range text {
		bad := slices.Clone(text)
		bad[i] ^= 3
		if got, err := ParseRecoveryKit(bad); err == nil && !bytes.Equal(got.Text(), text) {
			t.Errorf("a slip at byte %d went unseen: %q", i, bad[i])
		}
	}
}

// restoreLines takes the lines with keys from sloppy and the others from the printed kit.
func restoreLines(printed, sloppy string) string {
	lines := strings.Split(printed, "\n")
	for l := range strings.Lines(sloppy) {
		l = strings.TrimSpace(l)
		for i, p := range lines {
			name, _, _ := strings.Cut(p, ":")
			isKey := name == kitAccount || name == kitKey
			if isKey && strings.HasPrefix(strings.ToLower(strings.NewReplacer("0", "o", "1", "i").Replace(l)), strings.ToLower(name)+":") {
				_, value, _ := strings.Cut(l, ":")
				lines[i] = name + ":" + value
			}
		}
	}
	return strings.Join(lines, "\n\n")
}

func TestSlotsNeedBothHalves(t *testing.T) {
	user, s := uuid.New(), secret.Random()
	keys := &keyring{current: secret.Random(), anchor: secret.Random()}
	empty, slotKey := slotRecovery.newSlot(s)
	filled, err := slotRecovery.fill(empty, slotKey, user, keys.id, keys.current)
	if err != nil {
		t.Fatal(err)
	}
	got, err := slotRecovery.open(filled, s, user, keys.id)
	if err != nil || !got.Equal(keys.current) {
		t.Fatal(err)
	}
	forged, err := slotRecovery.fill(empty, secret.Random(), user, keys.id, secret.Random()) // by somebody who saw the public key
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() (secret.Key, error){
		"forged":      func() (secret.Key, error) { return slotRecovery.open(forged, s, user, keys.id) },
		"other kind":  func() (secret.Key, error) { return slotUnattended.open(filled, s, user, keys.id) },
		"other user":  func() (secret.Key, error) { return slotRecovery.open(filled, s, uuid.New(), keys.id) },
		"other key":   func() (secret.Key, error) { return slotRecovery.open(filled, secret.Random(), user, keys.id) },
		"slot key":    func() (secret.Key, error) { return slotRecovery.open(filled, slotKey, user, keys.id) },
		"empty":       func() (secret.Key, error) { return slotRecovery.open(empty, s, user, keys.id) },
		"no recovery": func() (secret.Key, error) { return slotRecovery.open(slot{}, s, user, keys.id) },
	} {
		if _, err := try(); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A stolen former vault key, with the vault of its time, opens nothing that was written after a password change.
func TestFormerVaultKeyOpensNoLaterVault(t *testing.T) {
	v, _ := registered(t)
	if _, err := v.EnableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	stolen := *v.c.keys
	stolen.current = stolen.current.Clone()
	if err := v.ChangePassword(t.Context(), []byte(testPassword), []byte("quarry-mellow-93-lantern-fig")); err != nil {
		t.Fatal(err)
	}
	h := v.c.header
	if h.authenticate(stolen.current) == nil {
		t.Error("the header")
	}
	if _, err := openVaultKey(stolen.recovery, string(slotRecovery), h.user, h.keyID, h.recovery.Sealed); err == nil {
		t.Error("the recovery slot")
	}
	if _, err := slotRecovery.open(h.recovery, stolen.recovery, h.user, h.keyID); err == nil {
		t.Error("the recovery slot")
	}
	if _, err := slotUnattended.open(*h.unattended, stolen.unattended, h.user, h.keyID); err == nil {
		t.Error("the unattended slot")
	}
}

// The vault does what a map does, over restarts, password changes and failed changes.
func TestVaultIsAMap(t *testing.T) {
	if os.Getenv("COLDFRAME_NIGHTLY") == "" {
		if err := flag.Set("rapid.checks", "10"); err != nil {
			t.Fatal(err)
		}
	}
	v, _ := registered(t)
	password, model := testPassword, map[string]string{} // of the one vault that all runs change further
	rapid.Check(t, func(rt *rapid.T) {
		id := rapid.SampledFrom([]string{"a", "b", "c", "version-keys/x/1", "~"})
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k, body := id.Draw(rt, "id"), rapid.String().Draw(rt, "body")
				must(rt, v.Update(func(tx *Tx) error { return tx.Put(Item{ID: k, Kind: "metadata", Body: []byte(body)}) }))
				model[k] = body
			},
			"delete": func(rt *rapid.T) {
				k := id.Draw(rt, "id")
				must(rt, v.Update(func(tx *Tx) error { return tx.Delete(k) }))
				delete(model, k)
			},
			"fail": func(rt *rapid.T) {
				stop := errors.New("stop")
				err := v.Update(func(tx *Tx) error {
					return errors.Join(tx.Put(Item{ID: id.Draw(rt, "id"), Kind: "metadata", Body: []byte("never")}), tx.Delete("a"), stop)
				})
				if !errors.Is(err, stop) {
					rt.Fatal(err)
				}
			},
			"several": func(rt *rapid.T) {
				must(rt, v.Update(func(tx *Tx) error {
					err := errors.Join(tx.Put(Item{ID: "x", Kind: "k"}), tx.Delete("x"), tx.Put(Item{ID: "a", Kind: "metadata", Body: []byte("1")}))
					it, getErr := tx.Get("a")
					if string(it.Body) != "1" {
						rt.Fatal(it)
					}
					return errors.Join(err, getErr, tx.Put(Item{ID: "a", Kind: "metadata", Body: []byte("2")}))
				}))
				model["a"] = "2"
			},
			"reopen": func(rt *rapid.T) {
				v.Lock()
				must(rt, v.Unlock(t.Context(), []byte(password), UnlockOptions{}))
			},
			"password": func(rt *rapid.T) {
				next := testPassword + rapid.SampledFrom([]string{"", " I", " II"}).Draw(rt, "suffix")
				must(rt, v.ChangePassword(t.Context(), []byte(password), []byte(next)))
				password = next
			},
			"": func(rt *rapid.T) {
				ids, err := v.List("metadata")
				must(rt, err)
				if !slices.Equal(ids, slices.Sorted(maps.Keys(model))) {
					rt.Fatal(ids, model)
				}
				for k, want := range model {
					it, err := v.Get(k)
					must(rt, err)
					if string(it.Body) != want {
						rt.Fatalf("%s: %q, want %q", k, it.Body, want)
					}
				}
			},
		})
	})
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestVersionsRise(t *testing.T) {
	v, _ := registered(t)
	put := func(it Item) error { return v.Update(func(tx *Tx) error { return tx.Put(it) }) }
	for _, c := range []struct {
		it   Item
		want error
	}{
		{Item{ID: "a", Kind: "k", Version: 7}, nil},
		{Item{ID: "a", Kind: "k", Version: 7}, fault.Conflict},
		{Item{ID: "a", Kind: "k", Version: 6}, fault.Conflict},
		{Item{ID: "a", Kind: "k"}, nil},
		{Item{ID: "a", Kind: "other"}, fault.Conflict},
		{Item{ID: "", Kind: "k"}, fault.InvalidRequest},
		{Item{ID: "a b", Kind: "k"}, fault.InvalidRequest},
		{Item{ID: "a", Kind: "K"}, fault.InvalidRequest},
		{Item{ID: "b", Kind: "k", Body: make([]byte, MaxBody+1)}, fault.TooLarge},
		{Item{ID: "b", Kind: "k", Body: make([]byte, MaxBody)}, nil},
	} {
		if err := put(c.it); !errors.Is(err, c.want) {
			t.Errorf("%s version %d: %v, want %v", c.it.ID, c.it.Version, err, c.want)
		}
	}
	if it, err := v.Get("a"); err != nil || it.Version != 8 {
		t.Fatal(it, err)
	}
	if err := put(Item{ID: "a", Kind: "k", Version: ^uint64(0)}); err != nil {
		t.Fatal(err)
	}
	if err := put(Item{ID: "a", Kind: "k"}); err == nil {
		t.Fatal("a version wrapped around")
	}
}

// Readers see an item before or after a change, never an error, while writers, password changes and backups run.
func TestConcurrentUse(t *testing.T) {
	v, _ := registered(t)
	put := func(n int) error {
		return v.Update(func(tx *Tx) error {
			return errors.Join(tx.Put(Item{ID: "a", Kind: "k", Body: fmt.Append(nil, n)}), tx.Put(Item{ID: "b", Kind: "k", Body: fmt.Append(nil, n)}))
		})
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loop := func(fn func(n int) error) {
		wg.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				if err := fn(n); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					stop()
				}
			}
		})
	}
	for range 3 {
		loop(func(int) error { _, err := v.Get("a"); return err })
		loop(func(int) error { _, err := v.List("k"); return err })
	}
	loop(put)
	loop(func(int) error { return v.CheckPassword(ctx, []byte(testPassword)) })
	loop(func(int) error { return v.ChangePassword(ctx, []byte(testPassword), []byte(testPassword)) })
	loop(func(int) error { return v.Backup(ctx, &bytes.Buffer{}, nil) })
	loop(func(int) error { _ = v.State(); _ = v.Email(); _ = v.UserID(); return nil })
	time.Sleep(2 * time.Second)
	stop()
	wg.Wait()
	v.Lock()
	if err := v.Unlock(t.Context(), []byte(testPassword), UnlockOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Locking while others use the vault: they get an answer or fault.Locked, nothing else.
func TestLockWhileInUse(t *testing.T) {
	v, _ := registered(t)
	if err := v.Update(func(tx *Tx) error { return tx.Put(Item{ID: "a", Kind: "k"}) }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := v.Get("a")
				up := v.Update(func(tx *Tx) error { return tx.Put(Item{ID: "a", Kind: "k"}) })
				for _, err := range []error{err, up} {
					if err != nil && !errors.Is(err, fault.Locked) {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 30 {
		v.Lock()
		if err := v.Unlock(t.Context(), []byte(testPassword), UnlockOptions{}); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
}

func TestSecretsDoNotPrint(t *testing.T) {
	v, kit := registered(t)
	encoded := hex.EncodeToString(kit.AccountKey.bytes())
	raw := string(kit.AccountKey.bytes())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, value := range []any{kit, &kit, []RecoveryKit{kit}, kit.AccountKey, struct{ k AccountKey }{kit.AccountKey}} {
			out := fmt.Sprintf(verb, value)
			if strings.Contains(strings.ToLower(out), encoded) || strings.Contains(out, raw) || strings.Contains(out, fmt.Sprintf("%d", kit.AccountKey.bytes())) {
				t.Errorf("%s prints an account key", verb)
			}
		}
	}
	if _, err := kit.AccountKey.MarshalText(); err == nil {
		t.Error("an account key is encoded")
	}
	files, err := os.ReadDir(v.o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others", f.Name())
		}
	}
}
