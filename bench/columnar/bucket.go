package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"coldframe/bench/figures"
	"coldframe/columnar"
	"coldframe/columnar/s3"
)

// bucket compares put and get through a real S3 server with their halves, each alone: encoding into memory and sending the same bytes with
// the bare SDK; fetching the object with the bare SDK and decoding from memory.
func (b *bench) bucket(ctx context.Context) error {
	t := b.mixed()
	sdk, err := newBare()
	if err != nil {
		return err
	}
	store, err := s3.New(ctx, s3.Config{
		Endpoint: sdk.endpoint, Bucket: sdk.bucket, PathStyle: true, AllowLoopback: true, AllowPlainHTTP: true,
		Credentials: s3.NewCredentials(os.Getenv("AWS_ACCESS_KEY_ID"), []byte(os.Getenv("AWS_SECRET_ACCESS_KEY")), nil),
	})
	if err != nil {
		return err
	}
	defer store.Close()
	memory := newMemStore()
	alone, whole := t.in(memory), t.in(store)
	object := func() [][]byte { return memory.objects[alone.version.Parts[0].Name] }
	// The contestants of a round need what another left: so the first ones are made outside of it.
	if _, err := alone.put(ctx); err != nil {
		return err
	}
	if _, err := whole.put(ctx); err != nil {
		return err
	}
	c, err := b.contest("bucket",
		contestant{"encode", anew(ctx, alone)},
		contestant{"sdk_put", func() (figures.Cost, error) { return sdk.put(ctx, object()) }},
		contestant{"put", anew(ctx, whole)},
		contestant{"decode", func() (figures.Cost, error) { return alone.get(ctx) }},
		contestant{"sdk_get", func() (figures.Cost, error) {
			return figures.Measure(func() error { return sdk.get(ctx, whole.version.Parts[0].Name) })
		}},
		contestant{"get", func() (figures.Cost, error) { return whole.get(ctx) }})
	if err != nil {
		return err
	}
	b.Slower("columnar.mixed.s3_put_vs_encoder_and_sdk", c["put"], both(c["encode"], c["sdk_put"]), 1.15)
	b.Slower("columnar.mixed.s3_get_vs_decoder_and_sdk", c["get"], both(c["decode"], c["sdk_get"]), 1.15)
	return whole.remove(ctx)
}

// anew returns what replaces the objects of a dataset; only the writing is measured.
func anew(ctx context.Context, d *dataset) func() (figures.Cost, error) {
	return func() (figures.Cost, error) {
		if err := d.remove(ctx); err != nil {
			return figures.Cost{}, err
		}
		return d.put(ctx)
	}
}

func both(a, b []figures.Cost) (out []figures.Cost) {
	for i := range a {
		out = append(out, a[i].Add(b[i]))
	}
	return out
}

// bare is the SDK as it comes.
type bare struct {
	*awss3.Client
	endpoint, bucket string
	n                int // objects so far
}

func newBare() (*bare, error) {
	s := &bare{endpoint: os.Getenv("COLDFRAME_S3_ENDPOINT"), bucket: os.Getenv("COLDFRAME_S3_BUCKET")}
	if s.endpoint == "" {
		return nil, errNoBucket
	}
	s.Client = awss3.New(awss3.Options{
		BaseEndpoint: aws.String(s.endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}, nil
		}),
	})
	return s, nil
}

// put sends the pieces as an object and removes it again, which does not count.
func (s *bare) put(ctx context.Context, pieces [][]byte) (figures.Cost, error) {
	s.n++
	key := aws.String("bare" + strconv.Itoa(s.n))
	cost, err := figures.Measure(func() error { return s.send(ctx, key, pieces) })
	if err == nil {
		_, err = s.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: key})
	}
	return cost, err
}

// send has two parts on their way at a time, as our store has.
func (s *bare) send(ctx context.Context, key *string, pieces [][]byte) error {
	up, err := s.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, len(pieces))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, body := range pieces {
		g.Go(func() error {
			n := int32(i + 1) //nolint:gosec // few
			out, err := s.UploadPart(gctx, &awss3.UploadPartInput{
				Bucket: &s.bucket, Key: key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(body),
			})
			if err != nil {
				return err
			}
			parts[i] = types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = s.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// get reads an object whole.
func (s *bare) get(ctx context.Context, name columnar.ObjectName) error {
	out, err := s.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(string(name))})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, out.Body, make([]byte, 1<<20))
	if err == nil && n != aws.ToInt64(out.ContentLength) {
		err = fmt.Errorf("%d bytes of %d", n, aws.ToInt64(out.ContentLength))
	}
	return err
}
