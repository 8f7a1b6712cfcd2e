// Command coldframed is the agent: it holds one user's keys and serves the local API on a Unix socket and on 127.0.0.1. docs/daemon.md
// describes the configuration file and the systemd units.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/version"
	"coldframe/localapi/server"
)

// Exit codes. 78 is EX_CONFIG of sysexits.h: systemd shows it by name.
const (
	exitFailure = 1
	exitUsage   = 2
	exitConfig  = 78
)

func main() {
	// First of all: no core files, no tracing, nothing made readable for others.
	warnings := secret.Harden()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], warnings))
}

// flags of the command line.
type flags struct {
	config                string
	data, state           string
	runtime, cache        string
	port                  int
	noTCP                 bool
	allowLocalStore       bool
	allowLocalCoordinator bool
	version               bool
}

func parse(args []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("coldframed", flag.ContinueOnError)
	set.StringVar(&f.config, "config", "", "configuration `file` (default $XDG_CONFIG_HOME/coldframe/coldframed.toml, if there is one)")
	set.StringVar(&f.data, "data-dir", "", "`folder` of the local store")
	set.StringVar(&f.state, "state-dir", "", "`folder` of the spool")
	set.StringVar(&f.runtime, "runtime-dir", "", "`folder` of socket and token")
	set.StringVar(&f.cache, "cache-dir", "", "`folder` of what was fetched from a bucket")
	set.IntVar(&f.port, "port", -1, "TCP `port` on 127.0.0.1 and ::1; 0 is any free one, -1 that of the configuration (7878)")
	set.BoolVar(&f.noTCP, "no-tcp", false, "listen on the Unix socket alone")
	set.BoolVar(&f.allowLocalStore, "allow-local-store", false, "for tests: allow object stores on loopback and private addresses, and plain http there")
	set.BoolVar(&f.allowLocalCoordinator, "allow-local-coordinator", false, "for tests: allow a coordinator on loopback and private addresses, and plain http there")
	set.BoolVar(&f.version, "version", false, "print version and commit")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("unexpected argument")
	}
	return f, nil
}

func run(ctx context.Context, args []string, warnings []string) int {
	f, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "coldframed:", err)
		return exitUsage
	case f.version:
		fmt.Println("coldframed", version.String())
		return 0
	}
	cfg, err := f.configuration()
	if err != nil {
		fmt.Fprintln(os.Stderr, "coldframed:", err)
		return exitConfig
	}
	logger := daemon.NewLogger(os.Stderr, cfg.Log)
	if err := serve(ctx, cfg, logger, warnings); err != nil {
		// Before this point nothing of a caller has come in, so the whole chain may be shown to whoever starts the agent.
		fmt.Fprintln(os.Stderr, "coldframed:", err)
		if fault.CodeOf(err) == fault.InvalidRequest {
			return exitConfig
		}
		return exitFailure
	}
	return 0
}

// configuration is defaults, file, environment, flags, in this order.
func (f flags) configuration() (daemon.Config, error) {
	cfg, err := daemon.LoadConfig(f.config)
	if err != nil {
		return cfg, err
	}
	for flag, field := range map[*string]*string{
		&f.data: &cfg.Folders.Data, &f.state: &cfg.Folders.State, &f.runtime: &cfg.Folders.Runtime, &f.cache: &cfg.Folders.Cache,
	} {
		if *flag == "" {
			continue
		}
		if *field, err = filepath.Abs(*flag); err != nil {
			return cfg, err
		}
	}
	if f.port >= 0 {
		cfg.Listen.Port = f.port
	}
	if f.noTCP {
		cfg.Listen.TCP = false
	}
	if f.allowLocalCoordinator {
		cfg.Coordinator = daemon.Coordinator{AllowPrivate: true, AllowLoopback: true, AllowPlainHTTP: true}
	}
	if f.allowLocalStore {
		cfg.Store.AllowPrivate, cfg.Store.AllowLoopback, cfg.Store.AllowPlainHTTP = true, true, true
	}
	return cfg, cfg.Validate()
}

// serve runs agent and server until ctx ends. The server stops before the agent, so that no caller meets a closed store.
func serve(ctx context.Context, cfg daemon.Config, logger *slog.Logger, warnings []string) error {
	credential, err := unattendedCredential(os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return err
	}
	agent, err := daemon.New(cfg, daemon.Options{
		Logger: logger, Warnings: warnings, Credential: credential,
	})
	if err != nil {
		return err
	}
	agentCtx, stopAgent := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAgent()
	agentDone := make(chan error, 1)
	go func() { agentDone <- agent.Run(agentCtx) }()
	err = serveAPI(ctx, agent, agentDone, logger)
	stopAgent()
	if agentErr := <-agentDone; err == nil {
		err = agentErr
	}
	return err
}

// serveAPI answers callers until ctx ends or the agent's own work fails.
func serveAPI(ctx context.Context, agent *daemon.Agent, agentDone chan error, logger *slog.Logger) error {
	given, err := handedIn()
	if err != nil {
		return err
	}
	s, err := server.New(agent, server.Options{Logger: logger, Listeners: given})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(ctx) })
	g.Go(func() error {
		select {
		case err := <-agentDone:
			agentDone <- err
			if err == nil {
				err = fault.New(fault.Unavailable, "the agent stopped")
			}
			return err
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return notify(ctx, agent, s, logger) })
	return g.Wait()
}
