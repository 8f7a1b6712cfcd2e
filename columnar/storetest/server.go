package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Server is an S3 server on this machine, over plain HTTP, with one empty bucket.
type Server struct {
	Endpoint  string
	Bucket    string
	AccessKey string
	SecretKey string
}

const bucket = "coldframe-test"

// Fake starts a server in this process that keeps objects in memory. It is fast, does not look at signatures and checksums, and
// ignores If-None-Match when a multipart upload is completed.
func Fake(t testing.TB) Server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	// Its clock check would otherwise refuse nothing but tests that run under a moved clock.
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(server.Close)
	return Server{Endpoint: server.URL, Bucket: bucket, AccessKey: "access", SecretKey: "secret"}
}

// Gateway starts a versitygw over a temporary folder: a real server that checks signatures, checksums and conditions. The binary is
// $COLDFRAME_VERSITYGW, or in PATH, or where the build puts tools. The test is skipped without it, and fails if CI is "true".
func Gateway(t testing.TB) Server {
	t.Helper()
	binary := gatewayBinary()
	if binary == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("versitygw is missing")
		}
		t.Skip("versitygw is missing; set COLDFRAME_VERSITYGW")
	}
	s := Server{Bucket: bucket, AccessKey: "coldframe", SecretKey: "coldframe-secret"}
	for range 5 { // another process may take the free port first
		if s.Endpoint = startGateway(t, binary, s); s.Endpoint != "" {
			return s
		}
	}
	t.Fatal("versitygw did not start")
	return s
}

func gatewayBinary() string {
	if p := os.Getenv("COLDFRAME_VERSITYGW"); p != "" {
		return p
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	p := filepath.Join(cache, "coldframe", "bin", "versitygw")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

func startGateway(t testing.TB, binary string, s Server) string {
	t.Helper()
	address := freeAddress(t)
	root := t.TempDir()
	for _, d := range []string{"objects/" + bucket, "sidecar"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "--port", address, "--access", s.AccessKey, "--secret", s.SecretKey, "--keep-alive", "--quiet",
		"posix", "--sidecar", filepath.Join(root, "sidecar"), filepath.Join(root, "objects")) //nolint:gosec // a test's own server
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + root}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); cmd.Wait() }() //nolint:errcheck // it is killed
	t.Cleanup(func() { cancel(); <-exited })
	for range 200 {
		select {
		case <-exited:
			text, _ := os.ReadFile(log.Name()) //nolint:errcheck // for the log only
			t.Logf("versitygw ended: %s", text)
			return ""
		case <-time.After(50 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close() // only tried
			return "http://" + address
		}
	}
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Client is the plain SDK, to look at a server past the store under test.
func (s Server) Client() *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, nil
		}),
	})
}

// Uploads returns the unfinished multipart uploads as "key id".
func (s Server) Uploads(t testing.TB) []string {
	t.Helper()
	var list []string
	out, err := s.Client().ListMultipartUploads(context.Background(), &awss3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	var none smithy.APIError
	if errors.As(err, &none) && none.ErrorCode() == "NoSuchUpload" { // what gofakes3 says where there never was one
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range out.Uploads {
		list = append(list, fmt.Sprintf("%s %s", aws.ToString(u.Key), aws.ToString(u.UploadId)))
	}
	return list
}

// Handler passes requests on to the server. The Host header stays what the client sent, because it is signed.
func (s Server) Handler(t testing.TB) http.Handler {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(target)
	t.Cleanup(p.transport.CloseIdleConnections)
	return p
}

// Front starts a server before this one. hook sees each request and answers it itself, or lets next do so.
func (s Server) Front(t testing.TB, hook func(w http.ResponseWriter, r *http.Request, next http.Handler)) Server {
	t.Helper()
	next := s.Handler(t)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hook(w, r, next) }))
	t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	s.Endpoint = strings.TrimSuffix(front.URL, "/")
	return s
}
