package s3

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
)

// TestMain is the F19 of this package: nothing may be left running. toxiproxy itself loses goroutines of connections it broke.
func TestMain(m *testing.M) {
	var theirs []goleak.Option
	for _, f := range []string{
		"v2.(*ToxicLink).read", "v2.(*ToxicLink).write", "v2.(*ToxicLink).RemoveToxic", "v2.(*ToxicLink).RemoveToxic.func1", "v2.(*ToxicCollection).ResetToxics",
		"v2/toxics.(*ToxicStub).Run", "v2/toxics.(*ToxicStub).InterruptToxic",
	} {
		theirs = append(theirs, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/"+f))
	}
	goleak.VerifyTestMain(m, theirs...)
}

// quick are limits that keep tests short.
var quick = Limits{Stall: 2 * time.Second, Total: 20 * time.Second, Backoff: 2 * time.Millisecond, Cleanup: 5 * time.Second}

func configFor(server storetest.Server) Config {
	return Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, Prefix: "p/", PathStyle: true, AllowPlainHTTP: true, PartSize: MinPartSize,
		Credentials: NewCredentials(server.AccessKey, []byte(server.SecretKey), nil), Limits: quick,
	}
}

func openStore(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // never fails
	return s
}

func TestFake(t *testing.T) {
	storetest.Run(t, func(t *testing.T) columnar.Store {
		server := storetest.Fake(t)
		t.Cleanup(func() { noUploads(t, server) })
		return openStore(t, configFor(server))
	})
}

// TestVersitygw runs the suite against a real server, under a prefix of its own for each case.
func TestVersitygw(t *testing.T) {
	server := storetest.Gateway(t)
	storetest.Run(t, func(t *testing.T) columnar.Store {
		c := configFor(server)
		c.Prefix = string(columnar.NewObjectName()) + "/"
		t.Cleanup(func() { noUploads(t, server) })
		return openStore(t, c)
	})
}

// noUploads fails the test if an unfinished multipart upload is left.
func noUploads(t testing.TB, server storetest.Server) {
	t.Helper()
	if left := server.Uploads(t); len(left) != 0 {
		t.Errorf("%d unfinished uploads are left", len(left))
	}
}
