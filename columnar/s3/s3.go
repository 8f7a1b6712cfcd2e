package s3

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// Store is a bucket, or the part of one below a prefix. It implements columnar.Store, columnar.Resumer and columnar.Presigner.
type Store struct {
	config    Config
	client    *s3.Client
	presign   *s3.PresignClient
	transport *http.Transport
	buffers   *buffers
	put       []func(*s3.Options) // for requests with a body
}

var (
	_ columnar.Store     = (*Store)(nil)
	_ columnar.Resumer   = (*Store)(nil)
	_ columnar.Presigner = (*Store)(nil)
)

// New returns the store that c describes, without talking to it; Check does that. fault.Policy or fault.InvalidRequest if c is not
// one to be used. Close ends its idle connections.
func New(_ context.Context, c Config) (*Store, error) {
	u, err := c.check()
	if err != nil {
		return nil, err
	}
	t, err := newTransport(&c, u)
	if err != nil {
		return nil, err
	}
	return newStore(c, u, t, t), nil
}

func newStore(c Config, u *url.URL, t *http.Transport, rt http.RoundTripper) *Store {
	client := s3.New(s3.Options{
		BaseEndpoint:                   aws.String(u.Scheme + "://" + u.Host),
		Region:                         c.Region,
		Credentials:                    c.Credentials,
		UsePathStyle:                   c.PathStyle,
		HTTPClient:                     newClient(rt),
		Retryer:                        aws.NopRetryer{}, // retry.go does it
		RequestChecksumCalculation:     aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:     aws.ResponseChecksumValidationWhenRequired,
		ContinueHeaderThresholdBytes:   -1,
		DisableS3ExpressSessionAuth:    aws.Bool(true),
		DisableMultiRegionAccessPoints: true,
	})
	s := &Store{config: c, client: client, presign: s3.NewPresignClient(client), transport: t, buffers: newBuffers(c.PartSize)}
	if u.Scheme == "https" { // TLS and the CRC in a signed header cover the body; the SHA-256 of it would be a second pass
		s.put = append(s.put, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	}
	return s
}

// Close ends idle connections. Uploads and readers in use are not touched.
func (s *Store) Close() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// key is an object's key in the bucket. A name that is none panics.
func (s *Store) key(name columnar.ObjectName) *string {
	if _, err := columnar.ParseObjectName(string(name)); err != nil {
		panic("s3: not an object name")
	}
	return aws.String(s.config.Prefix + string(name))
}

func (s *Store) bucket() *string { return aws.String(s.config.Bucket) }

// Size implements columnar.Store.
func (s *Store) Size(ctx context.Context, name columnar.ObjectName) (int64, error) {
	size, _, err := s.head(ctx, name)
	return size, err
}

// head returns an object's length and the mark of the upload that made it.
func (s *Store) head(ctx context.Context, name columnar.ObjectName) (size int64, mark string, err error) {
	key := s.key(name)
	err = s.do(ctx, "HeadObject", 0, 0, func(ctx context.Context, _ *watch) error {
		out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucket(), Key: key})
		if err != nil {
			return err
		}
		if out.ContentLength == nil || *out.ContentLength < 0 {
			return errNoLength
		}
		size, mark = *out.ContentLength, markOf(out.Metadata)
		return nil
	})
	return size, mark, err
}

var errNoLength = errors.New("the answer has no length")

// Delete implements columnar.Store.
func (s *Store) Delete(ctx context.Context, name columnar.ObjectName) error {
	key := s.key(name)
	err := s.do(ctx, "DeleteObject", 0, 0, func(ctx context.Context, _ *watch) error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: s.bucket(), Key: key})
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// List implements columnar.Store.
func (s *Store) List(ctx context.Context, fn func(columnar.ObjectName, int64, time.Time) error) error {
	in := &s3.ListObjectsV2Input{Bucket: s.bucket(), Prefix: aws.String(s.config.Prefix)}
	for {
		var out *s3.ListObjectsV2Output
		err := s.do(ctx, "ListObjectsV2", 0, 0, func(ctx context.Context, _ *watch) (err error) {
			out, err = s.client.ListObjectsV2(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range out.Contents {
			rest, ok := strings.CutPrefix(aws.ToString(o.Key), s.config.Prefix)
			name, err := columnar.ParseObjectName(rest)
			if !ok || err != nil || o.Size == nil || *o.Size < 0 {
				continue // not ours
			}
			if err := fn(name, *o.Size, aws.ToTime(o.LastModified)); err != nil {
				return err
			}
		}
		next := aws.ToString(out.NextContinuationToken)
		if !aws.ToBool(out.IsTruncated) || next == "" {
			return nil
		}
		if next == aws.ToString(in.ContinuationToken) {
			return fault.New(fault.Unavailable, "the store's listing goes in a circle")
		}
		in.ContinuationToken = &next
	}
}

// Check implements columnar.Store.
func (s *Store) Check(ctx context.Context) []columnar.Probe {
	small := *s
	small.config.PartSize = MinPartSize
	return columnar.ProbeStore(ctx, &small, MinPartSize+1)
}
