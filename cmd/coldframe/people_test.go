package main

import (
	"bytes"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func TestOneContact(t *testing.T) {
	text := func(s string) *string { return &s }
	grace := localapi.Contact{User: "5f0c2b52-3c0a-4d83-9a6e-6f0f6b0f8a11", Name: text("Grace"), Email: text("Grace@example.org")}
	twin := localapi.Contact{User: "5f0c2b53-0000-4000-8000-000000000000", Name: text("Grace")}
	posing := localapi.Contact{User: "aaaaaaaa-0000-4000-8000-000000000000", Name: text("grace@example.org")}
	all := []localapi.Contact{grace, twin, {User: "0123456a-0000-4000-8000-000000000000"}}
	for _, c := range []struct {
		all  []localapi.Contact
		name string
		want string // id
		code fault.Code
	}{
		{all, grace.User, grace.User, ""},
		{all, "grace@EXAMPLE.org", grace.User, ""},
		{all[:1], "Grace", grace.User, ""},
		{all, "5f0c2b52", grace.User, ""},
		{all, "012345", "0123456a-0000-4000-8000-000000000000", ""},
		{all, "Grace", "", fault.Conflict},
		{all, "5f0c2b5", "", fault.Conflict},
		{all, "5f0c2", "", fault.NotFound},
		{all, "grace", "", fault.NotFound},
		{all, "", "", fault.NotFound},
		{append(all, posing), "grace@example.org", "", fault.Conflict},
		{nil, "Grace", "", fault.NotFound},
	} {
		p, err := oneContact(c.all, c.name)
		if p.User != c.want || (c.code == "") != (err == nil) || err != nil && fault.CodeOf(err) != c.code {
			t.Errorf("%q: %q, %v", c.name, p.User, err)
		}
	}
}

// A refusal tells a person what to do about it; its code and exit stay what they are.
func TestWhatNext(t *testing.T) {
	problem := func(code string) error { return &localapi.Error{Problem: localapi.Problem{Code: code, Title: "x"}} }
	for _, c := range []struct {
		code  string
		state localapi.ContactState
		want  string
		exit  int
	}{
		{"untrusted_key", localapi.ContactStateAccepted, "--unverified", exitUntrusted},
		{"key_changed", localapi.ContactStateChanged, "--take new --number N", exitUntrusted},
		{"forked", localapi.ContactStateChanged, "--take old", exitUntrusted},
		{"forbidden", localapi.ContactStateAsked, "contacts accept id", exitRefused},
		{"forbidden", localapi.ContactStateBlocked, "", exitRefused},
		{"key_changed", localapi.ContactStateAccepted, "", exitUntrusted},
	} {
		err := whatNext(problem(c.code), localapi.Contact{User: "id", State: c.state})
		if !strings.Contains(message(err), c.want) || (c.want == "") != !strings.Contains(message(err), "\n") {
			t.Errorf("%s while %s: %q", c.code, c.state, message(err))
		}
		if exitCode(err) != c.exit || problemOf(err).Code != c.code || problemOf(err).Title != "x" {
			t.Errorf("%s while %s: exit %d, %+v", c.code, c.state, exitCode(err), problemOf(err))
		}
	}
	if whatNext(nil, localapi.Contact{}) != nil {
		t.Error("a success became a failure")
	}
}

// Somebody else chose the bytes of a secret: a terminal gets text, a pipe gets them as they are.
func TestSecretsOnATerminal(t *testing.T) {
	for body, text := range map[string]bool{
		"hunter2": true, "zwei\tZeilen\nä\n": true, "\x1b[2J": false, "a\rb": false, "\xff\xfe": false, "a\x00": false, "\u202egnp.exe": false, "": false,
	} {
		var out bytes.Buffer
		a := &app{out: &out}
		if err := a.writeSecret([]byte(body), false); err != nil || out.String() != body {
			t.Errorf("%q in a pipe: %q, %v", body, out.String(), err)
		}
		out.Reset()
		err := a.writeSecret([]byte(body), true)
		if (err == nil) != text || text && strings.TrimSuffix(out.String(), "\n") != strings.TrimSuffix(body, "\n") || !text && out.Len() > 0 {
			t.Errorf("%q on a terminal: %q, %v", body, out.String(), err)
		}
	}
}
