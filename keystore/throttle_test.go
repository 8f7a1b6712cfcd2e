package keystore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
)

func TestV12_Throttle(t *testing.T) {
	ctx := t.Context()
	r := newRig(t)
	kit := r.register()
	r.restart()
	tries := []func() error{
		func() error { return r.unlockWith(another) },
		func() error { return r.vault.CheckPassword(ctx, []byte(another)) },
		func() error { return r.vault.ChangePassword(ctx, []byte(another), []byte(another)) },
		func() error {
			other := kit
			other.RecoveryKey = secret.Random()
			return r.vault.Recover(ctx, other, []byte(another))
		},
	}
	want := time.Duration(0)
	for n := 1; n <= 50; n++ {
		wantCode(t, tries[n%len(tries)](), fault.NotAuthentic)
		if n >= 5 {
			want = min(max(want*2, time.Second), 5*time.Minute)
		}
		if n%7 == 0 {
			r.restart() // the count survives
		}
		if want == 0 {
			continue
		}
		err := r.unlock() // the right password waits too
		wantCode(t, err, fault.Busy)
		if wait, ok := keystore.RetryAfter(err); !ok || wait != want {
			t.Fatalf("after %d failures: wait %v, want %v", n, wait, want)
		}
		r.sleep(want - time.Millisecond)
		wantCode(t, r.unlock(), fault.Busy)
		r.sleep(time.Millisecond)
	}
	if !r.saw(keystore.EventWrongPassword) || !r.saw(keystore.EventThrottled) {
		t.Fatal(r.events)
	}
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.unlockWith(another), fault.NotAuthentic) // counted from the start again
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
}

// A try is on record before anybody learns whether it was right, so that killing the process gains nothing.
func TestV12_CountedBeforehand(t *testing.T) {
	r := locked(t)
	for range 5 {
		wantCode(t, r.unlockWith(another), fault.NotAuthentic)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.sleep(time.Hour)
	before := r.records()["vault/throttle"]
	if err := r.vault.Unlock(ctx, []byte(another), keystore.UnlockOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !bytes.Equal(before, r.records()["vault/throttle"]) {
		t.Fatal("a try that was never judged is on record")
	}
	seen := make(chan []byte, 1)
	o := r.options()
	o.Notify = func(event string) {
		if event == keystore.EventWrongPassword {
			seen <- r.records()["vault/throttle"]
		}
	}
	v := keystore.New(r.db, o)
	wantCode(t, v.Unlock(t.Context(), []byte(another), keystore.UnlockOptions{}), fault.NotAuthentic)
	if got := binary.BigEndian.Uint32(<-seen); got != 6 {
		t.Fatal("failures on record:", got)
	}
}

func TestF13_ClockDuringThrottle(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, step := range map[string]time.Duration{
		"an hour forth": time.Hour, "an hour back": -time.Hour, "ten years forth": 10 * year, "ten years back": -10 * year,
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := locked(t)
				for range 30 {
					r.unlockWith(another)
					r.sleep(5 * time.Minute)
				}
				r.unlockWith(another)
				if restart {
					r.restart()
				}
				r.sleep(step)
				err := r.unlock()
				if wait, ok := keystore.RetryAfter(err); step < 0 && (!ok || wait <= 0 || wait > 5*time.Minute) {
					t.Fatal(wait, err)
				}
				r.sleep(5 * time.Minute)
				if err := r.unlock(); err != nil {
					t.Fatal("locked out for longer than 5 minutes:", err)
				}
				if step < 0 && !r.saw(keystore.EventClockWentBack) {
					t.Fatal("no event")
				}
			})
		}
	}
}
