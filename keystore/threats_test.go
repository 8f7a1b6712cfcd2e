package keystore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

const headerKey = "vault/header"

// Fields of the header's CBOR map, as docs/vault.md numbers them.
const (
	fieldUser = iota + 1
	fieldCreated
	fieldKDF
	fieldKeyID
	fieldPassword
	fieldRecovery
	fieldUnattended
)

// editHeader changes the readable part of a stored header as somebody does who has the disk but no key: the HMAC stays.
func (r *rig) editHeader(edit func(body map[int]any)) {
	r.t.Helper()
	all := r.records()
	all[headerKey] = editedHeader(r.t, all[headerKey], edit)
	r.replace(all)
}

func editedHeader(t *testing.T, raw []byte, edit func(body map[int]any)) []byte {
	t.Helper()
	const front, mac = 5, 32
	var body map[int]any
	if err := cbor.Unmarshal(raw[front:len(raw)-mac], &body); err != nil {
		t.Fatal(err)
	}
	edit(body)
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	out := append(slices.Clone(raw[:front]), b...)
	return append(out, raw[len(raw)-mac:]...)
}

func kdfField(body map[int]any) []byte {
	block := slices.Clone(body[fieldKDF].([]byte))
	body[fieldKDF] = block
	return block
}

// locked returns a rig with an account and two items, locked.
func locked(t *testing.T) *rig {
	r := newRig(t)
	r.register()
	r.put("a", "one")
	r.put("b", "two")
	r.restart()
	return r
}

func TestV01_LoweredArgon2Cost(t *testing.T) {
	cases := map[string]struct{ memory, time, threads uint32 }{
		"8 MiB and one pass":      {8 << 10, 1, 1}, // above the tests' ceiling as well as below production's floor
		"no pass":                 {64, 0, 1},
		"memory below floor by 1": {63, 1, 1},
		"lanes below floor by 1":  {64, 1, 0},
		"memory above ceiling":    {1 << 31, 1, 1}, // two TiB: deriving it would not end well
		"passes above ceiling":    {64, 1 << 31, 1},
		"lanes above ceiling":     {64, 1, 255},
		"less than 8 KiB a lane":  {24, 1, 4},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := locked(t)
			r.editHeader(func(body map[int]any) {
				block := kdfField(body)
				block[3] = byte(c.threads)
				binary.BigEndian.PutUint32(block[4:], c.memory)
				binary.BigEndian.PutUint32(block[8:], c.time)
			})
			wantCode(t, r.unlock(), fault.Policy)
			wantCode(t, r.vault.CheckPassword(t.Context(), []byte(password)), fault.Policy)
			if r.vault.State() != keystore.Locked {
				t.Fatal("open")
			}
		})
	}
	t.Run("production refuses the tests' profile", func(t *testing.T) {
		r := locked(t)
		o := r.options()
		o.Profile = keystore.Production()
		r.vault = keystore.New(r.db, o)
		wantCode(t, r.unlock(), fault.Policy)
	})
	t.Run("password only has one profile", func(t *testing.T) {
		r := newRig(t)
		_, err := r.vault.Register(t.Context(), keystore.Registration{Email: email, Password: []byte(password), PasswordOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.editHeader(func(body map[int]any) { binary.BigEndian.PutUint32(kdfField(body)[8:], 2) }) // within floor and ceiling
		wantCode(t, r.unlock(), fault.Policy)
	})
	t.Run("kit", func(t *testing.T) {
		r := newRig(t)
		kit := r.register()
		r.restart()
		kit.Params.Memory = 63
		wantCode(t, r.vault.Recover(t.Context(), kit, []byte(another)), fault.Policy)
	})
}

func TestV01_ProductionPolicy(t *testing.T) {
	p := keystore.Production()
	if p.Floor != (keystore.Params{Memory: 64 << 10, Time: 3, Threads: 1}) || p.Ceiling != (keystore.Params{Memory: 1 << 20, Time: 10, Threads: 16}) {
		t.Fatal("floor and ceiling are those of THREATS section 5:", p)
	}
	if p.AtLeast != time.Second || p.AtMost != 1500*time.Millisecond {
		t.Fatal("a derivation takes 1.0-1.5 s:", p.AtLeast, p.AtMost)
	}
}

func TestV02_OtherDerivation(t *testing.T) {
	for name, edit := range map[string]func(block []byte){
		"argon2d":      func(b []byte) { b[0] = 0 },
		"argon2i":      func(b []byte) { b[0] = 1 },
		"pbkdf2":       func(b []byte) { b[0] = 200 },
		"version 0x10": func(b []byte) { b[1] = 0x10 },
		"other flag":   func(b []byte) { b[2] |= 2 },
	} {
		t.Run(name, func(t *testing.T) {
			r := locked(t)
			r.editHeader(func(body map[int]any) { edit(kdfField(body)) })
			wantCode(t, r.unlock(), fault.Policy)
		})
	}
	t.Run("account key left out", func(t *testing.T) {
		r := locked(t)
		r.editHeader(func(body map[int]any) { kdfField(body)[2] = 0 })
		wantCode(t, r.unlock(), fault.NotAuthentic)
	})
}

func TestV03_OtherSalt(t *testing.T) {
	r := locked(t)
	before := r.records()
	r.editHeader(func(body map[int]any) { kdfField(body)[12] ^= 1 })
	wantCode(t, r.unlock(), fault.NotAuthentic)
	after := r.records()
	delete(after, headerKey)
	delete(after, "vault/throttle")
	delete(before, headerKey)
	if !maps.EqualFunc(before, after, bytes.Equal) {
		t.Fatal("something was written")
	}
}

func TestV04_SwappedFields(t *testing.T) {
	r := newRig(t)
	r.register()
	if _, err := r.vault.EnableUnattended(t.Context(), []byte(password)); err != nil {
		t.Fatal(err)
	}
	r.put("a", "one")
	r.put("b", "two")
	r.put("c", "six")
	r.restart()
	good := r.records()

	pairs := 0
	keys := slices.Sorted(maps.Keys(good))
	for i, x := range keys {
		for _, y := range keys[:i] {
			bad := maps.Clone(good)
			bad[x], bad[y] = good[y], good[x]
			r.replace(bad)
			wantCode(t, r.unlock(), fault.NotAuthentic)
			r.sleep(time.Hour)
			pairs++
		}
	}
	fields := []int{fieldUser, fieldKDF, fieldKeyID, fieldPassword, fieldRecovery, fieldUnattended}
	for i, x := range fields {
		for _, y := range fields[:i] {
			r.replace(good)
			r.editHeader(func(body map[int]any) { body[x], body[y] = body[y], body[x] })
			if err := r.unlock(); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Policy) && !errors.Is(err, fault.Incomplete) {
				t.Fatalf("fields %d and %d swapped: %v", x, y, err)
			}
			r.sleep(time.Hour)
			pairs++
		}
	}
	r.replace(good)
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs", pairs)
}

func TestV05_VaultOfAnotherUser(t *testing.T) {
	for name, passwordOnly := range map[string]bool{"account key": false, "password only": true} {
		t.Run(name, func(t *testing.T) {
			var rigs []*rig
			for _, mail := range []string{"ada@example.org", "bob@example.org"} {
				r := newRig(t)
				_, err := r.vault.Register(t.Context(), keystore.Registration{Email: mail, Password: []byte(password), PasswordOnly: passwordOnly})
				if err != nil {
					t.Fatal(err)
				}
				r.put("a", mail)
				r.restart()
				rigs = append(rigs, r)
			}
			a, b := rigs[0], rigs[1]
			own := b.records()
			b.replace(a.records())
			err := b.unlock()
			if !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
				t.Fatal("the whole vault:", err)
			}
			if passwordOnly {
				wantCode(t, err, fault.NotAuthentic)
			}
			for key, value := range a.records() {
				mixed := maps.Clone(own)
				mixed[key] = value
				b.replace(mixed)
				if err := b.unlock(); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
					t.Fatalf("%s of another user: %v", key, err)
				}
				b.sleep(time.Hour)
			}
		})
	}
}

func TestV06_OlderVault(t *testing.T) {
	for name, back := range map[string]int{"n-1": 1, "n-5": 5} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.register()
			var states []map[string][]byte
			for range 6 {
				r.put("a", "body")
				states = append(states, r.records())
			}
			r.restart()
			r.replace(states[len(states)-1-back])
			wantCode(t, r.unlock(), fault.RolledBack)
			if r.vault.State() != keystore.Locked || !r.saw(keystore.EventRolledBack) {
				t.Fatal(r.vault.State(), r.events)
			}
			r.readOnly()
			r.restart()
			wantCode(t, r.unlock(), fault.RolledBack) // the override holds for one opening
		})
	}
	t.Run("over a password change", func(t *testing.T) {
		r := newRig(t)
		r.register()
		r.put("a", "body")
		old := r.records()
		if err := r.vault.ChangePassword(t.Context(), []byte(password), []byte(another)); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.replace(old)
		wantCode(t, r.unlock(), fault.RolledBack)
	})
	t.Run("anchor missing", func(t *testing.T) {
		r := locked(t)
		if err := os.Remove(filepath.Join(r.dir, "vault.anchor")); err != nil {
			t.Fatal(err)
		}
		wantCode(t, r.unlock(), fault.RolledBack)
		r.readOnly()
	})
	t.Run("forked", func(t *testing.T) {
		r := newRig(t)
		r.register()
		path := filepath.Join(r.dir, "vault.anchor")
		start, anchor := r.records(), readFile(t, path)
		r.put("a", "one branch")
		branch := r.records()

		r.vault.Lock()
		r.replace(start)
		if err := os.WriteFile(path, anchor, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.unlock(); err != nil {
			t.Fatal(err)
		}
		r.put("a", "the other")
		r.restart()
		r.replace(branch)
		wantCode(t, r.unlock(), fault.Forked)
		wantCode(t, r.vault.Unlock(t.Context(), []byte(password), keystore.UnlockOptions{AcceptRollback: true}), fault.Forked)
	})
}

// readOnly opens an older vault for reading and checks that it is no more than that.
func (r *rig) readOnly() {
	r.t.Helper()
	ctx := r.t.Context()
	if err := r.vault.Unlock(ctx, []byte(password), keystore.UnlockOptions{AcceptRollback: true}); err != nil {
		r.t.Fatal(err)
	}
	if r.vault.State() != keystore.ReadOnly || !r.saw(keystore.EventRollbackAccepted) {
		r.t.Fatal(r.vault.State(), r.events)
	}
	if _, err := r.vault.Get("a"); err != nil {
		r.t.Fatal(err)
	}
	before := r.records()
	err := r.vault.Update(func(tx *keystore.Tx) error { return tx.Put(keystore.Item{ID: "x", Kind: "metadata"}) })
	wantCode(r.t, err, fault.RolledBack)
	wantCode(r.t, r.vault.ChangePassword(ctx, []byte(password), []byte(another)), fault.RolledBack)
	_, err = r.vault.EnableUnattended(ctx, []byte(password))
	wantCode(r.t, err, fault.RolledBack)
	wantCode(r.t, r.vault.DisableUnattended(ctx), fault.RolledBack)
	if !maps.EqualFunc(before, r.records(), bytes.Equal) {
		r.t.Fatal("a read-only vault was written to")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestV13_AddressChange(t *testing.T) {
	ctx := t.Context()
	r := newRig(t)
	oldKit := r.register()
	r.put("a", "one")
	before := r.records()
	_, err := keystoretest.NewKit(ctx, r.vault, []byte(another), "new@example.net")
	wantCode(t, err, fault.NotAuthentic)
	kit, err := keystoretest.NewKit(ctx, r.vault, []byte(password), "New@EXAMPLE.net")
	if err != nil {
		t.Fatal(err)
	}
	after := r.records()
	for key := range before {
		same := bytes.Equal(before[key], after[key])
		item := strings.HasPrefix(key, "vault/item/") || strings.HasPrefix(key, "vault/shard/")
		if same != item {
			t.Errorf("%s: same %v", key, same)
		}
	}
	r.restart()
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
	if r.vault.Email() != "new@example.net" || kit.Email != "new@example.net" {
		t.Fatal(r.vault.Email())
	}
	wantCode(t, r.vault.Recover(ctx, oldKit, []byte(another)), fault.NotAuthentic)
	if err := r.vault.Recover(ctx, kit, []byte(another)); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
}

// The vault and the password alone open nothing: the account key is the second secret.
func TestV13_AccountKeyNeeded(t *testing.T) {
	r := locked(t)
	path := filepath.Join(r.dir, "account.key")
	file := readFile(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.unlock(), fault.Incomplete)
	other := newRig(t)
	other.register()
	wrong := readFile(t, filepath.Join(other.dir, "account.key"))
	copy(wrong[5:], file[5:21]) // their key under our user id
	if err := os.WriteFile(path, wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.unlock(), fault.Incomplete) // the checksum
	if info, err := os.Stat(filepath.Join(other.dir, "account.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
}

func TestRegisterRefusesGuessablePasswords(t *testing.T) {
	r := newRig(t)
	for _, p := range []string{"password", "Password123!", "ada.example.org", "ada@example.org1", "qwertyuiop[]", "aaaaaaaaaaaaaaaaaaaaaaaa", "coldframe2026!", strings.Repeat("ab", 5000)} {
		_, err := r.vault.Register(t.Context(), keystore.Registration{Email: email, Password: []byte(p)})
		wantCode(t, err, fault.Policy)
		if p != "password" && strings.Contains(err.Error(), p) {
			t.Fatal("the answer tells the password")
		}
	}
	for _, p := range []string{"", "\xff\xfe", "tab\tin it is not typed everywhere"} {
		_, err := r.vault.Register(t.Context(), keystore.Registration{Email: email, Password: []byte(p)})
		wantCode(t, err, fault.InvalidRequest)
	}
	for _, e := range []string{"", "ada", "@example.org", "ada@", "a b@example.org", "ada@exa mple.org"} {
		_, err := r.vault.Register(t.Context(), keystore.Registration{Email: e, Password: []byte(password)})
		wantCode(t, err, fault.InvalidRequest)
	}
	if files, err := os.ReadDir(r.dir); err != nil || len(files) != 1 {
		t.Fatal("a refused registration left files:", files, err)
	}
	long := strings.Repeat(keystore.GeneratePassphrase()+" ", 20_000) // a megabyte
	if _, err := r.vault.Register(t.Context(), keystore.Registration{Email: email, Password: []byte(long)}); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if err := r.unlockWith(long); err != nil {
		t.Fatal(err)
	}
}
