// Package localapitest runs a real agent and its server in one process, with clients as named callers. Nothing but tests may import it.
package localapitest

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/daemon"
	"coldframe/internal/httpapi/httpapitest"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/localapi"
	"coldframe/localapi/server"
)

// Email and Password are those of the account that Register makes.
const (
	Email    = "ada@example.org"
	Password = "glide onion mural tusk zebra flint"
)

// Options change a World before it starts.
type Options struct {
	Dir     string // of an agent that ran before; empty: a new one
	Config  func(*daemon.Config)
	Agent   func(*daemon.Options)
	Network string // "unix" (default) or "tcp": what User and App use
}

// World is one user's agent with its server.
type World struct {
	Agent  *daemon.Agent
	Server *server.Server
	Config daemon.Config
	Logs   *httpapitest.Buffer // what the agent and the server logged, at debug level
	TCP    string              // address on 127.0.0.1
	Socket string

	t      testing.TB
	o      Options
	secret string // of the user's token
	stop   context.CancelFunc
	done   chan error
	once   sync.Once
}

// cheap is a derivation that takes no time.
func cheap() keystore.Profile {
	cost := keystore.Params{Memory: 64, Time: 1, Threads: 1}
	return keystore.Profile{Floor: cost, Ceiling: keystore.Params{Memory: 1024, Time: 4, Threads: 4}, Start: cost, Fixed: cost}
}

// Start starts an agent and its server, on a socket and on a free port, and stops them when the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	if o.Dir == "" {
		o.Dir = shortDir(t)
	}
	cfg := daemon.DefaultConfig()
	cfg.Folders = daemon.Folders{
		Data: filepath.Join(o.Dir, "data"), State: filepath.Join(o.Dir, "state"), Runtime: filepath.Join(o.Dir, "run"),
		Cache: filepath.Join(o.Dir, "cache"),
	}
	cfg.Listen.Port = 0
	if o.Config != nil {
		o.Config(&cfg)
	}
	w := &World{Config: cfg, Logs: &httpapitest.Buffer{}, t: t, o: o, done: make(chan error, 2), Socket: filepath.Join(cfg.Folders.Runtime, localapi.SocketName)}
	w.start()
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Logf("log of agent and server:\n%s", withoutStore(w.Logs.String()))
		}
	})
	return w
}

// shortDir returns a folder whose path leaves room for a socket's.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "cf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // of a test
	return dir
}

func (w *World) start() {
	w.t.Helper()
	logger := slog.New(slog.NewJSONHandler(w.Logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts := daemon.Options{Profile: cheap(), Logger: logger, KV: kv.Options{}, Tick: 5 * time.Millisecond}
	if w.o.Agent != nil {
		w.o.Agent(&opts)
	}
	var err error
	if w.Agent, err = daemon.New(w.Config, opts); err != nil {
		w.t.Fatalf("start the agent: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { w.done <- w.Agent.Run(ctx) }()
	if w.Server, err = server.New(w.Agent, server.Options{Logger: logger}); err != nil {
		stop()
		w.t.Fatalf("start the server: %v", err)
	}
	go func() { w.done <- w.Server.Serve(ctx) }()
	for _, a := range w.Server.Addrs() {
		if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.To4() != nil {
			w.TCP = tcp.String()
		}
	}
	<-w.Agent.Ready()
	w.secret = w.Token()[len("cf_user_"):]
}

// Stop stops server and agent and waits for both.
func (w *World) Stop() {
	w.once.Do(func() {
		w.stop()
		for range 2 {
			if err := <-w.done; err != nil {
				w.t.Errorf("stop: %v", err)
			}
		}
	})
}

// Dir returns the folder of the agent, for another Start.
func (w *World) Dir() string { return w.o.Dir }

// Token returns the user's own token.
func (w *World) Token() string {
	w.t.Helper()
	token, err := localapi.ReadTokenFile(filepath.Join(w.Config.Folders.Runtime, localapi.TokenName))
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// TokenSecret returns the secret part of the user's token, which a test may look for where it must not be.
func (w *World) TokenSecret() string { return w.secret }

// Caller returns a client with a token.
func (w *World) Caller(token string) *localapi.Client {
	w.t.Helper()
	o := localapi.Options{Socket: w.Socket, Token: token}
	if w.o.Network == "tcp" {
		o = localapi.Options{TCP: w.TCP, Token: token}
	}
	c, err := localapi.Dial(context.Background(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// User returns a client with the user's own token.
func (w *World) User() *localapi.Client { return w.Caller(w.Token()) }

// Registered makes the account and returns the user's client.
func (w *World) Registered() *localapi.Client {
	w.t.Helper()
	c := w.User()
	if _, err := c.Register(context.Background(), localapi.RegisterRequest{Email: Email, Password: Password}); err != nil {
		w.t.Fatalf("register: %v", err)
	}
	return c
}

// App makes an application's token with these scopes, for all datasets or for the named ones, and returns the token.
func (w *World) App(user *localapi.Client, scopes []localapi.Scope, datasets ...string) string {
	w.t.Helper()
	password := Password
	r := localapi.AppRequest{Name: "test", Scopes: scopes, Password: &password}
	if len(datasets) > 0 {
		r.Datasets = &datasets
	}
	a, err := user.CreateApp(context.Background(), r)
	if err != nil {
		w.t.Fatalf("make an application's token: %v", err)
	}
	return a.Token
}

// withoutStore leaves out what the local store says of itself.
func withoutStore(log string) string {
	var out strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"msg":"badger"`) {
			out.WriteString(line)
		}
	}
	return out.String()
}
