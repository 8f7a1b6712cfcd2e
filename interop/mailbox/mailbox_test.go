package mailbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
	"coldframe/interop/lines"
)

const prekeys = 5 // one-time ones that each end publishes

// length is how many turns a talk has, and how many post-quantum epochs it has to complete at least.
func length() (turns, epochs int) {
	if lines.Full() {
		return 150, 5
	}
	return 30, 1
}

// each runs a test with every version of libsignal, with and without one-time prekeys.
func each(t *testing.T, test func(t *testing.T, version string, oneTime int)) {
	for _, version := range lines.Tried() {
		for _, c := range []struct {
			name    string
			oneTime int
		}{{"one-time prekeys", prekeys}, {"last resort", 0}} {
			t.Run(version+", "+c.name, func(t *testing.T) {
				t.Parallel()
				test(t, version, c.oneTime)
			})
		}
	}
}

// adds takes somebody into our contacts.
func (o *ours) adds(user string) {
	o.t.Helper()
	_, err := o.book.Add(o.t.Context(), contacts.Addition{User: user, Name: "Bob"})
	must(o.t, err)
}

// We write first, with the prekeys that libsignal's account has at the coordinator, until it has answered.
func TestInteropWeBegin(t *testing.T) {
	each(t, func(t *testing.T, version string, oneTime int) {
		k := know(t, version, oneTime)
		k.oursSay(3)
		k.types(k.b.account, typePreKey)
		if n := k.b.left(); n != max(0, oneTime-2) { // one to know them by, one for the session
			t.Errorf("%d one-time prekeys are left of %d", n, oneTime)
		}
		k.theirsRead(false)
		k.make(k.text(false))
		k.post(false)
		k.types(k.a.account, typeMessage)
		k.oursRead()
		k.oursSay(2)
		k.types(k.b.account, typeMessage)
		k.theirsRead(false)
		turns, epochs := length()
		k.run(turns)
		k.end(epochs)
	})
}

// Libsignal writes first, with the prekeys that our agent published, until we have answered.
func TestInteropTheyBegin(t *testing.T) {
	each(t, func(t *testing.T, version string, oneTime int) {
		k := know(t, version, oneTime)
		k.b.starts(k.a.user)
		for range 3 {
			k.make(k.text(false))
		}
		k.post(false)
		k.types(k.a.account, typePreKey)
		k.oursRead()
		if n := k.a.left(); n != max(0, oneTime-1) {
			t.Errorf("%d one-time prekeys of ours are left of %d", n, oneTime)
		}
		k.oursSay(2)
		k.types(k.b.account, typeMessage)
		k.theirsRead(false)
		k.make(k.text(false))
		k.post(false)
		k.types(k.a.account, typeMessage)
		turns, epochs := length()
		k.run(turns)
		k.end(epochs)
	})
}

// Both write before either has read: each holds two sessions then, and they settle on one.
func TestInteropBothBegin(t *testing.T) {
	for _, version := range lines.Tried() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := know(t, version, prekeys)
			k.b.starts(k.a.user)
			k.theirsSay(3)
			k.oursSay(3)
			k.types(k.b.account, typePreKey)
			k.theirsRead(false)
			k.oursRead()
			k.run(10)
			if s := k.end(0); s.Archived != 1 {
				t.Errorf("libsignal has %d archived sessions, not 1", s.Archived)
			}
		})
	}
}

// The largest body, with as many heads as one holds, goes both ways.
func TestInteropLargest(t *testing.T) {
	for _, version := range lines.Tried() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := know(t, version, prekeys)
			k.version = 1
			largest := body{Kind: kindText, Payload: bytes.Repeat([]byte{0xa5}, messages.MaxPayload)}
			for n := range messages.MaxHeads - 1 {
				k.a.heads = append(k.a.heads, k.a.head("dataset-"+strconv.Itoa(n), 1_000_000*n))
			}
			k.a.heads = append(k.a.heads, k.a.head("devices", 1))
			k.enqueue(largest)
			k.send()
			k.theirsRead(false)
			k.make(largest)
			k.post(false)
			k.oursRead()
			k.oursSay(1)
			k.theirsRead(false)
			k.end(0)
		})
	}
}

// A prekey that the coordinator changed on its way starts no session: libsignal signed it, and its account did. The message waits, and goes
// with the true one.
func TestInteropChangedPreKey(t *testing.T) {
	k := know(t, lines.Versions[0], prekeys)
	k.c.Hook(coordinatortest.Nth("fetchPreKeys", 1, func(e *coordinatortest.Exchange) {
		var found coordinator.PreKeys
		must(t, json.Unmarshal(e.Forward().Body, &found))
		changed := *found.OneTime
		changed[len(changed)/2] ^= 1
		e.Answer = coordinatortest.JSON(http.StatusOK, found)
	}))
	k.enqueue(k.text(false))
	if _, err := k.a.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := k.a.Waiting(); err != nil || len(out) != 1 || len(k.b.inbox()) > 0 {
		t.Fatalf("%+v waits, %v", out, err)
	}
	must(t, k.a.Hurry(k.b.user))
	k.send()
	k.types(k.b.account, typePreKey)
	k.theirsRead(false)
	k.end(0)
}
