package keystore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// A slot key that was replaced opens nothing, and is not kept until the collector finds it.
func TestReplacedSlotKeysAreWiped(t *testing.T) {
	ctx := t.Context()
	v, first := registered(t)
	for range 2 {
		if _, err := v.EnableUnattended(ctx, []byte(testPassword)); err != nil {
			t.Fatal(err)
		}
	}
	before := *v.c.keys
	kit, err := v.DraftKit(ctx, []byte(testPassword), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.UseKit(ctx, []byte(testPassword), KitChange{Kit: kit}); err != nil {
		t.Fatal(err)
	}
	if !before.recovery.IsZero() || before.unattended.IsZero() {
		t.Error("a new kit: the slot key of the kit before is kept, or another one is gone")
	}
	if _, err := v.EnableUnattended(ctx, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if !before.unattended.IsZero() || v.c.keys.unattended.IsZero() {
		t.Error("a new credential: the slot key of the one before is kept")
	}
	present := v.c.keys.unattended
	if err := v.DisableUnattended(ctx); err != nil || !present.IsZero() {
		t.Error("no credential any more: its slot key is kept", err)
	}
	if err := v.Recover(ctx, first, []byte(testPassword)); !errors.Is(err, fault.NotAuthentic) {
		t.Error("the replaced kit:", err)
	}
	if err := v.Recover(ctx, kit, []byte(testPassword)); err != nil {
		t.Error("the new kit:", err)
	}
}

func TestFailedChangeKeepsSlotKeys(t *testing.T) {
	v, _ := registered(t)
	stop := errors.New("stop")
	var staged *keyring
	err := v.Update(func(tx *Tx) error {
		keys := *tx.c.keys
		_, keys.recovery = slotRecovery.newSlot(keys.anchor)
		tx.keys, staged = &keys, &keys
		return stop
	})
	if !errors.Is(err, stop) || !staged.recovery.IsZero() || staged.anchor.IsZero() || v.c.keys.recovery.IsZero() {
		t.Error("only what was staged is wiped:", err)
	}
}

// A backup that cannot even begin leaves the vault as it was: it can be locked.
func TestFailedBackupBlocksNothing(t *testing.T) {
	v, _ := registered(t)
	if err := v.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.Backup(t.Context(), &bytes.Buffer{}, nil); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	locked := make(chan struct{})
	go func() {
		v.Lock()
		close(locked)
	}()
	select {
	case <-locked:
	case <-time.After(time.Minute):
		t.Fatal("the vault cannot be locked")
	}
	if s := v.State(); s != Locked {
		t.Error(s)
	}
}

// A process that died while it wrote the account key left a copy of it.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	v, _ := registered(t)
	left := v.path(".tmp-LEFTOVER")
	if err := os.WriteFile(left, []byte("half of an account key"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := New(v.db, v.o)
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := again.Unlock(t.Context(), []byte(testPassword), UnlockOptions{}); err != nil {
		t.Error(err)
	}
}
