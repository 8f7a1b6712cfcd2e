package daemon

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func TestS3Store(t *testing.T) {
	for name, start := range map[string]func(testing.TB) storetest.Server{"in process": storetest.Fake, "versitygw": storetest.Gateway} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			secret := "canarysecretaccesskey"
			if server.SecretKey != "secret" {
				secret = server.SecretKey
			}
			a := startAgent(t, t.TempDir(), func(c *Config, _ *Options) {
				c.Store = Store{AllowLoopback: true, AllowPlainHTTP: true}
			})
			a.register()
			set := func(change func(*StoreSettings)) error {
				s := StoreSettings{
					Kind: StoreS3, Bucket: server.Bucket, Prefix: "team/", Endpoint: server.Endpoint, PathStyle: true,
					AccessKeyID: server.AccessKey, SecretAccessKey: []byte(secret),
				}
				change(&s)
				return a.SetStore(t.Context(), SetStoreRequest{Settings: s, Password: []byte(testPassword)})
			}
			if err := set(func(*StoreSettings) {}); err != nil {
				t.Fatal(err)
			}
			probes, err := a.CheckStore(t.Context())
			if err != nil || len(probes) < 4 {
				t.Fatalf("probes %+v, %v", probes, err)
			}
			for _, p := range probes {
				if p.Error != "" && name != "in process" { // the fake does not know every condition
					t.Errorf("probe %q: %s", p.Name, p.Error)
				}
			}
			id := a.create("x")
			a.mustWrite(WriteRequest{Dataset: id}, "x,y\n1,a\n2,b\n")
			info, err := a.StoreInfo(t.Context())
			if err != nil || info.Bucket != server.Bucket || info.AccessKeyID != server.AccessKey || info.SecretAccessKey != nil {
				t.Errorf("settings %+v, %v", info, err)
			}
			if err := set(func(s *StoreSettings) { s.SecretAccessKey = nil }); err != nil {
				t.Errorf("the same place with the credentials that are there: %v", err)
			}
			wantCode(t, "another prefix", set(func(s *StoreSettings) { s.Prefix = "other/" }), fault.Conflict)
			err = set(func(s *StoreSettings) { s.Endpoint, s.SecretAccessKey = "https://example.org", nil })
			wantCode(t, "credentials for another endpoint", err, fault.InvalidRequest)
			if err := a.Lock(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.unlock()
			if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"y"}}); got != "y\na\nb\n" {
				t.Errorf("read %q", got)
			}
			searchTree(t, filepath.Join(a.Config().Folders.Data, "kv"), map[string][]byte{"the secret access key": []byte(secret)})
		})
	}
}

func TestStoreSettingsAreChecked(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	for name, s := range map[string]StoreSettings{
		"relative folder": {Kind: StoreFolder, Path: "here"},
		"kind":            {Kind: "ftp"},
		"folder and more": {Kind: StoreFolder, Path: "/x", Bucket: "b"},
		"no bucket":       {Kind: StoreS3},
		"relative CA":     {Kind: StoreS3, Bucket: "bucket", CAFile: "ca.pem", AccessKeyID: "a", SecretAccessKey: []byte("s")},
		"no secret":       {Kind: StoreS3, Bucket: "bucket", AccessKeyID: "a"},
		"odd bucket":      {Kind: StoreS3, Bucket: "Not A Bucket", AccessKeyID: "a", SecretAccessKey: []byte("s")},
	} {
		err := a.SetStore(t.Context(), SetStoreRequest{Settings: s, Password: []byte(testPassword)})
		wantCode(t, name, err, fault.InvalidRequest)
	}
	plain := StoreSettings{Kind: StoreS3, Bucket: "bucket", Endpoint: "http://127.0.0.1:1", AccessKeyID: "a", SecretAccessKey: []byte("s")}
	err := a.SetStore(t.Context(), SetStoreRequest{Settings: plain, Password: []byte(testPassword)})
	if err == nil {
		t.Error("plain http was taken without the switch")
	}
}

func TestTransfersWaitForASlot(t *testing.T) {
	a := startAgent(t, t.TempDir(), func(c *Config, _ *Options) { c.Limits.Transfers = 1 })
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	s, err := a.ReadData(t.Context(), user, ReadRequest{Dataset: id})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.write(WriteRequest{Dataset: id}, "x\n2\n")
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a second transfer ran beside the first: %v", err)
	case <-time.After(100 * time.Millisecond): // without the limit it would be done long before
	}
	var b bytes.Buffer
	if err := s.WriteTo(t.Context(), &b, "csv"); err != nil || !strings.Contains(b.String(), "1") {
		t.Errorf("read %q, %v", b.String(), err)
	}
	s.Close() //nolint:errcheck // it returns nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
