package columnar

import (
	"context"
	"io"
	"time"
)

// MaxPresign is the longest life of a presigned URL.
const MaxPresign = 5 * time.Minute

// Store keeps objects: sequences of bytes that are written once, whole, and never changed. It is trusted for nothing but being
// there: whoever reads compares what comes back with the hashes of a signed manifest, and the listing is only good for sweeping
// (D17, D18).
//
// All methods may be called at the same time. Failures are those of package fault:
//
//	not_found     no object of that name
//	conflict      an object of that name exists already
//	incomplete    the object is shorter than the range asked for
//	storage_full  no room, or over quota
//	forbidden     the store knows the caller, or not, and refuses
//	policy        the address of the store is one that may not be dialled
//	unavailable   the store did not answer in time, after retries
//
// A cancelled context ends a method with an error for which errors.Is(err, context.Canceled) holds. An invalid ObjectName, or a
// negative offset or length, is a programmer's mistake and panics.
type Store interface {
	// Create starts an object. It never replaces one: Create, Write or, at the latest, Close fails with fault.Conflict if there is
	// one of that name. The context governs the upload until Close returns.
	Create(ctx context.Context, name ObjectName, o CreateOptions) (Upload, error)

	// ReadRange returns a reader of the n bytes at offset off: it gives exactly n bytes and then io.EOF, or an error that is not
	// io.EOF. Broken transfers are taken up again inside. The bytes are not verified. The caller closes the reader. ObjectSize tells
	// how long the store says the whole object is.
	ReadRange(ctx context.Context, name ObjectName, off, n int64) (io.ReadCloser, error)

	// Size returns the length of an object in bytes.
	Size(ctx context.Context, name ObjectName) (int64, error)

	// List calls fn for each object with its length and the time when it was made, in no set order; what is not an object of ours
	// is left out, and so are unfinished uploads. An error of fn ends it and is returned.
	List(ctx context.Context, fn func(name ObjectName, size int64, created time.Time) error) error

	// Delete removes an object. An absent object is no error.
	Delete(ctx context.Context, name ObjectName) error

	// AbortUploads ends every unfinished upload under this name, those of a process that has died included, and frees their space.
	// A finished object stays.
	AbortUploads(ctx context.Context, name ObjectName) error

	// Check tries what the store must be able to do, with a small object that it removes again.
	Check(ctx context.Context) []Probe
}

// CreateOptions tell a store about an object to come.
type CreateOptions struct {
	// SizeHint is the expected length in bytes, 0 if unknown; it may be too long. Longer objects work while the store's part limit lasts.
	SizeHint int64

	// Progress, if set, is told how many bytes are safely with the store. It is called from goroutines of the upload, one call at a
	// time, with numbers that never fall.
	Progress func(sent int64)
}

// Upload is an object being written by one goroutine. Write copies, so the caller may use its buffer again. The first error sticks:
// every later call returns it.
type Upload interface {
	io.Writer

	// Close makes the object exist. Once it returned nil the object is whole and durable; otherwise nothing of it is left, or, if the
	// store cannot be reached, AbortUploads will find it.
	Close() error

	// Abort ends the upload and leaves nothing, after a cancelled context too. After Close it does nothing.
	Abort() error
}

// Resumable is an Upload that a later process can go on with.
type Resumable interface {
	Upload

	// Token returns what Resume needs, or nil while the store knows nothing of the upload yet. It holds no secret.
	Token() []byte

	// Suspend ends the upload without completing or removing it: what was sent in whole parts stays for Resume.
	Suspend() error
}

// Resumer is a Store that can go on with uploads.
type Resumer interface {
	// Resume takes an upload up again and returns it with the offset from which the caller must write. fault.NotFound if the store
	// does not know the upload any more, fault.InvalidRequest if the token is none.
	Resume(ctx context.Context, token []byte, o CreateOptions) (Resumable, int64, error)
}

// Forgetter is a Store that keeps copies of what it gave out.
type Forgetter interface {
	// Forget drops the copies that have bytes of a range, because those were not what they should be: the next read asks anew.
	Forget(name ObjectName, off, n int64)
}

// Presigned is a request that someone without credentials may make until it expires. The URL is a bearer secret: never log it.
type Presigned struct {
	Method string
	URL    string
	Header map[string][]string // to be sent exactly so; they are under the signature
}

// Presigner is a Store that can let others make single requests; life is at most MaxPresign.
type Presigner interface {
	// PresignObject lets the holder read the whole object or any ranges of it.
	PresignObject(ctx context.Context, name ObjectName, life time.Duration) (Presigned, error)
	PresignGet(ctx context.Context, name ObjectName, off, n int64, life time.Duration) (Presigned, error)
	PresignPut(ctx context.Context, name ObjectName, size int64, life time.Duration) (Presigned, error)
	PresignPart(ctx context.Context, token []byte, part int32, size int64, life time.Duration) (Presigned, error)
}

// Probe is the outcome of one thing that Check tried.
type Probe struct {
	Name string // "write", "read a range", "upload in parts", "refuse to replace", "delete"
	Err  error  // nil if it worked
	Text string // for people: what worked, or what is wrong and what to do about it
}

// ObjectSize returns how long the store said the whole object is when it answered ReadRange, and false if it did not say. The
// number is the store's word; compare it with the manifest.
func ObjectSize(r io.Reader) (int64, bool) {
	s, ok := r.(interface{ ObjectSize() (int64, bool) })
	if !ok {
		return 0, false
	}
	return s.ObjectSize()
}
