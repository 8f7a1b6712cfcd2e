package messages_test

import (
	"os"
	"testing"

	"coldframe/coordinator"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
)

type both struct {
	*remote.Blobs
	remote.Mailbox
}

func TestMain(m *testing.M) {
	messages.NewRemote = func(c *coordinator.Client) messages.Remote {
		client := func() (*coordinator.Client, error) { return c, nil }
		return both{remote.NewBlobs(client, c.User()), remote.Mailbox{Client: client}}
	}
	os.Exit(m.Run())
}
