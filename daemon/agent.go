package daemon

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/dir"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// Options are the parts that tests replace; the zero value is right for a real agent.
type Options struct {
	Logger  *slog.Logger     // default: none
	Clock   Clock            // default: the system's
	Profile keystore.Profile // argon2 policy; default: keystore.Production
	Files   dir.Files        // file layer of a folder store; default: the real one
	KV      kv.Options       // of the local store; Logger and MinFree are filled in

	// WrapStore, if set, is put around every store that the agent opens.
	WrapStore func(columnar.Store) columnar.Store

	// Tick is the time between two looks at the idle timer; default: one second.
	Tick time.Duration

	// Credential opens an unattended vault at Run; it is wiped. Nil: none.
	Credential []byte

	// Warnings of whoever hardened the process, shown in the status.
	Warnings []string
}

// Agent is one user's agent. All methods may be called from many goroutines at once. Errors are internal/fault errors.
type Agent struct {
	cfg     Config
	o       Options
	log     *slog.Logger
	clock   Clock
	started time.Time

	lock    *runLock
	db      *kv.DB
	vault   *keystore.Vault
	events  *eventLog
	idem    idemTable
	token   [32]byte // SHA-256 of the user's token
	noToken [32]byte // what an unknown token is compared with

	slots   chan struct{} // one for each transfer of data that may be in work
	names   nameSet       // objects that transfers are writing
	sql     engines
	counter counters
	cache   sealedCache
	linkLog linkLog
	rare    rareEvents

	burying sync.Mutex // held while the rest of a deleted dataset is taken away
	device  sync.Mutex // held while the device key file is made
	change  sync.Mutex // held while the account changes: unlock, lock, register, restore, stop
	handing sync.Mutex // held while an unattended credential is made and handed out

	accountTime time.Duration // the constant, but in tests

	mu       sync.Mutex
	session  *session // while the vault is open
	work     *gate    // background work on the session; nil when there is none
	gate     *gate    // callers; nil while locked
	stopping bool
	life     context.Context // ends when the agent stops
	endLife  context.CancelFunc
	failed   error // of the background work
	idle     *idleTimer
	warnings []string

	alive  sync.RWMutex // read-held by calls that use the local store without entering a gate
	closed bool         // under alive

	keepOpen bool // a call did not end in time: the local store is left to the end of the process, which it survives

	ready   chan struct{}
	wake    chan struct{} // asks the housekeeping to look now
	closing sync.Once
}

// counters are what Metrics reports beside the present state.
type counters struct {
	uploads, downloads              atomic.Int64
	rowsIn, bytesIn, bytesStored    atomic.Int64
	rowsOut, writesOK, writesFailed atomic.Int64
	eventsFailed                    atomic.Int64
}

// New opens the local store, writes the token file and returns an agent that answers calls; Run does the rest. On an error nothing is
// left open and no token file is left.
func New(cfg Config, o Options) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the configuration is not valid")
	}
	o = o.withDefaults(cfg)
	a := &Agent{
		cfg: cfg, o: o, log: o.Logger, clock: o.Clock, started: o.Clock.Now(), warnings: o.Warnings,
		slots: make(chan struct{}, cfg.Limits.Transfers), idle: newIdleTimer(o.Clock, cfg.Lock),
		ready: make(chan struct{}), wake: make(chan struct{}, 1), accountTime: accountTime,
	}
	a.life, a.endLife = context.WithCancel(context.Background())
	rand.Read(a.noToken[:]) //nolint:errcheck // ends the process instead of failing
	if err := a.open(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (o Options) withDefaults(cfg Config) Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = slog.New(newSafeHandler(o.Logger.Handler()))
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	if o.KV.Logger == nil {
		o.KV.Logger = o.Logger
	}
	if o.KV.MinFree == 0 {
		o.KV.MinFree = uint64(cfg.Limits.MinFreeMiB) << 20
	}
	return o
}

// open takes the start order of the package documentation up to the token.
func (a *Agent) open() (err error) {
	f := a.cfg.Folders
	if err := f.prepare(); err != nil {
		return err
	}
	if a.lock, err = takeRunLock(f.Runtime); err != nil {
		return err
	}
	if a.db, err = kv.Open(filepath.Join(f.Data, "kv"), a.o.KV); err != nil {
		return err
	}
	if a.events, err = openEventLog(a.db, a.clock); err != nil {
		return err
	}
	a.vault = a.newVault()
	a.token, err = writeTokenFile(f.Runtime)
	return err
}

// Config returns the configuration that the agent runs with.
func (a *Agent) Config() Config { return a.cfg }

// Ready is closed once the agent has opened what it can open by itself: Run has started, and an unattended vault is open.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Healthy returns nil while the background work lives and the local store can be read. The watchdog asks it.
func (a *Agent) Healthy() error {
	a.mu.Lock()
	failed, stopping := a.failed, a.stopping
	a.mu.Unlock()
	if failed != nil {
		return failed
	}
	done, err := a.use()
	if stopping || err != nil {
		return errStopping()
	}
	defer done()
	return a.db.View(func(tx *kv.Tx) error {
		_, err := readCounter(tx, eventHead)
		return err
	})
}

// Touch tells the idle timer that a caller was here. The server calls it for authenticated requests other than those that only watch.
func (a *Agent) Touch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle.touch()
}

// event logs e and publishes it. What an event tells of has happened already, so a store that takes no writes only loses the log line.
func (a *Agent) event(e Event) {
	if err := a.events.add(e); err != nil {
		a.counter.eventsFailed.Add(1)
		a.log.Warn("event not logged", "event", e.Type, "code", string(fault.CodeOf(err)))
	}
}

// publish hands out events that committed with something else.
func (a *Agent) publish() {
	if err := a.events.publish(); err != nil {
		a.log.Warn("events not published", "code", string(fault.CodeOf(err)))
	}
}

// use keeps the local store open for a call that does not enter a gate.
func (a *Agent) use() (func(), error) {
	a.alive.RLock()
	if a.closed {
		a.alive.RUnlock()
		return nil, errStopping()
	}
	return a.alive.RUnlock, nil
}

// close undoes open in reverse. It may be called twice.
func (a *Agent) close() {
	a.closing.Do(func() {
		a.endLife()
		a.alive.Lock()
		defer a.alive.Unlock()
		a.closed = true
		if a.events != nil {
			a.events.close()
		}
		if err := a.cache.close(); err != nil {
			a.log.Warn("cache not closed cleanly", failure(err)...)
		}
		if a.token != [32]byte{} {
			removeTokenFile(a.cfg.Folders.Runtime, a.token)
		}
		if a.db != nil && !a.keepOpen {
			if err := a.db.Close(); err != nil {
				a.log.Error("local store not closed cleanly", "code", string(fault.CodeOf(err)))
			}
		}
		a.lock.release()
	})
}

// closeStore ends the use of a store that has something to close.
func closeStore(s columnar.Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// passwordAgain is the check of L23, under the same throttle as unlocking.
func (a *Agent) passwordAgain(ctx context.Context, password []byte) error {
	if err := passwordGiven(password); err != nil {
		return err
	}
	return a.vault.CheckPassword(ctx, password)
}

func passwordGiven(password []byte) error {
	if len(password) == 0 {
		return fault.New(fault.Forbidden, "this needs the password again")
	}
	return nil
}

// isRefusal reports whether a code is that of a check of the threat model that said no (R3).
func isRefusal(c fault.Code) bool {
	switch c {
	case fault.UntrustedKey, fault.KeyChanged, fault.NotAuthentic, fault.RolledBack, fault.Forked, fault.Stale, fault.Incomplete,
		fault.Policy, fault.Replayed, fault.Revoked, fault.Unauthorized:
		return true
	}
	return false
}

// refusedEvery is how much time must pass between two events for refusals at the API's door: a flood of them, which any user of the
// machine can make over TCP, must take a week to wash the log out.
const refusedEvery = time.Minute

// Refused makes an event of a request that the server turned away before it reached the agent: a wrong token, a foreign Host or Origin.
func (a *Agent) Refused(code fault.Code) {
	done, err := a.use()
	if err != nil {
		return
	}
	defer done()
	a.rarely(Event{Type: EventRefused, Code: code})
}
