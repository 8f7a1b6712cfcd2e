package link

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"coldframe/internal/fault"
)

// The client is there while the coordinator is, and Online says so each time that the stream opens, before the first event.
func TestClient(t *testing.T) {
	var away atomic.Bool
	settings, _ := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if away.Load() {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	m := joined(t, settings)
	var r *rig
	opened, kinds := make(chan context.Context, 8), make(chan string, 8)
	r = newRig(t, settings, m, func(o *Options) {
		o.Online = func(ctx context.Context) {
			c, err := r.Client()
			if err == nil {
				_, err = c.Account(ctx)
			}
			if err != nil {
				t.Error(err)
			}
			opened <- ctx
		}
		o.Notice = func(kind, _ string) {
			if len(opened) != 1 {
				t.Error("an event before Online")
			}
			kinds <- kind
		}
	})
	none := func() {
		t.Helper()
		if _, err := r.Client(); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a client without a connection: %v", err)
		}
	}
	none()
	r.run()
	if kind := <-kinds; kind != "resync" {
		t.Errorf("the first event is %s", kind)
	}
	first := <-opened
	away.Store(true)
	r.Wake()
	<-first.Done()
	r.becomes(Offline, fault.Unavailable)
	none()
	away.Store(false)
	r.Wake()
	second := <-opened
	r.becomes(Online, "")
	r.stop()
	<-second.Done()
	none()
}
