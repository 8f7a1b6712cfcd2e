package remote_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

const (
	email    = "ada@example.org"
	password = "tundra-violet-47-anvil-orbit"
	another  = "quarry-lantern-83-salt-meadow"
)

// world is a coordinator with one user.
type world struct {
	*coordinatortest.Coordinator
	t      *testing.T
	client *coordinator.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := coordinatortest.New(t, coordinatortest.Options{})
	return &world{c, t, c.Register(coordinatortest.UserN(1), coordinator.Options{})}
}

// over returns a Client that is always the same.
func over(c *coordinator.Client) remote.Client {
	return func() (*coordinator.Client, error) { return c, nil }
}

func offline() (*coordinator.Client, error) {
	return nil, fault.New(fault.Unavailable, "not logged in")
}

func (w *world) replica() *remote.Replica { return remote.NewReplica(over(w.client)) }

// answers lets a change be made of each answer to an operation, until the hook is another one.
func answers[T any](w *world, operation string, change func(v *T)) {
	w.Hook(coordinatortest.Nth(operation, 0, func(e *coordinatortest.Exchange) {
		var v T
		if err := json.Unmarshal(e.Forward().Body, &v); err != nil {
			w.t.Error(err)
		}
		change(&v)
		e.Answer = coordinatortest.JSON(200, v)
	}))
}

// lost makes the next answer to an operation go missing, after it was acted on or before.
func (w *world) lost(operation string, acted bool) {
	w.Hook(coordinatortest.Nth(operation, 1, func(e *coordinatortest.Exchange) {
		if acted {
			e.Forward()
		}
		e.Drop()
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) || fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// put is a change of one record that there never was.
func put(name, body string) keystore.Swap {
	return keystore.Swap{Changes: []keystore.RemoteChange{{Name: name, Body: []byte(body)}}}
}

func namesOf(list []keystore.Remote) (names []string) {
	for _, r := range list {
		names = append(names, r.Name)
	}
	return names
}

// one reads a record.
func (w *world) one(name string) keystore.Remote {
	w.t.Helper()
	list, err := w.replica().Read(w.t.Context(), []string{name})
	if err != nil || len(list) != 1 || list[0].Name != name {
		w.t.Fatal(list, err)
	}
	return list[0]
}

// machine is a vault on a disk of its own, and its client.
type machine struct {
	t      *testing.T
	w      *world
	db     *kv.DB
	vault  *keystore.Vault
	client *coordinator.Client
}

func (w *world) machine() *machine {
	w.t.Helper()
	dir := w.t.TempDir()
	db, err := kv.Open(filepath.Join(dir, "db"), kv.Options{})
	must(w.t, err)
	w.t.Cleanup(func() { _ = db.Close() })
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	v := keystore.New(db, keystore.Options{Dir: dir, Profile: keystoretest.Cheap(), Clock: func() time.Time { return now }})
	return &machine{w.t, w, db, v, w.Client(coordinator.Options{})}
}

func (m *machine) replica() *remote.Replica { return remote.NewReplica(over(m.client)) }

// joined is a machine with a new account whose vault the coordinator keeps.
func (w *world) joined() (*machine, keystore.RecoveryKit) {
	w.t.Helper()
	m := w.machine()
	kit, err := m.vault.Register(w.t.Context(), keystore.Registration{Email: email, Password: []byte(password)})
	must(w.t, err)
	hash, err := keystore.EmailHash(email)
	must(w.t, err)
	recovery := slices.Clone(kit.Proof().For(w.URL).Bytes())
	must(w.t, m.client.Register(w.t.Context(), coordinator.Registration{
		User: m.vault.UserID(), EmailHash: hash[:], Proof: m.proof(password).For(w.URL).Bytes(), RecoveryProof: &recovery,
	}))
	m.vault.Connect(m.replica())
	must(w.t, m.vault.Join(w.t.Context()))
	return m, kit
}

func (m *machine) proof(password string) keystore.Proof {
	m.t.Helper()
	p, err := m.vault.LoginProof(m.t.Context(), []byte(password))
	must(m.t, err)
	return p
}

// login logs in a machine with a proof: of the kit, or the login proof.
func (m *machine) login(user string, proof keystore.Proof, byKit bool) error {
	l := coordinator.Login{User: &user, Proof: proof.For(m.w.URL).Bytes()}
	if byKit {
		l.Kind = new(coordinator.LoginKindRecovery)
	}
	return m.client.Login(m.t.Context(), l)
}

func (m *machine) put(id, body string) {
	m.t.Helper()
	must(m.t, m.tryPut(id, body))
}

func (m *machine) tryPut(id, body string) error {
	return m.vault.UpdateContext(m.t.Context(), func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: id, Kind: "metadata", Body: []byte(body)})
	})
}

func (m *machine) has(id, body string) {
	m.t.Helper()
	it, err := m.vault.Get(id)
	if err != nil || string(it.Body) != body {
		m.t.Fatalf("%s is %q, %v; want %q", id, it.Body, err, body)
	}
}
