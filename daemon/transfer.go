package daemon

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/internal/fault"
)

// progressEvery is the shortest time between two progress events of a transfer.
const progressEvery = 200 * time.Millisecond

var transferForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// transfer is one write or read of data in work, as its listeners see it.
type transfer struct {
	a       *Agent
	id      string
	dataset string
	total   int64

	mu   sync.Mutex
	last time.Duration
	rows int64
	n    int64
}

// newTransfer takes a slot for a transfer, waiting for one if all are taken.
func (a *Agent) newTransfer(ctx context.Context, id, dataset string, total int64, running *atomic.Int64) (*transfer, func(), error) {
	if id == "" {
		id, _ = newToken("")
	}
	if !transferForm.MatchString(id) {
		return nil, nil, fault.New(fault.InvalidRequest, "transfer: 1 to 64 characters a-z, 0-9 and -")
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ended(ctx, ctx.Err())
	}
	running.Add(1)
	var once sync.Once
	done := func() {
		once.Do(func() {
			running.Add(-1)
			<-a.slots
		})
	}
	return &transfer{a: a, id: id, dataset: dataset, total: max(total, 0), last: -progressEvery}, done, nil
}

// progress tells listeners how far the transfer is, at most every progressEvery. It counts as activity for the idle timer: a long
// transfer is not cut off by the agent's own lock.
func (t *transfer) progress(rows, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows, t.n = rows, n
	now := t.a.clock.Monotonic()
	if now-t.last < progressEvery {
		return
	}
	t.last = now
	t.a.Touch()
	t.send(EventProgress, "")
}

func (t *transfer) send(typ string, code fault.Code) {
	t.a.events.broadcast(Event{
		Type: typ, Dataset: t.dataset, Transfer: t.id, Rows: t.rows, Bytes: t.n, Total: t.total, Code: code,
	})
}

// end tells listeners how the transfer ended.
func (t *transfer) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.send(EventTransferFailed, fault.CodeOf(err))
		return
	}
	t.send(EventTransferDone, "")
}

// countingBody counts a body as it streams, and hashes it if an Idempotency-Key needs that. It stops when its context ends.
type countingBody struct {
	ctx context.Context
	r   io.Reader
	h   hash.Hash // nil: not needed
	n   atomic.Int64

	start []byte // the first headerKept bytes
}

func newCountingBody(ctx context.Context, r io.Reader, hashed bool) *countingBody {
	b := &countingBody{ctx: ctx, r: r}
	if hashed {
		b.h = sha256.New()
	}
	return b
}

// sum returns the SHA-256 of what was read; zero if it was not needed.
func (b *countingBody) sum() [32]byte {
	if b.h == nil {
		return [32]byte{}
	}
	return [32]byte(b.h.Sum(nil))
}

func (b *countingBody) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	n, err := b.r.Read(p)
	if b.h != nil {
		b.h.Write(p[:n])
	}
	b.start = append(b.start, p[:min(n, headerKept-len(b.start))]...)
	b.n.Add(int64(n))
	return n, err
}

// rest reads to the end of the body and returns its hash. fault.InvalidRequest if there is something after the end of the table.
func (b *countingBody) rest() ([32]byte, error) {
	n, err := io.Copy(io.Discard, b)
	if err != nil {
		return [32]byte{}, err
	}
	if n > 0 {
		return [32]byte{}, fault.New(fault.InvalidRequest, "there are %d bytes after the end of the table", n)
	}
	return b.sum(), nil
}

// skip reads the whole body for its hash alone.
func (b *countingBody) skip() ([32]byte, error) {
	if _, err := io.Copy(io.Discard, b); err != nil {
		return [32]byte{}, fault.Wrap(fault.Incomplete, err, "the body could not be read to its end")
	}
	return b.sum(), nil
}
