package s3

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
)

const benchSize = 256 << 20

// BenchmarkPut sends 256 MiB to a versitygw on this machine: our part loop, and the bare SDK part after part.
func BenchmarkPut(b *testing.B) {
	server := storetest.Gateway(b)
	body := storetest.Bytes(1, benchSize)
	c := configFor(server)
	c.PartSize = DefaultPartSize
	s := openStore(b, c)
	b.Run("coldframe", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			name := columnar.NewObjectName()
			if err := storetest.Put(b.Context(), s, name, body); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			s.Delete(b.Context(), name) //nolint:errcheck // for the space
			b.StartTimer()
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			if err := putBare(b.Context(), server, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func putBare(ctx context.Context, server storetest.Server, body []byte) error {
	client, key := server.Client(), aws.String("bare")
	up, err := client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &server.Bucket, Key: key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for n := int32(1); len(body) > 0; n++ {
		size := min(len(body), DefaultPartSize)
		out, err := client.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: &server.Bucket, Key: key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(body[:size]),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
		body = body[size:]
	}
	_, err = client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: &server.Bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// BenchmarkGet reads 256 MiB in one range: ours, and the bare SDK.
func BenchmarkGet(b *testing.B) {
	server := storetest.Gateway(b)
	c := configFor(server)
	c.PartSize = DefaultPartSize
	s := openStore(b, c)
	name := columnar.NewObjectName()
	if err := storetest.Put(b.Context(), s, name, storetest.Bytes(1, benchSize)); err != nil {
		b.Fatal(err)
	}
	b.Run("coldframe", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			r, err := s.ReadRange(b.Context(), name, 0, benchSize)
			if err != nil {
				b.Fatal(err)
			}
			drain(b, r)
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.SetBytes(benchSize)
		client := server.Client()
		for b.Loop() {
			out, err := client.GetObject(b.Context(), &awss3.GetObjectInput{Bucket: &server.Bucket, Key: s.key(name)})
			if err != nil {
				b.Fatal(err)
			}
			drain(b, out.Body)
		}
	})
}

func drain(b *testing.B, r io.ReadCloser) {
	b.Helper()
	defer r.Close()
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 1<<20)); err != nil || n != benchSize {
		b.Fatalf("%d bytes, %v", n, err)
	}
}
