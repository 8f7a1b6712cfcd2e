package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// tries counts the attempts of one request.
type tries struct {
	limits Limits
	op     string
	count  int
}

// wait judges a failed attempt: nil after a pause if it is to be made once more, otherwise the failure.
func (t *tries) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, t.op)
	}
	v := judge(t.op, err)
	t.count++
	if !v.retry || t.count >= t.limits.Tries {
		return v.err
	}
	timer := time.NewTimer(t.delay(v.after))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, t.op)
	}
}

// delay is random between nothing and a bound that doubles ("full jitter"), or what the server asked for if that is longer.
func (t *tries) delay(after time.Duration) time.Duration {
	bound := min(t.limits.Backoff<<(t.count-1), maxBackoff)
	return max(rand.N(bound), after) //nolint:gosec // a waiting time
}

// ended is the failure for a context that is done: of the caller, or of our total limit.
func ended(ctx context.Context, op string) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSlow) {
		return judgeTransport(op, cause).err
	}
	return stopped(ctx)
}

// do makes a request until it works or the limits are reached. payload is the length of its body in bytes, extra is time the server
// may need besides.
func (s *Store) do(ctx context.Context, op string, payload int64, extra time.Duration, f func(context.Context, *watch) error) error {
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	l := s.config.Limits
	total := l.Total + extra + time.Duration(payload/minRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, total, errSlow)
	defer cancel()
	t := &tries{limits: l, op: op}
	for {
		err := attempt(ctx, l.Stall+extra, total, f)
		if err == nil {
			return nil
		}
		if err := t.wait(ctx, err); err != nil {
			return err
		}
	}
}

func attempt(ctx context.Context, stall, total time.Duration, f func(context.Context, *watch) error) error {
	actx, w, cancel := newWatch(ctx, stall, total)
	defer cancel()
	err := f(actx, w)
	if err != nil && ctx.Err() == nil && actx.Err() != nil {
		return context.Cause(actx)
	}
	return err
}
