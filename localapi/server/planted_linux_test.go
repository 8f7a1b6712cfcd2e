package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	badger "github.com/dgraph-io/badger/v4"

	"coldframe/columnar/columnartest"
	"coldframe/columnar/query/querytest"
	"coldframe/columnar/storetest"
	"coldframe/daemon"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// TestG01_PlantedSecret takes a table that has a secret everywhere through the agent, over a folder and over an S3 server: in as three formats,
// out as four, by condition, by SQL. Then it looks for the secret in all that was written: objects, the local store before and after its tables
// were merged, temporary files, logs, and what went to the bucket.
func TestG01_PlantedSecret(t *testing.T) {
	for _, kind := range []string{"folder", "S3"} {
		t.Run(kind, func(t *testing.T) {
			temp, seen := filepath.Join(t.TempDir(), "tmp"), &requestLog{}
			must(t, os.Mkdir(temp, 0o700))
			t.Setenv("TMPDIR", temp)
			w := localapitest.Start(t, localapitest.Options{Dir: shortTemp(t), Config: func(c *daemon.Config) {
				c.Query.Engine = querytest.Engine(t)
				c.Store.AllowLoopback, c.Store.AllowPlainHTTP = true, true
			}})
			c := w.Registered()
			if kind == "S3" {
				server := storetest.Fake(t).Front(t, seen.hook)
				_, err := c.SetStore(context.Background(), localapi.StoreRequest{
					Kind: "s3", Password: localapitest.Password, AccessKeyId: &server.AccessKey, SecretAccessKey: &server.SecretKey,
					S3: &localapi.S3{Bucket: server.Bucket, Endpoint: &server.Endpoint, PathStyle: ptr(true)},
				})
				must(t, err)
			}
			useSecret(t, c)
			searchFolder(t, w.Dir())
			w.Stop()
			searchFolder(t, temp)
			mergeTables(t, filepath.Join(w.Config.Folders.Data, "kv"))
			if n := searchFolder(t, w.Dir()); n < 8 {
				t.Errorf("only %d files were searched", n)
			}
			search(t, "the log", w.Logs.Bytes())
			search(t, "requests", seen.b.Bytes())
			if len(w.Logs.Bytes()) == 0 || kind == "S3" && seen.b.Len() < 20_000 {
				t.Errorf("%d bytes of logs, %d of requests", len(w.Logs.Bytes()), seen.b.Len())
			}
		})
	}
}

func shortTemp(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("/tmp", "cf") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(d) }) //nolint:errcheck // of a test
	return d
}

// useSecret writes and reads.
func useSecret(t *testing.T, c *localapi.Client) {
	t.Helper()
	ctx, batch := context.Background(), columnartest.Planted(300)
	d, err := c.CreateDataset(ctx, columnartest.Secret, "")
	must(t, err)
	_, err = c.Put(ctx, d.Id, bytes.NewReader(asArrow(t, batch)), localapi.PutOptions{Format: "arrow"})
	must(t, err)
	_, err = c.Put(ctx, d.Id, bytes.NewReader(asArrow(t, batch)), localapi.PutOptions{Format: "arrow", Append: true, IdempotencyKey: columnartest.Secret})
	must(t, err)
	parquet := get(t, c, d.Id, localapi.GetOptions{Format: "parquet"})
	copied, err := c.CreateDataset(ctx, "copy of "+columnartest.Secret, "")
	must(t, err)
	_, err = c.Put(ctx, copied.Id, bytes.NewReader([]byte(parquet)), localapi.PutOptions{Format: "parquet"})
	must(t, err)
	flat := put(t, c, "flat", "a,b\n"+columnartest.Secret+","+columnartest.Long(1)+"\n")
	for _, f := range []string{"arrow", "ndjson"} {
		get(t, c, d.Id, localapi.GetOptions{Format: f, Where: `bounds >= '` + columnartest.Secret + `'`})
	}
	for _, f := range []string{"arrow", "parquet", "csv"} {
		got, err := ask(c, `SELECT long, bounds FROM "`+columnartest.Secret+`" WHERE bounds <> '`+columnartest.Secret+`' ORDER BY bounds, long`, f)
		must(t, err)
		if columnartest.Find([]byte(got)) == nil {
			t.Fatalf("the answer in %s does not hold what is looked for", f)
		}
	}
	for _, wrong := range []string{`SELECT * FROM "no ` + columnartest.Secret + `"`, `SELECT CAST(a AS INT) FROM flat`} {
		if _, err := ask(c, wrong, ""); err == nil {
			t.Errorf("%s worked", wrong)
		}
	}
	if got := get(t, c, flat.Id, localapi.GetOptions{}); columnartest.Find([]byte(got)) == nil {
		t.Fatal("what was read does not hold what is looked for")
	}
	_, err = c.Put(ctx, flat.Id, bytes.NewReader([]byte("a,b\n"+columnartest.Secret+"\n")), localapi.PutOptions{Format: "csv"})
	if err == nil {
		t.Fatal("a broken table was taken")
	}
	must(t, c.DeleteDataset(ctx, copied.Id))
}

func asArrow(t *testing.T, batch arrow.RecordBatch) []byte {
	t.Helper()
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(batch.Schema()))
	must(t, w.Write(batch))
	must(t, w.Close())
	return b.Bytes()
}

func search(t *testing.T, what string, b []byte) {
	t.Helper()
	if found := columnartest.Find(b); found != nil {
		t.Errorf("the secret is in %s: %v", what, found)
	}
}

func searchFolder(t *testing.T, folder string) (files int) {
	t.Helper()
	must(t, filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		files++
		search(t, p, append([]byte(p+"\n"), bytes.TrimRight(b, "\x00")...)) // the store makes its logs long before it fills them
		return err
	}))
	return files
}

// mergeTables opens the local store without the agent, looks at every version of every record, and merges its tables, as the agent does in
// a longer life.
func mergeTables(t *testing.T, folder string) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(folder).WithLogger(nil))
	must(t, err)
	records := 0
	must(t, db.View(func(tx *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.AllVersions = true
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			if err != nil && !it.Item().IsDeletedOrExpired() {
				return err
			}
			records++
			search(t, "a record", append(it.Item().KeyCopy(nil), v...))
		}
		return nil
	}))
	must(t, db.Flatten(1))
	must(t, db.Close())
	if records < 10 {
		t.Errorf("only %d records were looked at", records)
	}
}

// requestLog keeps what a server was sent.
type requestLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *requestLog) hook(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	l.mu.Lock()
	l.b.WriteString(r.Method + " " + r.URL.String() + "\n")
	_ = r.Header.Write(&l.b) // a bytes.Buffer takes everything
	l.b.Write(body)
	l.mu.Unlock()
	next.ServeHTTP(w, r)
}

// TestTheSearchFindsPlainFiles is the control: what the agent hands out as plain Parquet would be found, were it ever written to a file.
func TestTheSearchFindsPlainFiles(t *testing.T) {
	batch := columnartest.Planted(20)
	var b bytes.Buffer
	f, err := pqarrow.NewFileWriter(batch.Schema(), &b, nil, pqarrow.DefaultWriterProps())
	must(t, err)
	must(t, f.Write(batch))
	must(t, f.Close())
	if columnartest.Find(b.Bytes()) == nil || columnartest.Find(asArrow(t, batch)) == nil {
		t.Error("the secret is not found in a plain file")
	}
}
