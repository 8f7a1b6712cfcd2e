package state

import "coldframe/internal/fault"

// Resource is what is used up when something is fault.StorageFull.
type Resource string

// The resources. A fault.StorageFull that is no FullError is of the disk.
const (
	QuotaResource   Resource = "quota"   // the caller's own, of blobs, bytes, links or prekeys
	MailboxResource Resource = "mailbox" // the receiver's
	DiskResource    Resource = "disk"    // the coordinator's
)

// FullError is fault.StorageFull of something that one user has.
type FullError struct {
	Resource Resource
	err      error
}

func full(r Resource, format string, args ...any) error {
	return &FullError{r, fault.New(fault.StorageFull, format, args...)}
}

func (e *FullError) Error() string { return e.err.Error() }

// Unwrap returns the failure.
func (e *FullError) Unwrap() error { return e.err }
