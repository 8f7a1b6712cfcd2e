package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

var _ columnar.Resumable = (*upload)(nil)

// Token implements columnar.Resumable. It may be called from another goroutine.
func (u *upload) Token() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.id == "" {
		return nil
	}
	return token{name: u.name, mark: u.mark, partSize: u.partSize, uploadID: u.id}.marshal()
}

// Suspend implements columnar.Resumable: parts on their way arrive, what is in the buffer is dropped.
func (u *upload) Suspend() error {
	if u.done {
		return nil
	}
	u.wg.Wait()
	u.release()
	u.done = true
	u.mu.Lock()
	err := u.err
	u.mu.Unlock()
	u.cancel()
	return err
}

// Resume implements columnar.Resumer. It goes on after the last of the parts that are at the store without a gap and in full length.
// fault.Conflict if the upload was completed after all, so that the object is there.
func (s *Store) Resume(ctx context.Context, tok []byte, o columnar.CreateOptions) (columnar.Resumable, int64, error) {
	t, err := parseToken(tok)
	if err != nil {
		return nil, 0, err
	}
	u := s.newUpload(ctx, t, o)
	u.asked = true
	if err := u.takeUp(); err != nil {
		if err = u.settle(err); err == nil {
			err = fault.New(fault.Conflict, "the upload was completed")
		}
		u.cancel()
		return nil, 0, err
	}
	return u, u.sent, nil
}

// takeUp learns which parts the store has.
func (u *upload) takeUp() error {
	for marker := ""; ; {
		out, err := u.s.listParts(u.ctx, u.name, u.id, marker)
		if err != nil {
			return err
		}
		for _, p := range out.Parts {
			if aws.ToInt32(p.PartNumber) != u.number+1 || aws.ToInt64(p.Size) != u.partSize || aws.ToString(p.ETag) == "" || u.number == maxParts {
				return nil
			}
			u.number++
			u.parts = append(u.parts, types.CompletedPart{PartNumber: p.PartNumber, ETag: p.ETag, ChecksumCRC32C: p.ChecksumCRC32C})
			u.sent += u.partSize
		}
		next := aws.ToString(out.NextPartNumberMarker)
		if !aws.ToBool(out.IsTruncated) || len(out.Parts) == 0 || next == marker {
			return nil
		}
		marker = next
	}
}
