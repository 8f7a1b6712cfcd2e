package keystore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/uuid"

	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// stored returns a record of a small vault, as a seed.
func stored(t testing.TB, v *Vault, key string) []byte {
	t.Helper()
	var value []byte
	err := v.db.View(func(tx *kv.Tx) (err error) {
		value, err = tx.Get(key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// What parses as a header encodes back to the same bytes, but for the HMAC, which needs the key.
func FuzzHeader(f *testing.F) {
	v, _ := registered(f)
	f.Add(stored(f, v, recordHeader))
	if _, err := v.EnableUnattended(f.Context(), []byte(testPassword)); err != nil {
		f.Fatal(err)
	}
	f.Add(stored(f, v, recordHeader))
	key := secret.Random()
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := parseHeader(in)
		if err != nil {
			return
		}
		out, err := h.encode(key)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in[:len(in)-headerMAC], out[:len(out)-headerMAC]) {
			t.Fatalf("parsed %x, encoded %x", in, out)
		}
	})
}

func FuzzKDFBlock(f *testing.F) {
	f.Add(kdfBlock{Params: Production().Fixed, accountKey: true, salt: emailSalt("ada@example.org")}.encode())
	f.Add(kdfBlock{Params: cheap().Fixed}.encode())
	p := Production()
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := parseKDFBlock(in)
		if err != nil {
			return
		}
		if !bytes.Equal(b.encode(), in) {
			t.Fatalf("parsed %x, encoded %x", in, b.encode())
		}
		if p.accept(b) == nil && (b.Memory < 64<<10 || b.Memory > 1<<20 || b.Time < 3 || b.Time > 10 || b.Threads < 1 || b.Threads > 16) {
			t.Fatalf("accepted %v", b.Params)
		}
	})
}

// The inside of shard and root records: somebody who has a former vault key can have sealed anything.
func FuzzIndex(f *testing.F) {
	shard, err := encodeShard(map[string]entry{"a": {kind: "store", version: 3, hash: sha256.Sum256(nil)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(shardOf("a")), shard)
	f.Fuzz(func(t *testing.T, n uint64, in []byte) {
		if shard, err := parseShard(int(n%shardCount), in); err == nil {
			if out, err := encodeShard(shard); err != nil || !bytes.Equal(out, in) {
				t.Fatalf("parsed %x, encoded %x, %v", in, out, err)
			}
		}
		_, _ = parseRoot(n, in)
	})
}

// A root record as stored, under a key that the fuzzer does not have: nothing opens.
func FuzzRootRecord(f *testing.F) {
	keys := &keyring{current: secret.Random()}
	f.Add(binary.BigEndian.AppendUint64(nil, 1))
	f.Add(append(make([]byte, 8), seal.Seal(secret.Random(), keys.id, "vault/index", rootContext(uuid.Nil, 0), nil)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := openRoot(uuid.Nil, keys, in); err == nil {
			t.Fatal("a forged root record opens")
		}
	})
}

func FuzzKeyring(f *testing.F) {
	ring := &keyring{anchor: secret.Random(), recovery: secret.Random(), old: map[seal.KeyID]secret.Key{{1}: secret.Random(), {2}: secret.Random()}}
	f.Add(ring.encode())
	ring.unattended = secret.Random()
	f.Add(ring.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		ring, err := parseKeyring(bytes.Clone(in))
		if err != nil {
			return
		}
		defer ring.wipe()
		if !bytes.Equal(ring.encode(), in) {
			t.Fatalf("parsed %x, encoded %x", in, ring.encode())
		}
	})
}

func FuzzRecoveryKit(f *testing.F) {
	_, kit := registered(f)
	f.Add(kit.Text())
	kit.AccountKey = AccountKey{}
	f.Add(kit.Text())
	f.Fuzz(func(t *testing.T, in []byte) {
		kit, err := ParseRecoveryKit(in)
		if err != nil {
			return
		}
		again, err := ParseRecoveryKit(kit.Text())
		if err != nil || !bytes.Equal(again.Text(), kit.Text()) {
			t.Fatalf("a kit does not survive printing: %v", err)
		}
	})
}

func FuzzAccountKeyFile(f *testing.F) {
	f.Add(encodeAccountFile(uuid.New(), newAccountKey()))
	f.Fuzz(func(t *testing.T, in []byte) {
		user, k, err := parseAccountFile(in)
		if err == nil && !bytes.Equal(encodeAccountFile(user, k), in) {
			t.Fatalf("parsed %x, encoded %x", in, encodeAccountFile(user, k))
		}
	})
}

func FuzzAnchorFile(f *testing.F) {
	f.Add(anchor{user: uuid.New(), counter: 7}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := parseAnchor(in)
		if err == nil && !bytes.Equal(a.encode(), in) {
			t.Fatalf("parsed %x, encoded %x", in, a.encode())
		}
	})
}

// A whole backup file: whatever comes, there is an error and nothing is left, or it is the very file.
func FuzzBackupFile(f *testing.F) {
	v, _ := registered(f)
	var file bytes.Buffer
	if err := v.Backup(f.Context(), &file, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()-1])
	key := v.c.keys.current.Clone()
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readBackupHead(bytes.NewReader(in))
		if err != nil {
			return
		}
		if err := b.unlock(key); err != nil {
			return
		}
		err = b.records(func(byte, string, []byte) error { return nil })
		if err == nil && !bytes.Equal(in[len(in)-64:], file.Bytes()[file.Len()-64:]) {
			t.Fatal("a forged backup opens")
		}
	})
}

// The stream inside a backup's chunks.
func FuzzBackupRecords(f *testing.F) {
	f.Add([]byte{recordOfVault, 0, 1, 0, 0, 0, 2, 'k', 'v', 'w', 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			kind, key, value, err := readRecord(r)
			if err != nil || kind == 0 {
				return
			}
			if len(key) > maxRecordKey || len(value) > len(in) {
				t.Fatal("a record out of nothing")
			}
		}
	})
}

// The root blob of a replica: what parses encodes back to the same bytes.
func FuzzRootBlob(f *testing.F) {
	f.Add(rootBlob{header: []byte("header"), keyring: []byte("keyring"), root: []byte("root")}.encode())
	f.Add(rootBlob{}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if b, err := parseRootBlob(in); err == nil && !bytes.Equal(b.encode(), in) {
			t.Fatalf("parsed %x, encoded %x", in, b.encode())
		}
	})
}

// A part of a replica: bytes from there, and what somebody with a former vault key may have sealed.
func FuzzPart(f *testing.F) {
	keys := &keyring{id: seal.RandomKeyID(), current: secret.Random(), anchor: secret.Random()}
	record := []byte("a record")
	hash := sha256.Sum256(record)
	name := partName(keys, hash)
	f.Add(sealPart(uuid.Nil, keys, record).Body)
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(record))), record...))
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := openPart(uuid.Nil, keys, hash, name, in); err == nil && !bytes.Equal(got, record) {
			t.Fatalf("%x opens", in)
		}
		sealed := seal.Seal(keys.current, keys.id, partPurpose, partContext(uuid.Nil, name), in)
		if got, err := openPart(uuid.Nil, keys, hash, name, sealed); err == nil && !bytes.Equal(got, record) {
			t.Fatalf("%x opens", in)
		}
	})
}

// The records of a pending change.
func FuzzPending(f *testing.F) {
	head := &pendingHead{State: proposed, Root: make([]byte, 32)}
	head.attach([]RemoteChange{{Name: "i-1", Before: Mark{Counter: 7}, Body: []byte("body")}, {Name: "i-2"}})
	raw, err := signed.Marshal(head)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := parsePendingHead(in); err == nil {
			if out, err := signed.Marshal(h); err != nil || !bytes.Equal(out, in) || len(h.attached()) != len(h.Attached) {
				t.Fatalf("parsed %x, encoded %x, %v", in, out, err)
			}
		}
		for _, key := range []string{pendingSet + "vault/root", pendingDelete + "own/record"} {
			if w, err := parsePendingEntry(key, in); err == nil {
				if k, v := pendingEntry(w); k != key || !bytes.Equal(v, in) && !w.Deleted {
					t.Fatalf("parsed %s %x, encoded %s %x", key, in, k, v)
				}
			}
		}
	})
}
