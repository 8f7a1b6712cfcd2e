package remote

import (
	"context"
	"slices"

	"coldframe/coordinator"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
)

// Replica is the user's vault at the coordinator.
type Replica struct {
	store store
	keep  func() []coordinator.DeviceID
}

var _ keystore.Replica = (*Replica)(nil)

// NewReplica returns the replica behind a client.
func NewReplica(c Client) *Replica {
	return NewReplicaKeeping(c, func() []coordinator.DeviceID { return nil })
}

// NewReplicaKeeping is NewReplica. The sessions of devices that keep names when the login proof changes outlive that, with their credentials.
func NewReplicaKeeping(c Client, keep func() []coordinator.DeviceID) *Replica {
	return &Replica{store{client: c}, keep}
}

// Read implements keystore.Replica.
func (r *Replica) Read(ctx context.Context, names []string) ([]keystore.Remote, error) {
	if len(names) == 0 {
		return nil, fault.New(fault.InvalidRequest, "no record is asked for")
	}
	asked := names[:min(len(names), maxNames)]
	list, err := r.read(ctx, asked)
	if err != nil || len(list) == len(asked) || slices.IsSorted(asked) {
		return list, err
	}
	n, err := r.fitting(ctx, asked) // the answer held those that come first by name, which are not the first that were asked for
	if err != nil {
		return nil, err
	}
	if list, err = r.read(ctx, asked[:n]); err == nil && len(list) == 0 {
		return r.read(ctx, asked[:1])
	}
	return list, err
}

// read returns as many of the first of the names as one answer decides.
func (r *Replica) read(ctx context.Context, asked []string) (out []keystore.Remote, err error) {
	list, more, err := r.store.read(ctx, asked, true)
	if err != nil {
		return nil, err
	}
	there := make(map[string]keystore.Remote, len(list))
	last := ""
	for i := range list {
		last = list[i].Name
		there[last] = remoteOf(&list[i])
	}
	for _, name := range asked {
		if more && name > last {
			break // beyond what the answer holds
		}
		rec := there[name]
		rec.Name = name
		out = append(out, rec)
	}
	return out, nil
}

// fitting returns how many of the first of the names go into one answer, by their sizes; at least one.
func (r *Replica) fitting(ctx context.Context, asked []string) (n int, err error) {
	list, _, err := r.store.read(ctx, asked, false)
	if err != nil {
		return 0, err
	}
	sizes := map[string]int64{}
	for i := range list {
		sizes[list[i].Name] = list[i].Newest.Size
	}
	for left := int64(keystore.MaxSwapBytes); n < len(asked); n++ {
		if left -= sizes[asked[n]]; left < 0 {
			break
		}
	}
	return max(n, 1), nil
}

// remoteOf returns a blob as a record; one that was deleted has a mark and no body.
func remoteOf(b *coordinator.Blob) keystore.Remote {
	return keystore.Remote{
		Name: b.Name, Body: bodyOf(b),
		Mark: keystore.Mark{Counter: uint64(b.Newest.Counter), Hash: [coordinator.HashSize]byte(b.Newest.Hash)},
	}
}

// Marks implements keystore.Replica.
func (r *Replica) Marks(ctx context.Context, names []string) ([]keystore.Presence, error) {
	if len(names) == 0 || len(names) > maxNames {
		return nil, fault.New(fault.InvalidRequest, "marks are asked for of 1 to %d records", maxNames)
	}
	list, more, err := r.store.read(ctx, names, false)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, errOther
	}
	there := make(map[string]*coordinator.Blob, len(list))
	for i := range list {
		there[list[i].Name] = &list[i]
	}
	out := make([]keystore.Presence, len(names))
	for i, name := range names {
		out[i].Name = name
		if b := there[name]; b != nil {
			out[i].Mark, out[i].There = remoteOf(b).Mark, !b.IsDeleted()
		}
	}
	return out, nil
}

// List implements keystore.Replica. Records that were deleted are left out.
func (r *Replica) List(ctx context.Context, prefix, after string) (list []keystore.Remote, more bool, err error) {
	for range maxPages {
		page, more, err := r.store.names(ctx, prefix, after)
		if err != nil {
			return nil, false, err
		}
		for i := range page {
			if after = page[i].Name; !page[i].IsDeleted() {
				list = append(list, remoteOf(&page[i]))
			}
		}
		if len(list) > 0 || !more {
			return list, more, nil
		}
	}
	return nil, false, errEndless
}

// Swap implements keystore.Replica.
func (r *Replica) Swap(ctx context.Context, s keystore.Swap) error {
	list := make([]coordinator.Swap, len(s.Changes))
	for i, c := range s.Changes {
		list[i] = coordinator.Swap{Name: c.Name, Previous: c.Before.Hash[:], Body: c.Body}
		if c.Before != (keystore.Mark{}) {
			list[i].Counter = int64(c.Before.Counter) + 1
		}
		if len(c.Body) == 0 {
			list[i].Delete = new(true)
		}
	}
	if s.Credentials == nil {
		return r.store.swap(ctx, list, plain)
	}
	return r.store.swap(ctx, list, withProofs(s.Credentials, r.keep()))
}

// withProofs sends swaps with a change of what proves the user, in one transaction of the coordinator.
func withProofs(k *keystore.Credentials, keep []coordinator.DeviceID) sender {
	return func(ctx context.Context, c *coordinator.Client, list []coordinator.Swap) error {
		p := coordinator.ProofChange{Proof: bytesOf(k.Old, c.URL()), NewProof: bytesOf(k.New, c.URL()), Swaps: &list}
		moved := k.EmailHash != [keystore.EmailHashSize]byte{}
		if k.Old.Equal(k.New) || moved { // a new password ends the sessions of whoever had the former one; with an address the password stays
			p.KeepSessions = new(true)
		} else if len(keep) > 0 {
			p.KeepDevices = &keep
		}
		defer secret.Wipe(p.Proof)
		defer secret.Wipe(p.NewProof)
		if !k.Recovery.IsZero() {
			kit := bytesOf(k.Recovery, c.URL())
			defer secret.Wipe(kit)
			p.RecoveryProof = &kit
		}
		if moved {
			hash := k.EmailHash[:]
			p.EmailHash = &hash
		}
		return unsure(c.ChangeProof(ctx, p))
	}
}

// bytesOf returns the proof for a coordinator for the client, which asks for bytes; none if it was wiped meanwhile.
func bytesOf(p keystore.Proof, url string) []byte {
	b := make([]byte, 0, secret.KeySize)
	if p.IsZero() {
		return b
	}
	k := p.For(url)
	defer k.Wipe()
	k.Use(func(view []byte) { b = append(b, view...) })
	return b
}
