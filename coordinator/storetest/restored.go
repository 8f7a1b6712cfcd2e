package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"coldframe/coordinator/state"
)

// restoredLater: a backup of a month ago does not put the clock back by a month.
func restoredLater(t *testing.T, b *stateBench) {
	ctx := context.Background()
	elapsed := time.Duration(0)
	b.o.Elapsed = func() time.Duration { return elapsed }
	b.start()
	b.user(0)
	b.now, elapsed = b.now.Add(time.Hour), elapsed+time.Hour
	var file bytes.Buffer
	if _, err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	b.now, elapsed = b.now.Add(30*24*time.Hour), elapsed+30*24*time.Hour
	r := &stateBench{bench: newBench(t, b.open), o: b.o}
	if _, err := state.Restore(ctx, r.Store, &file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.start()
		if off := r.ClockOff(); off != 0 {
			t.Errorf("after a restore the clock is off by %v", off)
		}
		if _, err := r.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
