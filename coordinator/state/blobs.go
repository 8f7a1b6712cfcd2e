package state

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// Swap puts a new version of a blob in the place of the one that it names.
type Swap struct {
	Name     string
	Counter  uint64                      // one more than that of the version before
	Previous [coordinator.HashSize]byte  // hash of that; zeroes if there is none
	Nonce    [coordinator.NonceSize]byte // random
	Body     []byte                      // empty: nothing is left but the name and the counter
	Keep     int                         // how many versions before this one stay
}

// Version names one version of a blob.
type Version struct {
	Counter uint64    `cbor:"1,keyasint"`
	Hash    []byte    `cbor:"2,keyasint"`
	Size    int64     `cbor:"3,keyasint"`
	Time    time.Time `cbor:"4,keyasint"`
}

// Blob is the newest version of a blob, and those before it that are kept, newest first. Its record is never removed: a counter begins once.
type Blob struct {
	Name string `cbor:"-"`
	Version
	History []Version `cbor:"5,keyasint,omitempty"`
}

// Body is one version with what its hash is made of.
type Body struct {
	Version  `cbor:"-"`
	Previous []byte `cbor:"1,keyasint"`
	Nonce    []byte `cbor:"2,keyasint"`
	Body     []byte `cbor:"3,keyasint"`
}

// Swap makes all swaps of a list or none. If any of them does not name the present version of its blob, it is fault.Conflict, unless all of them were
// made already, by this call's first try: then it succeeds, also if others followed. Beyond the quota it is fault.StorageFull.
func (s *State) Swap(ctx context.Context, user UserID, list []Swap) ([]Version, error) {
	if err := checkSwaps(list); err != nil {
		return nil, err
	}
	var made []Version
	err := s.update(ctx, func(t *tx) error {
		c, q, err := t.quota(user)
		if err != nil {
			return err
		}
		before, again := *c, 0
		made = nil
		for _, sw := range list {
			v, repeated, err := t.swap(user, c, sw)
			if err != nil {
				return err
			}
			if repeated {
				again++
			}
			made = append(made, v)
		}
		switch again {
		case len(list):
			return nil
		case 0:
			return errors.Join(c.checkStored(before, q), t.emitSwap(user, list))
		}
		return fault.New(fault.Conflict, "some of these swaps were made before, others not")
	})
	return made, err
}

func (t *tx) emitSwap(user UserID, list []Swap) error {
	e := Event{Type: BlobsEvent}
	if len(list) == 1 {
		e.Name, e.Number = list[0].Name, list[0].Counter
	}
	return t.emit(user, e)
}

func checkSwaps(list []Swap) error {
	if len(list) < 1 || len(list) > MaxSwaps {
		return fault.New(fault.InvalidRequest, "a swap is of 1 to %d blobs", MaxSwaps)
	}
	size, seen := 0, map[string]bool{}
	for _, sw := range list {
		if seen[sw.Name] || sw.Keep < 0 || sw.Keep > MaxHistory {
			return fault.New(fault.InvalidRequest, "a name is given twice, or more than %d versions are to stay", MaxHistory)
		}
		seen[sw.Name] = true
		size += len(sw.Body)
	}
	if size > MaxBlob || len(list) > 1 && size > MaxSwap {
		return fault.New(fault.TooLarge, "a blob has at most %d bytes, several in one swap %d", MaxBlob, MaxSwap)
	}
	return nil
}

// swap makes one swap, or reports that it was made before.
func (t *tx) swap(user UserID, c *counters, sw Swap) (v Version, repeated bool, err error) {
	own := key("blob", string(user), sw.Name)
	head, there, err := loadOr[Blob](t, own)
	if err != nil {
		return v, false, err
	}
	hash := coordinator.BlobHash(string(user), sw.Name, sw.Counter, sw.Previous, sw.Nonce, sw.Body)
	if v, made := head.find(sw.Counter, hash[:]); made {
		return v, true, nil
	}
	previous := make([]byte, coordinator.HashSize)
	copy(previous, head.Hash)
	if sw.Counter == 0 || sw.Counter-1 != head.Counter || !bytes.Equal(previous, sw.Previous[:]) {
		return v, false, fault.New(fault.Conflict, "%s is at %d", sw.Name, head.Counter)
	}
	v = Version{sw.Counter, hash[:], int64(len(sw.Body)), t.now}
	if there {
		head.History = append([]Version{head.Version}, head.History...)
	} else {
		c.Blobs++
	}
	head.Version = v
	c.Bytes += v.Size
	for len(head.History) > sw.Keep {
		last := head.History[len(head.History)-1]
		head.History = head.History[:len(head.History)-1]
		c.Bytes -= last.Size
		if err := t.Delete(bodyKey(user, sw.Name, last.Counter)); err != nil {
			return v, false, err
		}
	}
	body := Body{Previous: sw.Previous[:], Nonce: sw.Nonce[:], Body: sw.Body}
	return v, false, errors.Join(save(t, own, head), save(t, bodyKey(user, sw.Name, sw.Counter), body))
}

func bodyKey(user UserID, name string, counter uint64) string {
	return key("body", string(user), name, number(counter))
}

// find returns the version with a counter and a hash, if it is there.
func (b Blob) find(counter uint64, hash []byte) (Version, bool) {
	for _, v := range append([]Version{b.Version}, b.History...) {
		if v.Counter == counter && counter > 0 && bytes.Equal(v.Hash, hash) {
			return v, true
		}
	}
	return Version{}, false
}

// Blob returns a version of a blob, the newest for counter 0, or fault.NotFound.
func (s *State) Blob(ctx context.Context, user UserID, name string, counter uint64) (b Body, err error) {
	err = s.view(ctx, func(t *tx) error {
		head, err := load[Blob](t, key("blob", string(user), name))
		if err != nil {
			return err
		}
		for _, v := range append([]Version{head.Version}, head.History...) {
			if counter == 0 || v.Counter == counter {
				b, err = load[Body](t, bodyKey(user, name, v.Counter))
				b.Version = v
				return err
			}
		}
		return fault.NotFound
	})
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "there is no such blob or version")
	}
	return b, err
}

// Blobs lists blobs in the order of their names, after the given one.
func (s *State) Blobs(ctx context.Context, user UserID, after string, limit int) (list []Blob, more bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		list = nil
		prefix := key("blob", string(user), "")
		from := prefix
		if after != "" {
			from += after + "\x00"
		}
		more, err = scan(t, prefix, from, limit, func(k string, v []byte) error {
			list = append(list, Blob{Name: strings.TrimPrefix(k, prefix)})
			return decode(v, &list[len(list)-1])
		})
		return err
	})
	return list, more, err
}

// sequenceOf reads the number at the end of a key.
func sequenceOf(k string) uint64 {
	n, _ := strconv.ParseUint(k[strings.LastIndexByte(k, '/')+1:], 16, 64) //nolint:errcheck // number wrote it
	return n
}
