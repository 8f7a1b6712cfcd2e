package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func local() Config {
	return Config{Endpoint: "https://127.0.0.1:1", Bucket: "bucket", PathStyle: true, Credentials: NewCredentials("id", []byte("secret"), nil)}
}

func TestL14_Config(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Config)
		want   fault.Code
	}{
		"plain http":         {func(c *Config) { c.Endpoint = "http://127.0.0.1" }, fault.Policy},
		"file":               {func(c *Config) { c.Endpoint = "file:///etc" }, fault.Policy},
		"with a password":    {func(c *Config) { c.Endpoint = "https://u:p@host" }, fault.Policy},
		"with a path":        {func(c *Config) { c.Endpoint = "https://host/path" }, fault.Policy},
		"no bucket":          {func(c *Config) { c.Bucket = "" }, fault.InvalidRequest},
		"an ARN":             {func(c *Config) { c.Bucket = "arn:aws:s3:us-east-1:1:accesspoint/x" }, fault.InvalidRequest},
		"an express bucket":  {func(c *Config) { c.Bucket = "bucket--use1-az4--x-s3" }, fault.InvalidRequest},
		"a path as a bucket": {func(c *Config) { c.Bucket = "../other" }, fault.InvalidRequest},
		"a prefix that goes": {func(c *Config) { c.Prefix = "a/../" }, fault.InvalidRequest},
		"no slash":           {func(c *Config) { c.Prefix = "a" }, fault.InvalidRequest},
		"no credentials":     {func(c *Config) { c.Credentials = Credentials{} }, fault.InvalidRequest},
		"a small part":       {func(c *Config) { c.PartSize = 1 }, fault.InvalidRequest},
		"a region":           {func(c *Config) { c.Region = "a.evil.example/" }, fault.InvalidRequest},
		"no CA file":         {func(c *Config) { c.CAFile = "/nowhere" }, fault.InvalidRequest},
		"a proxy with path":  {func(c *Config) { c.Proxy = "http://proxy/x" }, fault.Policy},
	} {
		config := local()
		c.change(&config)
		if _, err := New(t.Context(), config); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestL14_Addresses asks stores at addresses that may not be dialled: refused, and not tried again.
func TestL14_Addresses(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]", "0.0.0.0", "[::]", "224.0.0.1", "10.0.0.1", "192.168.1.1", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"} {
		c := local()
		c.Endpoint = "https://" + host + ":9"
		s := openStore(t, c)
		if _, err := s.Size(t.Context(), columnar.NewObjectName()); !errors.Is(err, fault.Policy) {
			t.Errorf("%s: %v", host, err)
		}
	}
	c := local() // plain http stays on this machine even with all switches
	c.Endpoint, c.AllowPlainHTTP, c.AllowPrivate, c.AllowLoopback = "http://10.0.0.1:9", true, true, true
	if _, err := openStore(t, c).Size(t.Context(), columnar.NewObjectName()); !errors.Is(err, fault.Policy) {
		t.Errorf("plain http: %v", err)
	}
}

// TestL14_TLS needs the authority of the CA file, ignores proxy variables, and follows no redirect.
func TestL14_TLS(t *testing.T) {
	var seen int
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen++
		http.Redirect(w, r, "https://"+r.Host+"/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	c := local()
	c.Endpoint, c.AllowLoopback = server.URL, true
	_, err := openStore(t, c).Size(t.Context(), columnar.NewObjectName())
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "certificate") || seen != 0 {
		t.Fatalf("unknown authority: %v, %d requests", err, seen)
	}
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(c.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openStore(t, c).Size(t.Context(), columnar.NewObjectName())
	if !errors.Is(err, fault.Policy) || seen != 1 {
		t.Fatalf("redirect: %v, %d requests", err, seen)
	}
}

// TestTLS puts the suite's round trip over TLS, where bodies are not hashed for the signature.
func TestTLS(t *testing.T) {
	inner := storetest.Gateway(t)
	front := httptest.NewTLSServer(inner.Handler(t))
	defer front.Close()
	c := configFor(inner)
	c.Endpoint, c.AllowPlainHTTP, c.AllowLoopback, c.CAFile = front.URL, false, true, filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(c.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, c)
	defer s.Close()
	for _, n := range []int{10, storetest.Large} {
		body, name := storetest.Bytes(1, n), columnar.NewObjectName()
		if err := storetest.Put(t.Context(), s, name, body); err != nil {
			t.Fatal(err)
		}
		if !whole(t, s, name, body) {
			t.Fatal("not there")
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // the standard one
}

// TestD14_Headers looks at everything that goes to the server: no tag, no metadata but a random mark, no word of a canary that sits
// where names could come from.
func TestD14_Headers(t *testing.T) {
	const canary = "canary"
	var mu sync.Mutex
	var requests []string
	server := storetest.Fake(t).Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %v", r.Method, r.URL, r.Header)
		mu.Lock()
		requests = append(requests, b.String())
		mu.Unlock()
		for k, v := range r.Header {
			k = strings.ToLower(k)
			if _, err := columnar.ParseObjectName(v[0]); strings.HasPrefix(k, "x-amz-meta-") && (k != "x-amz-meta-upload" || err != nil) {
				t.Errorf("header %s: %s", k, v)
			}
			if strings.Contains(k, "tagging") || strings.Contains(k, "server-side") || strings.Contains(k, "acl") {
				t.Errorf("header %s: %s", k, v)
			}
		}
		next.ServeHTTP(w, r)
	})
	c := configFor(server)
	c.Credentials = NewCredentials("id", []byte(canary+"-secret"), nil)
	s := openStore(t, c)
	t.Setenv("USER", canary)
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, canary)
	for _, n := range []int{10, storetest.Large} {
		if err := storetest.Put(ctx, s, columnar.NewObjectName(), []byte(strings.Repeat(canary, n/6))); err != nil {
			t.Fatal(err)
		}
	}
	s.Check(ctx)
	if len(requests) < 10 {
		t.Fatalf("only %d requests were seen", len(requests))
	}
	for _, r := range requests {
		if strings.Contains(strings.ToLower(r), canary) {
			t.Error(r)
		}
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	const secret = "wJalrXUtnFEMI"
	c := local()
	c.Credentials = NewCredentials("AKIDEXAMPLE", []byte(secret), []byte(secret+"token"))
	s := openStore(t, c)
	var out bytes.Buffer
	for _, v := range []any{c, &c, c.Credentials, &c.Credentials, []Credentials{c.Credentials}, map[string]any{"c": c.Credentials}, struct{ c Config }{c}, s.config} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		out.Write(b)
		if err != nil {
			out.WriteString(err.Error())
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	for _, bad := range []string{secret, "AKIDEXAMPLE", fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), "119 74 97 108"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("printed: %s", bad)
		}
	}
	c.Credentials.Wipe()
	if !c.Credentials.IsZero() {
		t.Error("not wiped")
	}
}

func TestPresign(t *testing.T) {
	server := storetest.Gateway(t)
	s := openStore(t, configFor(server))
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // the standard one
	ctx, name := t.Context(), columnar.NewObjectName()
	do := func(p columnar.Presigned, body []byte) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, p.Method, p.URL, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range p.Header {
			req.Header[k] = v
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, got
	}
	body := storetest.Bytes(1, 1000)
	put, err := s.PresignPut(ctx, name, 1000, columnar.MaxPresign)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := do(put, body[1:]); status == http.StatusOK {
		t.Fatal("put of another length")
	}
	if status, text := do(put, body); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if status, _ := do(put, body); status != http.StatusPreconditionFailed {
		t.Fatalf("put over an object: %d", status)
	}
	get, err := s.PresignGet(ctx, name, 100, 50, columnar.MaxPresign)
	if err != nil {
		t.Fatal(err)
	}
	if status, got := do(get, nil); status != http.StatusPartialContent || !bytes.Equal(got, body[100:150]) {
		t.Fatalf("get: %d, %d bytes", status, len(got))
	}
	get.Header["Range"] = []string{"bytes=0-999"}
	if status, _ := do(get, nil); status != http.StatusForbidden {
		t.Fatalf("get of another range: %d", status)
	}
	if _, err := s.PresignGet(ctx, name, 0, 1, columnar.MaxPresign+1); !errors.Is(err, fault.Policy) {
		t.Fatalf("a long life: %v", err)
	}
	u, err := s.Create(ctx, columnar.NewObjectName(), columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort() //nolint:errcheck // end of the test
	if _, err := u.Write(make([]byte, MinPartSize+1)); err != nil {
		t.Fatal(err)
	}
	r, _ := u.(columnar.Resumable)
	part, err := s.PresignPart(ctx, r.Token(), 7, 500, columnar.MaxPresign)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(part.URL, server.SecretKey) {
		t.Fatal("the secret is in the URL")
	}
	if _, err := s.PresignPart(ctx, r.Token(), 0, 500, columnar.MaxPresign); !errors.Is(err, fault.InvalidRequest) {
		t.Fatalf("part 0: %v", err)
	}
}
