package columnar_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/zstd"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/dir"
	"coldframe/columnar/s3"
	"coldframe/columnar/storetest"
)

// TestD14_PlantedSecret writes a table that has a secret everywhere, to a folder and to an S3 server, and looks for it in every byte that
// either got, and in the signed manifest.
func TestD14_PlantedSecret(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (columnar.Store, func() map[string][]byte){"folder": watchedFolder, "S3": watchedS3} {
		t.Run(name, func(t *testing.T) {
			store, written := open(t)
			batch := columnartest.Planted(2000)
			w := newWorld(t, store, batch.Schema())
			w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = 4<<20, 1<<20 }
			w.mustPut(batch)
			w.mustPut(batch) // the second version's manifest names its predecessor
			if rows, err := count(w, columnar.ReadOptions{}); err != nil || rows != batch.NumRows() {
				t.Fatalf("%d rows, %v", rows, err)
			}
			all := written()
			all["manifest"] = w.envelope
			total := 0
			for what, b := range all {
				total += len(b)
				if found := columnartest.Find(append([]byte(what+"\n"), b...)); found != nil {
					t.Errorf("%s: the secret is there: %v", what, found)
				}
			}
			if len(all) < 3 || total < 100_000 {
				t.Errorf("only %d bytes in %d pieces were looked at", total, len(all))
			}
			t.Logf("%d bytes in %d pieces", total, len(all))
		})
	}
}

func watchedFolder(t *testing.T) (columnar.Store, func() map[string][]byte) {
	t.Helper()
	folder := t.TempDir()
	s, err := dir.New(folder, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // end of the test
	return s, func() map[string][]byte { return tree(t, folder) }
}

// tree reads all files of a folder.
func tree(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		out[p], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// watchedS3 keeps the head and the body of each request that a server got.
func watchedS3(t *testing.T) (columnar.Store, func() map[string][]byte) {
	t.Helper()
	var mu sync.Mutex
	var seen bytes.Buffer
	requests := map[string][]byte{}
	server := storetest.Fake(t).Front(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		seen.Reset()
		_ = r.Header.Write(&seen) // a bytes.Buffer takes everything
		name := r.Method + " " + r.URL.String()
		requests[name] = append(append(requests[name], seen.Bytes()...), body...)
		mu.Unlock()
		next.ServeHTTP(w, r)
	})
	s, err := s3.New(t.Context(), s3.Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, PathStyle: true, AllowLoopback: true, AllowPlainHTTP: true,
		Credentials: s3.NewCredentials(server.AccessKey, []byte(server.SecretKey), nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() map[string][]byte {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(requests)
	}
}

// TestTheSearchFinds hides the secret as a careless writer would, and in files of arrow-go's own: plain and compressed, and in one that it
// encrypts, where long least and greatest values are written in the clear (docs/column-encryption.md).
func TestTheSearchFinds(t *testing.T) {
	secret := []byte(columnartest.Secret)
	noise := bytes.Repeat([]byte("noise~"), 50)
	frame := func(b []byte) []byte {
		e, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(append(bytes.Clone(noise), b...), nil)
	}
	var utf16 []byte
	for _, c := range secret {
		utf16 = append(utf16, c, 0)
	}
	hidden := map[string][]byte{
		"plain": secret, "hex": []byte(hex.EncodeToString(secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(secret))), "UTF-16": utf16,
		"zstd": frame(secret), "hex in zstd": frame([]byte(hex.EncodeToString(secret))), "zstd cut short": frame(append(secret, make([]byte, 1<<20)...)),
		"plain Parquet": arrowGoFile(t), "zstd Parquet": arrowGoFile(t, parquet.WithCompression(compress.Codecs.Zstd)),
		"Parquet encrypted by arrow-go": arrowGoFile(t, parquet.WithMaxStatsSize(8<<10), parquet.WithEncryptionProperties(
			parquet.NewFileEncryptionProperties("0123456789012345", parquet.WithAlg(parquet.AesGcm)))),
	}
	for shift := range 6 {
		text := append(bytes.Repeat([]byte{'?'}, shift), secret...)
		hidden["base64 "+string(rune('0'+shift))] = []byte(base64.StdEncoding.EncodeToString(append(text, "tail"...)))
	}
	for name, b := range hidden {
		if found := columnartest.Find(append(append(bytes.Clone(noise), b...), noise...)); found == nil {
			t.Errorf("%s: not found", name)
		}
	}
	if found := columnartest.Find(frame(noise)); found != nil {
		t.Errorf("found where it is not: %v", found)
	}
}

// arrowGoFile is the long strings of the table in a file as arrow-go writes it.
func arrowGoFile(t *testing.T, o ...parquet.WriterProperty) []byte {
	t.Helper()
	batch := columnartest.Planted(50)
	schema := arrow.NewSchema(batch.Schema().Fields()[1:4], nil)
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &b, parquet.NewWriterProperties(append(o, parquet.WithDictionaryDefault(false))...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteBuffered(batchOf(schema, batch.Columns()[1:4])); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func batchOf(schema *arrow.Schema, columns []arrow.Array) arrow.RecordBatch {
	return array.NewRecordBatch(schema, columns, int64(columns[0].Len()))
}
