package daemon

import (
	"coldframe/coordinator"
	"coldframe/daemon/remote"
	"coldframe/keystore"
)

// replicaOf returns the user's vault behind a client of the coordinator at an address.
func replicaOf(client func() (*coordinator.Client, error), url string) keystore.Replica {
	return remote.NewReplica(client, url)
}
