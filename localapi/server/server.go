package server

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi"
)

// stopTime is how long requests in work may go on once the server is told to stop (L24).
const stopTime = 8 * time.Second

// Options of a server. Zero values are the defaults.
type Options struct {
	Logger    *slog.Logger
	Listeners []net.Listener // handed in by a service manager, in place of the listeners of the same kind that the configuration names
}

// Server answers the local API of one agent.
type Server struct {
	http      *http.Server
	listeners []net.Listener
	stopping  context.CancelFunc
}

// New makes the listeners that the agent's configuration names and returns a server that does not answer yet. Errors: fault.Policy (a socket or
// folder open to others, an address that others could reach), fault.Conflict (another agent listens there).
func New(a *daemon.Agent, o Options) (*Server, error) {
	cfg := a.Config()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	listeners, err := listen(cfg.Listen, cfg.Folders.Runtime, o.Listeners)
	if err != nil {
		return nil, err
	}
	h := &handlers{agent: a, metrics: newRegistry(a), heartbeat: defaultTimes.heartbeat}
	limits := limits{connections: cfg.Limits.Connections, requests: cfg.Limits.Requests, times: defaultTimes}
	s := newServer(a, h, o.Logger, limits)
	s.use(listeners, limits)
	return s, nil
}

// listen opens the configured listeners that were not handed in, and checks them all.
func listen(cfg daemon.Listen, folder string, given []net.Listener) (all []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close() //nolint:errcheck // the first error is told
			}
		}
	}()
	all = append(all, given...)
	has := map[string]bool{}
	for _, l := range given {
		has[l.Addr().Network()] = true
	}
	if cfg.Unix && !has["unix"] {
		l, err := listenUnix(folder)
		if err != nil {
			return all, err
		}
		all = append(all, l)
	}
	if cfg.TCP && !has["tcp"] {
		more, err := listenTCP(cfg.Port)
		if err != nil {
			return all, err
		}
		all = append(all, more...)
	}
	for _, l := range all {
		if err := checkListener(l); err != nil {
			return all, err
		}
	}
	if len(all) == 0 {
		return nil, fault.New(fault.InvalidRequest, "all listeners are turned off")
	}
	return all, nil
}

// limits of THREATS L11.
type limits struct {
	connections, requests int
	times                 times
}

// newServer joins guard, router and handlers.
func newServer(g gate, h StrictServerInterface, logger *slog.Logger, l limits) *Server {
	ctx, stop := context.WithCancel(context.Background())
	guard := &guard{
		gate: g, next: newRouter(h), slots: make(chan struct{}, l.requests), times: l.times, log: &accessLog{logger},
	}
	return &Server{stopping: stop, http: &http.Server{
		Handler:                      guard,
		ReadHeaderTimeout:            l.times.head,
		IdleTimeout:                  l.times.idle,
		MaxHeaderBytes:               2 * maxHead, // the conn refuses at maxHead
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0), // it would repeat what clients sent
		BaseContext:                  func(net.Listener) context.Context { return context.WithValue(context.Background(), stopKey{}, ctx) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c.(*conn))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateIdle {
				c.(*conn).finished()
			}
		},
	}}
}

// use takes the listeners into one pool of connections.
func (s *Server) use(listeners []net.Listener, l limits) {
	p := newPool(l.connections, l.times.head)
	for _, raw := range listeners {
		s.listeners = append(s.listeners, newGuardedListener(raw, p))
	}
}

type (
	connKey struct{}
	stopKey struct{}
)

func connOf(ctx context.Context) *conn { return ctx.Value(connKey{}).(*conn) }

// stopOf returns a context that ends when the server is told to stop; streams of events end with it.
func stopOf(ctx context.Context) context.Context { return ctx.Value(stopKey{}).(context.Context) }

// newRouter registers the generated handlers.
func newRouter(h StrictServerInterface) *echo.Echo {
	e := httpapi.NewRouter()
	RegisterHandlers(e, NewStrictHandler(h, nil))
	return e
}

// Addrs returns where the server listens.
func (s *Server) Addrs() []net.Addr {
	var a []net.Addr
	for _, l := range s.listeners {
		a = append(a, l.Addr())
	}
	return a
}

// Serve answers until ctx ends. Then it takes no more connections, ends the streams of events, gives requests in work a few seconds, removes the socket and
// returns nil.
func (s *Server) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.listeners {
		g.Go(func() error {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fault.Wrap(fault.Unavailable, err, "the server stopped listening")
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		return s.stop()
	})
	return g.Wait()
}

func (s *Server) stop() error {
	s.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// Close frees the listeners of a server that Serve was not called on.
func (s *Server) Close() {
	s.stopping()
	for _, l := range s.listeners {
		l.Close() //nolint:errcheck // nobody was served
	}
}
