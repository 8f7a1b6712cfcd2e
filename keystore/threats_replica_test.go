package keystore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// behind returns two devices of which the second has not seen what the first changed last, and what it will find.
func behind(t *testing.T) (a, b *rig, remote *keystoretest.Replica, kit keystore.RecoveryKit) {
	t.Helper()
	a, remote, kit = joinedRig(t)
	b = fetched(t, remote, kit)
	a.put("x", "one")
	a.put("y", "two")
	if _, err := a.vault.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, b, remote, kit
}

// refuses checks that a device takes nothing over and changes nothing while the replica is as it is.
func refuses(t *testing.T, r *rig, codes ...fault.Code) {
	t.Helper()
	head, records := r.head(), r.records()
	for what, err := range map[string]error{"sync": r.vault.Sync(t.Context()), "change": r.tryPut("secret", "of the user")} {
		if !slices.Contains(codes, fault.CodeOf(err)) {
			t.Fatalf("%s: %v; want %v", what, err, codes)
		}
	}
	if r.head() != head || !maps.EqualFunc(records, r.records(), slices.Equal) {
		t.Fatal("a refused vault left something")
	}
	r.wants("seed", "one")
}

// edited returns records with one body changed.
func edited(records map[string]keystore.Remote, name string, body []byte) map[string]keystore.Remote {
	out := maps.Clone(records)
	rec := out[name]
	rec.Body = body
	out[name] = rec
	return out
}

// editRemoteHeader changes the readable part of the header in the root blob.
func editRemoteHeader(t *testing.T, records map[string]keystore.Remote, edit func(body map[int]any)) map[string]keystore.Remote {
	t.Helper()
	blob := records["v-root"].Body
	n := binary.BigEndian.Uint32(blob[5:])
	header := editedHeader(t, blob[9:9+n], edit)
	out := binary.BigEndian.AppendUint32(slices.Clone(blob[:5]), uint32(len(header)))
	return edited(records, "v-root", append(append(out, header...), blob[9+n:]...))
}

func TestV01_ReplicaLowersCosts(t *testing.T) {
	_, _, remote, kit := behind(t)
	good := remote.Records()
	for name, edit := range map[string]func(block []byte){
		"memory":       func(b []byte) { binary.BigEndian.PutUint32(b[4:], 128) }, // within the policy of the tests, but not what the kit says
		"passes":       func(b []byte) { binary.BigEndian.PutUint32(b[8:], 2) },
		"lanes":        func(b []byte) { b[3] = 2 },
		"below floor":  func(b []byte) { binary.BigEndian.PutUint32(b[4:], 8) },
		"no account":   func(b []byte) { b[2] = 0 },
		"V02: argon2i": func(b []byte) { b[0] = 1 },
		"V02: 0x10":    func(b []byte) { b[1] = 0x10 },
		"V02: pbkdf2":  func(b []byte) { b[0] = 200 },
		"V03: salt":    func(b []byte) { b[12] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			remote.Set(editRemoteHeader(t, good, func(body map[int]any) { edit(kdfField(body)) }))
			calls := remote.Calls()
			n := newRigInMemory(t)
			for _, o := range []keystore.FetchOptions{{Kit: kit, Password: []byte(another)}, {Kit: kit, NewPassword: []byte(another)}} {
				wantCode(t, n.vault.Fetch(t.Context(), remote, o), fault.Policy) // and no answer to whether the password is right
			}
			if n.vault.State() != keystore.None || remote.Calls() != calls+2 {
				t.Fatal(n.vault.State(), remote.Calls()-calls)
			}
		})
	}
}

func TestV04_ReplicaSwapsRecords(t *testing.T) {
	_, b, remote, kit := behind(t)
	good := remote.Records()
	names := slices.Sorted(maps.Keys(good))
	pairs, n := 0, newRigInMemory(t)
	for i, x := range names {
		for _, y := range names[:i] {
			remote.Set(edited(edited(good, x, good[y].Body), y, good[x].Body))
			wantCode(t, n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}), fault.NotAuthentic)
			pairs++
		}
	}
	fields := []int{fieldUser, fieldKDF, fieldKeyID, fieldPassword, fieldRecovery}
	for i, x := range fields {
		for _, y := range fields[:i] {
			remote.Set(editRemoteHeader(t, good, func(body map[int]any) { body[x], body[y] = body[y], body[x] }))
			refuses(t, b, fault.NotAuthentic, fault.Policy, fault.Locked)
			pairs++
		}
	}
	remote.Set(good)
	b.sync()
	t.Logf("%d pairs", pairs)
}

func TestV05_ReplicaServesAnotherUser(t *testing.T) {
	_, _, theirs, _ := behind(t)
	_, b, remote, kit := behind(t)
	own := remote.Records()
	remote.Set(theirs.Records())
	refuses(t, b, fault.NotAuthentic)
	n := newRigInMemory(t)
	wantCode(t, n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}), fault.NotAuthentic)
	for name, rec := range theirs.Records() {
		if _, there := own[name]; there && name != "v-root" {
			t.Error("two users have a part in common:", rec.Name)
		}
	}
}

func TestV06_ReplicaGoesBack(t *testing.T) {
	a, _, remote, _ := behind(t)
	var states []map[string]keystore.Remote
	for i := range 8 {
		states = append(states, remote.Records())
		a.put("z", fmt.Sprint(i))
	}
	newest := remote.Records()
	for _, back := range []int{1, 5, 8} {
		remote.Set(states[len(states)-back])
		refuses(t, a, fault.RolledBack)
	}
	remote.Set(nil)
	refuses(t, a, fault.RolledBack)
	a.reopen(remote)
	refuses(t, a, fault.RolledBack) // the mark survives a restart
	if !a.saw(keystore.EventRolledBack) {
		t.Fatal(a.events)
	}
	remote.Set(newest)
	a.put("z", "goes on")

	// The user decides, as after a restore of the coordinator.
	remote.Set(states[3])
	if err := a.vault.Republish(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.put("z", "again")
	a.sync()
	a.wants("z", "again")
}

// E04: two branches of one vault. A fork stays one, however far a branch goes on.
func TestE04_ForkedVault(t *testing.T) {
	a, b, remote, kit := behind(t)
	b.sync()
	common := remote.Records()
	a.put("x", "branch a")
	branchA := remote.Records()
	remote.Set(common)
	b.put("x", "branch b")
	remote.Set(branchA)
	refuses(t, b, fault.Forked)
	refuses(t, b, fault.Forked)
	for i := range 5 {
		a.put("y", fmt.Sprint("branch a ", i))
		refuses(t, b, fault.Forked)
	}
	counter, head, err := a.vault.Head()
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, b.vault.CheckHead(counter-5, head), fault.Forked)
	wantCode(t, b.vault.CheckHead(counter, head), fault.RolledBack)
	if err := a.vault.CheckHead(counter, head); err != nil {
		t.Fatal(err)
	}
	if !b.saw(keystore.EventForked) {
		t.Fatal(b.events)
	}
	wantCode(t, b.vault.Republish(t.Context()), fault.Conflict)
	third := fetched(t, remote, kit)
	sameVault(t, a, third)
}

// E06: a device that was away for longer than the history reaches cannot tell, and says so.
func TestE06_JumpOfVersions(t *testing.T) {
	a, b, remote, _ := behind(t)
	c, old, err := b.vault.Head()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.vault.Confirm(); err != nil {
		t.Fatal(err)
	}
	for i := range 253 {
		a.put("x", fmt.Sprint(i))
	}
	if err := a.vault.CheckHead(c, old); err != nil {
		t.Fatal("255 changes ago:", err)
	}
	a.put("x", "more")
	a.put("x", "still more")
	wantCode(t, a.vault.CheckHead(c, old), fault.Stale)
	wantCode(t, a.vault.CheckHead(1<<63, old), fault.RolledBack)
	wantCode(t, a.vault.CheckHead(0, old), fault.Stale)
	b.vault.Connect(remote)
	b.sync()
	if fresh, err := b.vault.Fresh(); err != nil || !fresh || !b.saw(keystore.EventUnconfirmed) {
		t.Fatal(fresh, err, b.events)
	}
	sameVault(t, a, b)
}

func TestV07_ReplicaDropsDoublesReorders(t *testing.T) {
	_, b, remote, kit := behind(t)
	good := remote.Records()
	dropped := 0
	for name := range good {
		if name == "v-root" {
			continue
		}
		less := maps.Clone(good)
		delete(less, name)
		remote.Set(less)
		n := newRigInMemory(t)
		wantCode(t, n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}), fault.Incomplete)
		if n.vault.State() != keystore.None {
			t.Fatal("a vault without", name)
		}
		dropped++
	}
	if dropped < 4 {
		t.Fatal(dropped)
	}
	remote.Set(good)
	for name, lie := range map[string]func([]keystore.Remote) []keystore.Remote{
		"reordered": func(l []keystore.Remote) []keystore.Remote { slices.Reverse(l); return l },
		"doubled":   func(l []keystore.Remote) []keystore.Remote { l[1] = l[0]; return l },
		"more":      func(l []keystore.Remote) []keystore.Remote { return append(l, l...) },
		"nothing":   func([]keystore.Remote) []keystore.Remote { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			remote.OnRead = func(l []keystore.Remote) ([]keystore.Remote, error) {
				if len(l) > 1 {
					l = lie(l)
				}
				return l, nil
			}
			refuses(t, b, fault.NotAuthentic)
		})
	}
	remote.OnRead = func(l []keystore.Remote) ([]keystore.Remote, error) {
		l[0].Body = make([]byte, keystore.MaxRemote+1)
		return l, nil
	}
	refuses(t, b, fault.TooLarge)
	remote.OnRead = nil
	b.sync()
}

func TestV08_ReplicaMakesAVaultKey(t *testing.T) {
	_, b, remote, _ := behind(t)
	good := remote.Records()
	swaps := 0
	remote.OnSwap = func(keystore.Swap) error { swaps++; return nil }
	remote.Set(editRemoteHeader(t, good, func(body map[int]any) {
		wrapped := slices.Clone(body[fieldPassword].([]byte))
		wrapped[len(wrapped)-1] ^= 1
		body[fieldPassword] = wrapped
	}))
	refuses(t, b, fault.NotAuthentic)
	forger, forged := newRigInMemory(t), keystoretest.NewReplica() // the coordinator's own vault under the user's id
	forger.register()
	forger.vault.Connect(forged)
	if err := forger.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	user := func(body map[int]any) []byte { return body[fieldUser].([]byte) }
	var own []byte
	editRemoteHeader(t, good, func(body map[int]any) { own = user(body) })
	remote.Set(editRemoteHeader(t, forged.Records(), func(body map[int]any) { body[fieldUser] = own }))
	refuses(t, b, fault.Locked)
	wantCode(t, b.vault.Follow(t.Context(), remote, []byte(password), nil), fault.NotAuthentic)
	if swaps > 0 {
		t.Fatal("something was written under the vault of the replica")
	}
}

func TestV09_ReplicaLowersFormat(t *testing.T) {
	_, b, remote, _ := behind(t)
	good := remote.Records()
	for _, at := range []int{4, 9 + 4} { // of the root blob, of the header in it
		for _, version := range []byte{0, 2, 255} {
			body := slices.Clone(good["v-root"].Body)
			body[at] = version
			remote.Set(edited(good, "v-root", body))
			refuses(t, b, fault.Policy)
		}
	}
}

func TestV10_ReplicaEdits(t *testing.T) {
	_, b, remote, kit := behind(t)
	good := remote.Records()
	for field := fieldUser; field <= fieldRecovery; field++ {
		remote.Set(editRemoteHeader(t, good, func(body map[int]any) {
			switch x := body[field].(type) {
			case []byte:
				x = slices.Clone(x)
				x[len(x)-1] ^= 1
				body[field] = x
			case uint64:
				body[field] = x + 1
			case []any:
				body[field] = []any{x[1], x[0], x[2]}
			default:
				t.Fatalf("field %d is %T", field, x)
			}
		}))
		refuses(t, b, fault.NotAuthentic, fault.Policy, fault.Locked)
	}
	// Each record cut, or with a bit flipped, anywhere.
	edits, n := 0, newRigInMemory(t)
	for name, rec := range good {
		step := max(len(rec.Body)/15, 1)
		for at := 0; at < len(rec.Body); at += step {
			flipped := slices.Clone(rec.Body)
			flipped[at] ^= 1 << (at % 8)
			for _, body := range [][]byte{flipped, rec.Body[:at]} {
				remote.Set(edited(good, name, body))
				n.sleep(time.Hour)
				err := n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)})
				absent := len(body) == 0 && (errors.Is(err, fault.Incomplete) || errors.Is(err, fault.NotFound))
				if !absent && !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Policy) || n.vault.State() != keystore.None {
					t.Fatalf("%s at %d: %v", name, at, err)
				}
				edits++
			}
		}
	}
	remote.Set(good)
	b.sync()
	t.Logf("%d edits", edits)
}
