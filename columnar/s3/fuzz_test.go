package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

func FuzzParseToken(f *testing.F) {
	good := token{name: columnar.NewObjectName(), mark: string(columnar.NewObjectName()), partSize: MinPartSize, uploadID: "id"}
	f.Add(good.marshal())
	f.Add([]byte(tokenMagic))
	f.Add(append(good.marshal(), 0))
	f.Add(bytes.Repeat([]byte("a"), tokenHeader+2000))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := parseToken(b)
		if err != nil {
			if !errors.Is(err, fault.InvalidRequest) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(tok.marshal(), b) {
			t.Fatalf("%q encodes as %q", b, tok.marshal())
		}
	})
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 0-9/*", "bytes 9-0/10", "bytes 0-9/5", "bytes 00-9/10", "bytes +0-9/10", "octets 0-1/2", "bytes 0-99999999999999999999/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, err := parseContentRange(s)
		if err != nil {
			return
		}
		if first < 0 || last < first || (total >= 0 && last >= total) || total < -1 {
			t.Fatalf("%q: %d-%d/%d", s, first, last, total)
		}
	})
}

// canned is a server that gives one answer to everything.
type canned struct {
	status int
	header http.Header
	body   []byte
}

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body) //nolint:errcheck // a buffer
		req.Body.Close()              //nolint:errcheck // a buffer
	}
	return &http.Response{
		Status: http.StatusText(c.status), StatusCode: c.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: c.header.Clone(),
		Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: req,
	}, nil
}

func cannedStore(c canned) *Store {
	config := Config{
		Endpoint: "https://store.example", Bucket: "bucket", PathStyle: true, Credentials: NewCredentials("id", []byte("secret"), nil),
		Limits: Limits{Tries: 2, Backoff: time.Nanosecond},
	}
	u, err := config.check()
	if err != nil {
		panic(err)
	}
	return newStore(config, u, nil, c)
}

// FuzzAnswer gives every operation a made-up answer: status, headers ("Name: value" lines) and body. Each ends, with success or a
// fault, and a read that succeeds has the bytes it was asked for.
func FuzzAnswer(f *testing.F) {
	name := string(columnar.NewObjectName())
	for _, s := range []struct {
		status       int
		header, body string
	}{
		{200, "Content-Length: 5", ""},
		{206, "Content-Range: bytes 3-12/100\nContent-Length: 10", "0123456789"},
		{206, "Content-Range: bytes 3-12/100", "01234"},
		{206, "Content-Range: bytes 3-12/*", "0123456789more"},
		{404, "", "<Error><Code>NoSuchKey</Code></Error>"},
		{500, "Retry-After: 0", "<Error><Code>Internal"},
		{503, "", "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"cc\">]><Error><Code>&b;</Code></Error>"},
		{200, "", "<ListBucketResult><Contents><Key>" + name + "</Key><Size>5</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"},
		{200, "", "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"},
		{200, "", "<ListBucketResult><Contents><Size>-5</Size></Contents><Contents/></ListBucketResult>"},
		{200, "", "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"},
		{200, "Etag: \"x\"\nX-Amz-Meta-Upload: a", "<CompleteMultipartUploadResult/>"},
		{200, "", "<ListMultipartUploadsResult><Upload><Key>" + name + "</Key><UploadId>id</UploadId></Upload><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"},
		{200, "", "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>5242880</Size><ETag>x</ETag></Part><IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker></ListPartsResult>"},
		{307, "Location: http://169.254.169.254/", ""},
		{412, "", ""},
		{200, "Last-Modified: yesterday\nContent-Length: -1", strings.Repeat("<a>", 1000)},
	} {
		f.Add(uint16(s.status), s.header, []byte(s.body)) //nolint:gosec // three digits
	}
	f.Fuzz(func(t *testing.T, status uint16, header string, body []byte) {
		c := canned{status: 100 + int(status)%900, header: http.Header{}, body: body}
		for line := range strings.Lines(header) {
			if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
				c.header.Add(k, v)
			}
		}
		c.header.Del("Retry-After") // it would be obeyed, up to ten seconds
		s := cannedStore(c)
		ctx, name := t.Context(), columnar.ObjectName(name)
		typed := func(op string, err error) {
			if known := new(fault.Error); err != nil && !errors.As(err, &known) {
				t.Fatalf("%s: %v", op, err)
			}
		}
		if size, err := s.Size(ctx, name); err == nil && size < 0 {
			t.Fatal("a negative size")
		} else {
			typed("size", err)
		}
		r, err := s.ReadRange(ctx, name, 3, 10)
		typed("open", err)
		if err == nil {
			got, err := io.ReadAll(r)
			typed("read", err)
			if err == nil && len(got) != 10 {
				t.Fatalf("%d bytes", len(got))
			}
			r.Close() //nolint:errcheck // only read
		}
		typed("list", s.List(ctx, func(n columnar.ObjectName, size int64, _ time.Time) error {
			if _, err := columnar.ParseObjectName(string(n)); err != nil || size < 0 {
				t.Fatalf("listed %q, %d", n, size)
			}
			return nil
		}))
		typed("delete", s.Delete(ctx, name))
		typed("abort", s.AbortUploads(ctx, name))
		u := s.newUpload(ctx, token{name: name, mark: "m", partSize: 8}, columnar.CreateOptions{})
		_, err = u.Write(make([]byte, 20))
		typed("write", err)
		typed("close", u.Close())
		tok := token{name: name, mark: string(name), partSize: MinPartSize, uploadID: "id"}.marshal()
		if again, off, err := s.Resume(ctx, tok, columnar.CreateOptions{}); err == nil {
			if off < 0 || off%MinPartSize != 0 {
				t.Fatalf("resumes at %d", off)
			}
			typed("suspend", again.Suspend())
		} else {
			typed("resume", err)
		}
	})
}

// TestR13_EndlessAnswers reads no more than it must of an answer that does not end.
func TestR13_EndlessAnswers(t *testing.T) {
	var read int64
	endless := roundTrip(func(req *http.Request) (*http.Response, error) {
		body := io.TeeReader(io.MultiReader(strings.NewReader("<ListBucketResult>"), &repeat{"<Contents></Contents>"}), counter{&read})
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Request: req}, nil
	})
	c := Config{Endpoint: "https://store.example", Bucket: "bucket", Credentials: NewCredentials("id", []byte("secret"), nil), Limits: Limits{Tries: 1}}
	u, err := c.check()
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(c, &url.URL{Scheme: u.Scheme, Host: u.Host}, nil, endless)
	err = s.List(t.Context(), func(columnar.ObjectName, int64, time.Time) error { return nil })
	if !errors.Is(err, fault.Unavailable) || read > 2*maxAnswer {
		t.Fatalf("%d bytes read, %v", read, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type repeat struct{ s string }

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.s), nil }

type counter struct{ n *int64 }

func (c counter) Write(p []byte) (int, error) { *c.n += int64(len(p)); return len(p), nil }
