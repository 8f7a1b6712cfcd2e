package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coldframe/columnar/query/querytest"
	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

func withEngine(t *testing.T) localapitest.Options {
	return localapitest.Options{Config: func(c *daemon.Config) { c.Query.Engine = querytest.Engine(t) }}
}

func put(t *testing.T, c *localapi.Client, title, csv string) localapi.Dataset {
	t.Helper()
	d, err := c.CreateDataset(context.Background(), title, "")
	must(t, err)
	_, err = c.Put(context.Background(), d.Id, strings.NewReader(csv), localapi.PutOptions{Format: "csv"})
	must(t, err)
	return d
}

func ask(c *localapi.Client, sql, format string) (string, error) {
	table, err := c.Query(context.Background(), sql, format)
	if err != nil {
		return "", err
	}
	defer table.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, table)
	return b.String(), err
}

func TestQuery(t *testing.T) {
	w := localapitest.Start(t, withEngine(t))
	c := w.Registered()
	d := put(t, c, "Weather 2026", weather)
	put(t, c, "stations", "station,city\nKSEA,Seattle\nKPDX,Portland\n")
	const joined = `SELECT city, count(temp) AS n FROM "weather 2026" JOIN stations USING (station) GROUP BY city ORDER BY city`
	for format, want := range map[string]string{
		"csv": "city,n\nPortland,0\nSeattle,2\n", "ndjson": `{"city":"Portland","n":0}` + "\n" + `{"city":"Seattle","n":2}` + "\n",
	} {
		if got, err := ask(c, joined, format); err != nil || got != want {
			t.Errorf("%s: %q, %v", format, got, err)
		}
	}
	for _, format := range []string{"arrow", "parquet"} {
		body, err := ask(c, joined, format)
		must(t, err)
		back, err := c.CreateDataset(context.Background(), "back by "+format, "")
		must(t, err)
		_, err = c.Put(context.Background(), back.Id, strings.NewReader(body), localapi.PutOptions{Format: format})
		must(t, err)
		if got := get(t, c, back.Id, localapi.GetOptions{}); got != "city,n\nPortland,0\nSeattle,2\n" {
			t.Errorf("%s came back as %q", format, got)
		}
	}
	if got, err := ask(c, `SELECT max("date") AS d FROM "`+d.Id+`"`, ""); err != nil || got != "d\n2026-01-03\n" {
		t.Errorf("by id: %q, %v", got, err)
	}
}

// Names are found among what the token sees, and a title that two datasets have is told.
func TestQueryNames(t *testing.T) {
	w := localapitest.Start(t, withEngine(t))
	c := w.Registered()
	mine := put(t, c, "mine", "a\n1\n")
	put(t, c, "other", "a\n2\n")
	put(t, c, "twice", "a\n3\n")
	twice := put(t, c, "twice", "a\n4\n")
	_, err := c.CreateDataset(context.Background(), "nothing yet", "")
	must(t, err)
	app := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeRead}, mine.Id))
	writer := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeWrite}))
	for _, q := range []struct {
		c    *localapi.Client
		sql  string
		want string
		code fault.Code
	}{
		{c, `SELECT a FROM mine UNION ALL SELECT a FROM other ORDER BY a`, "a\n1\n2\n", ""},
		{c, `SELECT a FROM "` + twice.Id + `"`, "a\n4\n", ""},
		{c, `SELECT a FROM twice`, "", fault.Conflict},
		{c, `SELECT a FROM "nothing yet"`, "", fault.NotFound},
		{app, `SELECT a FROM mine`, "a\n1\n", ""},
		{app, `SELECT a FROM other`, "", fault.NotFound},
		{app, `SELECT a FROM "` + twice.Id + `"`, "", fault.NotFound},
		{app, `WITH other AS (SELECT 5 AS a) SELECT a FROM other`, "a\n5\n", ""},
		{writer, `SELECT a FROM mine`, "", fault.Forbidden},
		{c, `COPY mine TO '/tmp/x'`, "", fault.Policy},
	} {
		got, err := ask(q.c, q.sql, "csv")
		if got != q.want || q.code == "" && err != nil || q.code != "" && !errors.Is(err, q.code) {
			t.Errorf("%s: %q, %v", q.sql, got, err)
		}
	}
}

// A lock ends a query; the statement and the names in it are in no log.
func TestLockEndsAQuery(t *testing.T) {
	w := localapitest.Start(t, withEngine(t))
	c := w.Registered()
	put(t, c, "canary-title", "canary_column\n1\n")
	ended := make(chan error, 1)
	go func() {
		_, err := ask(c, `SELECT sum(sin(range * canary_column)) FROM range(100000000000000), "canary-title"`, "csv")
		ended <- err
	}()
	time.Sleep(500 * time.Millisecond)
	must(t, c.Lock(context.Background()))
	if err := <-ended; !errors.Is(err, localapi.Locked) {
		t.Errorf("the query ended with %v", err)
	}
	must(t, c.Unlock(context.Background(), localapi.UnlockRequest{Password: localapitest.Password}))
	if _, err := ask(c, `SELECT canary_column + 'canary value' FROM "canary-title"`, ""); err == nil {
		t.Error("a value was cast that cannot be")
	}
	if bytes.Contains(w.Logs.Bytes(), []byte("canary")) {
		t.Error("a log holds the statement")
	}
}

// A process waits for the next statement while the agent is open, and only then.
func TestL17_LockEndsTheSpareEngine(t *testing.T) {
	w := localapitest.Start(t, withEngine(t))
	c := w.Registered()
	if n := len(querytest.Running()); n != 0 {
		t.Errorf("%d engines before the first query", n)
	}
	for range 2 {
		if got, err := ask(c, `SELECT 1 AS a`, "csv"); err != nil || got != "a\n1\n" {
			t.Fatalf("%q, %v", got, err)
		}
		for i := 0; len(querytest.Running()) != 1; i++ {
			if time.Sleep(10 * time.Millisecond); i > 1000 {
				t.Fatalf("engines %v, want one", querytest.Running())
			}
		}
		must(t, c.Lock(context.Background()))
		if left := querytest.Running(); len(left) > 0 {
			t.Errorf("engines are left: %v", left)
		}
		must(t, c.Unlock(context.Background(), localapi.UnlockRequest{Password: localapitest.Password}))
	}
}

// Without an engine everything else works.
func TestQueryWithoutEngine(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{Config: func(c *daemon.Config) { c.Query.Engine = filepath.Join(os.TempDir(), "no-engine-here") }})
	c := w.Registered()
	if _, err := ask(c, `SELECT 1`, ""); !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
}
