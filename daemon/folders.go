package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"coldframe/internal/fault"
)

// defaultFolders follows the XDG base directory specification; under a systemd system unit the folders that systemd made come first.
// Without XDG_RUNTIME_DIR the socket and the token lie in the state folder, which is the user's own as well.
func defaultFolders(getenv func(string) string) Folders {
	f := Folders{
		Data:  filepath.Join(xdg(getenv, "XDG_DATA_HOME", ".local/share"), "coldframe"),
		State: filepath.Join(xdg(getenv, "XDG_STATE_HOME", ".local/state"), "coldframe"),
		Cache: filepath.Join(xdg(getenv, "XDG_CACHE_HOME", ".cache"), "coldframe"),
	}
	if d := getenv("STATE_DIRECTORY"); filepath.IsAbs(d) {
		f.Data, f.State = filepath.Join(d, "data"), filepath.Join(d, "state")
	}
	if d := getenv("CACHE_DIRECTORY"); filepath.IsAbs(d) {
		f.Cache = d
	}
	f.Runtime = filepath.Join(f.State, "run")
	if d := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		f.Runtime = filepath.Join(d, "coldframe")
	}
	if d := getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(d) {
		f.Runtime = d
	}
	return f
}

func configHome(getenv func(string) string) string { return xdg(getenv, "XDG_CONFIG_HOME", ".config") }

// xdg returns the folder that a variable names if it is absolute (the specification ignores others), else the default under HOME.
func xdg(getenv func(string) string, name, fallback string) string {
	if d := getenv(name); filepath.IsAbs(d) {
		return d
	}
	return filepath.Join(getenv("HOME"), fallback)
}

// environment applies the COLDFRAME_ variables. None of them is a secret: secrets are never in the environment (R16).
func (c *Config) environment(getenv func(string) string) error {
	for name, field := range map[string]*string{
		"COLDFRAME_DATA_DIR":    &c.Folders.Data,
		"COLDFRAME_STATE_DIR":   &c.Folders.State,
		"COLDFRAME_RUNTIME_DIR": &c.Folders.Runtime,
		"COLDFRAME_CACHE_DIR":   &c.Folders.Cache,
		"COLDFRAME_LOG_LEVEL":   &c.Log.Level,
		"COLDFRAME_LOG_FORMAT":  &c.Log.Format,
	} {
		if v := getenv(name); v != "" {
			*field = v
		}
	}
	if v := getenv("COLDFRAME_PORT"); v != "" {
		port, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("COLDFRAME_PORT is not a number")
		}
		c.Listen.Port = port
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("configuration with the COLDFRAME_ variables: %w", err)
	}
	return nil
}

// prepare makes the folders that are absent and refuses one that is not a folder of this user with mode 0700 or stricter.
func (f Folders) prepare() error {
	for _, d := range []string{f.Data, f.State, f.Runtime} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fault.Wrap(fault.Unavailable, err, "a folder of the agent cannot be made")
		}
		if err := checkFolder(d); err != nil {
			return err
		}
	}
	return nil
}

func checkFolder(d string) error {
	info, err := os.Lstat(d)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "a folder of the agent cannot be read")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fault.New(fault.Policy, "a folder of the agent is not a folder")
	case !ok || int(st.Uid) != os.Getuid():
		return fault.New(fault.Policy, "a folder of the agent belongs to somebody else")
	case info.Mode().Perm()&0o077 != 0:
		return fault.New(fault.Policy, "a folder of the agent is open to others: its mode must be 0700")
	}
	return nil
}

// readConfig reads a configuration file, which nobody but its owner may write: it decides which addresses may be dialled.
func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s may be written by others: its mode must be 0644 or stricter", path)
	}
	return readBounded(path, MaxConfigSize)
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return b, err
}
