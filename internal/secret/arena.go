package secret

import (
	"log/slog"
	"sync"
	"time"
	"unsafe"
)

const (
	regionSize = 16 << 10 // bytes of one region: 512 keys, and within the 64 KiB that old systems let a user lock

	// quarantine is how long the bytes of a dropped key stay after the collector found it. A view may outlive its key within one
	// call, as in aes.NewCipher(k.Bytes()); no such call takes a minute.
	quarantine = time.Minute
)

// keys is the arena of every Key.
var keys = &arena{delay: quarantine}

// arena hands out slots of regions that the system was asked to lock. Regions are never given back.
type arena struct {
	delay time.Duration

	mu       sync.Mutex
	free     []*[KeySize]byte
	regions  [][]byte
	warnings []string
}

// take returns a zeroed slot.
func (a *arena) take() *[KeySize]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) == 0 {
		a.grow()
	}
	slot := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	return slot
}

// grow adds a region and reports, the first time, what the system refused.
func (a *arena) grow() {
	region, warnings := mapRegion(regionSize)
	a.regions = append(a.regions, region)
	for i := 0; i+KeySize <= len(region); i += KeySize {
		a.free = append(a.free, (*[KeySize]byte)(unsafe.Pointer(&region[i])))
	}
	if len(warnings) > 0 && len(a.warnings) == 0 {
		a.warnings = warnings
		slog.Warn("keys are held in weaker memory", "reasons", warnings)
	}
}

// give zeroes a slot and takes it back.
func (a *arena) give(slot *[KeySize]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	Wipe(slot[:])
	a.free = append(a.free, slot)
}

// dropped takes back the slot of a key that nobody can reach any more, once no view of it can be in use.
func (a *arena) dropped(slot *[KeySize]byte) {
	time.AfterFunc(a.delay, func() { a.give(slot) })
}

// probe makes the first region, if there is none yet, and returns what the system refused.
func (a *arena) probe() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.regions) == 0 {
		a.grow()
	}
	return a.warnings
}
