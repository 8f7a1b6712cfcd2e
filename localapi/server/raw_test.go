package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
	"coldframe/localapi/server"
)

// caller sends single requests to a real agent, over its socket or over TCP, with exactly the headers of a test.
type caller struct {
	t    *testing.T
	w    *localapitest.World
	http *http.Client
	base string
}

// hang bounds a request, so that a stream of events that must not begin fails the test instead of stopping it.
const hang = 30 * time.Second

func newCaller(t *testing.T, w *localapitest.World, network string) *caller {
	tr := &http.Transport{DisableCompression: true}
	base := "http://" + w.TCP
	if network == "unix" {
		base = "http://localhost"
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", w.Socket)
		}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &caller{t, w, &http.Client{Transport: tr, Timeout: hang}, base}
}

type reply struct {
	*http.Response
	body    string
	problem localapi.Problem
}

// send sends a request. Headers are pairs; "Host" sets the Host; "token" asks for the user's token.
func (c *caller) send(method, path, body string, headers ...string) reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			req.Host = headers[i+1]
		case "token":
			req.Header.Set("Authorization", "Bearer "+c.w.Token())
		default:
			req.Header[headers[i]] = []string{headers[i+1]}
		}
	}
	r, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	out := reply{Response: r, body: string(b)}
	if r.StatusCode >= 400 && json.Unmarshal(b, &out.problem) != nil {
		c.t.Fatalf("%s %s: status %d is no problem: %q", method, path, r.StatusCode, b)
	}
	return out
}

// want checks status and code of a refusal.
func (r reply) want(t *testing.T, status int, code localapi.Code) {
	t.Helper()
	if r.StatusCode != status || code != "" && r.problem.Code != string(code) {
		t.Errorf("%s %s: status %d, %s; want %d, %s", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.body, status, code)
	}
}

// eachRoute calls f for every operation, with a path and the right type.
func eachRoute(f func(op server.Operation, path string, headers []string)) {
	for _, op := range server.Operations() {
		headers := []string{}
		if op.Method != "GET" {
			headers = []string{"Content-Type", "application/json"}
			if strings.HasSuffix(op.Path, "/data") {
				headers[1] = "text/csv"
			}
		}
		f(op, strings.ReplaceAll(op.Path, "{id}", "aaaa"), headers)
	}
}

func withoutID(body string) string {
	var m map[string]any
	if json.Unmarshal([]byte(body), &m) != nil {
		return body
	}
	delete(m, "request_id")
	b, _ := json.Marshal(m) //nolint:errcheck // it was JSON
	return string(bytes.TrimSpace(b))
}
