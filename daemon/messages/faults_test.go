package messages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// Answers of the coordinator are lost, of whatever was asked, after it did it or before: nothing is lost or comes twice, and no key is used
// twice.
func TestF11_LostAnswers(t *testing.T) {
	w, alice, bob := pair(t)
	random := rand.New(rand.NewPCG(11, 11)) //nolint:gosec // a schedule
	lost := 0
	drop := func(do func() error) error {
		when := random.IntN(6)
		if when == 0 {
			lost++
			return fault.New(fault.Unavailable, "reset before")
		}
		err := do()
		if when == 1 {
			lost++
			return fault.New(fault.Unavailable, "reset after")
		}
		return err
	}
	for _, d := range []*device{alice, bob} {
		r := d.remote
		r.swap = func(ctx context.Context, c []BlobChange) error {
			return drop(func() error { return r.Remote.Swap(ctx, c) })
		}
		r.post = func(to, id string, b []byte) error {
			return drop(func() error { return r.Remote.Post(t.Context(), to, id, b) })
		}
		r.read = func(ctx context.Context, names []string) (out []Blob, err error) {
			err = drop(func() (err error) { out, err = r.Remote.Read(ctx, names); return err })
			return out, err
		}
	}
	repeat := func(do func() error) {
		t.Helper()
		for range 50 {
			err := do()
			if err == nil {
				return
			}
			if !transient(err) {
				t.Fatal(err)
			}
			w.later(10 * time.Minute)
		}
		t.Fatal("does not end")
	}
	var want [2][]string
	for i := range 60 {
		for n, d := range []*device{alice, bob} {
			text, to := fmt.Sprintf("%d", i), []*device{bob, alice}[n]
			want[n] = append(want[n], text)
			d.enqueue(to.p, text)
			repeat(func() error {
				next, err := d.Send(t.Context())
				if err == nil && !next.IsZero() {
					err = fault.Unavailable
				}
				return err
			})
			repeat(func() error { _, err := to.Receive(t.Context()); return err })
		}
	}
	if got := bob.p.texts(); !slices.Equal(got, want[0]) {
		t.Errorf("bob has %q", got)
	}
	if got := alice.p.texts(); !slices.Equal(got, want[1]) {
		t.Errorf("alice has %q", got)
	}
	if lost < 100 || w.reuse > 0 {
		t.Errorf("%d answers lost, %d keys used twice", lost, w.reuse)
	}
	t.Logf("%d answers lost", lost)
}

// The disk of either is full at any write: nothing is lost or comes twice, and no key is used twice.
func TestFullDisk(t *testing.T) {
	w, alice, bob := pair(t)
	random, refused := rand.New(rand.NewPCG(6, 6)), 0 //nolint:gosec // a schedule
	for _, d := range []*device{alice, bob} {
		d.full = func() bool {
			full := random.IntN(4) == 0
			if full {
				refused++
			}
			return full
		}
	}
	repeat := func(do func() error) {
		t.Helper()
		for range 50 {
			err := do()
			if err == nil {
				return
			}
			if !errors.Is(err, fault.StorageFull) {
				t.Fatal(err)
			}
			w.later(10 * time.Minute)
		}
		t.Fatal("does not end")
	}
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprint(i))
		for _, d := range [][2]*device{{alice, bob}, {bob, alice}} {
			repeat(func() error { _, err := d[0].Enqueue(d[1].p.id, "text", []byte(want[i])); return err })
			repeat(func() error {
				next, err := d[0].Send(t.Context())
				if err == nil && !next.IsZero() {
					err = fault.StorageFull
				}
				return err
			})
			repeat(func() error { _, err := d[1].Receive(t.Context()); return err })
		}
	}
	for _, d := range []*device{alice, bob} {
		d.full = nil
		if got := d.p.texts(); !slices.Equal(got, want) {
			t.Errorf("has %q", got)
		}
	}
	if refused < 40 || w.reuse > 0 {
		t.Errorf("%d writes refused, %d keys used twice", refused, w.reuse)
	}
	t.Logf("%d writes refused", refused)
}
