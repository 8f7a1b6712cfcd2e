package keystore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
)

// Collect removes parts from the replica that its vault does not name: what changes replaced, and what interrupted uploads left. It returns how
// many. A change calls it when the replica is full; the agent should every few hundred changes.
//
// Each removal also swaps the root blob for itself. So none is made once another device changed the vault, and a device that is uploading
// parts for its next root finds the mark moved and uploads again what is gone.
func (v *Vault) Collect(ctx context.Context) (removed int, err error) {
	defer scrubbed()()
	if err := v.writing.LockContext(ctx); err != nil {
		return 0, err
	}
	defer v.writing.Unlock()
	if m, err := v.membership(); err != nil || !m.replicated() {
		return 0, err
	}
	if _, err := v.writable(); err != nil {
		return 0, err
	}
	r, ctx, end, err := v.connection(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	removed, err = v.collect(ctx, r)
	return removed, orLocked(ctx, err)
}

// collect is Collect for a caller that holds writing.
func (v *Vault) collect(ctx context.Context, r Replica) (removed int, err error) {
	if _, err := v.catchUp(ctx, r); err != nil {
		return 0, v.suspicious(err)
	}
	live, err := v.liveParts()
	if err != nil {
		return 0, err
	}
	garbage, err := garbageOf(ctx, r, live)
	if err != nil {
		return 0, err
	}
	for batch := range slices.Chunk(garbage, MaxSwapRecords-1) {
		done, err := v.remove(ctx, r, batch)
		if err != nil || !done {
			return removed, err
		}
		removed += len(batch)
	}
	return removed, nil
}

// liveParts returns the names of the parts of the present vault.
func (v *Vault) liveParts() (map[string]bool, error) {
	c, err := v.writable()
	if err != nil {
		return nil, err
	}
	hashes := make(map[string][32]byte)
	addWanted(hashes, c.index)
	live := make(map[string]bool, len(hashes))
	for _, hash := range hashes {
		live[partName(c.keys, hash)] = true
	}
	return live, nil
}

// garbageOf lists the parts on the replica that are not live.
func garbageOf(ctx context.Context, r Replica, live map[string]bool) ([]RemoteChange, error) {
	var garbage []RemoteChange
	for after, more, seen := "", true, 0; more; {
		list, again, err := r.List(ctx, remotePrefix, after)
		if err != nil {
			return nil, remoteFault(err)
		}
		for _, rec := range list {
			if seen++; rec.Name <= after || !strings.HasPrefix(rec.Name, remotePrefix) || seen > maxItems {
				return nil, fault.New(fault.NotAuthentic, "the replica lists other records than those asked for")
			}
			if after = rec.Name; !live[rec.Name] {
				garbage = append(garbage, RemoteChange{Name: rec.Name, Before: rec.Mark})
			}
		}
		more = again && len(list) > 0
	}
	return garbage, nil
}

// remove deletes parts, if the replica still has the vault of this machine.
func (v *Vault) remove(ctx context.Context, r Replica, parts []RemoteChange) (done bool, err error) {
	c, err := v.writable()
	if err != nil {
		return false, err
	}
	there, err := one(ctx, r, remoteRoot)
	if err != nil {
		return false, err
	}
	if b, err := parseRootBlob(there.Body); err != nil || b.hash() != c.rootHash {
		return false, err
	}
	s := Swap{Changes: append([]RemoteChange{{Name: remoteRoot, Before: there.Mark, Body: there.Body}}, parts...)}
	err = r.Swap(ctx, s)
	if errors.Is(err, fault.Conflict) {
		return false, nil // the rest is for the next time
	}
	return err == nil, remoteFault(err)
}
