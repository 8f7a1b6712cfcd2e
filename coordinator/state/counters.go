package state

import "context"

// counters are the numbers of one user that most changes touch, in one record.
type counters struct {
	Mail      int64  `cbor:"1,keyasint"` // messages that wait
	MailBytes int64  `cbor:"2,keyasint"`
	MailLast  uint64 `cbor:"3,keyasint"` // sequence number of the newest message ever
	Blobs     int64  `cbor:"4,keyasint"`
	Bytes     int64  `cbor:"5,keyasint"`
	Links     uint64 `cbor:"6,keyasint"` // of the device list
	EventLast uint64 `cbor:"7,keyasint"`
	Changes   uint64 `cbor:"8,keyasint"`            // of blobs, ever; a swap is one
	Deleted   int64  `cbor:"9,keyasint"`            // blobs that were deleted and are known
	Floor     uint64 `cbor:"10,keyasint"`           // a new blob begins above it: highest counter of those that were deleted and are not known
	Forgotten uint64 `cbor:"11,keyasint"`           // newest change of those
	Sent      int64  `cbor:"16,keyasint,omitempty"` // messages that the user sent and that are remembered
	SentLast  uint64 `cbor:"17,keyasint,omitempty"` // number of the newest of them
}

// of returns the counters of a user, to be read or changed.
func (t *tx) of(user UserID) (*counters, error) {
	if c := t.counters[user]; c != nil {
		return c, nil
	}
	c, _, err := loadOr[counters](t, key("counters", string(user)))
	t.counters[user], t.loaded[user] = &c, c
	return &c, err
}

// saveCounters writes those that were changed.
func (t *tx) saveCounters() error {
	for user, c := range t.counters {
		if *c == t.loaded[user] {
			continue
		}
		if err := save(t, key("counters", string(user)), c); err != nil {
			return err
		}
	}
	return nil
}

// quota returns the counters and the quota of a user, who must be there and not disabled.
func (t *tx) quota(user UserID) (*counters, Quota, error) {
	a, err := t.account(user)
	if err != nil {
		return nil, Quota{}, err
	}
	c, err := t.of(user)
	return c, a.Quota.or(t.s.o.Limits.Quota), err
}

// or fills the fields that are zero.
func (q Quota) or(d Quota) Quota {
	pick := func(n, d int64) int64 {
		if n == 0 {
			return d
		}
		return n
	}
	return Quota{pick(q.Blobs, d.Blobs), pick(q.Bytes, d.Bytes), pick(q.Mail, d.Mail), pick(q.MailBytes, d.MailBytes)}
}

// checkStored refuses what would go beyond the quota for blobs and bytes. Less than before is always fine.
func (c *counters) checkStored(before counters, q Quota) error {
	if c.Blobs > q.Blobs && c.Blobs > before.Blobs || c.Bytes > q.Bytes && c.Bytes > before.Bytes {
		return full(QuotaResource, "the quota of %d blobs and %d bytes is used up", q.Blobs, q.Bytes)
	}
	return nil
}

// Usage is what a user has left here, and may.
type Usage struct {
	Used  Quota
	Quota Quota
}

// Usage returns what a user uses.
func (s *State) Usage(ctx context.Context, user UserID) (u Usage, err error) {
	err = s.view(ctx, func(t *tx) error {
		c, q, err := t.quota(user)
		if err != nil {
			return err
		}
		u = Usage{Used: Quota{c.Blobs, c.Bytes, c.Mail, c.MailBytes}, Quota: q}
		return nil
	})
	return u, err
}
