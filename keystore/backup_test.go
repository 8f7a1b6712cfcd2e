package keystore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// backup returns a backup of a vault with some items and records of the agent, in several chunks, and the kit.
func backup(t *testing.T) ([]byte, keystore.RecoveryKit) {
	t.Helper()
	r := newRig(t)
	kit := r.register()
	for i := range 30 {
		r.put(strings.Repeat("i", i+1), strings.Repeat("body", 1000*i))
	}
	var file bytes.Buffer
	if err := r.vault.Backup(t.Context(), &file, extras); err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), kit
}

func extras(_ *kv.Tx, put func(string, []byte) error) error {
	return errors.Join(put("dataset/one", []byte("manifest")), put("app/one", []byte("token")))
}

// empty fails the test if anything of a restore is in the database.
func (r *rig) empty() {
	r.t.Helper()
	err := r.db.View(func(tx *kv.Tx) error {
		return tx.Scan("", func(key string, _ []byte) error {
			if key != "vault/throttle" {
				r.t.Errorf("%s is left", key)
			}
			return nil
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if s := r.vault.State(); s != keystore.None {
		r.t.Fatal(s)
	}
}

// parts cuts a backup into its head and the frames after it.
func parts(t *testing.T, file []byte) (head []byte, frames [][]byte) {
	t.Helper()
	const front = 21
	head, file = file[:front], file[front:]
	for len(file) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(file))
		frames, file = append(frames, file[:n]), file[n:]
	}
	return head, frames
}

func TestRestoreRefusesChangedFiles(t *testing.T) {
	file, kit := backup(t)
	head, frames := parts(t, file)
	if len(frames) < 5 {
		t.Fatal("too few chunks:", len(frames))
	}
	join := func(f ...[]byte) []byte { return append(slices.Clone(head), bytes.Join(f, nil)...) }
	body := frames[2:]
	cases := map[string][]byte{
		"empty":                {},
		"head only":            head,
		"no chunks":            join(frames[:2]...),
		"last chunk missing":   join(frames[:len(frames)-1]...),
		"last byte missing":    file[:len(file)-1],
		"a byte more":          append(slices.Clone(file), 0),
		"a chunk more":         append(slices.Clone(file), body[0]...),
		"first chunk missing":  join(append(slices.Clone(frames[:2]), body[1:]...)...),
		"chunks reordered":     join(append(slices.Clone(frames[:2]), append([][]byte{body[1], body[0]}, body[2:]...)...)...),
		"chunk doubled":        join(append(slices.Clone(frames[:3]), body...)...),
		"last chunk alone":     join(frames[0], frames[1], body[len(body)-1]),
		"another file's chunk": nil,
		"another file's head":  nil,
	}
	other, _ := backup(t)
	otherHead, otherFrames := parts(t, other)
	cases["another file's chunk"] = join(append(slices.Clone(frames[:2]), otherFrames[2:]...)...)
	cases["another file's head"] = append(slices.Clone(otherHead), bytes.Join(frames, nil)...)

	r := newRig(t)
	o := keystore.RestoreOptions{Password: []byte(password), Kit: &kit}
	for name, c := range cases {
		err := r.vault.Restore(t.Context(), bytes.NewReader(c), o)
		switch fault.CodeOf(err) {
		case fault.NotAuthentic, fault.Incomplete, fault.InvalidRequest:
		default:
			t.Errorf("%s: %v", name, err)
		}
		r.empty()
		r.sleep(time.Hour)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		bad := slices.Clone(file)
		at := random.IntN(len(bad))
		bad[at] ^= 1 << random.IntN(8)
		if err := r.vault.Restore(t.Context(), bytes.NewReader(bad), o); err == nil {
			t.Fatalf("byte %d flipped", at)
		}
		r.empty()
		r.sleep(time.Hour)
	}
	if err := r.vault.Restore(t.Context(), bytes.NewReader(file), o); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreWrongPasswordIsThrottled(t *testing.T) {
	file, kit := backup(t)
	r := newRig(t)
	restore := func(p string) error {
		return r.vault.Restore(t.Context(), bytes.NewReader(file), keystore.RestoreOptions{Password: []byte(p), Kit: &kit})
	}
	for range 5 {
		wantCode(t, restore(another), fault.NotAuthentic)
	}
	wantCode(t, restore(password), fault.Busy)
	r.sleep(time.Second)
	if err := restore(password); err != nil {
		t.Fatal(err)
	}
}

// A restore that a crash cut off leaves no vault, and the next opening removes its traces.
func TestRestoreCutOff(t *testing.T) {
	file, kit := backup(t)
	r := newRig(t)
	var left map[string][]byte
	cut := &hookReader{data: file, at: len(file) - 100, hook: func() {
		left = map[string][]byte{}
		err := r.db.View(func(tx *kv.Tx) error {
			return tx.Scan("", func(key string, value []byte) error {
				left[key] = value
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	}}
	o := keystore.RestoreOptions{Password: []byte(password), Kit: &kit}
	if err := r.vault.Restore(t.Context(), cut, o); err != nil {
		t.Fatal(err)
	}
	if len(left) < 3 {
		t.Fatal("the restore wrote nothing before its end:", len(left))
	}
	crashed := newRig(t)
	for key, value := range left {
		if err := crashed.db.Update(func(tx *kv.Tx) error { return tx.Set(key, value) }); err != nil {
			t.Fatal(err)
		}
	}
	if s := crashed.vault.State(); s != keystore.None {
		t.Fatal(s)
	}
	crashed.restart()
	crashed.empty()
	if err := crashed.vault.Restore(t.Context(), bytes.NewReader(file), o); err != nil {
		t.Fatal(err)
	}
	crashed.wants("ii", strings.Repeat("body", 1000))
}

// hookReader calls hook once, when reading gets to a place.
type hookReader struct {
	data []byte
	at   int
	pos  int
	hook func()
}

func (h *hookReader) Read(p []byte) (int, error) {
	end := len(h.data)
	if h.hook != nil {
		end = h.at
		if h.pos >= h.at {
			h.hook()
			h.hook = nil
			end = len(h.data)
		}
	}
	n := copy(p, h.data[h.pos:end])
	h.pos += n
	if n == 0 && h.pos == len(h.data) {
		return 0, io.EOF
	}
	return n, nil
}

func TestBackupWhileChanging(t *testing.T) {
	r := newRig(t)
	kit := r.register()
	r.put("a", "before")
	w := &changingWriter{change: func() { r.put("a", "after"); r.vault.Lock() }}
	if err := r.vault.Backup(t.Context(), w, extras); err != nil {
		t.Fatal(err)
	}
	n := newRig(t)
	if err := n.vault.Restore(t.Context(), &w.Buffer, keystore.RestoreOptions{Password: []byte(password), Kit: &kit}); err != nil {
		t.Fatal(err)
	}
	n.wants("a", "before")
	wantCode(t, r.vault.Backup(t.Context(), w, nil), fault.Locked)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	if err := r.vault.Backup(ctx, w, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// changingWriter changes the vault between the first bytes of a backup and the rest.
type changingWriter struct {
	bytes.Buffer
	change func()
}

func (w *changingWriter) Write(p []byte) (int, error) {
	if w.change != nil {
		w.change()
		w.change = nil
	}
	return w.Buffer.Write(p)
}

// An older backup over a lost database: the user asked for it, so it opens and the anchor follows; it is logged.
func TestF24_RestoreOfAnOlderBackup(t *testing.T) {
	r := newRig(t)
	r.register()
	r.put("a", "one")
	var file bytes.Buffer
	if err := r.vault.Backup(t.Context(), &file, nil); err != nil {
		t.Fatal(err)
	}
	r.put("a", "two")
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.dir + "/db"); err != nil {
		t.Fatal(err)
	}
	r.open()
	if err := r.vault.Restore(t.Context(), &file, keystore.RestoreOptions{Password: []byte(password)}); err != nil {
		t.Fatal(err)
	}
	if !r.saw(keystore.EventRollbackAccepted) {
		t.Fatal("not told:", r.events)
	}
	r.restart()
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
	r.put("a", "three")
}
