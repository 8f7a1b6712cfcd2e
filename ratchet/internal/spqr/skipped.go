package spqr

import (
	"cmp"
	"sort"
)

// maxSkipped bounds the skipped keys that are kept: those at most so far behind the newest key of their line, and so many in all. The
// protocol has the first bound alone; with two or three lines a hostile peer could fill more than THREATS S12 allows.
const maxSkipped = 2_000

// skippedKey is the key of a message that was overtaken.
type skippedKey struct {
	epoch  uint64
	number uint32
	key    [32]byte
}

func (s *skippedKey) compare(epoch uint64, number uint32) int {
	return cmp.Or(cmp.Compare(s.epoch, epoch), cmp.Compare(s.number, number))
}

// skippedKeys ascend by epoch and number. A list is never written once it is in a State: each change makes a new one, in an array of
// its own.
type skippedKeys []skippedKey

// search returns where a key is or would be.
func (k skippedKeys) search(epoch uint64, number uint32) int {
	return sort.Search(len(k), func(i int) bool { return k[i].compare(epoch, number) >= 0 })
}

// take returns a key and the list without it.
func (k skippedKeys) take(epoch uint64, number uint32) ([32]byte, skippedKeys, bool) {
	i := k.search(epoch, number)
	if i == len(k) || k[i].compare(epoch, number) != 0 {
		return [32]byte{}, k, false
	}
	return k[i].key, join(k[:i], k[i+1:]), true
}

// from returns the list without the epochs before the given one.
func (k skippedKeys) from(epoch uint64) skippedKeys {
	i := k.search(epoch, 0)
	if i == 0 {
		return k
	}
	return join(k[i:], nil)
}

// advance moves a receive line to just before a number and returns the list with the keys it passed and without those that are now too
// old.
func (k skippedKeys) advance(epoch uint64, l *line, number uint32) skippedKeys {
	oldest := uint32(max(int64(number)-maxSkipped, 1))
	start := k.search(epoch, 0)
	fresh := k.search(epoch, oldest)
	if start == fresh && l.ctr+1 == number {
		return k
	}
	end := k.search(epoch+1, 0)
	for l.ctr+1 < oldest {
		l.pass()
	}
	out := make(skippedKeys, 0, len(k)-(fresh-start)+int(number-l.ctr-1))
	out = append(append(out, k[:start]...), k[fresh:end]...)
	for l.ctr+1 < number {
		key := l.step()
		out = append(out, skippedKey{epoch: epoch, number: l.ctr, key: key})
	}
	return append(out, k[end:]...).newest()
}

// newest erases the oldest keys of a new list that is too long.
func (k skippedKeys) newest() skippedKeys {
	surplus := max(len(k)-maxSkipped, 0)
	clear(k[:surplus])
	if surplus == len(k) {
		return nil
	}
	return k[surplus:]
}

// join is a new list of both, nil if both are empty.
func join(a, b skippedKeys) skippedKeys {
	if len(a)+len(b) == 0 {
		return nil
	}
	return append(append(make(skippedKeys, 0, len(a)+len(b)), a...), b...)
}

// same reports whether both are one list.
func (k skippedKeys) same(o skippedKeys) bool {
	return len(k) == len(o) && (len(k) == 0 || &k[0] == &o[0])
}
