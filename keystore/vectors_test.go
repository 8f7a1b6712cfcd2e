package keystore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	vectors "coldframe/docs/vectors/vault"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// vector is one case of docs/vectors/vault. Byte strings are hexadecimal.
type vector struct {
	Kind string `json:"kind"`           // salt, email hash, root key, login proof, kit, vault, backup
	Code string `json:"code,omitempty"` // how it must be refused

	Email      string            `json:"email,omitempty"`
	Normal     string            `json:"normal,omitempty"`
	Salt       string            `json:"salt,omitempty"`
	Password   string            `json:"password,omitempty"`
	KDF        string            `json:"kdf_block,omitempty"`
	AccountKey string            `json:"account_key,omitempty"`
	RootKey    string            `json:"root_key,omitempty"`
	URL        string            `json:"url,omitempty"` // of the coordinator that the proofs are for
	LoginProof string            `json:"login_proof,omitempty"`
	EmailHash  string            `json:"email_hash,omitempty"`
	Proof      string            `json:"recovery_proof,omitempty"`
	Kit        string            `json:"kit,omitempty"`
	Recovery   string            `json:"recovery_key,omitempty"`
	Credential string            `json:"unattended_credential,omitempty"`
	VaultKey   string            `json:"vault_key,omitempty"`
	Records    map[string]string `json:"records,omitempty"`
	Files      map[string]string `json:"files,omitempty"`
	Items      map[string]string `json:"items,omitempty"` // id to body, as text
	Backup     string            `json:"backup,omitempty"`
}

const (
	vectorDir = "../docs/vectors/vault"
	vectorURL = "https://coordinator.example:8443"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keyFrom(t *testing.T, s string) secret.Key {
	t.Helper()
	k, err := secret.FromBytes(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVectors(t *testing.T) {
	if os.Getenv("COLDFRAME_NEW_VECTORS") != "" {
		writeVectors(t)
	}
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			raw, err := vectors.Files.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var c vector
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				t.Fatal(err)
			}
			run := map[string]func(*testing.T, vector) error{
				"salt": runSalt, "email hash": runEmailHash, "root key": runRootKey, "login proof": runLoginProof, "kit": runKit,
				"vault": runVault, "backup": runBackup, "replica": runReplica,
			}[c.Kind]
			if run == nil {
				t.Fatalf("unknown kind %q", c.Kind)
			}
			err = run(t, c)
			if c.Code == "" && err != nil || c.Code != "" && string(fault.CodeOf(err)) != c.Code {
				t.Fatalf("got %v, want %q", err, c.Code)
			}
			if c.Code == "" {
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

func runSalt(t *testing.T, c vector) error {
	normal, err := normalEmail(c.Email)
	if err != nil {
		return err
	}
	if salt := emailSalt(normal); normal != c.Normal || hex.EncodeToString(salt[:]) != c.Salt {
		t.Errorf("%q: %q, %x", c.Email, normal, salt)
	}
	return nil
}

func runEmailHash(t *testing.T, c vector) error {
	hash, err := EmailHash(c.Email)
	if err == nil && hex.EncodeToString(hash[:]) != c.EmailHash {
		t.Errorf("%q: %x", c.Email, hash)
	}
	return err
}

func runLoginProof(t *testing.T, c vector) error {
	block, err := parseKDFBlock(unhex(t, c.KDF))
	if err != nil {
		return err
	}
	proof, err := loginProof(t.Context(), keyFrom(t, c.RootKey), block)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(proof.For(c.URL).Bytes()); got != c.LoginProof {
		t.Errorf("login proof %s", got)
	}
	return nil
}

func runRootKey(t *testing.T, c vector) error {
	block, err := parseKDFBlock(unhex(t, c.KDF))
	if err != nil {
		return err
	}
	if err := cheap().accept(block); err != nil {
		return err
	}
	normal, err := normalPassword([]byte(c.Password))
	if err != nil {
		return err
	}
	var account AccountKey
	if c.AccountKey != "" {
		account = accountKeyFrom(unhex(t, c.AccountKey))
	}
	root, err := rootKey(t.Context(), normal, block, account)
	if err == nil && hex.EncodeToString(root.Bytes()) != c.RootKey {
		t.Errorf("root key %x", root.Bytes())
	}
	return err
}

func runKit(t *testing.T, c vector) error {
	kit, err := ParseRecoveryKit([]byte(c.Kit))
	if err != nil {
		return err
	}
	if string(kit.Text()) != c.Kit || hex.EncodeToString(kit.AccountKey.bytes()) != c.AccountKey || hex.EncodeToString(kit.RecoveryKey.Bytes()) != c.Recovery {
		t.Errorf("another kit: %s", kit.Text())
	}
	if got := hex.EncodeToString(kit.Proof().For(c.URL).Bytes()); c.Proof != "" && got != c.Proof {
		t.Errorf("recovery proof %s", got)
	}
	return nil
}

// runVault puts records and files in place and opens them in each way that the vector has a secret for.
func runVault(t *testing.T, c vector) error {
	v := newVault(t)
	err := v.db.Update(func(tx *kv.Tx) error {
		for key, value := range c.Records {
			if err := tx.Set(key, unhex(t, value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range c.Files {
		if err := os.WriteFile(v.path(name), unhex(t, content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Unlock(t.Context(), []byte(c.Password), UnlockOptions{}); err != nil {
		return err
	}
	checkVector(t, v, c)
	v.Lock()
	if err := v.UnlockUnattended(t.Context(), keyFrom(t, c.Credential)); err != nil {
		return err
	}
	checkVector(t, v, c)
	h, err := v.readHeader()
	if err != nil {
		return err
	}
	key, err := slotRecovery.open(h.recovery, keyFrom(t, c.Recovery), h.user, h.keyID)
	if err == nil && !key.Equal(v.c.keys.current) {
		t.Error("the recovery slot holds another key")
	}
	return err
}

func checkVector(t *testing.T, v *Vault, c vector) {
	t.Helper()
	if got := hex.EncodeToString(v.c.keys.current.Bytes()); got != c.VaultKey {
		t.Errorf("vault key %s", got)
	}
	if v.Email() != c.Normal || v.c.index.items != len(c.Items) {
		t.Errorf("address %q, %d items", v.Email(), v.c.index.items)
	}
	for id, body := range c.Items {
		if it, err := v.Get(id); err != nil || string(it.Body) != body {
			t.Errorf("%s: %q, %v", id, it.Body, err)
		}
	}
}

func runBackup(t *testing.T, c vector) error {
	v := newVault(t)
	kit, err := ParseRecoveryKit([]byte(c.Kit))
	if err != nil {
		t.Fatal(err)
	}
	err = v.Restore(t.Context(), bytes.NewReader(unhex(t, c.Backup)), RestoreOptions{Password: []byte(c.Password), Kit: &kit})
	if err == nil {
		checkVector(t, v, c)
	}
	return err
}

// writeVectors makes the vectors anew. Seals and keys are random, so they differ each time; what is in the repository stays, and is
// opened by every later version of this format.
func writeVectors(t *testing.T) {
	write := func(name string, c vector) {
		raw, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vectorDir, name+".json"), append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	salt := emailSalt("ada@xn--bcher-kva.example")
	write("salt", vector{Kind: "salt", Email: " Ada@BÜCHER.example ", Normal: "ada@xn--bcher-kva.example", Salt: hex.EncodeToString(salt[:])})
	write("refused-address", vector{Kind: "salt", Email: "ada", Code: "invalid_request"})

	hash, _ := EmailHash(" Ada@BÜCHER.example ")
	write("email-hash", vector{Kind: "email hash", Email: " Ada@BÜCHER.example ", EmailHash: hex.EncodeToString(hash[:])})

	v, kit := registered(t)
	credential, err := v.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	items := map[string]string{"store": "folder", "version-keys/abc/1": "keys of version 1", "version-keys/abc/2": "keys of version 2"}
	put := func(id, kind string) {
		if err := v.Update(func(tx *Tx) error { return tx.Put(Item{ID: id, Kind: kind, Body: []byte(items[id])}) }); err != nil {
			t.Fatal(err)
		}
	}
	put("store", "store")
	put("version-keys/abc/1", "version-keys")
	older := vaultVector(t, v)
	if err := v.ChangePassword(t.Context(), []byte(testPassword), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	put("version-keys/abc/2", "version-keys")

	root := vector{
		Kind: "root key", Password: "two\u00a0words A\u030angstro\u0308m", AccountKey: hex.EncodeToString(kit.AccountKey.bytes()),
		KDF: hex.EncodeToString(v.c.header.kdf.encode()),
	}
	normal, _ := normalPassword([]byte(root.Password))
	derived, err := rootKey(t.Context(), normal, v.c.header.kdf, kit.AccountKey)
	if err != nil {
		t.Fatal(err)
	}
	root.RootKey = hex.EncodeToString(derived.Bytes())
	write("root-key", root)
	proof, err := loginProof(t.Context(), derived, v.c.header.kdf)
	if err != nil {
		t.Fatal(err)
	}
	write("login-proof", vector{Kind: "login proof", RootKey: root.RootKey, KDF: root.KDF, URL: vectorURL, LoginProof: hex.EncodeToString(proof.For(vectorURL).Bytes())})
	block := v.c.header.kdf
	block.accountKey = false
	only := root
	only.AccountKey, only.KDF = "", hex.EncodeToString(block.encode())
	if derived, err = rootKey(t.Context(), normal, block, AccountKey{}); err != nil {
		t.Fatal(err)
	}
	only.RootKey = hex.EncodeToString(derived.Bytes())
	write("root-key-password-only", only)
	lowered := root
	block = v.c.header.kdf
	block.Memory = 63
	lowered.KDF, lowered.Code = hex.EncodeToString(block.encode()), "policy"
	write("refused-cost-below-floor", lowered)
	lowered.KDF = "01" + root.KDF[2:]
	write("refused-argon2i", lowered)

	write("kit", vector{
		Kind: "kit", Kit: string(kit.Text()), AccountKey: root.AccountKey, Recovery: hex.EncodeToString(kit.RecoveryKey.Bytes()),
		URL: vectorURL, Proof: hex.EncodeToString(kit.Proof().For(vectorURL).Bytes()),
	})
	write("refused-kit-slip", vector{Kind: "kit", Kit: string(bytes.Replace(kit.Text(), []byte("User: "), []byte("User: 0"), 1)), Code: "invalid_request"})

	good := vaultVector(t, v)
	good.Items, good.Credential = items, hex.EncodeToString(credential.Bytes())
	good.Recovery = hex.EncodeToString(kit.RecoveryKey.Bytes())
	write("vault", good)
	refused := func(name, code string, edit func(records map[string]string)) {
		c := good
		c.Code, c.Records = code, map[string]string{}
		for k, r := range good.Records {
			c.Records[k] = r
		}
		edit(c.Records)
		write("refused-"+name, c)
	}
	refused("header-version", "policy", func(r map[string]string) { r[recordHeader] = r[recordHeader][:8] + "02" + r[recordHeader][10:] })
	refused("header-mac", "not_authentic", func(r map[string]string) { r[recordHeader] = r[recordHeader][:len(r[recordHeader])-2] + "00" })
	refused("item-dropped", "incomplete", func(r map[string]string) { delete(r, prefixItem+"store") })
	refused("item-doubled", "incomplete", func(r map[string]string) { r[prefixItem+"x"] = r[prefixItem+"store"] })
	refused("items-swapped", "not_authentic", func(r map[string]string) {
		a, b := prefixItem+"version-keys/abc/1", prefixItem+"version-keys/abc/2"
		r[a], r[b] = r[b], r[a]
	})
	refused("other-user", "incomplete", func(r map[string]string) {
		user := hex.EncodeToString(bytes.Repeat([]byte{7}, 16))
		r[recordHeader] = r[recordHeader][:16] + user + r[recordHeader][48:]
	})
	refused("rolled-back", "rolled_back", func(r map[string]string) {
		clear(r)
		for k, record := range older.Records {
			r[k] = record
		}
	})

	var file bytes.Buffer
	if err := v.Backup(t.Context(), &file, func(_ *kv.Tx, put func(string, []byte) error) error { return put("app/one", []byte("record")) }); err != nil {
		t.Fatal(err)
	}
	b := vector{Kind: "backup", Password: testPassword, Kit: string(kit.Text()), VaultKey: good.VaultKey, Normal: good.Normal, Items: items}
	b.Backup = hex.EncodeToString(file.Bytes())
	write("backup", b)
	whole := b.Backup
	b.Backup, b.Code = whole[:len(whole)-2], "incomplete"
	write("refused-backup-cut", b)
	b.Backup, b.Code = whole+"00", "not_authentic"
	write("refused-backup-longer", b)
}

// vaultVector returns everything that is stored.
func vaultVector(t *testing.T, v *Vault) vector {
	c := vector{
		Kind: "vault", Password: testPassword, Normal: v.Email(), VaultKey: hex.EncodeToString(v.c.keys.current.Bytes()),
		Records: map[string]string{}, Files: map[string]string{},
	}
	err := v.db.View(func(tx *kv.Tx) error {
		return tx.Scan(prefixVault, func(key string, value []byte) error {
			c.Records[key] = hex.EncodeToString(value)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{accountFileName, anchorFileName} {
		raw, err := os.ReadFile(v.path(name))
		if err != nil {
			t.Fatal(err)
		}
		c.Files[name] = hex.EncodeToString(raw)
	}
	return c
}
