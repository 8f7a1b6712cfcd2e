package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
	"coldframe/localapi/server"
)

func TestL02_HostByteForByte(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	_, port, _ := strings.Cut(w.TCP, ":")
	tcp, unix := newCaller(t, w, "tcp"), newCaller(t, w, "unix")
	for _, host := range []string{
		"evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "localhost:1", "127.0.0.1:" + port + "0", "x127.0.0.1:" + port, "127.0.0.1:" + port + ".evil.example",
		"LOCALHOST:" + port, "localhost.:" + port, "127.1:" + port, "0.0.0.0:" + port, "[::ffff:127.0.0.1]:" + port, "2130706433:" + port,
	} {
		tcp.send("GET", "/healthz", "", "Host", host).want(t, 421, localapi.InvalidRequest)
		tcp.send("GET", "/v1/status", "", "Host", host, "token", "").want(t, 421, localapi.InvalidRequest)
		tcp.send("GET", "/v1/nothing", "", "Host", host).want(t, 421, localapi.InvalidRequest)
	}
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port} {
		tcp.send("GET", "/healthz", "", "Host", host).want(t, 200, "")
	}
	for _, host := range []string{"evil.example", "127.0.0.1:" + port, "localhost:80", "Localhost"} {
		unix.send("GET", "/healthz", "", "Host", host).want(t, 421, localapi.InvalidRequest)
	}
	unix.send("GET", "/healthz", "").want(t, 200, "")
	for _, raw := range []string{"GET /healthz HTTP/1.1\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n"} {
		if got := rawAnswer(t, w, raw); !strings.HasPrefix(got, "HTTP/1.1 421 ") {
			t.Errorf("%q: %q", raw, got)
		}
	}
}

func TestL03_EveryRouteNeedsAToken(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	app := w.App(user, []localapi.Scope{localapi.ScopeRead})
	apps, err := user.Apps(context.Background())
	must(t, err)
	must(t, user.DeleteApp(context.Background(), apps[0].Id))
	good := w.Token()
	c := newCaller(t, w, "tcp")
	bodies := map[string]bool{}
	n := 0
	eachRoute(func(op server.Operation, path string, headers []string) {
		if op.Path == "/healthz" {
			if r := c.send("GET", path, ""); r.body != "ok" {
				t.Errorf("healthz says %q", r.body)
			}
			return
		}
		n++
		for _, auth := range []string{
			"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + good[:len(good)-1], "Bearer " + good + "a", "bearer " + good, "Basic " + good, good, "Bearer " + app,
			"Bearer cf_user_" + strings.Repeat("a", 52), "Bearer  " + good,
		} {
			h := headers
			if auth != "" {
				h = append(h[:len(h):len(h)], "Authorization", auth)
			}
			r := c.send(op.Method, path, "", h...)
			r.want(t, 401, localapi.Unauthorized)
			bodies[withoutID(r.body)] = true
		}
		c.send(op.Method, path+"?token="+good+"&access_token="+good, "", headers...).want(t, 401, localapi.Unauthorized)
		c.send(op.Method, path, "", append(headers, "Cookie", "token="+good)...).want(t, 401, localapi.Unauthorized)
	})
	c.send("GET", "/v1/nothing", "").want(t, 401, localapi.Unauthorized)
	if n == 0 || len(bodies) != 1 {
		t.Errorf("%d routes, %d different bodies: %v", n, len(bodies), bodies)
	}
}

func TestL03_TokenOfAnEarlierRunIsWorthless(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	old := w.Token()
	w.Stop()
	next := localapitest.Start(t, localapitest.Options{Dir: w.Dir()})
	newCaller(t, next, "tcp").send("GET", "/v1/status", "", "Authorization", "Bearer "+old).want(t, 401, localapi.Unauthorized)
}

func TestL03_Scopes(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	d, err := user.CreateDataset(context.Background(), "one", "")
	must(t, err)
	tokens := map[string]string{}
	for _, s := range []localapi.Scope{"read", "write", "share", "admin", "kms"} {
		tokens[string(s)] = w.App(user, []localapi.Scope{s})
	}
	c := newCaller(t, w, "tcp")
	eachRoute(func(op server.Operation, path string, headers []string) {
		for scope, token := range tokens {
			if op.Scope == "none" || op.Scope == "any" || op.Scope == scope || op.Path == "/v1/events" {
				continue
			}
			c.send(op.Method, path, "", append(headers, "Authorization", "Bearer "+token)...).want(t, 403, localapi.Forbidden)
		}
	})
	named := w.App(user, []localapi.Scope{"read", "write"}, d.Id)
	auth := []string{"Authorization", "Bearer " + named}
	c.send("GET", "/v1/datasets/"+d.Id, "", auth...).want(t, 200, "")
	c.send("GET", "/v1/datasets/"+strings.Repeat("a", 52), "", auth...).want(t, 403, localapi.Forbidden)
}

func TestL04_BrowsersAreRefused(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := newCaller(t, w, "tcp")
	eachRoute(func(op server.Operation, path string, headers []string) {
		for _, h := range [][2]string{
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
			{"Origin", ""},
			{"Origin", "http://" + w.TCP},
			{"Referer", "https://evil.example/"},
			{"Referer", ""},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-origin"},
			{"Sec-Fetch-Site", "none"},
		} {
			c.send(op.Method, path, "", append(headers, h[0], h[1], "token", "")...).want(t, 403, localapi.Forbidden)
		}
	})
}

func TestL05_NoPreflight(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := newCaller(t, w, "tcp")
	for _, path := range []string{"/v1/status", "/healthz", "/nothing", "/v1/datasets/a/data"} {
		for _, h := range [][]string{
			{"Origin", "https://evil.example", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization"},
			{"Access-Control-Request-Method", "PUT"},
			{"Access-Control-Request-Private-Network", "true"},
			{"token", ""},
		} {
			r := c.send("OPTIONS", path, "", h...)
			r.want(t, 403, localapi.Forbidden)
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s has %s", path, name)
				}
			}
		}
	}
	if got := rawAnswer(t, w, "OPTIONS * HTTP/1.1\r\nHost: "+w.TCP+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("OPTIONS *: %q", got)
	}
}

func TestL06_ContentType(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := newCaller(t, w, "tcp")
	eachRoute(func(op server.Operation, path string, _ []string) {
		if op.Method == "GET" {
			return
		}
		for _, mediaType := range []string{
			"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-8", "application/JSON", "application/json,",
			"text/json", "application/octet-stream", "text/csv; charset=utf-8", "application/problem+json",
		} {
			h := []string{"token", ""}
			if mediaType != "" {
				h = append(h, "Content-Type", mediaType)
			}
			c.send(op.Method, path, "{}", h...).want(t, 415, localapi.UnsupportedMediaType)
		}
		other := "text/csv"
		if strings.HasSuffix(path, "/data") {
			other = "application/json"
		}
		c.send(op.Method, path, "{}", "token", "", "Content-Type", other).want(t, 415, localapi.UnsupportedMediaType)
	})
}

func TestL08_HeadersOfEveryAnswer(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	w.Registered()
	c := newCaller(t, w, "tcp")
	check := func(r reply) {
		t.Helper()
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Cross-Origin-Resource-Policy": "same-origin", "Server": "", "Access-Control-Allow-Origin": "", "X-Powered-By": "", "Set-Cookie": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s %s (%d): %s is %q", r.Request.Method, r.Request.URL.Path, r.StatusCode, name, got)
			}
		}
		if strings.Contains(r.Header.Get("Content-Type"), "html") || strings.Contains(strings.ToLower(r.body), "<html") {
			t.Errorf("%s answers with HTML", r.Request.URL.Path)
		}
	}
	eachRoute(func(op server.Operation, path string, headers []string) {
		check(c.send(op.Method, path, ""))
		if op.Path != "/v1/events" && op.Path != "/v1/lock" {
			check(c.send(op.Method, path, "", append(headers, "token", "")...))
		}
	})
	for _, r := range []reply{
		c.send("GET", "/nothing", "", "token", ""), c.send("GET", "/", "", "token", ""), c.send("PATCH", "/v1/status", "", "token", ""), c.send("GET", "/healthz", "", "Host", "x"),
		c.send("OPTIONS", "/healthz", ""), c.send("GET", "/v1/datasets?title="+strings.Repeat("<html>", 100), "", "token", ""),
	} {
		check(r)
	}
	for _, raw := range []string{"GET / HTTP/1.0\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n"} {
		got := rawAnswer(t, w, raw)
		if !strings.Contains(got, "Cache-Control: no-store\r\n") || !strings.Contains(got, "X-Content-Type-Options: nosniff\r\n") || strings.Contains(got, "\r\nServer:") {
			t.Errorf("%q: %q", raw, got)
		}
	}
}

func TestL09_NoUpgrade(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := newCaller(t, w, "tcp")
	for _, path := range []string{"/v1/events", "/v1/status", "/healthz"} {
		c.send("GET", path, "", "token", "", "Connection", "Upgrade", "Upgrade", "websocket").want(t, 403, localapi.Forbidden)
		c.send("GET", path, "", "token", "", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__").want(t, 403, localapi.Forbidden)
	}
	c.send("GET", "/v1/events", "").want(t, 401, localapi.Unauthorized)
	c.send("GET", "/v1/events", "", "token", "", "Origin", "null").want(t, 403, localapi.Forbidden)
	c.send("GET", "/v1/events", "", "token", "", "Last-Event-ID", "x").want(t, 400, localapi.InvalidRequest)
}

func TestL13_PathsAndIDs(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	w.Registered()
	for _, id := range []string{
		"..", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%00b", "..%5c", "%2fetc%2fpasswd", "A", "a_b", "a.b", "ä", "%c3%a4", strings.Repeat("a", 65), "~", "a b", "%20", "a;b",
		"....//", "a/../b", "/etc/passwd", "//", "%252e%252e",
	} {
		for _, path := range []string{"/v1/datasets/" + id, "/v1/datasets/" + id + "/data", "/v1/datasets/" + id + "/versions"} {
			got := rawAnswer(t, w, "GET "+path+" HTTP/1.1\r\nHost: "+w.TCP+"\r\nAuthorization: Bearer "+w.Token()+"\r\nConnection: close\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") && !strings.HasPrefix(got, "HTTP/1.1 404 ") {
				t.Errorf("%q: %q", path, got)
			}
		}
	}
}

func TestL19_NoDebugRoutes(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := newCaller(t, w, "tcp")
	for _, path := range []string{
		"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/debug", "/pprof", "/swagger", "/openapi.yaml", "/openapi.json", "/docs", "/v1", "/v1/", "/v1/debug", "/favicon.ico",
	} {
		c.send("GET", path, "", "token", "").want(t, 404, localapi.NotFound)
	}
	c.send("GET", "/metrics", "").want(t, 401, localapi.Unauthorized)
	r := c.send("GET", "/metrics", "", "token", "")
	if r.StatusCode != 200 || !strings.Contains(r.body, "coldframe_unlocked 0") || !strings.Contains(r.body, "coldframe_cache_bytes 0") {
		t.Errorf("status %d, %.200q", r.StatusCode, r.body)
	}
}

func TestL23_PasswordAgain(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	c := newCaller(t, w, "tcp")
	for _, r := range []struct{ method, path, without, wrong string }{
		{"POST", "/v1/backup", `{}`, `{"password":"wrong"}`},
		{"PUT", "/v1/store", `{"kind":"folder","path":"/tmp/x"}`, `{"kind":"folder","path":"/tmp/x","password":"wrong"}`},
		{"PUT", "/v1/unattended", `{}`, `{"password":"wrong"}`},
		{"PUT", "/v1/password", `{"new_password":"a b c d e f"}`, `{"password":"wrong","new_password":"glide onion mural tusk zebra flint two"}`},
	} {
		h := []string{"token", "", "Content-Type", "application/json"}
		c.send(r.method, r.path, r.without, h...).want(t, 400, localapi.InvalidRequest)
		c.send(r.method, r.path, r.wrong, h...).want(t, 422, localapi.NotAuthentic)
	}
	for _, scope := range []localapi.Scope{"admin", "kms"} {
		_, err := user.CreateApp(context.Background(), localapi.AppRequest{Name: "x", Scopes: []localapi.Scope{scope}})
		if !errors.Is(err, localapi.Forbidden) {
			t.Errorf("scope %s without the password: %v", scope, err)
		}
	}
	if apps, err := user.Apps(context.Background()); err != nil || len(apps) != 0 {
		t.Errorf("%v, %v", apps, err)
	}
}

// TestV12_AtTheAPI guesses passwords until the agent makes the caller wait, and wants the wait told and kept.
func TestV12_AtTheAPI(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	must(t, user.Lock(context.Background()))
	c := newCaller(t, w, "tcp")
	var busy reply
	for i := range 10 {
		r := c.send("POST", "/v1/unlock", `{"password":"wrong"}`, "token", "", "Content-Type", "application/json")
		if r.StatusCode == http.StatusServiceUnavailable {
			busy = r
			break
		}
		r.want(t, 422, localapi.NotAuthentic)
		if i > 6 {
			t.Fatal("no wait after seven wrong passwords")
		}
	}
	busy.want(t, 503, localapi.Busy)
	if busy.Header.Get("Retry-After") == "" || busy.problem.RetryAfter == nil || *busy.problem.RetryAfter < 1 {
		t.Errorf("%v, %s", busy.Header, busy.body)
	}
	err := user.Unlock(context.Background(), localapi.UnlockRequest{Password: localapitest.Password})
	e, ok := errors.AsType[*localapi.Error](err)
	if !ok || !errors.Is(err, localapi.Busy) || e.RetryAfter() == 0 {
		t.Errorf("the right password within the wait: %v", err)
	}
}
