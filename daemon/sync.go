package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/daemon/membership"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// task is a set of what there is to do with the coordinator.
type task uint8

// The tasks, in the order in which a round does them. Nothing is done with messages before vault and device list are as they should be:
// the keys by which the coordinator's word on sessions is judged come out of these.
const (
	taskVault   task = 1 << iota // join, or take over what other devices changed
	taskDevices                  // follow the device list; replace the state key when it is due
	taskPreKeys                  // publish what sessions begin with
	taskReceive
	taskSend
	taskHeads    // compare what others were told of this account with what is here
	taskSessions // log removed devices out, and take them their slot of the vault
	allTasks     = 1<<iota - 1
)

const (
	roundEvery = time.Hour              // everything is looked at, whether or not the coordinator told of anything
	roundPause = 100 * time.Millisecond // between two rounds, whoever asks for them
	roundMin   = time.Second            // before what failed is done again; doubled up to roundMax
	roundMax   = 5 * time.Minute        // also after a refusal, and while this machine is not on the device list

	collectEvery = 256 // changes of the vault between two collections of what it does not name any more
)

// noticed are the tasks that an event of the coordinator asks for.
var noticed = map[string]task{
	"message": taskReceive | taskHeads, "blobs": taskVault, "prekeys_low": taskPreKeys, "devices": taskDevices, "resync": allTasks,
}

// syncer brings an open account and its coordinator together, in rounds: at each connection, when the coordinator or a call of the local
// API gives a reason, and once an hour. Without a coordinator it makes none.
type syncer struct {
	a *Agent
	s *session

	client    remote.Client
	directory *remote.Directory
	records   *remote.Records
	own       ratchet.Local
	member    *membership.Member
	memberErr error // why there is none

	mail *messages.Messages
	book *contacts.Book

	forks      sync.Mutex // held while what contacts were told is judged: a person's word stands against a round that looked before it
	recovering sync.Mutex // held while what follows of a recovery is done
	offering   sync.Mutex // held while prekeys are published, and while they are given up
	removing   sync.Mutex // held while a device is removed, and while it is taken what it had

	poked     chan struct{}
	rescan    atomic.Bool   // the mailbox is to be looked at from its beginning
	connected atomic.Bool   // anew: what the last connection's end made wait is to be sent
	arrivals  atomic.Uint64 // connections that were made
	epochAt   uint64        // the connection in which the coordinator's epoch was looked at; run's

	mu       sync.Mutex
	due      task
	failures map[task]fault.Code // of the last try of each; none: it went well, or was not tried yet
	findings []messages.Finding

	collected uint64 // change of the vault at the last collection; run's
	offered   offered
}

// poke asks for tasks.
func (y *syncer) poke(t task) {
	y.add(t)
	select {
	case y.poked <- struct{}{}:
	default:
	}
}

func (y *syncer) add(t task) {
	y.mu.Lock()
	y.due |= t
	y.mu.Unlock()
}

// take returns what is due, and makes it the caller's.
func (y *syncer) take() task {
	y.mu.Lock()
	defer y.mu.Unlock()
	t := y.due
	y.due = 0
	return t
}

// run makes rounds until ctx ends.
func (y *syncer) run(ctx context.Context) {
	hourly := time.NewTicker(roundEvery)
	defer hourly.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
			y.add(allTasks)
		case <-y.poked:
		case <-again.C:
		}
		if _, err := y.client(); err != nil {
			continue // what is due waits for the connection
		}
		left, next := y.round(ctx, y.take())
		select { // a coordinator that tells of something all the time must not keep this machine busy
		case <-ctx.Done():
			return
		case <-time.After(roundPause):
		}
		y.add(left)
		if left&^taskSend == 0 && !y.failed(taskSend) {
			tries = 0
		} else {
			tries++
			next = sooner(next, pauseAfter(tries))
		}
		if next > 0 {
			again.Reset(next)
		}
	}
}

// pauseAfter is how long to wait after so many failures.
func pauseAfter(tries int) time.Duration {
	d := min(roundMax, roundMin<<min(tries, 10))
	return d/2 + rand.N(d/2) //nolint:gosec // jitter is no secret
}

// sooner returns the shorter of two times, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// round does what is due. It returns what is still to be done, and after what time to look at the outbox, 0 if nothing waits there.
func (y *syncer) round(ctx context.Context, due task) (left task, next time.Duration) {
	steps := []struct {
		task
		do       func(context.Context) error
		required bool // by all after it
		writes   bool // the vault, or to others: not where there are two of it
	}{
		{taskVault, y.syncVault, true, false},
		{taskDevices, y.syncDevices, true, false},
		{taskPreKeys, y.offerPreKeys, false, true},
		{taskReceive, y.receive, false, true},
		{taskSend, func(ctx context.Context) (err error) { next, err = y.send(ctx); return err }, false, true},
		{taskHeads, y.checkHeads, false, false},
		{taskSessions, y.endSessions, false, false},
	}
	for _, step := range steps {
		if due&step.task == 0 && (!step.required || !y.failed(step.task)) || step.writes && y.s.forked.Load() {
			continue
		}
		if step.writes && y.s.fresh.Load() { // it became so in this round
			return left | due | taskDevices, 0
		}
		err := step.do(ctx)
		if ctx.Err() != nil {
			return due | left, 0
		}
		due &^= step.task
		if y.note(step.task, err); err == nil {
			continue
		}
		if left |= step.task; step.required {
			return left | due, 0
		}
	}
	if next > 0 {
		left |= taskSend
	}
	return left, next
}

func (y *syncer) failed(t task) bool { return y.failure(t) != "" }

// failure is that of the last try of a task; none: it went well, or was not tried yet.
func (y *syncer) failure(t task) fault.Code {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.failures[t]
}

// note keeps how a task went, and makes an event of a refusal that is news.
func (y *syncer) note(t task, err error) {
	code := fault.Code("")
	if err != nil {
		code = fault.CodeOf(err)
		y.a.log.Info("not done with the coordinator", append(failure(err), "task", int(t))...)
	}
	y.mu.Lock()
	news := y.failures[t] != code
	y.failures[t] = code
	y.mu.Unlock()
	if news && isRefusal(code) && code != fault.Unauthorized {
		y.a.rarely(Event{Type: EventRefused, Code: code})
	}
}

// syncVault joins the coordinator, or takes over what other devices changed there.
func (y *syncer) syncVault(ctx context.Context) error {
	v := y.a.vault
	joined, err := v.Joined()
	if err == nil {
		err = y.followEpoch(ctx)
	}
	if err != nil {
		return err
	}
	if !joined {
		err = y.a.joinVault(ctx)
	} else {
		err = y.takeOver(ctx)
	}
	if err != nil {
		return err
	}
	y.a.storeSettingsChanged(ctx, y.s)
	after, _, err := v.Head()
	y.noteUnattended(ctx)
	if err == nil && after/collectEvery != y.collected/collectEvery {
		if _, err = v.Collect(ctx); err == nil {
			y.collected = after
		}
	}
	return err
}

// syncDevices follows the device list, begins it, or replaces the state key, and has everything sealed again that a former one sealed.
// Other devices that need a word on the vault get it.
func (y *syncer) syncDevices(ctx context.Context) error {
	if y.memberErr != nil {
		return y.memberErr
	}
	state, err := y.member.Sync(ctx)
	if err := errors.Join(err, y.askIfFresh(ctx, state)); err != nil {
		return err
	}
	if err := errNotListed(state); err != nil {
		return err
	}
	if err := y.finishRecovery(ctx); err != nil {
		return err
	}
	if err := y.confirm(ctx); err != nil { // nothing is signed until then
		return err
	}
	if y.s.forked.Load() { // a person has to look before anything new is made
		return nil
	}
	if err := y.reseal(ctx); err != nil { // what a former round began
		return err
	}
	if err := y.member.Rotate(ctx); err != nil {
		return err
	}
	if err := y.reseal(ctx); err != nil {
		return err
	}
	return y.vouchForAll(ctx)
}

// reseal seals everything again that is under a former state key, which is erased then.
func (y *syncer) reseal(ctx context.Context) error {
	epoch, needed := y.member.NeedsReseal()
	if !needed {
		return nil
	}
	if err := y.mail.Reseal(ctx); err != nil {
		return err
	}
	return y.member.Resealed(ctx, epoch)
}

// errNotListed is why nothing is done with messages on a machine that is not, or not any more, one of the user's devices.
func errNotListed(s membership.State) error {
	switch s {
	case membership.Listed:
		return nil
	case membership.Removed:
		return fault.New(fault.Revoked, "this machine was removed from the user's devices")
	case membership.Recovered:
		return fault.New(fault.UntrustedKey, "another machine began the device list again: a person has to say whether that was them")
	}
	return fault.New(fault.Forbidden, "this machine is not one of the user's devices yet")
}

// receive takes in what is in the mailbox.
func (y *syncer) receive(ctx context.Context) error {
	if y.rescan.Swap(false) {
		y.mail.Rescan()
	}
	_, err := y.mail.Receive(ctx)
	return err
}

// send posts what waits in the outbox, and says of secrets that they were sent. It returns after what time something is due again.
func (y *syncer) send(ctx context.Context) (time.Duration, error) {
	if y.connected.Swap(false) {
		if err := y.mail.Reconnected(); err != nil {
			return 0, err
		}
	}
	if err := y.cancelGone(); err != nil {
		return 0, err
	}
	at, err := y.mail.Send(ctx)
	if sentErr := y.noteSent(ctx); err == nil {
		err = sentErr
	}
	if at.IsZero() {
		return 0, err
	}
	return max(time.Second, at.Sub(y.a.clock.Now())), err
}

// taskNames are the tasks as people read them.
var taskNames = []struct {
	task
	name string
}{
	{taskVault, "vault"},
	{taskDevices, "devices"},
	{taskPreKeys, "prekeys"},
	{taskReceive, "receive"},
	{taskSend, "send"},
	{taskHeads, "heads"},
	{taskSessions, "sessions"},
}

// status says how the last round went, and what waits.
func (y *syncer) status() SyncStatus {
	state := membership.Unknown
	if y.member != nil {
		state, _ = y.member.State() // the failure is that of the task
	}
	st := SyncStatus{Device: string(state), Fresh: y.s.fresh.Load()}
	out, outErr := y.mail.Waiting()
	aside, err := y.mail.Asides()
	if err = errors.Join(outErr, err, y.doubts(&st)); err != nil {
		y.a.log.Warn("messages not counted", failure(err)...)
	}
	st.Outbox, st.Aside = len(out), len(aside)
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, t := range taskNames {
		if code := y.failures[t.task]; code != "" {
			st.Failures = append(st.Failures, SyncFailure{t.name, code})
		}
	}
	return st
}
