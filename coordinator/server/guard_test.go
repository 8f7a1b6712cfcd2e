package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/httpapi/httpapitest"
)

// TestRoutesAreThoseOfTheSpecification holds the table, the document and the generated router against one another.
func TestRoutesAreThoseOfTheSpecification(t *testing.T) {
	router := map[string]bool{}
	for _, r := range newRouter(&handlers{}).Routes() {
		router[r.Method+" "+r.Path] = true
	}
	inTable := map[string]bool{}
	for _, r := range routes {
		inTable[r.operation] = true
		op := checks[r.operation]
		if op == nil {
			t.Errorf("%s is in the table but not in the document", r.operation)
			continue
		}
		auth := map[bool]string{true: "none", false: "session"}[r.open]
		streaming, _ := op.Flags["x-streaming"].(bool)
		wantLimit, _ := op.Flags["x-limit"].(string)
		if op.Method != r.method || op.Path != r.path || op.Flags["x-auth"] != auth || wantLimit != string(r.limit) || streaming != r.streaming || (op.Body != nil) != r.body {
			t.Errorf("%s differs: table %+v, document %s %s", r.operation, r, op.Method, op.Path)
		}
		if max := fmt.Sprint(op.Flags["x-max-body"]); max != "<nil>" && max != fmt.Sprint(r.maxBody) || max == "<nil>" && r.maxBody != 0 {
			t.Errorf("%s: x-max-body is %s", r.operation, max)
		}
		_, open := op.Flags["security"]
		if open != r.open {
			t.Errorf("%s: security", r.operation)
		}
		at := r.method + " " + strings.NewReplacer("{", ":", "}", "").Replace(r.path)
		if !router[at] {
			t.Errorf("the router has no %s", at)
		}
		delete(router, at)
	}
	for id := range checks {
		if !inTable[id] {
			t.Errorf("%s is in the document but not in the table", id)
		}
	}
	for at := range router {
		t.Errorf("the router has %s, the table does not", at)
	}
}

// TestGeneratedFilesAreUpToDate generates again and compares the bytes.
func TestGeneratedFilesAreUpToDate(t *testing.T) { httpapitest.GeneratedIsUpToDate(t) }

// path fills in the parameters of a route.
func (r route) sample() string {
	return strings.NewReplacer("{user}", userID(1), "{name}", "vault").Replace(r.path)
}

func TestEveryRouteWantsASession(t *testing.T) {
	b := newBench(t, open, Options{})
	k := b.user(1)
	for _, r := range routes {
		if r.open {
			continue
		}
		for _, h := range [][]string{nil, {"Authorization", "Bearer x"}, {"Authorization", "Basic x"}, {"Authorization", "Bearer " + k.RefreshToken}, {"Cookie", "token=" + k.AccessToken}} {
			b.send(r.method, r.sample()+"?access_token="+k.AccessToken, "", nil, h...).want(t, 401, fault.Unauthorized)
		}
	}
}

func TestRequestsAreChecked(t *testing.T) {
	b := newBench(t, open, Options{})
	k := b.user(1).AccessToken
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		code         fault.Code
	}{
		{"GET", "/v2/account", nil, 404, fault.NotFound},
		{"POST", "/v1/account", "{}", 405, fault.InvalidRequest},
		{"OPTIONS", "/v1/account", nil, 405, fault.InvalidRequest},
		{"GET", "/v1/account?x=1", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/account", "{}", 400, fault.InvalidRequest},
		{"GET", "/v1/messages?after=-1", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/messages?limit=257", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/messages?after=9007199254740992", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/blobs/UPPER", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/blobs/..", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/blobs/a%2fb", nil, 404, fault.NotFound},
		{"GET", "/v1/users/x/devices", nil, 400, fault.InvalidRequest},
		{"GET", "/v1/users/" + userID(9) + "/devices", nil, 404, fault.NotFound},
		{"POST", "/v1/users/" + userID(9) + "/messages", OutgoingMessage{Id: userID(0), Body: []byte("abcd")}, 404, fault.NotFound},
		{"POST", "/v1/lookup", `{"email_hash":"AAAA"}`, 400, fault.InvalidRequest},
		{"POST", "/v1/lookup", `{}`, 400, fault.InvalidRequest},
		{"POST", "/v1/lookup", LookupRequest{EmailHash: fill(0, 31)}, 400, fault.InvalidRequest},
		{"POST", "/v1/sessions", Login{Device: deviceID(1), Proof: fill(1, 32)}, 400, fault.InvalidRequest},
		{"POST", "/v1/sessions", Login{Device: deviceID(1), Proof: fill(1, 32), User: optional(userID(1)), EmailHash: optional2(fill(1, 32))}, 400, fault.InvalidRequest},
		{"POST", "/v1/blobs", SwapRequest{Swaps: []Swap{{Name: "a", Counter: 0, Previous: fill(0, 32), Nonce: fill(0, 16), Body: []byte{}}}}, 400, fault.InvalidRequest},
		{"POST", "/v1/blobs", SwapRequest{Swaps: []Swap{{Name: "a", Counter: 2, Previous: fill(1, 32), Nonce: fill(0, 16), Body: []byte{}}}}, 409, fault.Conflict},
		{"POST", "/v1/blobs", `{"swaps":[{"name":"a","counter":1,"previous":"` + strings.Repeat("A", 43) + `=","nonce":"` + strings.Repeat("A", 22) + `==","body":"not base64!"}]}`, 400, fault.InvalidRequest},
		{"PUT", "/v1/prekeys", strings.Repeat(" ", 1<<21), 413, fault.TooLarge},
		{"POST", "/v1/messages/acknowledge", `{"messages":[]}`, 400, fault.InvalidRequest},
	} {
		b.send(c.method, c.path, k, c.body).want(t, c.status, c.code)
	}
	b.send("POST", "/v1/lookup", k, "{}", "Content-Type", "text/plain").want(t, 415, fault.UnsupportedMediaType)
	b.send("GET", "/v1/account", k, nil, "Origin", "https://evil.example").want(t, 403, fault.Forbidden)
	r := b.send("POST", "/v1/lookup", k, `{"email":"x"}`)
	if r.problem.Detail == nil || r.Header.Get("Content-Type") != "application/problem+json" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", r.body, r.Header)
	}
	chunked, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/v1/sessions", io.MultiReader(strings.NewReader("{}")))
	if err != nil {
		t.Fatal(err)
	}
	chunked.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(chunked)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 411 {
		t.Errorf("a body without a length: %d", res.StatusCode)
	}
}

// Slow clients, in their head or in their body, are closed within 10 s or so and do not keep others waiting.
func TestF20_SlowClients(t *testing.T) {
	b := newBench(t, open, Options{})
	k := b.user(1).AccessToken
	var slow []net.Conn
	for i := range 100 {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		head := "POST /v1/sessions HTTP/1.1\r\nHost: x\r\n"
		switch i % 3 {
		case 0:
			head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
		case 1: // refused before its body is looked at
			head += "Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\n{"
		}
		fmt.Fprint(c, head)
		slow = append(slow, c)
	}
	start := time.Now()
	var took []time.Duration
	for range 100 {
		at := time.Now()
		b.send("GET", "/v1/account", k, nil).want(t, 200, "")
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	t.Logf("p99 of other calls: %v", took[98])
	for _, c := range slow {
		c.SetReadDeadline(start.Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatalf("still open after %v: %v", time.Since(start), err)
		}
	}
	t.Logf("all closed after %v", time.Since(start))
}

// One address has a bounded number of connections, and gets a place back for each that it closes.
func TestF20_ConnectionsOfOneAddress(t *testing.T) {
	b := newBench(t, open, Options{PerAddress: 3})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	answered := func(c net.Conn) bool {
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _ := c.Read(make([]byte, 12))
		return n > 0
	}
	var all []net.Conn
	for range 3 {
		c := dial()
		defer c.Close()
		if !answered(c) {
			t.Fatal("no answer")
		}
		all = append(all, c)
	}
	for range 2 {
		c := dial()
		if answered(c) {
			t.Error("a fourth connection was answered")
		}
		c.Close()
	}
	all[0].Close()
	for range 100 {
		c := dial()
		ok := answered(c)
		c.Close()
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("no place was given back")
}
