package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// PresignObject implements columnar.Presigner: the range is not under the signature, so the holder chooses it.
func (s *Store) PresignObject(ctx context.Context, name columnar.ObjectName, life time.Duration) (columnar.Presigned, error) {
	r, err := s.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket(), Key: s.key(name)}, s3.WithPresignExpires(life))
	return presigned(r, err, life)
}

// PresignGet implements columnar.Presigner: one range of one object.
func (s *Store) PresignGet(ctx context.Context, name columnar.ObjectName, off, n int64, life time.Duration) (columnar.Presigned, error) {
	if off < 0 || n < 1 {
		panic("s3: range without bytes")
	}
	r, err := s.presign.PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: s.bucket(), Key: s.key(name), Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	}, s3.WithPresignExpires(life))
	return presigned(r, err, life)
}

// PresignPut implements columnar.Presigner: one object of that length, over nothing that exists.
func (s *Store) PresignPut(ctx context.Context, name columnar.ObjectName, size int64, life time.Duration) (columnar.Presigned, error) {
	r, err := s.presign.PresignPutObject(ctx, &s3.PutObjectInput{
		Bucket: s.bucket(), Key: s.key(name), ContentLength: &size, IfNoneMatch: aws.String("*"),
	}, s3.WithPresignExpires(life))
	return presigned(r, err, life)
}

// PresignPart implements columnar.Presigner: one part of the upload of a token.
func (s *Store) PresignPart(ctx context.Context, tok []byte, part int32, size int64, life time.Duration) (columnar.Presigned, error) {
	t, err := parseToken(tok)
	if err != nil {
		return columnar.Presigned{}, err
	}
	if part < 1 || part > maxParts || size < 0 || size > t.partSize {
		return columnar.Presigned{}, fault.New(fault.InvalidRequest, "not a part of this upload")
	}
	r, err := s.presign.PresignUploadPart(ctx, &s3.UploadPartInput{
		Bucket: s.bucket(), Key: s.key(t.name), UploadId: &t.uploadID, PartNumber: &part, ContentLength: &size,
	}, s3.WithPresignExpires(life))
	return presigned(r, err, life)
}

func presigned(r *v4.PresignedHTTPRequest, err error, life time.Duration) (columnar.Presigned, error) {
	if life <= 0 || life > columnar.MaxPresign {
		return columnar.Presigned{}, fault.New(fault.Policy, "a presigned request lives at most %v", columnar.MaxPresign)
	}
	if err != nil {
		return columnar.Presigned{}, judgeTransport("presign", err).err
	}
	return columnar.Presigned{Method: r.Method, URL: r.URL, Header: r.SignedHeader}, nil
}
