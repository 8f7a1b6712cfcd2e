package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// rangeReader reads a range and takes it up again where a transfer broke.
type rangeReader struct {
	ctx   context.Context //nolint:containedctx // it governs the reader until Close
	s     *Store
	name  columnar.ObjectName
	off   int64
	left  int64
	size  int64 // of the whole object, by the first answer; -1 before
	tries tries
	moved int64 // bytes since the last failed attempt

	body io.ReadCloser   // of the attempt that runs; nil between two
	actx context.Context //nolint:containedctx // of that attempt
	w    *watch
	end  context.CancelFunc
	err  error
}

// ReadRange implements columnar.Store.
func (s *Store) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 {
		panic("s3: negative range")
	}
	r := &rangeReader{ctx: ctx, s: s, name: name, off: off, left: n, size: -1, tries: tries{limits: s.config.Limits, op: "GetObject"}}
	if n == 0 {
		return r, r.empty()
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// empty asks whether the object has the offset: there is no range of no bytes in HTTP.
func (r *rangeReader) empty() error {
	size, err := r.s.Size(r.ctx, r.name)
	if err != nil {
		return err
	}
	r.size = size
	if r.off > size {
		return errShort()
	}
	return nil
}

func errShort() error { return fault.New(fault.Incomplete, "the object is shorter than the range") }

// open starts an attempt, and others after it while that may help.
func (r *rangeReader) open() error {
	for {
		if r.ctx.Err() != nil {
			return stopped(r.ctx)
		}
		err := r.try()
		if err == nil {
			return nil
		}
		if err := r.tries.wait(r.ctx, err); err != nil {
			return err
		}
	}
}

func (r *rangeReader) try() error {
	l := r.s.config.Limits
	ctx, w, end := newWatch(r.ctx, l.Stall, l.Total+time.Duration(r.left/minRate)*time.Second)
	out, err := r.s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: r.s.bucket(), Key: r.s.key(r.name), Range: aws.String(fmt.Sprintf("bytes=%d-%d", r.off, r.off+r.left-1)),
	})
	if err == nil {
		err = r.accept(out)
		if err != nil {
			_ = out.Body.Close() // given up
		}
	}
	if err != nil {
		if r.ctx.Err() == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		end()
		return err
	}
	w.progress(minProgress)
	w.pause()
	r.body, r.actx, r.w, r.end = out.Body, ctx, w, end
	return nil
}

var errOtherRange = errors.New("the answer is for another range than was asked for")

// accept compares an answer with what was asked for. An object that is too short will not get longer; everything else is a broken
// transfer.
func (r *rangeReader) accept(out *s3.GetObjectOutput) error {
	first, last, total, err := parseContentRange(aws.ToString(out.ContentRange))
	if err != nil {
		return err
	}
	if total >= 0 && (r.off > total || r.left > total-r.off) {
		return errShort()
	}
	if first != r.off || last != r.off+r.left-1 || (out.ContentLength != nil && *out.ContentLength != r.left) {
		return errOtherRange
	}
	if r.size >= 0 && total != r.size {
		return fault.New(fault.Unavailable, "the object changed while it was read")
	}
	r.size = total
	return nil
}

// parseContentRange reads "bytes first-last/total" (RFC 9110, section 14.4); total is -1 for "*".
func parseContentRange(s string) (first, last, total int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, errOtherRange
	}
	first, err1 := parseNumber(from)
	last, err2 := parseNumber(to)
	total, err3 := int64(-1), error(nil)
	if size != "*" {
		total, err3 = parseNumber(size)
	}
	if err1 != nil || err2 != nil || err3 != nil || last < first || (total >= 0 && last >= total) {
		return 0, 0, 0, errOtherRange
	}
	return first, last, total, nil
}

// parseNumber reads digits only, without a leading zero.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errOtherRange
	}
	return n, nil
}

// Read gives exactly the range: io.EOF comes after its last byte and nowhere else.
func (r *rangeReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.read(p)
		if n > 0 {
			return n, nil // an error shows again, at the next call
		}
		if err != nil {
			r.err = err
			return 0, err
		}
	}
}

// read makes one step: some bytes, or another attempt, or the failure.
func (r *rangeReader) read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, stopped(r.ctx)
	}
	if r.body == nil {
		return 0, r.open()
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	r.w.resume()
	n, err := r.body.Read(p)
	r.w.progress(n)
	r.w.pause()
	r.off += int64(n)
	r.left -= int64(n)
	r.moved += int64(n)
	if r.left == 0 {
		r.stop()
		return n, nil
	}
	if err == nil {
		return n, nil
	}
	return n, r.broken(err)
}

// broken ends the attempt. If it moved enough the count of tries starts anew.
func (r *rangeReader) broken(err error) error {
	if r.moved >= minProgress {
		r.tries.count = 0
	}
	r.moved = 0
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if cause := context.Cause(r.actx); cause != nil {
		err = cause
	}
	r.stop()
	return r.tries.wait(r.ctx, err)
}

func (r *rangeReader) stop() {
	if r.body != nil {
		_ = r.body.Close() // only read
		r.end()
		r.body = nil
	}
}

// ObjectSize is for columnar.ObjectSize.
func (r *rangeReader) ObjectSize() (int64, bool) { return r.size, r.size >= 0 }

// Close ends the transfer.
func (r *rangeReader) Close() error {
	r.stop()
	if r.err == nil {
		r.err = fault.New(fault.Unavailable, "the reader is closed")
	}
	return nil
}
