package daemon

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

func TestL16_OnlyAllowedFieldsAreLogged(t *testing.T) {
	var b bytes.Buffer
	for _, format := range []string{"text", "json"} {
		b.Reset()
		log := NewLogger(&b, Log{Level: "debug", Format: format})
		log.With("password", "canary1", "dataset", "id1").WithGroup("canary2").Info(
			"message", "title", "canary3", slog.Group("code", "x", "canary4"), "cause", errors.New("canary5"), "rows", 7, "kind", strings.Repeat("k", 5000),
		)
		out := b.String()
		if strings.Contains(out, "canary") {
			t.Errorf("%s: %s", format, out)
		}
		if !strings.Contains(out, "id1") || !strings.Contains(out, "7") || len(out) > 600 {
			t.Errorf("%s: %s", format, out)
		}
	}
}

func TestL16_CauseQuotesNothing(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "canary"))
	for _, e := range []error{fault.Wrap(fault.Unavailable, err, "x"), fault.Wrap(fault.Internal, errors.New("canary"), "x"), errors.New("canary")} {
		if c := causeOf(e); c == "" || strings.Contains(c, "canary") {
			t.Errorf("%v: cause %q", e, c)
		}
	}
}

func TestL21_ProofOfTheToken(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	b, err := os.ReadFile(filepath.Join(a.Config().Folders.Runtime, TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	token, nonce := bytes.TrimSpace(b), bytes.Repeat([]byte{7}, 32)
	got, err := a.Prove(UserTokenID, nonce, "127.0.0.1:7878")
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(token)
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("coldframe/v1/challenge\x00" + string(nonce) + "\x00127.0.0.1:7878"))
	if !hmac.Equal(got, m.Sum(nil)) {
		t.Error("the proof is not the documented one")
	}
	other, err := a.Prove(UserTokenID, nonce, "127.0.0.1:7879")
	if err != nil || hmac.Equal(got, other) {
		t.Errorf("the proof holds for another host (%v)", err)
	}
	unknown, err := a.Prove(strings.Repeat("a", tokenIDSize), nonce, "127.0.0.1:7878")
	if err != nil || len(unknown) != len(got) || hmac.Equal(got, unknown) {
		t.Errorf("unknown token: %x, %v", unknown, err)
	}
	_, err = a.Prove(UserTokenID, nonce[:31], "h")
	wantCode(t, "short challenge", err, fault.InvalidRequest)
}

func TestF13_SetClockExpiresNothing(t *testing.T) {
	clock := newFakeClock()
	watch := newClockWatch(clock)
	clock.pass(time.Hour, 0)
	if watch.jumped() || !watch.steady() {
		t.Error("an hour that passed counts as a set clock")
	}
	for _, by := range []time.Duration{time.Hour, -time.Hour, 87600 * time.Hour, -87600 * time.Hour} {
		clock.set(clock.Now().Add(by))
		if !watch.jumped() || watch.steady() {
			t.Errorf("a clock set by %v was not noticed", by)
		}
	}
	clock.pass(clockHold+time.Second, 0)
	if watch.jumped() || !watch.steady() {
		t.Error("not steady a day later")
	}
}

func TestEventLogIsBounded(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	for left := MaxEvents + 500; left > 0; left -= 500 {
		err := a.db.Update(func(tx *kv.Tx) error {
			for range 500 {
				if err := a.events.stage(tx, Event{Type: EventLocked}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := a.db.View(func(tx *kv.Tx) (err error) { n, err = countRecords(tx, eventPrefix); return err }); err != nil || n != MaxEvents {
		t.Fatalf("%d events are kept, %v", n, err)
	}
	a.publish()
	s, err := a.Subscribe(t.Context(), user, 1)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-s.C; e.Type != EventSubscriberReset {
		t.Errorf("first event %+v, want a reset", e)
	}
	if e := <-s.C; e.ID <= 2 {
		t.Errorf("then %+v", e)
	}
}
