package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestConfigErrorsNameLineOrField(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "version is missing"},
		{"version = 2", "version is 2"},
		{"version = 1\n\n[listen]\nbind = \"0.0.0.0\"", "line 4: unknown field \"listen.bind\""},
		{"version = 1\npasword = 1", "line 2: unknown field \"pasword\""},
		{"version = 1\n[lock]\nidle_minutes = \"x\"", "line 3"},
		{"version = 1\n[lock\n", "line 2"},
		{"version = 1\n[lock]\nidle_minutes = -1", "lock.idle_minutes is -1"},
		{"version = 1\n[listen]\nport = 70000", "listen.port is 70000"},
		{"version = 1\n[listen]\nunix = false\ntcp = false", "both off"},
		{"version = 1\n[log]\nlevel = \"loud\"", "log.level"},
		{"version = 1\n[log]\nformat = \"xml\"", "log.format"},
		{"version = 1\n[folders]\ndata = \"here\"", "folders.data is not an absolute path"},
		{"version = 1\n[limits]\nmemory_mib = 10", "limits.memory_mib is 10"},
		{"version = 1\n[cache]\nsize_mib = -1", "cache.size_mib is -1"},
		{"version = 1\nversion = 1", "line 2"},
	} {
		_, err := ParseConfig([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.text, err, c.want)
		}
	}
}

func TestConfigAbsentIsNotBroken(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	c, err := LoadConfig("")
	if err != nil || c.File != "" || c.Listen.Port != 7878 {
		t.Fatalf("no file: %+v, %v", c, err)
	}
	if _, err := LoadConfig(filepath.Join(dir, "asked.toml")); err == nil {
		t.Fatal("a file that was asked for and is absent gave no error")
	}
	path := filepath.Join(dir, "coldframe", "coldframed.toml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("version = 1\n[listen]\nprot = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = LoadConfig("")
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 3") {
		t.Fatalf("broken default file: %v", err)
	}
}

func TestConfigEnvironmentComesAfterFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(path, []byte("version = 1\n[listen]\nport = 1111\n[log]\nlevel = \"warn\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COLDFRAME_PORT", "2222")
	c, err := LoadConfig(path)
	if err != nil || c.Listen.Port != 2222 || c.Log.Level != "warn" {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Fatalf("a file that others may write: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COLDFRAME_PORT", "99999")
	if _, err := LoadConfig(path); err == nil {
		t.Fatal("a port out of range was taken from the environment")
	}
}

func TestFoldersFollowXDGAndSystemd(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	f := defaultFolders(env(map[string]string{"HOME": "/h"}))
	if f.Data != "/h/.local/share/coldframe" || f.State != "/h/.local/state/coldframe" || f.Runtime != "/h/.local/state/coldframe/run" || f.Cache != "/h/.cache/coldframe" {
		t.Fatalf("home only: %+v", f)
	}
	f = defaultFolders(env(map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "rel", "XDG_RUNTIME_DIR": "/r", "XDG_CACHE_HOME": "/c"}))
	if f.Cache != "/c/coldframe" || f.Data != "/d/coldframe" || f.State != "/h/.local/state/coldframe" || f.Runtime != "/r/coldframe" {
		t.Fatalf("xdg: %+v", f)
	}
	f = defaultFolders(env(map[string]string{"HOME": "/h", "STATE_DIRECTORY": "/var/lib/c", "RUNTIME_DIRECTORY": "/run/c", "XDG_RUNTIME_DIR": "/r", "CACHE_DIRECTORY": "/var/cache/c"}))
	if f.Data != "/var/lib/c/data" || f.Runtime != "/run/c" || f.Cache != "/var/cache/c" {
		t.Fatalf("systemd: %+v", f)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("version = 1\n"))
	f.Add([]byte("version = 1\n[folders]\ndata = \"/d\"\n[listen]\nunix = true\ntcp = false\nport = 1\n[log]\nlevel = \"debug\"\nformat = \"json\"\n"))
	f.Add([]byte("version = 1\n[lock]\nidle_minutes = 0\n[limits]\ntransfers = 3\n"))
	f.Add([]byte("version = 1\n[[lock]]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		again, err := toml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseConfig(again)
		if err != nil || d != c {
			t.Fatalf("parsed %+v, encoded\n%s\nparsed again %+v, %v", c, again, d, err)
		}
		third, err := toml.Marshal(d)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("encodings differ:\n%s\n%s (%v)", again, third, err)
		}
	})
}
