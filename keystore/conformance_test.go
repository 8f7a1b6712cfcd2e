package keystore_test

import (
	"testing"

	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// The replica that the tests of this package are made with is as strict as the coordinator's, which daemon/remote holds to the same.
func TestReplicaOfTheTests(t *testing.T) {
	keystoretest.TestReplica(t, func(_ *testing.T, login keystore.Proof) keystore.Replica {
		r := keystoretest.NewReplica()
		r.Knows(login)
		return r
	})
}
