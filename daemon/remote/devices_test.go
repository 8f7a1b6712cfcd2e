package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
)

// Links come back in order and whole, over as many pages as it takes.
func TestLinks(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	l := remote.Links{Client: over(w.client)}
	list, err := l.After(ctx, 0)
	if err != nil || len(list) > 0 {
		t.Fatal(list, err)
	}
	const n = 300
	link := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%04d", i), 1<<7) }
	for i := range n {
		must(t, l.Add(ctx, link(i), uint64(i+1)))
	}
	must(t, l.Add(ctx, link(7), 8)) // again
	wants(t, "another in its place", l.Add(ctx, link(8), 8), fault.Conflict)
	wants(t, "after a gap", l.Add(ctx, link(1), n+2), fault.Conflict)
	wants(t, "too large", l.Add(ctx, make([]byte, 17<<10), n+1), fault.TooLarge)
	for _, after := range []int{0, 5, n - 1, n, n + 1} {
		list, err := l.After(ctx, uint64(after))
		if err != nil || len(list) != max(0, n-after) {
			t.Fatal(len(list), err)
		}
		for i, b := range list {
			if !bytes.Equal(b, link(after+i)) {
				t.Fatalf("after %d, link %d is another", after, i)
			}
		}
	}
	w.lost("addDeviceLink", true)
	wants(t, "lost", l.Add(ctx, link(0), n+1), fault.Unavailable)
	must(t, l.Add(ctx, link(0), n+1))
}

// What is no device list is not handed on.
func TestLinksThatAreNone(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	l := remote.Links{Client: over(w.client)}
	for i := range 3 {
		must(t, l.Add(ctx, fmt.Append(nil, "link ", i), uint64(i+1)))
	}
	for what, lie := range map[string]func(p *coordinator.DeviceLinks){
		"a gap":     func(p *coordinator.DeviceLinks) { p.Links = slices.Delete(p.Links, 1, 2) },
		"order":     func(p *coordinator.DeviceLinks) { slices.Reverse(p.Links) },
		"twice":     func(p *coordinator.DeviceLinks) { p.Links = append(p.Links, p.Links[2]) },
		"empty":     func(p *coordinator.DeviceLinks) { p.Links[1].Link = nil },
		"too large": func(p *coordinator.DeviceLinks) { p.Links[1].Link = make([]byte, 17<<10) },
		"no end":    func(p *coordinator.DeviceLinks) { p.Links, p.More = nil, true },
	} {
		answers(w, "listDeviceLinks", lie)
		_, err := l.After(ctx, 0)
		wants(t, what, err, fault.NotAuthentic)
	}
	next := int64(0)
	answers(w, "listDeviceLinks", func(p *coordinator.DeviceLinks) { // and so on for ever
		p.Links, p.More = nil, true
		for range 200 {
			next++
			p.Links = append(p.Links, coordinator.DeviceLink{Sequence: next, Link: make([]byte, 16<<10)})
		}
	})
	_, err := l.After(ctx, 0)
	wants(t, "without end", err, fault.TooLarge)
	_, err = remote.Links{Client: offline}.After(ctx, 0)
	wants(t, "offline", err, fault.Unavailable)
	wants(t, "offline", remote.Links{Client: offline}.Add(ctx, []byte("x"), 1), fault.Unavailable)
}

// Records are written over whatever is there, also when another device does so at the same time, and when an answer is lost.
func TestRecords(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := remote.NewRecords(over(w.client))
	read := func(name, want string) {
		t.Helper()
		if got, err := r.Read(ctx, name); err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	read("d-a", "")
	must(t, r.Remove(ctx, "d-a"))
	for _, body := range []string{"one", "two", "two", "three"} {
		must(t, r.Write(ctx, "d-a", []byte(body)))
		read("d-a", body)
	}
	if n := len(w.Records("swapBlobs")); n != 3 {
		t.Error(n, "swaps for three changes")
	}
	must(t, r.Write(ctx, "d-b", []byte("of b")))
	must(t, r.Write(ctx, "e", []byte("of e")))
	must(t, r.Remove(ctx, "d-a"))
	must(t, r.Remove(ctx, "d-a"))
	read("d-a", "")
	if names, err := r.List(ctx, "d-"); err != nil || !slices.Equal(names, []string{"d-b"}) {
		t.Error(names, err)
	}
	must(t, r.Write(ctx, "d-a", []byte("again")))
	read("d-a", "again")
	wants(t, "empty", r.Write(ctx, "d-a", nil), fault.InvalidRequest)

	for _, acted := range []bool{true, false} {
		w.lost("swapBlobs", acted)
		before := w.one("d-a").Mark.Counter
		must(t, r.Write(ctx, "d-a", fmt.Append(nil, acted)))
		if after := w.one("d-a").Mark.Counter; after != before+1 {
			t.Errorf("acted is %v: from %d to %d", acted, before, after)
		}
		w.lost("swapBlobs", acted)
		must(t, r.Remove(ctx, "d-b"))
		must(t, r.Write(ctx, "d-b", []byte("x")))
	}

	other := remote.NewRecords(over(w.Register(coordinatortest.UserN(1), coordinator.Options{})))
	faster := func(times int) {
		w.Hook(func(e *coordinatortest.Exchange) {
			if e.Operation == "swapBlobs" && times > 0 && !bytes.Contains(e.Body, []byte(`"body":"b3RoZXI`)) {
				times--
				if err := other.Write(context.WithoutCancel(ctx), "d-a", fmt.Append(nil, "other", times)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	faster(2)
	must(t, r.Write(ctx, "d-a", []byte("mine")))
	read("d-a", "mine")
	faster(100)
	wants(t, "others all the time", r.Write(ctx, "d-a", []byte("mine again")), fault.Conflict)
	w.Hook(nil)
	none := remote.NewRecords(offline)
	_, err := none.Read(ctx, "d-a")
	_, listed := none.List(ctx, "d-")
	for _, err := range []error{err, listed, none.Write(ctx, "d-a", []byte("x")), none.Remove(ctx, "d-a")} {
		wants(t, "offline", err, fault.Unavailable)
	}
}

// The client is asked for at each call: after a reconnect there may be another one.
func TestClientIsAskedForAtEachCall(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	client := offline
	current := func() (*coordinator.Client, error) { return client() }
	r, replica, blobs := remote.NewRecords(current), remote.NewReplica(current), remote.NewBlobs(current, w.client.User())
	box, links := remote.Mailbox{Client: current}, remote.Links{Client: current}
	try := func(code fault.Code) {
		t.Helper()
		_, read := replica.Read(ctx, []string{"d-a"})
		_, list := blobs.List(ctx, "d-")
		_, _, inbox := box.Inbox(ctx, 0)
		_, after := links.After(ctx, 0)
		post := box.Post(ctx, coordinatortest.UserN(2).ID, coordinator.NewRequestID(), []byte("x"))
		ack := box.Acknowledge(ctx, []messages.Acknowledgement{{Sequence: 1, ID: coordinator.NewRequestID()}})
		for i, err := range []error{r.Write(ctx, "d-a", []byte("x")), read, list, inbox, after, post, ack} {
			if fault.CodeOf(err) != code && (err != nil || code != "") {
				t.Errorf("%d: %v, want %q", i, err, code)
			}
		}
	}
	try(fault.Unavailable)
	w.Register(coordinatortest.UserN(2), coordinator.Options{})
	first := w.Register(coordinatortest.UserN(1), coordinator.Options{})
	client = over(first)
	try("")
	must(t, first.Logout(ctx, false))
	try(fault.Unauthorized)
	client = over(w.client)
	try("")
}

// A coordinator that lists without end is stopped.
func TestListsEnd(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := remote.NewRecords(over(w.client))
	must(t, r.Write(ctx, "d", []byte("x")))
	n := 0
	answers(w, "readBlobs", func(p *coordinator.BlobPage) {
		n++
		name, zero := fmt.Sprintf("d%08d", n), make([]byte, coordinator.HashSize)
		hash := coordinator.Header{Counter: 1}.Hash(w.client.User(), name)
		p.More, p.Blobs = true, []coordinator.Blob{{Name: name, Deleted: new(true), Newest: coordinator.BlobVersion{
			Counter: 1, Hash: hash[:], Previous: zero, Nonce: zero[:coordinator.NonceSize], BodyHash: zero,
		}}}
	})
	_, err := r.List(ctx, "d")
	wants(t, "records", err, fault.TooLarge)
	_, _, err = w.replica().List(ctx, "d", "")
	wants(t, "of the vault", err, fault.TooLarge)
}
