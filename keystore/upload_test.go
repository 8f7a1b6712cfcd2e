package keystore_test

import (
	"fmt"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// A first upload broke off: the next one adds what is missing, and reads nothing of what is there.
func TestUploadGoesOnWithoutReading(t *testing.T) {
	r, remote := newRigInMemory(t), keystoretest.NewReplica()
	r.register()
	for i := range 100 {
		r.put(fmt.Sprint("item-", i), strings.Repeat("x", 1000))
	}
	r.vault.Connect(remote)
	swaps := 0
	remote.OnSwap = func(keystore.Swap) error {
		if swaps++; swaps > 1 {
			return errReset
		}
		return nil
	}
	wantCode(t, r.vault.Join(t.Context()), fault.Unavailable)
	there := len(remote.Records())
	if there == 0 {
		t.Fatal("nothing was uploaded before")
	}
	remote.OnSwap = nil
	remote.OnRead = func(answer []keystore.Remote) ([]keystore.Remote, error) {
		for _, rec := range answer {
			if len(rec.Body) > 0 && rec.Name != "v-root" { // which is read for the collection that follows
				t.Error(rec.Name, "was read")
			}
		}
		return answer, nil
	}
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(remote.Records()); n <= there {
		t.Error(there, "records before and", n, "after")
	}
}
