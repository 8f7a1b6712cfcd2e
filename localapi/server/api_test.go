package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

const weather = "date,station,temp\n2026-01-01,KSEA,4.5\n2026-01-02,KSEA,6.25\n2026-01-03,KPDX,\n"

// TestRoundTrip takes a table through the whole API: in as CSV, out in each format, a column, an old version, after lock and unlock.
func TestRoundTrip(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) { roundTrip(t, localapitest.Start(t, localapitest.Options{Network: network})) })
	}
}

func roundTrip(t *testing.T, w *localapitest.World) {
	ctx := context.Background()
	c := w.Registered()
	d, err := c.CreateDataset(ctx, "weather", "")
	must(t, err)
	res, err := c.Put(ctx, d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv"})
	must(t, err)
	if res.Version != 1 || res.Rows != 3 {
		t.Fatalf("put: %+v", res)
	}
	res, err = c.Put(ctx, d.Id, strings.NewReader("date,station,temp\n2026-01-04,KPDX,1\n"), localapi.PutOptions{Format: "csv", Append: true})
	must(t, err)
	if res.Version != 2 || res.Rows != 4 || res.Written != 1 {
		t.Fatalf("append: %+v", res)
	}
	if got := get(t, c, d.Id, localapi.GetOptions{Version: 1}); got != weather {
		t.Fatalf("version 1 came back as %q", got)
	}
	if got := get(t, c, d.Id, localapi.GetOptions{Columns: []string{"temp", "date"}, Limit: ptr(int64(2))}); got != "temp,date\n4.5,2026-01-01\n6.25,2026-01-02\n" {
		t.Fatalf("columns came back as %q", got)
	}
	where := localapi.GetOptions{Columns: []string{"temp"}, Where: "date > '2026-01-01' AND temp < 5", Limit: ptr(int64(1))}
	if got := get(t, c, d.Id, where); got != "temp\n1.0\n" {
		t.Fatalf("rows by condition came back as %q", got)
	}
	for _, wrong := range []string{"temp >", "temp = 'cold'", "rain = 1"} {
		if _, err := c.Get(ctx, d.Id, localapi.GetOptions{Where: wrong}); !errors.Is(err, localapi.InvalidRequest) || !strings.Contains(err.Error(), "where") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	all, err := c.Datasets(ctx, "weather")
	must(t, err)
	if len(all) != 1 || all[0].Id != d.Id || len(all[0].Columns) != 3 || all[0].Version != 2 {
		t.Fatalf("datasets: %+v", all)
	}
	v, err := c.Versions(ctx, d.Id)
	must(t, err)
	if len(v) != 2 || v[0].Version != 2 || v[1].Rows != 3 {
		t.Fatalf("versions: %+v", v)
	}
	must(t, c.Lock(ctx))
	if _, err := c.Get(ctx, d.Id, localapi.GetOptions{}); !errors.Is(err, localapi.Locked) {
		t.Fatalf("locked: %v", err)
	}
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	for _, f := range []string{"arrow", "csv", "ndjson", "parquet"} {
		copyAs(t, c, d.Id, f)
	}
	must(t, c.DeleteDataset(ctx, d.Id))
	if _, err := c.Dataset(ctx, d.Id); !errors.Is(err, localapi.NotFound) {
		t.Fatalf("after delete: %v", err)
	}
}

// copyAs reads a dataset in a format, writes that into a new one and compares both as CSV.
func copyAs(t *testing.T, c *localapi.Client, id, format string) {
	t.Helper()
	ctx := context.Background()
	body := get(t, c, id, localapi.GetOptions{Format: format})
	d, err := c.CreateDataset(ctx, "copy by "+format, "")
	must(t, err)
	_, err = c.Put(ctx, d.Id, strings.NewReader(body), localapi.PutOptions{Format: format})
	must(t, err)
	if want, got := get(t, c, id, localapi.GetOptions{}), get(t, c, d.Id, localapi.GetOptions{}); got != want {
		t.Errorf("by %s: got %q, want %q", format, got, want)
	}
}

func get(t *testing.T, c *localapi.Client, id string, o localapi.GetOptions) string {
	t.Helper()
	table, err := c.Get(context.Background(), id, o)
	must(t, err)
	defer table.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, table)
	must(t, err)
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// A lock ends a write whose body has gone silent, long before the 30 s that a body may rest, and nothing of the write is left.
func TestLockEndsASilentBody(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	d, err := c.CreateDataset(ctx, "silent", "")
	must(t, err)
	r, body := io.Pipe()
	defer body.Close()
	written := make(chan error, 1)
	go func() {
		_, err := c.Put(ctx, d.Id, r, localapi.PutOptions{Format: "csv"})
		written <- err
	}()
	if _, err := io.WriteString(body, weather); err != nil { // the agent reads: the write is in work
		t.Fatal(err)
	}
	must(t, c.Lock(ctx))
	if err := <-written; !errors.Is(err, localapi.Locked) {
		t.Fatalf("the write ended with %v", err)
	}
	must(t, c.Unlock(ctx, localapi.UnlockRequest{Password: localapitest.Password}))
	if v, err := c.Versions(ctx, d.Id); err != nil || len(v) != 0 {
		t.Fatalf("versions after it: %v, %v", v, err)
	}
}
