package server

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"coldframe/daemon"
	"coldframe/internal/fault"
)

// Answers about people are what the agent said, with what there is not left out.
func TestContactsAsAnswers(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for want, c := range map[string]daemon.Contact{
		`{"added":"2026-11-22T08:00:00Z","state":"asked","user":"u"}`: {User: "u", State: daemon.ContactAsked, Added: at},
		`{"added":"2026-11-22T08:00:00Z","changed":{"reason":"forked","seen_at":"2026-11-22T09:00:00Z"},"email":"e",` +
			`"former":[{"until":"2026-11-22T08:00:00Z","verified":true}],"name":"n","state":"changed","user":"u","verified_at":"2026-11-22T10:00:00Z","weak":true}`: {
			User: "u", Name: "n", Email: "e", State: daemon.ContactChanged, Added: at, Verified: at.Add(2 * time.Hour), Weak: true,
			Changed: &daemon.ContactChange{Reason: fault.Forked, Seen: at.Add(time.Hour)}, Former: []daemon.FormerContact{{Until: at, Verified: true}},
		},
	} {
		if got, err := json.Marshal(contactOf(c)); err != nil || string(got) != want {
			t.Errorf("got  %s\nwant %s, %v", got, want, err)
		}
	}
}

// A secret goes out in base64, once, and is wiped; lists have no place for a body.
func TestSecretsAsAnswers(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	s := daemon.Secret{Ref: "r", From: "f", To: "t", Title: "wifi", Body: []byte("hunter2"), Written: at, Since: at, State: "received", Verified: true}
	info, err := json.Marshal(secretInfoOf(s))
	want := `{"from":"f","ref":"r","since":"2026-11-22T08:00:00Z","state":"received","title":"wifi","to":"t","verified":true,"written":"2026-11-22T08:00:00Z"}`
	if err != nil || string(info) != want {
		t.Errorf("got  %s\nwant %s, %v", info, want, err)
	}
	s.Delay = fault.NotFound
	if waits, err := json.Marshal(secretInfoOf(s)); err != nil || !strings.HasPrefix(string(waits), `{"code":"not_found",`) {
		t.Errorf("%s, %v", waits, err)
	}
	s.Delay = ""
	w := httptest.NewRecorder()
	if err := secretAnswerOf(s).VisitGetSecretResponse(newAnswer(w, time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := strings.TrimSpace(w.Body.String())
	if got != `{"body":"aHVudGVyMg==",`+want[1:] || w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %q, %s", w.Code, w.Header(), got)
	}
	if string(s.Body) != strings.Repeat("\x00", 7) {
		t.Errorf("the body is still there: %q", s.Body)
	}
}
