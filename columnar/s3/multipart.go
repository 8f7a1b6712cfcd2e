package s3

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// multipart is the part of an upload that the store knows of.
type multipart struct {
	id     string // of the multipart upload; empty while there is none
	number int32  // of the last part that was handed out
	parts  []types.CompletedPart
}

// copyRate, in bytes a second, is how fast a store puts parts together at the least.
const copyRate = 16 << 20

// flush sends the full buffer as the next part, once one of the slots is free.
func (u *upload) flush() error {
	if u.id == "" {
		if err := u.begin(); err != nil {
			return err
		}
	}
	if u.number == maxParts {
		return fault.New(fault.TooLarge, "the object is longer than its size hint allows")
	}
	select {
	case u.slots <- struct{}{}:
	case <-u.ctx.Done():
		return stopped(u.ctx)
	}
	u.number++
	number, buf, fill := u.number, u.buf, u.fill
	u.buf, u.fill = nil, 0
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		defer u.keep(buf)
		part, err := u.sendPart(number, (*buf)[:fill])
		if err != nil {
			_ = u.fail(err) // kept
			return
		}
		u.mu.Lock()
		u.parts = append(u.parts, part)
		u.mu.Unlock()
		u.arrived(fill)
	})
	return nil
}

// begin asks for a multipart upload. An upload of which we do not know the id is one that we cannot abort.
func (u *upload) begin() error {
	u.asked = true
	ctx, cancel := u.linger()
	defer cancel()
	in := &s3.CreateMultipartUploadInput{Bucket: u.s.bucket(), Key: u.s.key(u.name), Metadata: map[string]string{markKey: u.mark}}
	if !u.s.config.NoChecksum {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	return u.s.do(ctx, "CreateMultipartUpload", 0, 0, func(ctx context.Context, _ *watch) error {
		if u.ctx.Err() != nil {
			return stopped(u.ctx)
		}
		out, err := u.s.client.CreateMultipartUpload(ctx, in)
		if err != nil {
			return err
		}
		id := aws.ToString(out.UploadId)
		if !isUploadID(id) {
			return errors.New("the answer has no upload id")
		}
		u.mu.Lock()
		u.id = id
		u.mu.Unlock()
		return nil
	})
}

func (u *upload) sendPart(number int32, body []byte) (types.CompletedPart, error) {
	part := types.CompletedPart{PartNumber: &number, ChecksumCRC32C: u.s.checksum(body)}
	key := u.s.key(u.name)
	ctx, cancel := u.linger()
	defer cancel()
	err := u.s.do(ctx, "UploadPart", int64(len(body)), 0, func(ctx context.Context, w *watch) error {
		if u.ctx.Err() != nil {
			return stopped(u.ctx)
		}
		p := newPayload(body, w)
		defer p.release()
		out, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: u.s.bucket(), Key: key, UploadId: &u.id, PartNumber: &number, Body: p,
			ContentLength: aws.Int64(int64(len(body))), ChecksumCRC32C: part.ChecksumCRC32C,
		}, u.s.put...)
		if err != nil {
			return err
		}
		if aws.ToString(out.ETag) == "" {
			return errors.New("the answer has no tag")
		}
		part.ETag = out.ETag
		return nil
	})
	return part, lostUpload(err)
}

// lostUpload tells an upload that somebody ended from an object that is not there.
func lostUpload(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "the upload was ended from outside")
	}
	return err
}

// complete makes the object of its parts, unless there is one of that name.
func (u *upload) complete() error {
	if _, mark, err := u.s.head(u.ctx, u.name); !errors.Is(err, fault.NotFound) {
		if err != nil {
			return err
		}
		if mark == u.mark {
			return nil
		}
		return fault.New(fault.Conflict, "an object of that name exists")
	}
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	extra := time.Duration(u.sent/copyRate) * time.Second
	ctx, cancel := u.linger()
	defer cancel()
	err := u.s.do(ctx, "CompleteMultipartUpload", 0, extra, func(ctx context.Context, _ *watch) error {
		if u.ctx.Err() != nil {
			return stopped(u.ctx)
		}
		_, err := u.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: u.s.bucket(), Key: u.s.key(u.name), UploadId: &u.id, IfNoneMatch: aws.String("*"),
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		})
		return err
	})
	return lostUpload(u.settle(err))
}

// abort ends a multipart upload.
func (s *Store) abort(ctx context.Context, name columnar.ObjectName, id string) error {
	err := s.do(ctx, "AbortMultipartUpload", 0, 0, func(ctx context.Context, _ *watch) error {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &id})
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// AbortUploads implements columnar.Store. It looks again until there is nothing: a part that arrives while its upload is being ended
// may keep it alive.
func (s *Store) AbortUploads(ctx context.Context, name columnar.ObjectName) error {
	for range 5 {
		n, err := s.abortListed(ctx, name)
		if err != nil || n == 0 {
			return err
		}
	}
	return fault.New(fault.Unavailable, "the store does not end an upload")
}

// abortListed ends the uploads under a name that the store lists, and counts them.
func (s *Store) abortListed(ctx context.Context, name columnar.ObjectName) (int, error) {
	var count int
	key := s.key(name)
	in := &s3.ListMultipartUploadsInput{Bucket: s.bucket(), Prefix: key}
	for {
		var out *s3.ListMultipartUploadsOutput
		err := s.do(ctx, "ListMultipartUploads", 0, 0, func(ctx context.Context, _ *watch) (err error) {
			out, err = s.client.ListMultipartUploads(ctx, in)
			return err
		})
		if errors.Is(err, fault.NotFound) {
			return count, nil // some servers say so where there never was an upload
		}
		if err != nil {
			return count, err
		}
		for _, up := range out.Uploads {
			if aws.ToString(up.Key) != *key || !isUploadID(aws.ToString(up.UploadId)) {
				continue
			}
			if err := s.abort(ctx, name, *up.UploadId); err != nil {
				return count, err
			}
			count++
		}
		if !aws.ToBool(out.IsTruncated) {
			return count, nil
		}
		if aws.ToString(out.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) && aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) {
			return count, fault.New(fault.Unavailable, "the store's listing goes in a circle")
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// listParts returns a page of the parts of a multipart upload.
func (s *Store) listParts(ctx context.Context, name columnar.ObjectName, id, marker string) (out *s3.ListPartsOutput, err error) {
	in := &s3.ListPartsInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &id}
	if marker != "" {
		in.PartNumberMarker = &marker
	}
	err = s.do(ctx, "ListParts", 0, 0, func(ctx context.Context, _ *watch) (err error) {
		out, err = s.client.ListParts(ctx, in)
		return err
	})
	return out, err
}
