package badgerstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coldframe/coordinator/store"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// overlay is one caller's transaction: what it writes is beside kv's transaction until its function has succeeded. So a failure costs nothing, however
// much it had touched.
type overlay struct {
	raw     *kv.Tx
	changes map[string]change
	weight  weight
	failed  error // a write that was refused: the transaction fails, whatever its function makes of it
}

type change struct {
	value   []byte
	removed bool
}

// weight is what a transaction takes in kv's: Badger holds the small values in memory, and puts the others straight into a file.
type weight struct{ small, all int }

// entryCost is what Badger counts for a write beside key and value, rounded up.
const entryCost = 64

func weigh(key string, c change) weight {
	w := weight{small: len(key) + entryCost, all: len(key) + len(c.value)}
	if len(c.value) < store.SmallValue {
		w.small += len(c.value)
	}
	return w
}

func (w weight) plus(o weight) weight  { return weight{w.small + o.small, w.all + o.all} }
func (w weight) minus(o weight) weight { return weight{w.small - o.small, w.all - o.all} }

func newOverlay(raw *kv.Tx) *overlay { return &overlay{raw: raw, changes: map[string]change{}} }

// Get implements store.Tx.
func (o *overlay) Get(key string) ([]byte, error) {
	c, ok := o.changes[key]
	switch {
	case !ok:
		return o.raw.Get(key)
	case c.removed:
		return nil, fault.New(fault.NotFound, "no such record")
	}
	return append([]byte{}, c.value...), nil
}

// Set implements store.Tx.
func (o *overlay) Set(key string, value []byte) error {
	return o.put(key, change{value: bytes.Clone(value)})
}

// Delete implements store.Tx.
func (o *overlay) Delete(key string) error { return o.put(key, change{removed: true}) }

func (o *overlay) put(key string, c change) error {
	if key == "" || key[0] == 0 || len(key) > store.MaxKey { // here, where it is its caller's panic
		panic("badgerstore: malformed key")
	}
	next := o.weight.plus(weigh(key, c))
	if before, ok := o.changes[key]; ok {
		next = next.minus(weigh(key, before))
	}
	switch {
	case len(c.value) > store.MaxValue:
		o.failed = fault.New(fault.TooLarge, "a record holds at most %d KiB", store.MaxValue>>10)
	case next.all > store.MaxTx || next.small > store.MaxSmallTx:
		o.failed = fault.New(fault.TooLarge, "too much for one transaction")
	}
	if o.failed != nil {
		return o.failed
	}
	o.changes[key], o.weight = c, next
	return nil
}

// ScanFrom implements store.Tx: kv's records and the transaction's own, merged.
func (o *overlay) ScanFrom(prefix, from string, fn func(key string, value []byte) error) error {
	var own []string
	for key := range o.changes {
		if strings.HasPrefix(key, prefix) && key >= from {
			own = append(own, key)
		}
	}
	slices.Sort(own)
	next := func() error { // gives fn the first of own
		key := own[0]
		own = own[1:]
		if o.changes[key].removed {
			return nil
		}
		return fn(key, append([]byte{}, o.changes[key].value...))
	}
	err := o.raw.ScanFrom(prefix, from, func(key string, value []byte) error {
		for len(own) > 0 && own[0] < key {
			if err := next(); err != nil {
				return err
			}
		}
		if len(own) > 0 && own[0] == key {
			return next()
		}
		return fn(key, value)
	})
	for err == nil && len(own) > 0 {
		err = next()
	}
	return err
}

// call calls fn and turns a panic of it into a value, for its own caller.
func (o *overlay) call(fn func(store.Tx) error) (panicked any, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked = fmt.Sprint("in a transaction: ", p)
		}
	}()
	if err := fn(o); err != nil {
		return nil, err
	}
	return nil, o.failed
}

// flush gives what was written to kv's transaction, which is lost as a whole if that fails.
func (o *overlay) flush() error {
	for _, key := range slices.Sorted(maps.Keys(o.changes)) {
		c := o.changes[key]
		var err error
		if c.removed {
			err = o.raw.Delete(key)
		} else {
			err = o.raw.Set(key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
