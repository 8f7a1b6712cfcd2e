package keystore

import (
	"context"
	"errors"
	"strings"

	"coldframe/internal/fault"
)

func isPart(key string) bool {
	return strings.HasPrefix(key, prefixItem) || strings.HasPrefix(key, prefixShard)
}

// swapIn adds parts to the replica and then, in one swap with what is attached, puts the root blob in the place of the one with that mark.
// Parts that this last swap does not take go before it: nothing names them until then.
func (v *Vault) swapIn(ctx context.Context, r Replica, parts []RemoteChange, b rootBlob, attached []RemoteChange, cred *Credentials, mark Mark) error {
	last := Swap{Changes: []RemoteChange{{Name: remoteRoot, Before: mark, Body: b.encode()}}, Credentials: cred}
	last.Changes = append(last.Changes, attached...)
	fits := batchOf(parts, MaxSwapRecords-len(last.Changes), MaxSwapBytes-bytesOf(last.Changes))
	if fits < len(parts) {
		if err := upload(ctx, r, parts); err != nil {
			return err
		}
		fits = 0
	}
	last.Changes = append(last.Changes, parts[:fits]...)
	return r.Swap(ctx, last)
}

func bytesOf(changes []RemoteChange) (size int) {
	for _, c := range changes {
		size += len(c.Body)
	}
	return size
}

// batchOf returns how many of the first parts go together.
func batchOf(parts []RemoteChange, records, size int) int {
	for i, p := range parts {
		if size -= len(p.Body); i == records || size < 0 {
			return i
		}
	}
	return len(parts)
}

// upload adds parts that nothing names yet. Those that are there already stay.
func upload(ctx context.Context, r Replica, parts []RemoteChange) error {
	for len(parts) > 0 {
		n := max(batchOf(parts, MaxSwapRecords, MaxSwapBytes), 1)
		err := r.Swap(ctx, Swap{Changes: parts[:n]})
		if errors.Is(err, fault.Conflict) {
			err = uploadMissing(ctx, r, parts[:n])
		}
		if err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// uploadMissing adds those of the parts that are not there, and reads none that is.
func uploadMissing(ctx context.Context, r Replica, parts []RemoteChange) error {
	marks, err := r.Marks(ctx, namesOf(parts))
	if err != nil {
		return err
	}
	if len(marks) != len(parts) {
		return fault.New(fault.NotAuthentic, "the replica answers with another number of records")
	}
	var missing []RemoteChange
	for i, m := range marks {
		if m.Name != parts[i].Name {
			return fault.New(fault.NotAuthentic, "the replica answers with another record")
		}
		if !m.There {
			missing = append(missing, RemoteChange{Name: m.Name, Before: m.Mark, Body: parts[i].Body})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return r.Swap(ctx, Swap{Changes: missing})
}

func namesOf(changes []RemoteChange) []string {
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Name
	}
	return names
}
