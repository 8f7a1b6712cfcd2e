package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network in the time of the test.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	down  atomic.Bool
	dials atomic.Int32
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	p.dials.Add(1)
	if p.down.Load() {
		return nil, errors.New("no network")
	}
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// How often a link comes back in an hour: to a coordinator that accepts and closes, with an event each time; to one whose streams live for a minute; and
// without a network, in 10 minutes.
func TestPaceOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		var streams, good atomic.Int32
		answer := func(w http.ResponseWriter, r *http.Request) {
			if p.down.Load() {
				panic(http.ErrAbortHandler)
			}
			switch r.URL.Path {
			case "/v1/sessions/refresh":
				fmt.Fprintf(w, `{"user":%q,"access_token":"x","refresh_token":"y","access_seconds":900,"refresh_seconds":9}`, testUser)
			case "/v1/events":
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprintf(w, "id: ABC-%d\ndata: {\"type\":\"message\"}\n\n", streams.Add(1))
				for end := time.Now().Add(time.Minute); good.Load() == 1 && r.Context().Err() == nil && time.Now().Before(end); {
					fmt.Fprint(w, ":\n\n")
					http.NewResponseController(w).Flush() //nolint:errcheck // the agent has gone
					select {
					case <-r.Context().Done():
					case <-time.After(10 * time.Second):
					}
				}
			default:
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{}`)
			}
		}
		s := &http.Server{Handler: http.HandlerFunc(answer)} //nolint:gosec // no network
		go s.Serve(p)                                        //nolint:errcheck // until Close
		defer s.Close()
		l := newRig(t, Settings{URL: "http://127.0.0.1"}, &memory{tokens: []byte(`{"refresh":"x","request":"y"}`)}, func(o *Options) { o.retryMin = retryMin })
		l.transport.DialContext = p.dial
		l.run()
		time.Sleep(time.Hour)
		if n := streams.Load(); n < 100 || n > 300 {
			t.Errorf("%d streams that closed at once", n)
		}
		good.Store(1)
		time.Sleep(time.Minute)
		before := streams.Load()
		time.Sleep(time.Hour)
		if n := streams.Load() - before; n < 55 || n > 61 {
			t.Errorf("%d streams of a minute", n)
		}
		p.down.Store(true)
		time.Sleep(2 * time.Minute)
		dials := p.dials.Load()
		time.Sleep(10 * time.Minute)
		if n := p.dials.Load() - dials; n < 15 || n > 60 {
			t.Errorf("%d tries without a network", n)
		}
		p.down.Store(false)
		before = streams.Load()
		l.Wake()
		time.Sleep(time.Second)
		if n := streams.Load() - before; n != 1 {
			t.Errorf("%d streams once woken", n)
		}
		l.stop()
	})
}
