package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// serveFlags are those of `serve`.
type serveFlags struct {
	listen, metrics string
	cert, key       string
	registration    string
	drain           time.Duration
	quota           state.Quota
}

func newServe(at func() folder) *cobra.Command {
	f := serveFlags{quota: state.DefaultLimits.Quota}
	c := &cobra.Command{
		Use: "serve", Short: "Answer agents until told to stop", Args: exactly(0, "coldframe-coordinator serve"),
		RunE: func(c *cobra.Command, _ []string) error { return serve(c.Context(), at(), f) },
	}
	set := c.Flags()
	set.StringVar(&f.listen, "listen", "127.0.0.1:8443", "`address` to answer at; without a certificate only a loopback one, for a proxy on this machine")
	set.StringVar(&f.cert, "tls-cert", "", "PEM `file` of the certificate and its chain; read again when it changes")
	set.StringVar(&f.key, "tls-key", "", "PEM `file` of its key")
	set.StringVar(&f.metrics, "metrics", "", "`address` of /metrics for Prometheus and /healthz, plain HTTP; none if empty")
	set.StringVar(&f.registration, "registration", "invitation", "who may register: open, invitation or closed")
	set.DurationVar(&f.drain, "drain", 0, "how long /healthz says unavailable before the listener closes")
	quotaFlags(set.Int64Var, &f.quota)
	return c
}

// quotaFlags adds the four flags of a quota.
func quotaFlags(add func(p *int64, name string, value int64, usage string), q *state.Quota) {
	add(&q.Blobs, "blobs", q.Blobs, "`number` of blobs of a user")
	add(&q.Bytes, "bytes", q.Bytes, "`bytes` of a user's blobs, with their histories, and device list")
	add(&q.Mail, "messages", q.Mail, "`number` of messages that wait in a mailbox")
	add(&q.MailBytes, "message-bytes", q.MailBytes, "`bytes` of those")
}

var registrations = map[string]state.Registration{"open": state.Open, "invitation": state.Invitation, "closed": state.Closed}

func serve(ctx context.Context, dir folder, f serveFlags) (err error) {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	registration, ok := registrations[f.registration]
	if !ok {
		return usageError{errors.New("--registration is open, invitation or closed")}
	}
	if err := f.quota.Check(); err != nil {
		return err
	}
	config, err := f.tls(logger)
	if err != nil {
		return err
	}
	if err := dir.prepare(logger); err != nil {
		return err
	}
	st, err := badgerstore.Open(dir.store(), badgerstore.Options{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	limits := state.DefaultLimits
	limits.Quota = f.quota
	all, err := state.New(ctx, st, state.Options{Registration: registration, Limits: limits})
	if err != nil {
		return err
	}
	s := server.New(all, server.Options{Logger: logger, TLS: config, Proxied: config == nil, Drain: f.drain})
	return f.listenAndServe(ctx, s, dir, logger)
}

// tls returns nil for plain HTTP, which is for a proxy on the same machine.
func (f serveFlags) tls(logger *slog.Logger) (*tls.Config, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	if f.cert != "" {
		return server.TLSConfig(f.cert, f.key, logger)
	}
	host, _, err := net.SplitHostPort(f.listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fault.New(fault.Policy, "without --tls-cert and --tls-key, --listen is a loopback address such as 127.0.0.1:8443")
	}
	return nil, nil //nolint:nilnil // no TLS is a choice
}

// prepare makes the folder, for nobody else. One that is there and holds anything of others stays as it is: nobody else would get in any more. Where a
// coordinator has its store already, what somebody left beside it is no reason not to start.
func (f folder) prepare(logger *slog.Logger) error {
	switch other, err := f.others(); {
	case err != nil:
		return err
	case other != "" && f.hasStore():
		logger.Warn("the folder holds something that is not the coordinator's", slog.String("name", other))
	case other != "":
		return fault.New(fault.Policy, "%s is no folder of a coordinator: it holds %s", string(f), other)
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the folder cannot be made")
	}
	if err := os.Chmod(string(f), 0o700); err != nil { //nolint:gosec // a directory, not a file
		return fault.Wrap(fault.Unavailable, err, "the folder cannot be made private")
	}
	if _, err := os.Lstat(f.restoring()); err == nil {
		return fault.New(fault.Conflict, "a restore into this folder was not finished: remove what is in it and restore again")
	}
	return nil
}

// hasStore reports whether a coordinator has run in the folder, or was restored into it: whether Badger has a store there.
func (f folder) hasStore() bool {
	_, err := os.Lstat(filepath.Join(f.store(), "MANIFEST"))
	return err == nil
}

// others returns the first name in the folder of something that no coordinator made, "" if there is none. A file system has a lost+found.
func (f folder) others() (string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Wrap(fault.Unavailable, err, "the folder cannot be read")
	}
	for _, e := range entries {
		switch filepath.Join(string(f), e.Name()) {
		case f.store(), f.socket(), f.restoring(), filepath.Join(string(f), "lost+found"):
		default:
			return e.Name(), nil
		}
	}
	return "", nil
}

func (f serveFlags) listenAndServe(ctx context.Context, s *server.Server, dir folder, logger *slog.Logger) error {
	// A socket that is left is nobody's: the store, which is open once, is open here.
	if err := os.Remove(dir.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Unavailable, err, "the old socket cannot be removed")
	}
	var listen net.ListenConfig
	api, err := listen.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the address cannot be listened on")
	}
	defer api.Close()
	admin, err := listen.Listen(ctx, "unix", dir.socket())
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the operator's socket cannot be listened on")
	}
	defer admin.Close()
	beside := map[net.Listener]*http.Server{admin: s.Admin()}
	if f.metrics != "" {
		l, err := listen.Listen(ctx, "tcp", f.metrics)
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "the address of the metrics cannot be listened on")
		}
		defer l.Close()
		beside[l] = metricsServer(s)
		logger.Info("figures", slog.String("address", l.Addr().String()))
	}
	g, ctx := errgroup.WithContext(ctx)
	// What is beside the API ends after it, so that health can say that the API stops.
	besideCtx, stopBeside := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeside()
	g.Go(func() error {
		defer stopBeside()
		return s.Serve(ctx, api)
	})
	for l, h := range beside {
		serveBeside(besideCtx, g, l, h)
	}
	logger.Info("listening", slog.String("address", api.Addr().String()), slog.Bool("tls", f.cert != ""), slog.String("registration", f.registration))
	if _, err := sd.SdNotify(false, sd.SdNotifyReady); err != nil {
		logger.Warn("the service manager was not told", slog.String("error", err.Error()))
	}
	return g.Wait()
}

func metricsServer(s *server.Server) *http.Server {
	m := http.NewServeMux()
	m.Handle("GET /metrics", s.Metrics())
	m.HandleFunc("GET /healthz", s.Health)
	return &http.Server{Handler: m, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
}

// serveBeside serves until ctx ends.
func serveBeside(ctx context.Context, g *errgroup.Group, l net.Listener, h *http.Server) {
	g.Go(func() error {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fault.Wrap(fault.Unavailable, err, "a listener ended")
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return h.Close()
	})
}
