package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// ConfigVersion is the one version of the configuration file that this agent reads.
const ConfigVersion = 1

// MaxConfigSize bounds the file in bytes, before it is parsed.
const MaxConfigSize = 64 << 10

// Config is the configuration of an agent: defaults, then the file, then COLDFRAME_ variables, then flags. It holds no secret and no
// store settings; those are in the vault.
type Config struct {
	Version     int         `toml:"version"`
	Folders     Folders     `toml:"folders"`
	Listen      Listen      `toml:"listen"`
	Lock        Lock        `toml:"lock"`
	Limits      Limits      `toml:"limits"`
	Store       Store       `toml:"store"`
	Coordinator Coordinator `toml:"coordinator"`
	Log         Log         `toml:"log"`
	Query       Query       `toml:"query"`
	Cache       Cache       `toml:"cache"`

	File string `toml:"-"` // where it was read from; empty: there was none
}

// Folders of the agent, absolute. Each is made 0700 if it is absent and must belong to the user.
type Folders struct {
	Data    string `toml:"data"`    // local store, account key, objects of the folder store
	State   string `toml:"state"`   // spool of Parquet bodies
	Runtime string `toml:"runtime"` // socket and token
	Cache   string `toml:"cache"`   // what was fetched from a bucket, sealed; may be removed while no agent runs
}

// Listen says where the local API is. Addresses other than loopback cannot be expressed.
type Listen struct {
	Unix bool `toml:"unix"`
	TCP  bool `toml:"tcp"`
	Port int  `toml:"port"` // 0: any free one
}

// Lock says when the agent locks by itself.
type Lock struct {
	IdleMinutes int  `toml:"idle_minutes"` // 0: never
	OnSuspend   bool `toml:"on_suspend"`
}

// Idle returns the idle time after which the agent locks; 0: never.
func (l Lock) Idle() time.Duration { return time.Duration(l.IdleMinutes) * time.Minute }

// Limits bound what callers can make the agent use.
type Limits struct {
	MemoryMiB   int   `toml:"memory_mib"`  // resident, beyond the argon2 buffer
	Transfers   int   `toml:"transfers"`   // reads and writes of data at once; more wait
	Connections int   `toml:"connections"` // of the local API
	Requests    int   `toml:"requests"`    // in work at once; more get 503
	MinFreeMiB  int64 `toml:"min_free_mib"`
}

// Store says which addresses an S3 endpoint may have beside public ones (L14). Where the store is, is in the vault.
type Store struct {
	AllowPrivate   bool `toml:"allow_private"`    // private networks
	AllowLoopback  bool `toml:"allow_loopback"`   // this machine
	AllowPlainHTTP bool `toml:"allow_plain_http"` // http instead of https, on this machine only; for tests
}

// Coordinator says which addresses a coordinator may have beside public ones (L14). Which one it is, is in the vault.
type Coordinator struct {
	AllowPrivate   bool `toml:"allow_private"`    // private networks
	AllowLoopback  bool `toml:"allow_loopback"`   // this machine
	AllowPlainHTTP bool `toml:"allow_plain_http"` // http instead of https, on this machine only; for tests
}

// Query says what SQL may use. The limits are those of one statement.
type Query struct {
	Engine          string `toml:"engine"`           // absolute path of coldframe-engine; empty: beside the agent's own program
	AllowUnconfined bool   `toml:"allow_unconfined"` // run it even where the kernel cannot confine it
	Threads         int    `toml:"threads"`          // 0: as many as there are processors
	MemoryMiB       int    `toml:"memory_mib"`       // for sorting, joining, grouping
	DataMiB         int    `toml:"data_mib"`         // for the columns that it reads, in the clear but compressed
	ResultMiB       int    `toml:"result_mib"`
	Seconds         int    `toml:"seconds"`
	SpareSeconds    int    `toml:"spare_seconds"` // how long a process waits for the next statement; 0: none does
}

// Cache says how much of what was fetched from a bucket is kept on the disk. A folder store has none.
type Cache struct {
	SizeMiB int64 `toml:"size_mib"` // 0: off
}

// Log says what is logged and how.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// SlogLevel returns the level for log/slog.
func (l Log) SlogLevel() slog.Level {
	var v slog.Level
	if err := v.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return v
}

// DefaultConfig returns the configuration of an agent without a file.
func DefaultConfig() Config {
	return Config{
		Version: ConfigVersion,
		Folders: defaultFolders(os.Getenv),
		Listen:  Listen{Unix: true, TCP: true, Port: 7878},
		Lock:    Lock{IdleMinutes: 15, OnSuspend: true},
		Limits:  Limits{MemoryMiB: 256, Transfers: 2, Connections: 128, Requests: 32, MinFreeMiB: 64},
		Log:     Log{Level: "info", Format: "text"},
		Query:   Query{MemoryMiB: 512, DataMiB: 1024, ResultMiB: 4096, Seconds: 300, SpareSeconds: 300},
		Cache:   Cache{SizeMiB: 2048},
	}
}

// LoadConfig reads the configuration file. An empty path means the default place, $XDG_CONFIG_HOME/coldframe/coldframed.toml, where the
// file may be absent; a path that was asked for must exist. Errors name the file, and the line where there is one.
func LoadConfig(path string) (Config, error) {
	asked := path != ""
	if !asked {
		path = filepath.Join(configHome(os.Getenv), "coldframe", "coldframed.toml")
	}
	c := DefaultConfig()
	b, err := readConfig(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
	case err != nil:
		return Config{}, fmt.Errorf("configuration: %w", err)
	default:
		if c, err = ParseConfig(b); err != nil {
			return Config{}, fmt.Errorf("configuration %s: %w", path, err)
		}
		c.File = path
	}
	if err := c.environment(os.Getenv); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ParseConfig parses the text of a file over the defaults. Fields that it does not know, a missing version and values out of range are
// errors; those of the parser and of unknown fields begin with the line.
func ParseConfig(b []byte) (Config, error) {
	if len(b) > MaxConfigSize {
		return Config{}, fmt.Errorf("longer than %d bytes", MaxConfigSize)
	}
	c := DefaultConfig()
	c.Version = 0
	d := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, withLine(err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// withLine puts the line and the field before the text of a parser's error.
func withLine(err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		row, _ := first.Position()
		return fmt.Errorf("line %d: unknown field %q", row, joinKey(first.Key()))
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, _ := bad.Position()
		return fmt.Errorf("line %d: %w", row, bad)
	}
	return err
}

func joinKey(k toml.Key) string {
	s := ""
	for i, part := range k {
		if i > 0 {
			s += "."
		}
		s += part
	}
	return s
}

// Validate reports the first value that is out of range, by its name in the file.
func (c Config) Validate() error {
	switch {
	case c.Version == 0:
		return errors.New("version is missing: put version = 1 into the first line")
	case c.Version != ConfigVersion:
		return fmt.Errorf("version is %d, this agent reads %d", c.Version, ConfigVersion)
	case !c.Listen.Unix && !c.Listen.TCP:
		return errors.New("listen: unix and tcp are both off")
	case c.Log.Format != "text" && c.Log.Format != "json":
		return fmt.Errorf("log.format is %q, not text or json", c.Log.Format)
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log.level is %q, not debug, info, warn or error", c.Log.Level)
	}
	for _, f := range []struct{ name, path string }{
		{"data", c.Folders.Data},
		{"state", c.Folders.State},
		{"runtime", c.Folders.Runtime},
		{"cache", c.Folders.Cache},
	} {
		if !filepath.IsAbs(f.path) {
			return fmt.Errorf("folders.%s is not an absolute path", f.name)
		}
	}
	if c.Query.Engine != "" && !filepath.IsAbs(c.Query.Engine) {
		return errors.New("query.engine is not an absolute path")
	}
	return c.validateNumbers()
}

func (c Config) validateNumbers() error {
	for _, n := range []struct {
		name             string
		value, low, high int64
	}{
		{"listen.port", int64(c.Listen.Port), 0, 65535},
		{"lock.idle_minutes", int64(c.Lock.IdleMinutes), 0, 24 * 60},
		{"limits.memory_mib", int64(c.Limits.MemoryMiB), 192, 1 << 20},
		{"limits.transfers", int64(c.Limits.Transfers), 1, 64},
		{"limits.connections", int64(c.Limits.Connections), 8, 4096},
		{"limits.requests", int64(c.Limits.Requests), 4, 1024},
		{"limits.min_free_mib", c.Limits.MinFreeMiB, 16, 1 << 20},
		{"cache.size_mib", c.Cache.SizeMiB, 0, 1 << 30},
		{"query.threads", int64(c.Query.Threads), 0, 256},
		{"query.memory_mib", int64(c.Query.MemoryMiB), 64, 1 << 20},
		{"query.data_mib", int64(c.Query.DataMiB), 1, 1 << 20},
		{"query.result_mib", int64(c.Query.ResultMiB), 1, 1 << 30},
		{"query.seconds", int64(c.Query.Seconds), 1, 24 * 3600},
		{"query.spare_seconds", int64(c.Query.SpareSeconds), 0, 24 * 3600},
	} {
		if n.value < n.low || n.value > n.high {
			return fmt.Errorf("%s is %d, outside %d to %d", n.name, n.value, n.low, n.high)
		}
	}
	return nil
}
