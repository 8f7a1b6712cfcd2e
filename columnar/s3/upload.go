package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// markKey is the metadata entry that says which upload made an object; its value is random.
const markKey = "upload"

func markOf(metadata map[string]string) string { return metadata[markKey] }

// upload is an object being written. One goroutine calls its methods; at most inFlight others send parts.
type upload struct {
	s        *Store
	ctx      context.Context //nolint:containedctx // ends with the caller's, and with the first failure
	cancel   context.CancelFunc
	name     columnar.ObjectName
	mark     string
	partSize int64
	progress func(int64)

	buf  *[]byte // the part being filled; nil if there is none
	fill int

	multipart      // once the object is longer than a part
	asked     bool // a multipart upload was asked for, so there may be one
	done      bool // closed well, or suspended
	cleaned   bool // nothing is left of it
	wg        sync.WaitGroup
	slots     chan struct{}

	mu    sync.Mutex
	err   error
	sent  int64
	spare []*[]byte // buffers whose parts have arrived
}

// Create implements columnar.Store. Nothing is sent before the first part is full. The upload is a columnar.Resumable.
func (s *Store) Create(ctx context.Context, name columnar.ObjectName, o columnar.CreateOptions) (columnar.Upload, error) {
	s.key(name) // panics early
	if o.SizeHint < 0 {
		panic("s3: negative size hint")
	}
	if ctx.Err() != nil {
		return nil, stopped(ctx)
	}
	if o.SizeHint > maxParts*MaxPartSize {
		return nil, fault.New(fault.TooLarge, "no store takes objects of this length")
	}
	return s.newUpload(ctx, token{name: name, mark: string(columnar.NewObjectName()), partSize: s.partSize(o.SizeHint)}, o), nil
}

func (s *Store) newUpload(ctx context.Context, t token, o columnar.CreateOptions) *upload {
	u := &upload{s: s, name: t.name, mark: t.mark, partSize: t.partSize, progress: o.Progress, slots: make(chan struct{}, inFlight)}
	u.id = t.uploadID
	u.ctx, u.cancel = context.WithCancel(ctx)
	return u
}

// partSize is the configured one, or as much as it takes for the hint to fit into nine tenths of the parts there may be.
func (s *Store) partSize(hint int64) int64 {
	const step = 1 << 20
	need := (hint/(maxParts*9/10) + step) / step * step
	return min(max(s.config.PartSize, need), MaxPartSize)
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	var n int
	for len(p) > 0 {
		if err := u.ready(); err != nil {
			return n, err
		}
		if u.buf != nil && u.fill == len(*u.buf) {
			if err := u.flush(); err != nil {
				return n, u.fail(err)
			}
		}
		if u.buf == nil {
			u.buf, u.fill = u.buffer(), 0
		}
		m := copy((*u.buf)[u.fill:], p)
		u.fill += m
		n += m
		p = p[m:]
	}
	return n, nil
}

func (u *upload) ready() error {
	u.mu.Lock()
	err := u.err
	u.mu.Unlock()
	if err != nil {
		return err
	}
	if u.done {
		panic("s3: upload used after Close")
	}
	if u.ctx.Err() != nil {
		return u.fail(stopped(u.ctx))
	}
	return nil
}

// fail keeps the first error and stops what is on its way.
func (u *upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
		u.cancel()
	}
	return u.err
}

func (u *upload) arrived(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent += int64(n)
	if u.progress != nil {
		u.progress(u.sent)
	}
}

// Close implements columnar.Upload.
func (u *upload) Close() error {
	if u.done {
		return nil
	}
	err := u.ready()
	if err == nil {
		err = u.finish()
	}
	u.wg.Wait()
	u.release()
	if err == nil {
		u.done = true
		u.cancel()
		return nil
	}
	err = u.fail(err)
	_ = u.cleanup() // Abort and AbortUploads try again
	return err
}

func (u *upload) finish() error {
	if u.id == "" {
		return u.putWhole()
	}
	if u.buf == nil && u.number == 0 { // resumed before its first part: a multipart upload has at least one, if an empty one
		u.buf = u.buffer()
	}
	if u.buf != nil {
		if err := u.flush(); err != nil {
			return err
		}
	}
	u.wg.Wait()
	if err := u.ready(); err != nil {
		return err
	}
	return u.complete()
}

// putWhole sends an object that fits into one part.
func (u *upload) putWhole() error {
	var body []byte
	if u.buf != nil {
		body = (*u.buf)[:u.fill]
	}
	key, sum := u.s.key(u.name), u.s.checksum(body)
	ctx, cancel := u.linger()
	defer cancel()
	err := u.s.do(ctx, "PutObject", int64(len(body)), 0, func(ctx context.Context, w *watch) error {
		if u.ctx.Err() != nil {
			return stopped(u.ctx)
		}
		p := newPayload(body, w)
		defer p.release()
		_, err := u.s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: u.s.bucket(), Key: key, Body: p, ContentLength: aws.Int64(int64(len(body))), ChecksumCRC32C: sum,
			IfNoneMatch: aws.String("*"), Metadata: map[string]string{markKey: u.mark},
		}, u.s.put...)
		return err
	})
	if err = u.settle(err); errors.Is(err, fault.Unavailable) {
		u.asked = true // it may be there all the same
	}
	if err == nil {
		u.arrived(len(body))
	}
	return err
}

// settle looks what is behind a refusal: an earlier try whose answer was lost may have made the object.
func (u *upload) settle(err error) error {
	if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.NotFound) {
		return err
	}
	ctx, cancel := u.cleanupContext()
	defer cancel()
	ours, look := u.ours(ctx)
	switch {
	case look != nil:
		return look
	case ours:
		return nil
	}
	return err
}

// ours reports whether the object under the name is the one this upload made.
func (u *upload) ours(ctx context.Context) (bool, error) {
	_, mark, err := u.s.head(ctx, u.name)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && mark == u.mark, err
}

// Abort implements columnar.Upload.
func (u *upload) Abort() error {
	if u.done {
		return nil
	}
	_ = u.fail(stoppedByCaller()) // it is what Abort is for
	u.wg.Wait()
	u.release()
	return u.cleanup()
}

func stoppedByCaller() error { return fault.Wrap(fault.Unavailable, context.Canceled, "stopped") }

// buffer returns one that this upload already holds, if there is one. The store's pool alone would not keep the bound: what one
// processor gave back to it, another does not always find.
func (u *upload) buffer() *[]byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(u.spare); n > 0 {
		b := u.spare[n-1]
		u.spare = u.spare[:n-1]
		return b
	}
	return u.s.buffers.get(u.partSize)
}

func (u *upload) keep(b *[]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.spare = append(u.spare, b)
}

// release gives the buffers back. No part is on its way any more.
func (u *upload) release() {
	if u.buf != nil {
		u.keep(u.buf)
		u.buf, u.fill = nil, 0
	}
	for _, b := range u.spare {
		u.s.buffers.put(b)
	}
	u.spare = nil
}

// linger is how long a request that is on its way may go on after the upload was stopped. A request that the server has whole would
// be carried out behind our back if we hung up; this way its answer comes before we clear up.
const linger = 3 * time.Second

// linger returns a context that ends that long after the upload's.
func (u *upload) linger() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(u.ctx))
	stop := context.AfterFunc(u.ctx, func() { time.AfterFunc(linger, cancel) })
	return ctx, func() { stop(); cancel() }
}

// cleanupContext outlives the caller's, for a while.
func (u *upload) cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(u.ctx), u.s.config.Limits.Cleanup)
}

// cleanup removes what may be at the store: the multipart upload, or an object of which no answer told.
func (u *upload) cleanup() error {
	if u.cleaned {
		return nil
	}
	ctx, cancel := u.cleanupContext()
	defer cancel()
	var err error
	if u.id != "" {
		err = u.s.abort(ctx, u.name, u.id)
	}
	if err == nil && u.asked {
		err = u.s.AbortUploads(ctx, u.name)
	}
	if err == nil && u.asked {
		err = u.removeOurs(ctx)
	}
	u.cleaned = err == nil
	return err
}

func (u *upload) removeOurs(ctx context.Context) error {
	ours, err := u.ours(ctx)
	if ours {
		return u.s.Delete(ctx, u.name)
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC32C as the header wants it, or nil if it is turned off.
func (s *Store) checksum(b []byte) *string {
	if s.config.NoChecksum {
		return nil
	}
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(b, castagnoli))
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}
