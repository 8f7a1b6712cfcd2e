package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi"
)

// Options of a server. Zero values are the defaults.
type Options struct {
	Logger      *slog.Logger
	Rates       Rates         // default: DefaultRates
	Connections int           // open at once; default 16,384
	PerAddress  int           // of those from one address; default 1,024
	TLS         *tls.Config   // nil: plain HTTP
	Proxied     bool          // all requests come from a proxy's address, so that limits of addresses say nothing
	Drain       time.Duration // how long health says `unavailable` before the listener closes
	Heartbeat   time.Duration // of streams of events; default 15 s

	now        func() time.Time // of rate limits
	room       room
	pace       pace
	checkEvery time.Duration // how often the store is looked at; default 5 s
}

const (
	stopTime   = 8 * time.Second // for requests in work once the server stops
	maxFailed  = 3               // looks at the store that may fail one after the other
	sweepEvery = time.Minute
	headTime   = 5 * time.Second
	idleTime   = 2 * time.Minute
	maxHead    = 16 << 10
)

// Server answers agents.
type Server struct {
	state    *state.State
	o        Options
	http     *http.Server
	limits   *limiter
	metrics  *metrics
	log      accessLog
	stopped  context.Context //nolint:containedctx // ends the streams of events
	stop     context.CancelFunc
	draining atomic.Bool
	open     atomic.Int64 // connections

	mu      sync.Mutex
	streams map[state.UserID]map[state.DeviceID]*eventStream
}

// New returns a server over a state. It does not answer before Serve.
func New(st *state.State, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Connections == 0 {
		o.Connections = 16_384
	}
	if o.PerAddress == 0 {
		o.PerAddress = 1_024
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.checkEvery == 0 {
		o.checkEvery = 5 * time.Second
	}
	if o.room == (room{}) {
		o.room = defaultRoom
	}
	if o.pace == (pace{}) {
		o.pace = defaultPace
	}
	s := &Server{
		state: st, o: o, limits: newLimiter(o.Rates, o.now), metrics: newMetrics(), log: accessLog{o.Logger}, streams: map[state.UserID]map[state.DeviceID]*eventStream{},
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s.handler(), TLSConfig: o.TLS,
		ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		ConnState:                    s.countConn,
		DisableGeneralOptionsHandler: true,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 alone
		ErrorLog:                     log.New(io.Discard, "", 0),                               // it would repeat what clients sent
	}
	return s
}

func (s *Server) countConn(_ net.Conn, to http.ConnState) {
	switch to {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// nearlyFull reports whether three quarters of the connections are taken: from then on they end with their answers. So whoever takes many and lets them
// idle never has the last quarter, where each lasts as long as a request.
func (s *Server) nearlyFull() bool { return 4*s.open.Load() > 3*int64(s.o.Connections) }

func (s *Server) handler() http.Handler {
	return newGuard(s, newRouter(&handlers{s}))
}

// newRouter registers the generated handlers.
func newRouter(h StrictServerInterface) *echo.Echo {
	e := httpapi.NewRouter()
	RegisterHandlers(e, NewStrictHandler(h, nil))
	return e
}

// Serve answers on l until ctx ends, and removes what has expired. Then health says `unavailable` for Options.Drain, the listener closes, streams of
// events end, requests in work get a few seconds, and it returns nil. A store that fails for a while ends it, too, with that failure: after one of the disk it
// is of no use until it is opened again.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	l = shallowBuffers{l}
	if !s.o.Proxied {
		l = newPerAddress(l, s.o.PerAddress)
	}
	l = netutil.LimitListener(l, s.o.Connections)
	g.Go(func() error {
		var err error
		if s.o.TLS != nil {
			err = s.http.ServeTLS(l, "", "")
		} else {
			err = s.http.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			return fault.Wrap(fault.Unavailable, err, "the server stopped listening")
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return s.shutdown()
	})
	g.Go(func() error { s.sweep(ctx); return nil })
	g.Go(func() error { return s.watchStore(ctx) })
	return g.Wait()
}

// watchStore looks at the store now and then, and returns its failure once it failed several times.
func (s *Server) watchStore(ctx context.Context) error {
	ticker := time.NewTicker(s.o.checkEvery)
	defer ticker.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := s.state.Check(ctx)
		if failed++; err == nil || ctx.Err() != nil {
			failed = 0
		}
		if failed == maxFailed {
			return err
		}
	}
}

func (s *Server) shutdown() error {
	s.draining.Store(true)
	time.Sleep(s.o.Drain)
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// sweep removes what has expired, now and then.
func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if off := s.state.ClockOff().Round(time.Second); off.Abs() > time.Hour {
			s.o.Logger.Warn("the machine's clock jumped; what has an end waits", slog.Duration("ahead", off))
		}
		n, err := s.state.Sweep(ctx)
		s.metrics.swept.Add(float64(n))
		if err != nil && ctx.Err() == nil {
			s.o.Logger.Error("expired records could not be removed", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
