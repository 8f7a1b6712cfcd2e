package keystore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// vectorReplica is the records of a vector, and what a test makes of them.
type vectorReplica map[string][]byte

func (r vectorReplica) Read(_ context.Context, names []string) ([]Remote, error) {
	list := make([]Remote, len(names))
	for i, name := range names {
		list[i] = Remote{Name: name, Body: r[name]}
	}
	return list, nil
}

func (r vectorReplica) Marks(context.Context, []string) ([]Presence, error) {
	return nil, fault.Forbidden
}

func (r vectorReplica) List(context.Context, string, string) ([]Remote, bool, error) {
	return nil, false, fault.Forbidden
}

func (r vectorReplica) Swap(_ context.Context, s Swap) error {
	for _, c := range s.Changes {
		r[c.Name] = c.Body
	}
	return nil
}

// runReplica makes a vault of the records on a replica, with the password and kit.
func runReplica(t *testing.T, c vector) error {
	kit, err := ParseRecoveryKit([]byte(c.Kit))
	if err != nil {
		t.Fatal(err)
	}
	r := vectorReplica{}
	for name, body := range c.Records {
		r[name] = unhex(t, body)
	}
	v := newVault(t)
	if err := v.Fetch(t.Context(), r, FetchOptions{Kit: kit, Password: []byte(c.Password)}); err != nil {
		return err
	}
	checkVector(t, v, c)
	return nil
}

// Vectors of replicas are made by themselves: COLDFRAME_NEW_REPLICA_VECTORS=1.
func TestNewReplicaVectors(t *testing.T) {
	if os.Getenv("COLDFRAME_NEW_REPLICA_VECTORS") == "" {
		return // a skipped test fails in CI
	}
	v, kit := registered(t)
	r := vectorReplica{}
	v.Connect(r)
	if err := v.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	items := map[string]string{"store": "folder", "version-keys/abc/1": "keys of version 1", "version-keys/abc/2": "keys of version 2"}
	for id, body := range items {
		if err := v.Update(func(tx *Tx) error { return tx.Put(Item{ID: id, Kind: "store", Body: []byte(body)}) }); err != nil {
			t.Fatal(err)
		}
	}
	c := vector{
		Kind: "replica", Password: testPassword, Kit: string(kit.Text()), Normal: v.Email(), Items: items,
		VaultKey: hex.EncodeToString(v.c.keys.current.Bytes()), Records: map[string]string{remoteRoot: hex.EncodeToString(r[remoteRoot])},
	}
	live, err := v.liveParts()
	if err != nil {
		t.Fatal(err)
	}
	for name := range live {
		c.Records[name] = hex.EncodeToString(r[name])
	}
	writeReplicaVectors(t, c)
}

func writeReplicaVectors(t *testing.T, c vector) {
	write := func(name string, code fault.Code, edit func(records map[string]string)) {
		n := c
		n.Records = maps.Clone(c.Records)
		edit(n.Records)
		if n.Code = string(code); code != "" {
			n.Items = nil
		}
		raw, err := json.MarshalIndent(n, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vectorDir, name+".json"), append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	parts := slices.Sorted(maps.Keys(c.Records))[:2]
	write("replica", "", func(map[string]string) {})
	write("refused-replica-part-dropped", fault.Incomplete, func(records map[string]string) { delete(records, parts[0]) })
	write("refused-replica-parts-swapped", fault.NotAuthentic, func(records map[string]string) {
		records[parts[0]], records[parts[1]] = records[parts[1]], records[parts[0]]
	})
	write("refused-replica-version", fault.Policy, func(records map[string]string) {
		records[remoteRoot] = records[remoteRoot][:8] + "02" + records[remoteRoot][10:]
	})
	write("refused-replica-salt", fault.Policy, func(records map[string]string) {
		raw := unhex(t, records[remoteRoot])
		h, err := parseHeader(rootOfVector(t, raw).header)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(raw, h.kdf.salt[0])
		for string(raw[at:at+saltSize]) != string(h.kdf.salt[:]) {
			at += 1 + slices.Index(raw[at+1:], h.kdf.salt[0])
		}
		raw[at] ^= 1
		records[remoteRoot] = hex.EncodeToString(raw)
	})
}

func rootOfVector(t *testing.T, raw []byte) rootBlob {
	t.Helper()
	b, err := parseRootBlob(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
