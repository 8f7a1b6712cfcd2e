package server_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

const somebody = "5f0c2b52-3c0a-4d83-9a6e-6f0f6b0f8a11"

// An account without a coordinator: what needs none works, what needs one is unavailable, and nobody is known.
func TestPeopleWithoutACoordinator(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	ctx, c := t.Context(), w.User()
	if _, err := c.Contacts(ctx); !errors.Is(err, localapi.Locked) {
		t.Errorf("without an account: %v", err)
	}
	w.Registered()
	people, err := c.Contacts(ctx)
	if err != nil || people == nil || len(people) != 0 {
		t.Errorf("%v, %v", people, err)
	}
	secrets, err := c.Secrets(ctx)
	if err != nil || secrets == nil || len(secrets) != 0 {
		t.Errorf("%v, %v", secrets, err)
	}
	who, ref := somebody, strings.Repeat("0a", 16)
	digits := strings.Repeat("1", 60)
	for name, call := range map[string]func() error{
		"get":      func() error { return second(c.Contact(ctx, who)) },
		"rename":   func() error { return second(c.RenameContact(ctx, who, "x")) },
		"remove":   func() error { return c.RemoveContact(ctx, who) },
		"accept":   func() error { return second(c.AcceptContact(ctx, who)) },
		"block":    func() error { return second(c.BlockContact(ctx, who)) },
		"number":   func() error { return second(c.SafetyNumber(ctx, who)) },
		"verify":   func() error { return second(c.VerifyContact(ctx, who, localapi.Comparison{Number: &digits})) },
		"unverify": func() error { return second(c.UnverifyContact(ctx, who)) },
		"resolve": func() error {
			return second(c.ResolveContact(ctx, who, localapi.Resolution{Take: localapi.ResolutionTakeOld}))
		},
		"send":   func() error { return second(c.SendSecret(ctx, localapi.SecretRequest{To: who, Body: []byte("x")})) },
		"secret": func() error { return second(c.Secret(ctx, ref)) },
		"forget": func() error { return second(c.RemoveSecret(ctx, ref)) },
	} {
		if err := call(); !errors.Is(err, localapi.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []localapi.ContactRequest{{User: &who}, {Email: ptr("grace@example.org"), Name: ptr("Grace")}} {
		if _, err := c.AddContact(ctx, r); !errors.Is(err, localapi.Unavailable) {
			t.Errorf("add: %v", err)
		}
	}
}

func second[A any](_ A, err error) error { return err }

// What a caller says about contacts and secrets is bounded, and judged before the agent does anything.
func TestPeopleInputsAreBounded(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	w.Registered()
	c := newCaller(t, w, "tcp")
	digits := strings.Repeat("1", 60)
	for _, r := range []struct{ method, path, body, field string }{
		{"POST", "/v1/contacts", `{}`, ""},
		{"POST", "/v1/contacts", `{"user":"` + somebody + `","email":"a@example.org"}`, ""},
		{"POST", "/v1/contacts", `{"user":"` + strings.ToUpper(somebody) + `"}`, "/user"},
		{"POST", "/v1/contacts", `{"email":"` + strings.Repeat("a", 250) + `@x.org"}`, "/email"},
		{"POST", "/v1/contacts", `{"email":"a@example.org","name":"` + strings.Repeat("a", 257) + `"}`, "/name"},
		{"POST", "/v1/contacts", `{"email":"a@example.org","name":"` + strings.Repeat("ä", 200) + `"}`, ""},
		{"POST", "/v1/contacts", `{"email":"a@example.org","name":"a\u001b[2J"}`, ""},
		{"POST", "/v1/contacts", `{"email":"a@example.org","name":"\u202egnp.exe"}`, ""},
		{"POST", "/v1/contacts", `{"email":"a@example.org","state":"accepted"}`, ""},
		{"GET", "/v1/contacts/nobody", "", ""},
		{"GET", "/v1/contacts?state=asked", "", "state"},
		{"PATCH", "/v1/contacts/" + somebody, `{}`, ""},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"number":"1"}`, "/number"},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"number":"` + strings.Repeat(" ", 200) + digits + `"}`, "/number"},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"number":"` + digits[1:] + `x"}`, "/number"},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"code":"` + strings.Repeat("A", 688) + `"}`, "/code"},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"code":"!!!!"}`, "/code"},
		{"POST", "/v1/contacts/" + somebody + "/resolve", `{}`, ""},
		{"POST", "/v1/contacts/" + somebody + "/resolve", `{"take":"both"}`, "/take"},
		{"POST", "/v1/contacts/" + somebody + "/resolve", `{"take":"old","number":"` + digits + `"}`, ""},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `"}`, ""},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":""}`, "/body"},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":"not base64"}`, "/body"},
		{"POST", "/v1/secrets", `{"to":"grace","body":"aGk="}`, "/to"},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":"aGk=","id":"7"}`, "/id"},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":"aGk=","id":"` + strings.Repeat("0", 32) + `"}`, ""},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":"aGk=","title":"` + strings.Repeat("a", 257) + `"}`, "/title"},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","body":"aGk=","title":"a\nb"}`, ""},
		{"GET", "/v1/secrets/" + strings.Repeat("0", 31), "", ""},
	} {
		headers := []string{"token", ""}
		if r.method != "GET" {
			headers = append(headers, "Content-Type", "application/json")
		}
		got := c.send(r.method, r.path, r.body, headers...)
		got.want(t, 400, localapi.InvalidRequest)
		if field := got.problem.Field; r.field != "" && (field == nil || *field != r.field) {
			t.Errorf("%s %s %.100s: want the field %s, got %s", r.method, r.path, r.body, r.field, got.body)
		}
	}
	for n, status := range map[int]int{64 << 10: 404, 64<<10 + 1: 413, 70 << 10: 413, 1 << 20: 413} {
		body := `{"to":"` + somebody + `","title":"` + strings.Repeat("t", 256) + `","body":"` + base64.StdEncoding.EncodeToString(make([]byte, n)) + `"}`
		code := map[int]localapi.Code{404: localapi.NotFound, 413: localapi.TooLarge}[status]
		c.send("POST", "/v1/secrets", body, "token", "", "Content-Type", "application/json").want(t, status, code)
	}
}

// TestL03_PeopleAreForSharers: no other scope reaches contacts and secrets, and neither does a token for named datasets.
func TestL03_PeopleAreForSharers(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	d, err := user.CreateDataset(t.Context(), "one", "")
	must(t, err)
	c := newCaller(t, w, "tcp")
	all := []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite, localapi.ScopeAdmin, localapi.ScopeKms}
	for name, token := range map[string]string{
		"all other scopes": w.App(user, all), "named datasets": w.App(user, append(all, localapi.ScopeShare), d.Id),
	} {
		for _, path := range []string{"/v1/contacts", "/v1/contacts/" + somebody, "/v1/contacts/" + somebody + "/safety-number", "/v1/secrets", "/v1/secrets/" + strings.Repeat("0", 32)} {
			r := c.send("GET", path, "", "Authorization", "Bearer "+token)
			r.want(t, 403, localapi.Forbidden)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
	sharer := w.App(user, []localapi.Scope{localapi.ScopeShare})
	c.send("GET", "/v1/contacts", "", "Authorization", "Bearer "+sharer).want(t, 200, "")
	r := c.send("GET", "/v1/secrets", "", "Authorization", "Bearer "+sharer)
	r.want(t, 200, "")
	if r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", r.Header.Get("Cache-Control"))
	}
}

// TestL16_SecretsAreNotLogged puts a canary into everything that is said about contacts and secrets.
func TestL16_SecretsAreNotLogged(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	w.Registered()
	c := newCaller(t, w, "tcp")
	coded := base64.StdEncoding.EncodeToString([]byte(canary + canary + canary))
	h := []string{"token", "", "Content-Type", "application/json"}
	for _, r := range [][3]string{
		{"POST", "/v1/contacts", `{"email":"` + canary + `@example.org","name":"` + canary + `"}`},
		{"POST", "/v1/contacts", `{"email":"` + canary + `"}`},
		{"PATCH", "/v1/contacts/" + somebody, `{"name":"` + canary + `"}`},
		{"PATCH", "/v1/contacts/" + canary, `{"name":"` + canary + `"}`},
		{"PUT", "/v1/contacts/" + somebody + "/verified", `{"code":"` + coded + `"}`},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","title":"` + canary + `","body":"` + coded + `"}`},
		{"POST", "/v1/secrets", `{"to":"` + somebody + `","title":"` + canary + `","body":"` + coded + `","` + canary + `":1}`},
		{"POST", "/v1/secrets", `{"to":"` + canary + `","body":"` + coded + `"}`},
		{"DELETE", "/v1/secrets/" + canary, `{}`},
	} {
		if got := c.send(r[0], r[1], r[2], h...); got.StatusCode < 400 || got.StatusCode >= http.StatusInternalServerError && got.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%v: %d", r, got.StatusCode)
		}
	}
	w.Stop()
	logs := bytes.ToLower(w.Logs.Bytes())
	for _, word := range []string{canary, coded[:24], somebody} {
		if bytes.Contains(logs, []byte(strings.ToLower(word))) {
			t.Errorf("the log holds %q", word)
		}
	}
	if n := bytes.Count(logs, []byte(`"operation":"sendsecret"`)); n != 3 {
		t.Errorf("%d requests logged", n)
	}
}
