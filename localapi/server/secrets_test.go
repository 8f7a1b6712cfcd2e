package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

const canary = "canary7b1f"

// TestL16_LogsHoldNothingOfTheCaller puts a canary into everything that a caller can say and looks for it in the log at debug level.
func TestL16_LogsHoldNothingOfTheCaller(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	c := newCaller(t, w, "tcp")
	d, err := user.CreateDataset(context.Background(), canary, "")
	must(t, err)
	jsonType := []string{"token", "", "Content-Type", "application/json"}
	c.send("POST", "/v1/unlock", `{"password":"`+canary+`"}`, jsonType...)
	c.send("POST", "/v1/register", `{"email":"`+canary+`@example.org","password":"`+canary+`"}`, jsonType...)
	c.send("POST", "/v1/unlock", `{"`+canary+`":1}`, jsonType...)
	c.send("POST", "/v1/unlock", canary, jsonType...)
	c.send("GET", "/v1/datasets?title="+canary, "", "token", "")
	c.send("GET", "/v1/"+canary+"?"+canary+"="+canary, "", "token", "", "X-"+canary, canary)
	c.send("GET", "/v1/status", "", "Authorization", "Bearer cf_user_"+canary)
	c.send("GET", "/healthz", "", "Host", canary)
	c.send("PUT", "/v1/datasets/"+d.Id+"/data", canary+"\n"+canary+",2\n", "token", "", "Content-Type", "text/csv")
	c.send("PUT", "/v1/datasets/"+d.Id+"/data?schema="+canary, canary+"\n", "token", "", "Content-Type", "text/csv")
	c.send("PUT", "/v1/datasets/"+d.Id+"/data", canary+"\n"+canary+"\n", "token", "", "Content-Type", "text/csv", "Idempotency-Key", canary)
	c.send("GET", "/v1/datasets/"+d.Id+"/data?columns="+canary, "", "token", "")
	c.send("GET", "/v1/datasets/"+d.Id+"/data?where="+canary+"%3D%27"+canary+"%27", "", "token", "")
	rawAnswer(t, w, canary+" / HTTP/1.1\r\n\r\n")
	w.Stop()
	logs := w.Logs.Bytes()
	if n := bytes.Count(logs, []byte(`"msg":"request"`)); n < 10 {
		t.Fatalf("only %d requests logged", n)
	}
	for _, secret := range []string{canary, w.TokenSecret(), localapitest.Password, localapitest.Email} {
		if bytes.Contains(bytes.ToLower(logs), []byte(strings.ToLower(secret))) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestL20_ErrorsSayNoMoreThanTheyMay compares refusals with and without a token.
func TestL20_ErrorsSayNoMoreThanTheyMay(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	w.Registered()
	c := newCaller(t, w, "tcp")
	for _, r := range []reply{
		c.send("GET", "/v1/datasets", ""), c.send("GET", "/healthz", "", "Host", "x"), c.send("GET", "/healthz?a=b", ""), c.send("OPTIONS", "/", ""),
		c.send("GET", "/healthz", "", "Coldframe-Challenge", "x"), c.send("GET", "/v1/status", "", "Origin", "x", "token", ""),
	} {
		if r.StatusCode < 400 || r.problem.Detail != nil || r.problem.Field != nil {
			t.Errorf("%s: %s", r.Request.URL.Path, r.body)
		}
	}
	r := c.send("POST", "/v1/datasets", `{"titel":"x"}`, "token", "", "Content-Type", "application/json")
	r.want(t, 400, localapi.InvalidRequest)
	if r.problem.Detail == nil || !strings.Contains(*r.problem.Detail, "titel") || r.problem.RequestId == "" || r.problem.Type != "urn:coldframe:problem:invalid_request" {
		t.Errorf("%s", r.body)
	}
	d := c.send("POST", "/v1/datasets", `{"title":"x"}`, "token", "", "Content-Type", "application/json")
	id := strings.Split(strings.Split(d.body, `"id":"`)[1], `"`)[0]
	r = c.send("PUT", "/v1/datasets/"+id+"/data?schema=a%20int64", "a\n1\nx\n", "token", "", "Content-Type", "text/csv")
	r.want(t, 400, localapi.InvalidRequest)
	if r.problem.Detail == nil || !strings.Contains(*r.problem.Detail, "row 2") || !strings.Contains(*r.problem.Detail, "a") {
		t.Errorf("%s", r.body)
	}
	r = c.send("GET", "/v1/datasets/"+id+"/data", "", "token", "", "Accept", "text/html")
	r.want(t, http.StatusNotAcceptable, localapi.UnsupportedMediaType)
	for _, word := range []string{"goroutine", ".go:", w.Dir(), "/tmp/", runtime.Version()} {
		if strings.Contains(r.body+d.body, word) {
			t.Errorf("an answer holds %q", word)
		}
	}
}

// TestL21_FakeListener takes the port first and records what a client sends to it.
func TestL21_FakeListener(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	token := w.Token()
	for name, answer := range map[string]string{
		"no proof":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"a made-up one":  "HTTP/1.1 200 OK\r\nColdframe-Proof: " + strings.Repeat("00", 32) + "\r\nContent-Length: 2\r\n\r\nok",
		"a redirect":     "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://" + w.TCP + "/\r\nContent-Length: 0\r\n\r\n",
		"passed on":      "",
		"a refusal":      "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
		"nothing":        "-",
		"answers beyond": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			var mu sync.Mutex
			var heard bytes.Buffer
			go fakeAgent(l, w.TCP, answer, &mu, &heard)
			_, err = localapi.Dial(context.Background(), localapi.Options{TCP: l.Addr().String(), Token: token})
			if !errors.Is(err, localapi.NotAuthentic) && !errors.Is(err, localapi.Unavailable) {
				t.Errorf("%v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if heard.Len() == 0 || strings.Contains(heard.String(), token) || strings.Contains(heard.String(), "Authorization") {
				t.Errorf("it heard %q", heard.String())
			}
		})
	}
	c, err := localapi.Dial(context.Background(), localapi.Options{TCP: w.TCP, Token: token})
	must(t, err)
	c.Close()
	if _, err := localapi.Dial(context.Background(), localapi.Options{TCP: w.TCP, Token: token[:len(token)-4] + "aaaa"}); !errors.Is(err, localapi.NotAuthentic) {
		t.Errorf("with another token: %v", err)
	}
}

// fakeAgent answers every connection with the same bytes; an empty answer means that it asks the real agent, with the Host that agent wants.
func fakeAgent(l net.Listener, real, answer string, mu *sync.Mutex, heard *bytes.Buffer) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 4096)
		n, _ := c.Read(buf) //nolint:errcheck // of a fake
		mu.Lock()
		heard.Write(buf[:n])
		mu.Unlock()
		reply := answer
		if reply == "" {
			if up, err := net.Dial("tcp", real); err == nil {
				io.WriteString(up, strings.Replace(string(buf[:n]), l.Addr().String(), real, 1)) //nolint:errcheck // of a fake
				n, _ = up.Read(buf)                                                              //nolint:errcheck // of a fake
				reply = string(buf[:n])
				up.Close()
			}
		}
		if reply != "-" {
			io.WriteString(c, reply)                           //nolint:errcheck // of a fake
			c.SetReadDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // of a fake
			rest, _ := io.ReadAll(c)                           //nolint:errcheck // what a client says that believes the answer
			mu.Lock()
			heard.Write(rest)
			mu.Unlock()
		}
		c.Close()
	}
}

// TestL21_SocketIsChecked: the client refuses a socket or a token file that others could have put there.
func TestL21_SocketIsChecked(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	dial := func() error {
		_, err := localapi.Dial(context.Background(), localapi.Options{Socket: w.Socket, TokenFile: filepath.Join(filepath.Dir(w.Socket), localapi.TokenName)})
		return err
	}
	must(t, dial())
	for path, modes := range map[string][2]os.FileMode{
		w.Socket: {0o666, 0o600}, filepath.Dir(w.Socket): {0o755, 0o700}, filepath.Join(filepath.Dir(w.Socket), localapi.TokenName): {0o644, 0o600},
	} {
		must(t, os.Chmod(path, modes[0]))
		if err := dial(); !errors.Is(err, fault.Policy) {
			t.Errorf("%s with mode %v: %v", filepath.Base(path), modes[0], err)
		}
		must(t, os.Chmod(path, modes[1]))
	}
	must(t, dial())
	if _, err := localapi.Dial(context.Background(), localapi.Options{TCP: "192.0.2.1:7878", Token: w.Token()}); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("an address elsewhere: %v", err)
	}
}

// TestL07_ReadsChangeNothing calls every GET, and compares what the agent knows and what lies in its store before and after.
func TestL07_ReadsChangeNothing(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	ctx := context.Background()
	d, err := user.CreateDataset(ctx, "weather", "")
	must(t, err)
	_, err = user.Put(ctx, d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv"})
	must(t, err)
	c := newCaller(t, w, "tcp")
	snapshot := func() string {
		var b strings.Builder
		for _, path := range []string{"/v1/status", "/v1/store", "/v1/apps", "/v1/datasets", "/v1/datasets/" + d.Id, "/v1/datasets/" + d.Id + "/versions", "/v1/datasets/" + d.Id + "/data"} {
			b.WriteString(c.send("GET", path, "", "token", "").body)
		}
		must(t, filepath.WalkDir(filepath.Join(w.Config.Folders.Data, "objects"), func(path string, _ os.DirEntry, err error) error {
			b.WriteString(path)
			return err
		}))
		return b.String()
	}
	before := snapshot()
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{
			"/healthz", "/metrics", "/v1/status", "/v1/store", "/v1/apps", "/v1/datasets?title=x", "/v1/register", "/v1/lock", "/v1/unlock", "/v1/apps/x", "/v1/backup", "/v1/store/check", "/v1/coordinator", "/v1/contacts", "/v1/contacts/5f0c2b52-3c0a-4d83-9a6e-6f0f6b0f8a11/safety-number", "/v1/secrets",
			"/v1/datasets/" + d.Id, "/v1/datasets/" + d.Id + "/data?limit=1&format=parquet", "/v1/datasets/" + d.Id + "/versions",
			"/v1/datasets/" + d.Id + "/files", "/v1/kms/unwrap",
		} {
			req, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
			must(t, err)
			req.Header.Set("Authorization", "Bearer "+w.Token())
			r, err := c.http.Do(req)
			must(t, err)
			io.Copy(io.Discard, r.Body) //nolint:errcheck // the state counts
			r.Body.Close()
		}
	}
	if after := snapshot(); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

// TestF19_Goroutines runs transfers, events, refusals and broken-off bodies through a real agent.
func TestF19_Goroutines(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	d, err := c.CreateDataset(t.Context(), "weather", "")
	must(t, err)
	scenario := func() {
		_, err := c.Put(t.Context(), d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv"})
		must(t, err)
		get(t, c, d.Id, localapi.GetOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		for range c.Events(ctx, "0") { //nolint:revive // read until the time is over
		}
		_, err = c.Put(ctx, d.Id, &pacedRows{}, localapi.PutOptions{Format: "csv"})
		if err == nil {
			t.Error("a body that was cut off became a version")
		}
		cancel()
		_, err = c.Put(t.Context(), d.Id, strings.NewReader("a\n\"x"), localapi.PutOptions{Format: "csv"})
		if err == nil {
			t.Error("a broken body became a version")
		}
		c.Close()
	}
	scenario()
	settled := settle(0)
	for range 5 {
		scenario()
	}
	if after := settle(settled + 5); after > settled+5 {
		buf := make([]byte, 256<<10)
		t.Errorf("%d goroutines before, %d after\n%s", settled, after, buf[:runtime.Stack(buf, true)])
	}
}

// settle waits until there are no more than want goroutines, or their number stays the same, and returns it.
func settle(want int) int {
	last, same := -1, 0
	for range 500 {
		n := runtime.NumGoroutine()
		if n == last {
			same++
		} else {
			last, same = n, 0
		}
		if want > 0 && n <= want || want == 0 && same > 30 {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}
