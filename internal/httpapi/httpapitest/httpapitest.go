// Package httpapitest is what tests of the HTTP servers have in common. Nothing but tests may import it.
package httpapitest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Buffer is a bytes.Buffer that many goroutines may write to.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// Bytes returns a copy of what was written.
func (b *Buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

func (b *Buffer) String() string { return string(b.Bytes()) }

// GeneratedIsUpToDate generates the client in the folder above and the server in this one again from ../openapi.yaml, and compares the bytes.
func GeneratedIsUpToDate(t *testing.T) {
	t.Helper()
	tool, err := exec.LookPath("oapi-codegen")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("oapi-codegen is not there")
	}
	for dir, spec := range map[string]string{"..": "openapi.yaml", ".": "../openapi.yaml"} {
		want, err := os.ReadFile(filepath.Join(dir, "api.gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		if got := generate(t, tool, dir, spec); got != string(want) {
			t.Errorf("%s/api.gen.go is not what openapi.yaml gives; run go generate", dir)
		}
	}
}

// generate returns what the tool makes of a document with the configuration of a folder.
func generate(t *testing.T, tool, dir, spec string) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(dir, "oapi-codegen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out, elsewhere := filepath.Join(t.TempDir(), "api.gen.go"), filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(elsewhere, []byte(strings.Replace(string(config), "output: api.gen.go", "output: "+out, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "-config", elsewhere, spec)
	cmd.Dir = dir
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}
