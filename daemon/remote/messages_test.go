package remote_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
)

// Messages arrive in order and stay until they are acknowledged; a mailbox out of order is none.
func TestMailbox(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	box := remote.Mailbox{Client: over(w.client)}
	bob := remote.Mailbox{Client: over(w.Register(coordinatortest.UserN(2), coordinator.Options{}))}
	const n = 300
	var ids []string
	for i := range n {
		ids = append(ids, coordinator.NewRequestID())
		for range 2 { // the answer was lost
			must(t, bob.Post(ctx, w.client.User(), ids[i], fmt.Append(nil, i)))
		}
	}
	wants(t, "another under the same id", bob.Post(ctx, w.client.User(), ids[0], []byte("x")), fault.Conflict)
	wants(t, "to nobody", bob.Post(ctx, coordinatortest.UserN(9).ID, coordinator.NewRequestID(), []byte("x")), fault.NotFound)
	var acks []messages.Acknowledgement
	for after, more := uint64(0), true; more; {
		var list []messages.Envelope
		var err error
		list, more, err = box.Inbox(ctx, after)
		must(t, err)
		for _, e := range list {
			if e.Sender != coordinatortest.UserN(2).ID || e.ID != ids[len(acks)] || string(e.Body) != fmt.Sprint(len(acks)) || e.Sequence <= after {
				t.Fatalf("%+v after %d", e, after)
			}
			after, acks = e.Sequence, append(acks, messages.Acknowledgement{Sequence: e.Sequence, ID: e.ID})
		}
	}
	if len(acks) != n {
		t.Fatal(len(acks), "messages")
	}
	answers(w, "listMessages", func(in *coordinator.Inbox) { slices.Reverse(in.Messages) })
	_, _, err := box.Inbox(ctx, 0)
	wants(t, "out of order", err, fault.NotAuthentic)
	answers(w, "listMessages", func(in *coordinator.Inbox) { in.Messages, in.More = nil, true })
	if list, more, err := box.Inbox(ctx, 0); err != nil || more || len(list) > 0 {
		t.Error("no message and more of them:", list, more, err)
	}
	w.Hook(nil)
	must(t, box.Acknowledge(ctx, acks))
	if list, more, err := box.Inbox(ctx, 0); err != nil || more || len(list) > 0 {
		t.Error("acknowledged:", list, more, err)
	}
}

// A record that is not in one answer is not of one moment.
func TestBlobsOfOneMoment(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	b := remote.NewBlobs(over(w.client), w.client.User())
	first, err := b.First(ctx)
	must(t, err)
	var names []string
	for i := range 3 {
		names = append(names, fmt.Sprint("r-", i))
		body := []byte(strings.Repeat("x", 2<<20))
		must(t, b.Swap(ctx, []messages.BlobChange{{Name: names[i], Counter: first, Nonce: [16]byte{1}, Body: body}}))
	}
	_, err = b.Read(ctx, names)
	wants(t, "6 MiB", err, fault.TooLarge)
	if list, err := b.Read(ctx, names[:2]); err != nil || len(list) != 2 {
		t.Error(len(list), err)
	}
	_, err = b.Read(ctx, make([]string, 257))
	wants(t, "257 blobs", err, fault.TooLarge)
	w.lost("swapBlobs", true)
	c := messages.BlobChange{Name: "i-x", Counter: first, Nonce: [16]byte{2}, Body: []byte("x")}
	wants(t, "lost", b.Swap(ctx, []messages.BlobChange{c}), fault.Unavailable)
	must(t, b.Swap(ctx, []messages.BlobChange{c})) // the same list again is the same swap
	list, err := b.List(ctx, "i-")
	if err != nil || len(list) != 1 || list[0].Hash != b.Hash(c) || list[0].Counter != first {
		t.Error(list, err)
	}
}
