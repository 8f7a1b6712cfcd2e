package keystore

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"coldframe/internal/secret"
)

// masked is a copy of a secret that does not look like it, so that the search finds others' copies only.
type masked []byte

const mask = 0xA5

func maskOf(b []byte) masked {
	m := make(masked, len(b))
	for i := range b {
		m[i] = b[i] ^ mask
	}
	return m
}

func (m masked) at(b []byte) bool {
	for i := range m {
		if b[i]^mask != m[i] {
			return false
		}
	}
	return true
}

// find returns in how many places of the process's writable memory the secret is.
func (m masked) find(t *testing.T) int {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found := 0
	buf := make([]byte, 1<<20)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uint64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(rights, "rw") {
			continue
		}
		for at := from; at < to; at += uint64(len(buf) - len(m)) {
			n, _ := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at)) // a page that is not there ends the mapping
			found += m.count(buf[:n])
			clear(buf[:n])
			if n == 0 {
				break
			}
		}
	}
	return found
}

func (m masked) count(b []byte) int {
	found := 0
	for i := 0; i+len(m) <= len(b); i++ {
		next := bytes.IndexByte(b[i:len(b)-len(m)+1], m[0]^mask)
		if next < 0 {
			return found
		}
		i += next
		if m.at(b[i:]) {
			found++
		}
	}
	return found
}

// churn takes the memory that is free but still as its last user left it: slots of the heap of every small size, and stacks. What the
// search finds afterwards is held by somebody.
func churn() any {
	const each = 512 << 10 // bytes of a size
	var held []any
	for size := 16; size <= 1024; size += 16 {
		for range each / size {
			held = append(held, make([]byte, size), make([]*byte, size/8))
		}
	}
	var started, ended sync.WaitGroup
	end := make(chan struct{})
	for range 500 {
		started.Add(1)
		ended.Go(func() {
			scrubStack()
			started.Done()
			<-end
		})
	}
	started.Wait()
	close(end)
	ended.Wait()
	return held
}

// The account key is not looked for: it is in a file of this machine, unlocked or not.
func TestL17_LockWipesKeys(t *testing.T) {
	var v *Vault
	var secrets map[string]masked
	done := make(chan struct{})
	go func() { // as a request does, on a goroutine that ends
		defer close(done)
		v, secrets = useVault(t)
	}()
	<-done
	if n := secrets["vault key"].find(t); n == 0 {
		t.Fatal("the search does not find a key that is there")
	}
	v.Lock()
	defer runtime.KeepAlive(churn())
	for name, m := range secrets {
		if n := m.find(t); n != 0 {
			t.Errorf("%s: %d copies left", name, n)
		}
	}
}

// useVault does everything that touches keys and returns what to look for.
func useVault(t *testing.T) (*Vault, map[string]masked) {
	v, kit := registered(t)
	secrets := map[string]masked{}
	note := func(name string, k secret.Key) { k.Use(func(b []byte) { secrets[name] = maskOf(b) }) }
	note("first vault key", v.c.keys.current)
	note("anchor key", v.c.keys.anchor)
	note("recovery key", kit.RecoveryKey)
	kit.Wipe()

	credential, err := v.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Error(err)
	}
	note("credential", credential)
	credential.Wipe()
	if err := v.ChangePassword(t.Context(), []byte(testPassword), []byte(testPassword+"!")); err != nil {
		t.Error(err)
	}
	note("vault key", v.c.keys.current)
	for range 20 {
		if err := v.Update(func(tx *Tx) error { return tx.Put(Item{ID: "a", Kind: "store", Body: []byte("body")}) }); err != nil {
			t.Error(err)
		}
		if _, err := v.Get("a"); err != nil {
			t.Error(err)
		}
	}
	if err := v.Backup(t.Context(), &bytes.Buffer{}, nil); err != nil {
		t.Error(err)
	}
	return v, secrets
}
