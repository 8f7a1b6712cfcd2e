package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"coldframe/columnar"
	"coldframe/columnar/cache"
	"coldframe/internal/fault"
)

// cacheSpare is how many times limits.min_free_mib the cache leaves free: it makes room before anything else has to stop.
const cacheSpare = 8

// sealedCache is the cache of the account's bucket. It is opened with the first bucket and stays until the agent stops: what is in it is as
// sealed as what is in the bucket, so locking leaves it alone.
type sealedCache struct {
	mu     sync.Mutex
	open   *cache.Cache
	failed error // why there is none
}

// cached puts the cache before a bucket. If it cannot be had, reads go to the bucket, and the status says so.
func (a *Agent) cached(store columnar.Store) columnar.Store {
	c := &a.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		if c.open, c.failed = a.openCache(); c.failed != nil {
			a.log.Warn("cache not opened", failure(c.failed)...)
		}
	}
	if c.open == nil {
		return store
	}
	return c.open.Store(store)
}

// openCache opens the folder of this account. If the cache is turned off it returns nil, and takes away what there was.
func (a *Agent) openCache() (*cache.Cache, error) {
	path := filepath.Join(a.cfg.Folders.Cache, a.vault.UserID())
	o := cache.Options{Limit: a.cfg.Cache.SizeMiB << 20, MinFree: cacheSpare * uint64(a.cfg.Limits.MinFreeMiB) << 20}
	if o.Limit > 0 {
		return cache.Open(path, o)
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil // none, and none wanted
	}
	o.Limit = cache.MinLimit
	old, err := cache.Open(path, o)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(old.Clear(), old.Close())
}

// get returns the cache, or nil, and why there is none.
func (c *sealedCache) get() (*cache.Cache, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.failed
}

// empty takes everything out that is there.
func (c *sealedCache) empty() error {
	if open, _ := c.get(); open != nil {
		return open.Clear()
	}
	return nil
}

// drop takes out what there is of objects whose dataset is gone.
func (c *sealedCache) drop(names ...columnar.ObjectName) {
	open, _ := c.get()
	for _, n := range names {
		if open != nil {
			open.Drop(n)
		}
	}
}

func (c *sealedCache) close() error {
	if open, _ := c.get(); open != nil {
		return open.Close()
	}
	return nil
}

// info returns what the cache has, or nil if none is in use, and why.
func (c *sealedCache) info() (*CacheInfo, error) {
	open, err := c.get()
	if open == nil {
		return nil, err
	}
	s := open.Stats()
	return &CacheInfo{Used: s.Used, Limit: s.Limit, Ranges: s.Ranges, Hit: s.Hit, Fetched: s.Fetched}, nil
}

// CacheInfo returns what the cache of the bucket has, or nil if there is none: the store is a folder, or the cache is off.
func (a *Agent) CacheInfo(ctx context.Context) (*CacheInfo, error) {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return a.cacheOf(s), nil
}

func (a *Agent) cacheOf(s *session) *CacheInfo {
	if s.storeKind() != StoreS3 {
		return nil
	}
	info, _ := a.cache.info() // why there is none is in the status
	return info
}

// ClearCache takes everything out of the cache of the bucket. It does nothing where there is none.
func (a *Agent) ClearCache(ctx context.Context) error {
	_, _, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := a.cache.empty(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "not all of the cache could be removed")
	}
	a.log.Info("cache cleared")
	return nil
}
