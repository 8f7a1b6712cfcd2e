package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"coldframe/columnar"
	"coldframe/columnar/cache"
	"coldframe/columnar/storetest"
)

// read reads a range as a reader with hashes does: bytes that are wrong are forgotten and asked for again, once.
func read(s columnar.Store, name columnar.ObjectName, want []byte, off int64) (again bool, err error) {
	for try := range 2 {
		got, err := storetest.Get(context.Background(), s, name, off, int64(len(want)))
		if err != nil {
			return again, err
		}
		if bytes.Equal(got, want) {
			return try > 0, nil
		}
		s.(columnar.Forgetter).Forget(name, off, int64(len(want)))
	}
	return true, errors.New("wrong bytes, though the store was asked")
}

// damage does to a file what a disk, or somebody who has it, can do.
func damage(t *rapid.T, path string, others []string) {
	body, err := os.ReadFile(path)
	if err != nil || len(body) == 0 {
		return
	}
	switch rapid.IntRange(0, 6).Draw(t, "damage") {
	case 0: // a bit
		body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] ^= 1
		err = os.WriteFile(path, body, 0o600)
	case 1:
		err = os.Truncate(path, int64(rapid.IntRange(0, len(body)-1).Draw(t, "length")))
	case 2:
		err = os.WriteFile(path, append(body, 0), 0o600)
	case 3:
		err = os.Remove(path)
	case 4: // zeros, as after a crash
		err = os.WriteFile(path, make([]byte, len(body)), 0o600)
	case 5: // another one's bytes
		other, readErr := os.ReadFile(rapid.SampledFrom(others).Draw(t, "other"))
		if readErr == nil {
			err = os.WriteFile(path, other, 0o600)
		}
	case 6: // no file at all
		err = errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Random reads, evictions, restarts, deletions and damages: the bytes are always those of the store, what was read and is undamaged is not
// asked for again, and the bounds hold.
func TestD17_RandomReadsAndDamages(t *testing.T) {
	behind := &counting{Store: folder(t)}
	const size = 300_000
	var names []columnar.ObjectName
	var bodies [][]byte
	for i := range 3 {
		bodies = append(bodies, storetest.Bytes(uint64(10+i), size))
		names = append(names, put(t, behind, bodies[i]))
	}
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), fmt.Sprint(rand.Uint64()))
		limit := int64(1 << 20)
		reopen := func() *cache.Cache {
			c, err := cache.Open(path, cache.Options{Limit: limit, MinFree: 1})
			if err != nil {
				rt.Fatal(err)
			}
			cache.SetBounds(c, 50_000, int64(rapid.IntRange(0, 10_000).Draw(rt, "gap")))
			return c
		}
		c := reopen()
		defer func() { c.Close() }()
		drawRange := func() (i int, off, n int64) {
			i = rapid.IntRange(0, len(names)-1).Draw(rt, "object")
			off = rapid.Int64Range(0, size-1).Draw(rt, "offset")
			n = rapid.OneOf(rapid.Int64Range(1, min(5000, size-off)), rapid.Int64Range(1, size-off)).Draw(rt, "length")
			return i, off, n
		}
		rt.Repeat(map[string]func(*rapid.T){
			"read": func(*rapid.T) {
				i, off, n := drawRange()
				s := c.Store(behind)
				if _, err := read(s, names[i], bodies[i][off:off+n], off); err != nil {
					rt.Fatal(err)
				}
				behind.asked()
				again, err := read(s, names[i], bodies[i][off:off+n], off)
				if requests, _ := behind.asked(); err != nil || again || requests != 0 {
					rt.Fatalf("the second time: %d requests, again %v, %v", requests, again, err)
				}
			},
			"damage": func(*rapid.T) {
				if files := filesIn(t, path); len(files) > 0 {
					damage(rt, rapid.SampledFrom(files).Draw(rt, "file"), files)
				}
			},
			"restart": func(*rapid.T) {
				c.Close()
				c = reopen()
			},
			"forget": func(*rapid.T) {
				i, off, n := drawRange()
				c.Store(behind).(columnar.Forgetter).Forget(names[i], off, n)
			},
			"drop":  func(*rapid.T) { c.Drop(names[rapid.IntRange(0, len(names)-1).Draw(rt, "object")]) },
			"clear": func(*rapid.T) { _ = c.Clear() },
			"leave": func(*rapid.T) { // a reader that is left in the middle
				i, off, n := drawRange()
				r, err := c.Store(behind).ReadRange(context.Background(), names[i], off, n)
				if err != nil {
					rt.Fatal(err)
				}
				got := make([]byte, rapid.Int64Range(0, n).Draw(rt, "part"))
				if _, err := io.ReadFull(r, got); err != nil {
					rt.Fatal(err)
				}
				r.Close()
			},
			"": func(*rapid.T) {
				if err := cache.CheckIndex(c); err != nil || !cache.Idle(c) {
					rt.Fatalf("idle: %v, %v", cache.Idle(c), err)
				}
				if n := c.Stats().Used; n > limit {
					rt.Fatalf("%d bytes used", n)
				}
			},
		})
	})
}

// Many readers at once, with evictions, damages and clearings between them.
func TestConcurrentReaders(t *testing.T) {
	path := place(t)
	c := open(t, path, cache.Options{Limit: 2 << 20})
	cache.SetBounds(c, 100_000, 1000)
	behind := folder(t)
	const size = 1 << 20
	var names []columnar.ObjectName
	var bodies [][]byte
	for i := range 4 {
		bodies = append(bodies, storetest.Bytes(uint64(20+i), size))
		names = append(names, put(t, behind, bodies[i]))
	}
	s := c.Store(behind)
	var wg sync.WaitGroup
	for g := range 12 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 25 {
				i, off := r.IntN(len(names)), r.Int64N(size-1)
				n := 1 + r.Int64N(size-off)
				switch r.IntN(12) {
				case 0:
					c.Drop(names[i])
				case 1:
					_ = c.Clear()
				case 2:
					s.(columnar.Forgetter).Forget(names[i], off, n)
				case 3: // the bytes are the same, so what others read stays right
					for _, f := range glob(t, path+"/*/*.*.*") {
						if r.IntN(4) == 0 {
							_ = os.Remove(f)
						}
					}
				}
				if _, err := read(s, names[i], bodies[i][off:off+n], off); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	if err := cache.CheckIndex(c); err != nil || !cache.Idle(c) {
		t.Errorf("idle: %v, %v", cache.Idle(c), err)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil {
		t.Error(err)
	}
	return list
}
