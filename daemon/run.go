package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

const (
	// housekeepEvery is the time between two rounds of sweeping and retention.
	housekeepEvery = time.Hour

	// clockSlack is by how much the wall clock may run away from the monotonic one before it counts as set.
	clockSlack = 10 * time.Minute

	// clockHold is how long nothing expires after the wall clock was set: a clock that is ten years ahead for a minute must not cost data.
	clockHold = 24 * time.Hour

	spoolFolder = "spool"

	// outsideGo is the memory in MiB that Go's limit does not see: libzstd, the maps of the local store, the program itself.
	outsideGo = 64
)

// setMemoryLimit tells Go's collector the bound: limits.memory_mib less outsideGo. Not a hard one: argon2 takes its buffer on top.
func setMemoryLimit(l Limits) { debug.SetMemoryLimit(int64(l.MemoryMiB-outsideGo) << 20) }

// Run opens an unattended vault, does the background work until ctx ends, and then stops cleanly within ten seconds: no new calls,
// transfers cancelled and cleared up, keys wiped, token file removed, local store closed. It returns nil after a clean stop. The caller
// closes the listeners first or at the same time; calls that come later get fault.Unavailable.
func (a *Agent) Run(ctx context.Context) error {
	setMemoryLimit(a.cfg.Limits)
	a.clearSpool()
	a.event(Event{Type: EventStarted})
	a.openUnattended(ctx)
	close(a.ready)
	a.log.Info("ready", "state", string(a.vaultState()), "pid", os.Getpid())
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error { return a.watchIdle(work) })
	g.Go(func() error { return a.housekeep(work) })
	err := g.Wait()
	a.mu.Lock()
	a.failed = err
	a.mu.Unlock()
	a.stop()
	return err
}

// stop is the stop order of the package documentation. No lock is needed afterwards: every method finds the agent stopping.
func (a *Agent) stop() {
	a.mu.Lock()
	a.stopping = true
	g := a.gate
	a.mu.Unlock()
	a.endLife()
	drained := g == nil || g.drain(errStopping())
	a.sql.rest()
	a.change.Lock()
	defer a.change.Unlock()
	a.mu.Lock()
	a.gate = nil
	a.mu.Unlock()
	drained = a.closeSession(errStopping()) && drained
	a.keepOpen = !drained
	a.reportRare(true)
	a.close()
	a.log.Info("stopped")
}

// openUnattended opens the vault with the credential that the process was started with, and lets callers in.
func (a *Agent) openUnattended(ctx context.Context) {
	if len(a.o.Credential) == 0 {
		return
	}
	key, err := parseCredential(a.o.Credential)
	if err == nil {
		err = a.openWith(ctx, key)
	}
	if err != nil {
		a.log.Error("unattended opening failed", failure(err)...)
		a.mu.Lock()
		a.warnings = append(a.warnings, "the unattended credential did not open the vault: "+string(fault.CodeOf(err)))
		a.mu.Unlock()
	}
}

// openWith takes the credential.
func (a *Agent) openWith(ctx context.Context, credential secret.Key) error {
	done, err := a.changing()
	if err != nil {
		credential.Wipe()
		return err
	}
	defer done()
	return a.openUnattendedSession(ctx, credential, true)
}

// clearSpool removes what bodies of a dead process left. They are sealed under keys that died with it.
func (a *Agent) clearSpool() {
	dir := filepath.Join(a.cfg.Folders.State, spoolFolder)
	if err := os.RemoveAll(dir); err != nil {
		a.log.Warn("spool not cleared", failure(err)...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		a.log.Warn("spool not made", failure(err)...)
	}
}

// watchIdle locks when nobody was here for the configured time, and when the machine slept.
func (a *Agent) watchIdle(ctx context.Context) error {
	tick := time.NewTicker(a.o.Tick)
	defer tick.Stop()
	sleep := newSleepWatch(a.clock)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if sleep.slept() {
			a.wakeLink()
		}
		a.reportLink()
		a.reportRare(false)
		a.mu.Lock()
		due := a.idle.due() && a.gate != nil
		a.mu.Unlock()
		if due {
			a.log.Info("locking by itself")
			if err := a.Lock(ctx); err != nil {
				a.log.Warn("not locked", failure(err)...)
			}
		}
	}
}

// kick asks the housekeeping for a round now.
func (a *Agent) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// housekeep sweeps and expires: after each opening of the vault, and then every housekeepEvery.
func (a *Agent) housekeep(ctx context.Context) error {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	watch := newClockWatch(a.clock)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.wake:
		}
		if watch.jumped() {
			a.event(Event{Type: EventClock})
		}
		a.round(ctx, watch.steady())
	}
}

// round is one look at everything. With an unsteady clock nothing expires; leftovers of dead uploads go all the same.
func (a *Agent) round(ctx context.Context, steady bool) {
	s, ctx, leave, ok := a.enterWork(ctx)
	if !ok {
		return
	}
	defer leave()
	if s.writable() != nil {
		return
	}
	steps := []func() error{func() error { return a.sweepUploads(ctx, s) }, func() error { return a.clearAllBuried(ctx) }}
	if steady {
		steps = append(
			steps, func() error { return a.sweepIdempotency() }, func() error { return a.retain(ctx, s) },
			func() error { return a.sweepGarbage(ctx, s) },
		)
	}
	for _, step := range steps {
		if err := step(); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			a.log.Warn("housekeeping", failure(err)...)
		}
	}
}

// enterWork is enter for background work: it needs the open vault, not the open API.
func (a *Agent) enterWork(ctx context.Context) (*session, context.Context, func(), bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.work == nil || a.stopping {
		return nil, nil, nil, false
	}
	s, ctx, leave := a.enterGate(ctx, a.work)
	return s, ctx, leave, true
}

// clockWatch notices when the wall clock was set.
type clockWatch struct {
	clock Clock
	wall  time.Time
	boot  time.Duration
	hold  time.Duration // Boottime until which nothing expires
}

func newClockWatch(c Clock) *clockWatch {
	return &clockWatch{clock: c, wall: c.Now().Round(0), boot: c.Boottime()}
}

// jumped reports whether the wall clock was set since the last call.
func (w *clockWatch) jumped() bool {
	wall, boot := w.clock.Now().Round(0), w.clock.Boottime()
	gap := wall.Sub(w.wall) - (boot - w.boot)
	w.wall, w.boot = wall, boot
	if gap.Abs() <= clockSlack {
		return false
	}
	w.hold = boot + clockHold
	return true
}

func (w *clockWatch) steady() bool { return w.clock.Boottime() >= w.hold }
