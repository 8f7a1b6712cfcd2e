package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// Badger itself leaves goroutines behind when it fails to open a damaged store, so only what is new here counts.
func TestNoGoroutineOutlivesClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	db := open(t, t.TempDir())
	if err := db.Update(func(tx *Tx) error { return tx.Set("k", nil) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// diskUse returns how many bytes the files of a directory take on the disk.
func diskUse(t *testing.T, dir string) (sum int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var s unix.Stat_t
		if err := unix.Stat(dir+"/"+e.Name(), &s); err == nil {
			sum += s.Blocks * 512
		}
	}
	return sum
}

// Values that are replaced again and again give their space back, the small ones and those in the value log.
func TestDirectoryDoesNotGrowWithoutBound(t *testing.T) {
	for name, c := range map[string]struct{ size, total, limit int }{
		"tables":    {50 << 10, 36 << 20, 24 << 20},
		"value log": {300 << 10, 112 << 20, 80 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, err := Open(dir, Options{CleanEvery: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			r := seeded(t)
			written, value := 0, make([]byte, c.size)
			use := int64(0)
			for written < 4*c.total {
				value[r.IntN(len(value))]++
				if err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%d", r.IntN(20)), value) }); err != nil {
					t.Fatal(err)
				}
				written += c.size
				if written < c.total {
					continue
				}
				if use = diskUse(t, dir); use < int64(c.limit) {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("%d MiB written, %d MiB on disk", written>>20, use>>20)
			if use >= int64(c.limit) {
				t.Errorf("%d MiB on disk for %d KiB of values", use>>20, 20*c.size>>10)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			open(t, dir) // merged and rewritten, it is still the store that was acknowledged
		})
	}
}

// recorder keeps what is logged.
type recorder struct{ *bytes.Buffer }

func TestLogHoldsNoContents(t *testing.T) {
	out := recorder{&bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	for range 2 { // the second one replays
		db, err := Open(dir, Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *Tx) error { return tx.Set("canary-key", []byte("canary-value")) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() == 0 || !log.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("nothing was logged")
	}
	if strings.Contains(out.String(), "canary") || strings.Contains(out.String(), dir) {
		t.Errorf("the log holds contents or paths:\n%s", out)
	}
}

func TestClosedStoreIsAnError(t *testing.T) {
	db := open(t, t.TempDir())
	for range 2 {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	fn := func(*Tx) error { t.Error("called"); return nil }
	if err := errors.Join(db.View(fn), db.Update(fn)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("after closing: %v", err)
	}
}

func TestLimits(t *testing.T) {
	db := open(t, t.TempDir())
	large := bytes.Repeat([]byte{1}, MaxValue)
	if err := db.Update(func(tx *Tx) error { return tx.Set("k", large) }); err != nil {
		t.Errorf("a value of MaxValue bytes: %v", err)
	}
	if err := db.Update(func(tx *Tx) error { return tx.Set("k", append(large, 1)) }); !errors.Is(err, fault.TooLarge) {
		t.Errorf("a larger value: %v", err)
	}
	err := db.Update(func(tx *Tx) error {
		for i := range 100 {
			if err := tx.Set(fmt.Sprint(i), large[:200<<10]); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, fault.TooLarge) {
		t.Errorf("a transaction of 20 MiB: %v", err)
	}
	for _, key := range []string{"", "\x00count"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("key %q: no panic", key)
				}
			}()
			_ = db.Update(func(tx *Tx) error { return tx.Set(key, nil) })
		}()
	}
	if err := db.Update(func(tx *Tx) error { return tx.Set("k", nil) }); err != nil {
		t.Errorf("after a panic in a transaction: %v", err)
	}
	_ = db.View(func(tx *Tx) error {
		if v, err := tx.Get("k"); err != nil || v == nil || len(v) != 0 {
			t.Errorf("an empty value is %v, %v", v, err)
		}
		return nil
	})
}
