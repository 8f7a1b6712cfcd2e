package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"coldframe/columnar/storetest"
	"coldframe/daemon"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// bucket is an S3 server that counts what is read of objects.
type bucket struct {
	storetest.Server
	reads, bytes atomic.Int64
}

func newBucket(t *testing.T) *bucket {
	b := &bucket{}
	b.Server = storetest.Fake(t).Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && r.Header.Get("Range") != "" {
			b.reads.Add(1)
			w = &countedAnswer{w, &b.bytes}
		}
		next.ServeHTTP(w, r)
	})
	return b
}

type countedAnswer struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *countedAnswer) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// read returns how often and how much was read since the last call.
func (b *bucket) read() (int64, int64) { return b.reads.Swap(0), b.bytes.Swap(0) }

// use makes it the store of an agent.
func (b *bucket) use(t *testing.T, c *localapi.Client, prefix string) {
	t.Helper()
	pathStyle := true
	_, err := c.SetStore(context.Background(), localapi.StoreRequest{
		Kind: localapi.StoreRequestKindS3, Password: localapitest.Password, Force: ptr(true),
		AccessKeyId: &b.AccessKey, SecretAccessKey: &b.SecretKey,
		S3: &localapi.S3{Bucket: b.Bucket, Endpoint: &b.Endpoint, PathStyle: &pathStyle, Prefix: &prefix},
	})
	must(t, err)
}

func withBucket(dir string, mib int64) localapitest.Options {
	return localapitest.Options{Dir: dir, Config: func(c *daemon.Config) {
		c.Store = daemon.Store{AllowLoopback: true, AllowPlainHTTP: true}
		c.Cache.SizeMiB, c.Limits.MinFreeMiB = mib, 16
	}}
}

func cachedFiles(t *testing.T, w *localapitest.World) (out []string) {
	t.Helper()
	must(t, filepath.WalkDir(w.Config.Folders.Cache, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			out = append(out, p)
		}
		return err
	}))
	return out
}

func putWords(t *testing.T, c *localapi.Client, csv string) localapi.Dataset {
	t.Helper()
	d, err := c.CreateDataset(context.Background(), "words", "")
	must(t, err)
	_, err = c.Put(context.Background(), d.Id, strings.NewReader(csv), localapi.PutOptions{Format: "csv"})
	must(t, err)
	return d
}

func bigTable(rows int) string {
	var b strings.Builder
	b.WriteString("n,word\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,canary%d\n", i, i*7919%rows)
	}
	return b.String()
}

// What was read from the bucket is not fetched again: not by the next read, not for some of the columns, not after locking or a restart;
// until it is cleared, damaged, or the dataset deleted.
func TestCacheOfTheBucket(t *testing.T) {
	ctx := context.Background()
	b := newBucket(t)
	w := localapitest.Start(t, withBucket("", 64))
	c := w.Registered()
	b.use(t, c, "")
	table := bigTable(50_000)
	id := putWords(t, c, table).Id
	want := func(what string, fromBucket bool, columns ...string) {
		t.Helper()
		b.read()
		got := get(t, c, id, localapi.GetOptions{Columns: columns})
		if len(columns) == 0 && got != table {
			t.Errorf("%s: %d bytes came back, %d were written", what, len(got), len(table))
		}
		if n, size := b.read(); (n > 0) != fromBucket {
			t.Errorf("%s: %d requests for %d bytes", what, n, size)
		}
	}
	want("the first time", true)
	want("the second time", false)
	want("a column", false, "word")
	must(t, c.Lock(ctx))
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	want("after locking", false)
	st, err := c.Status(ctx)
	must(t, err)
	store, err := c.Store(ctx)
	must(t, err)
	if s := store.Cache; st.Cache == nil || s == nil || s.LimitBytes != 64<<20 || s.UsedBytes == 0 || s.HitBytes == 0 || s.FetchedBytes == 0 {
		t.Errorf("status %+v, store %+v", st.Cache, store.Cache)
	}
	for _, f := range cachedFiles(t, w) {
		body, err := os.ReadFile(f)
		must(t, err)
		if bytes.Contains(body, []byte("canary")) || bytes.Contains(body, []byte("word")) {
			t.Errorf("%s is readable", f)
		}
	}
	w.Stop()
	w = localapitest.Start(t, withBucket(w.Dir(), 64))
	c = w.User()
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	want("after a restart", false)
	for _, f := range cachedFiles(t, w) {
		body, err := os.ReadFile(f)
		must(t, err)
		body[len(body)/2]++
		must(t, os.WriteFile(f, body, 0o600))
	}
	want("damaged", true)
	get(t, c, id, localapi.GetOptions{}) // the rest of files that were damaged in a part
	want("mended", false)
	must(t, c.ClearCache(ctx))
	if left := cachedFiles(t, w); len(left) > 0 {
		t.Errorf("left after clearing: %v", left)
	}
	want("cleared", true)
	must(t, c.DeleteDataset(ctx, id))
	if left := cachedFiles(t, w); len(left) > 0 {
		t.Errorf("left of a deleted dataset: %v", left)
	}
}

// Another place empties the cache; turned off, it is taken away; and what another agent uses is left to it.
func TestCacheIsLeftAlone(t *testing.T) {
	ctx := context.Background()
	b := newBucket(t)
	w := localapitest.Start(t, withBucket("", 64))
	c := w.Registered()
	b.use(t, c, "")
	id := putWords(t, c, bigTable(1000)).Id
	get(t, c, id, localapi.GetOptions{})
	if len(cachedFiles(t, w)) == 0 {
		t.Fatal("nothing is cached")
	}
	b.use(t, c, "elsewhere/")
	if left := cachedFiles(t, w); len(left) > 0 {
		t.Errorf("left of another place: %v", left)
	}
	b.use(t, c, "")
	get(t, c, id, localapi.GetOptions{})
	w.Stop()

	off := localapitest.Start(t, withBucket(w.Dir(), 0))
	c = off.User()
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	get(t, c, id, localapi.GetOptions{})
	st, err := c.Status(ctx)
	if must(t, err); st.Cache != nil || len(st.Warnings) > 0 || len(cachedFiles(t, off)) > 0 {
		t.Errorf("turned off: %+v, warnings %v, files %v", st.Cache, st.Warnings, cachedFiles(t, off))
	}
	must(t, c.ClearCache(ctx))
	off.Stop()

	user := filepath.Join(w.Config.Folders.Cache, *st.UserId)
	must(t, errors.Join(os.RemoveAll(user), os.Mkdir(user, 0o700), os.Chmod(user, 0o755)))
	open := localapitest.Start(t, withBucket(w.Dir(), 64))
	c = open.User()
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	get(t, c, id, localapi.GetOptions{})
	if st, err := c.Status(ctx); err != nil || st.Cache != nil || len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], "policy") {
		t.Errorf("a folder that is open to others: %+v, %v", st, err)
	}
}

// A folder store is not cached.
func TestFolderHasNoCache(t *testing.T) {
	w := localapitest.Start(t, withBucket("", 64))
	c := w.Registered()
	get(t, c, putWords(t, c, bigTable(1000)).Id, localapi.GetOptions{})
	st, err := c.Status(context.Background())
	if must(t, err); st.Cache != nil {
		t.Errorf("%+v", st.Cache)
	}
	if _, err := os.Stat(w.Config.Folders.Cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cache folder: %v", err)
	}
}
