package keystore_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

func TestV07_ItemsDroppedDoubledReordered(t *testing.T) {
	cases := map[string]struct {
		edit func(all map[string][]byte)
		want fault.Code
	}{
		"dropped":            {func(all map[string][]byte) { delete(all, "vault/item/a") }, fault.Incomplete},
		"doubled":            {func(all map[string][]byte) { all["vault/item/c"] = all["vault/item/a"] }, fault.Incomplete},
		"renamed":            {func(all map[string][]byte) { all["vault/item/c"] = all["vault/item/a"]; delete(all, "vault/item/a") }, fault.Incomplete},
		"one in two places":  {func(all map[string][]byte) { all["vault/item/b"] = all["vault/item/a"] }, fault.NotAuthentic},
		"reordered":          {func(all map[string][]byte) { swap(all, "vault/item/a", "vault/item/b") }, fault.NotAuthentic},
		"all dropped":        {dropItems, fault.Incomplete},
		"shard dropped":      {dropShard, fault.Incomplete},
		"root dropped":       {func(all map[string][]byte) { delete(all, "vault/root") }, fault.Incomplete},
		"keyring dropped":    {func(all map[string][]byte) { delete(all, "vault/keyring") }, fault.Incomplete},
		"shards reordered":   {swapShards, fault.NotAuthentic},
		"older version back": {nil, fault.NotAuthentic},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.register()
			r.put("a", "one")
			r.put("b", "two")
			old := r.records()["vault/item/a"]
			r.put("a", "three")
			r.restart()
			all := r.records()
			if c.edit == nil {
				all["vault/item/a"] = old
			} else {
				c.edit(all)
			}
			r.replace(all)
			wantCode(t, r.unlock(), c.want)
			if r.vault.State() != keystore.Locked || !r.saw(keystore.EventDamaged) {
				t.Fatal(r.vault.State(), r.events)
			}
		})
	}
	t.Run("while open", func(t *testing.T) {
		r := newRig(t)
		r.register()
		r.put("a", "one")
		r.put("b", "two")
		all := r.records()
		swap(all, "vault/item/a", "vault/item/b")
		r.replace(all)
		_, err := r.vault.Get("a")
		wantCode(t, err, fault.NotAuthentic)
		delete(all, "vault/item/a")
		r.replace(all)
		_, err = r.vault.Get("a")
		wantCode(t, err, fault.Incomplete)
	})
}

func swap(all map[string][]byte, a, b string) { all[a], all[b] = all[b], all[a] }

func shardKeys(all map[string][]byte) []string {
	keys := slices.Sorted(maps.Keys(all))
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, "vault/shard/") })
}

func dropShard(all map[string][]byte) { delete(all, shardKeys(all)[0]) }

func swapShards(all map[string][]byte) { swap(all, shardKeys(all)[0], shardKeys(all)[1]) }

func dropItems(all map[string][]byte) {
	maps.DeleteFunc(all, func(k string, _ []byte) bool { return strings.HasPrefix(k, "vault/item/") })
}

// The wrapped vault key is replaced by somebody who has no key of this user: by that of a vault he made himself, for each way of opening.
func TestV08_WrappedVaultKeyReplaced(t *testing.T) {
	ctx := t.Context()
	r, evil := newRig(t), newRig(t)
	kit := r.register()
	evil.register()
	credential, err := r.vault.EnableUnattended(ctx, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evil.vault.EnableUnattended(ctx, []byte(password)); err != nil {
		t.Fatal(err)
	}
	r.restart()
	good := r.records()
	var theirs map[int]any
	editedHeader(t, evil.records()[headerKey], func(body map[int]any) { theirs = body })

	for name, fields := range map[string][]int{
		"wrap":         {fieldPassword, fieldRecovery, fieldUnattended},
		"wrap and id":  {fieldPassword, fieldRecovery, fieldUnattended, fieldKeyID},
		"whole header": nil,
	} {
		t.Run(name, func(t *testing.T) {
			bad := maps.Clone(good)
			bad[headerKey] = editedHeader(t, good[headerKey], func(body map[int]any) {
				for _, f := range fields {
					body[f] = theirs[f]
				}
			})
			if fields == nil {
				bad = evil.records()
				bad[headerKey] = editedHeader(t, bad[headerKey], func(body map[int]any) {
					body[fieldUser] = good[headerKey][8:24]
				})
			}
			r.replace(bad)
			if err := r.unlock(); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
				t.Fatal(err)
			}
			wantCode(t, r.vault.UnlockUnattended(ctx, credential), fault.NotAuthentic)
			r.sleep(time.Hour)
			wantCode(t, r.vault.Recover(ctx, kit, []byte(another)), fault.NotAuthentic)
			err := r.vault.Update(func(tx *keystore.Tx) error {
				return tx.Put(keystore.Item{ID: "secret", Kind: "store", Body: []byte("canary")})
			})
			wantCode(t, err, fault.Locked)
			r.sleep(time.Hour)
		})
	}
}

func TestV09_OtherFormatVersion(t *testing.T) {
	r := locked(t)
	good := r.records()
	for _, version := range []byte{0, 2, 3, 254, 255} {
		for _, at := range []struct {
			key    string
			offset int
		}{{headerKey, 4}, {"vault/keyring", 4}, {"vault/root", 8 + 4}} {
			bad := maps.Clone(good)
			bad[at.key] = slices.Clone(good[at.key])
			bad[at.key][at.offset] = version
			r.replace(bad)
			wantCode(t, r.unlock(), fault.Policy)
		}
	}
	r.replace(good)
	path := filepath.Join(r.dir, "vault.anchor")
	anchor := readFile(t, path)
	for _, version := range []byte{0, 2, 255} {
		anchor[4] = version
		if err := os.WriteFile(path, anchor, 0o600); err != nil {
			t.Fatal(err)
		}
		wantCode(t, r.unlock(), fault.Policy)
	}
}

func TestV10_EditedMetadata(t *testing.T) {
	for name, edit := range map[string]func(body map[int]any){
		"created":      func(body map[int]any) { body[fieldCreated] = uint64(1) },
		"user":         func(body map[int]any) { body[fieldUser] = make([]byte, 16) },
		"key id":       func(body map[int]any) { body[fieldKeyID] = make([]byte, 16) },
		"unattended":   func(body map[int]any) { body[fieldUnattended] = body[fieldRecovery] },
		"recovery":     func(body map[int]any) { body[fieldRecovery].([]any)[0].([]byte)[7] ^= 1 },
		"encapsulated": func(body map[int]any) { body[fieldRecovery].([]any)[1].([]byte)[7] ^= 1 },
		"new field":    func(body map[int]any) { body[8] = "admin" },
		"costs":        func(body map[int]any) { binary.BigEndian.PutUint32(kdfField(body)[8:], 2) },
	} {
		t.Run(name, func(t *testing.T) {
			r := locked(t)
			r.editHeader(edit)
			if err := r.unlock(); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
				t.Fatal(err)
			}
			if r.vault.State() != keystore.Locked {
				t.Fatal("open")
			}
		})
	}
	t.Run("bytes all over", func(t *testing.T) {
		r := locked(t)
		good := r.records()
		for _, key := range []string{headerKey, "vault/keyring", "vault/root", "vault/item/a", shardKeys(good)[0]} {
			step := max(len(good[key])/20, 1)
			if os.Getenv("COLDFRAME_NIGHTLY") != "" {
				step = 1
			}
			for i := 0; i < len(good[key]); i += step {
				bad := maps.Clone(good)
				bad[key] = slices.Clone(good[key])
				bad[key][i] ^= 0x40
				r.replace(bad)
				if err := r.unlock(); err == nil {
					t.Fatalf("byte %d of %s", i, key)
				}
				r.sleep(time.Hour)
			}
		}
		r.replace(good)
		if err := r.unlock(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("older header with the same vault key", func(t *testing.T) {
		r := newRig(t)
		r.register()
		credential, err := r.vault.EnableUnattended(t.Context(), []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		old := r.records()[headerKey]
		if err := r.vault.DisableUnattended(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.restart()
		all := r.records()
		all[headerKey] = old
		r.replace(all)
		wantCode(t, r.unlock(), fault.NotAuthentic)
		wantCode(t, r.vault.UnlockUnattended(t.Context(), credential), fault.NotAuthentic)
	})
}
