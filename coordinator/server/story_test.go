package server

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

func TestMain(m *testing.M) { goleakMain(m) }

// Two users, by HTTP alone: they register, find one another, exchange prekeys and mail, keep a vault and a device list.
func TestTwoUsersByHTTP(t *testing.T) {
	b := newBench(t, open, Options{})
	alice, bob := b.user(1), b.user(2)

	put := PreKeyUpload{Sequence: 1, Bundle: []byte("bundle of bob"), OneTime: [][]byte{[]byte("one"), []byte("two")}}
	if n := into[PreKeyCount](t, b.send("PUT", "/v1/prekeys", bob.AccessToken, put)); n.OneTimeLeft != 2 {
		t.Fatal(n)
	}
	found := into[Found](t, b.send("POST", "/v1/lookup", alice.AccessToken, LookupRequest{EmailHash: fill(2, 32)}))
	if found.User != bob.User {
		t.Fatal(found)
	}
	for i, want := range []string{"one", "two", ""} {
		request := PreKeyRequest{Request: fmt.Sprintf("20000000-0000-4000-8000-%012d", i)}
		for range 2 {
			p := into[PreKeys](t, b.send("POST", "/v1/users/"+found.User+"/prekeys", alice.AccessToken, request))
			if string(p.Bundle) != "bundle of bob" || string(deref(p.OneTime)) != want {
				t.Fatalf("%d: %+v", i, p)
			}
		}
	}

	mail := OutgoingMessage{Id: "30000000-0000-4000-8000-000000000000", Body: []byte("sealed for bob")}
	for range 2 {
		if r := b.send("POST", "/v1/users/"+bob.User+"/messages", alice.AccessToken, mail); r.StatusCode != 204 || len(r.body) > 0 {
			t.Fatal(r.StatusCode, string(r.body))
		}
	}
	mail.Body = []byte("another one")
	b.send("POST", "/v1/users/"+bob.User+"/messages", alice.AccessToken, mail).want(t, 409, fault.Conflict)
	inbox := into[Inbox](t, b.send("GET", "/v1/messages", bob.AccessToken, nil))
	if len(inbox.Messages) != 1 || inbox.More || inbox.Messages[0].Sender != alice.User || string(inbox.Messages[0].Body) != "sealed for bob" {
		t.Fatalf("%+v", inbox)
	}
	ack := Acknowledgements{Messages: []Acknowledgement{{Sequence: 1, Id: mail.Id}}}
	for _, want := range []int{1, 0} {
		if a := into[Acknowledged](t, b.send("POST", "/v1/messages/acknowledge", bob.AccessToken, ack)); a.Removed != want {
			t.Fatal(a)
		}
	}

	swap := SwapRequest{Swaps: []Swap{{Name: "vault", Counter: 1, Previous: fill(0, 32), Nonce: fill(7, 16), Body: []byte("sealed vault"), Keep: optional(2)}}}
	swapped := into[Swapped](t, b.send("POST", "/v1/blobs", alice.AccessToken, swap))
	hash := coordinator.BlobHash(alice.User, "vault", 1, [32]byte{}, [16]byte(fill(7, 16)), []byte("sealed vault"))
	if string(swapped.Versions[0].Hash) != string(hash[:]) {
		t.Fatalf("%+v", swapped)
	}
	b.send("POST", "/v1/blobs", alice.AccessToken, swap).want(t, 200, "")
	swap.Swaps[0].Nonce = fill(8, 16)
	b.send("POST", "/v1/blobs", alice.AccessToken, swap).want(t, 409, fault.Conflict)
	if got := into[BlobBody](t, b.send("GET", "/v1/blobs/vault", alice.AccessToken, nil)); string(got.Body) != "sealed vault" {
		t.Fatalf("%+v", got)
	}
	b.send("GET", "/v1/blobs/vault", bob.AccessToken, nil).want(t, 404, fault.NotFound)

	link := DeviceLink{Sequence: 1, Link: []byte("signed")}
	for range 2 {
		b.send("POST", "/v1/devices", alice.AccessToken, link).want(t, 204, "")
	}
	b.send("POST", "/v1/devices", alice.AccessToken, DeviceLink{Sequence: 3, Link: []byte("gap")}).want(t, 409, fault.Conflict)
	if l := into[DeviceLinks](t, b.send("GET", "/v1/users/"+alice.User+"/devices", bob.AccessToken, nil)); len(l.Links) != 1 || string(l.Links[0].Link) != "signed" {
		t.Fatalf("%+v", l)
	}
	b.noSecrets(alice, bob)
}

// noSecrets wants nothing in the log that callers hold or sent.
func (b *bench) noSecrets(all ...Tokens) {
	b.t.Helper()
	text := b.log.String()
	if !strings.Contains(text, `"operation":"swapBlobs"`) {
		b.t.Error("the log lacks a request")
	}
	for _, k := range all {
		for _, secret := range []string{k.AccessToken, k.RefreshToken} {
			if strings.Contains(text, secret) {
				b.t.Error("a token is in the log")
			}
		}
	}
	for _, secret := range []string{base64.StdEncoding.EncodeToString(fill(1, 32)), base64.StdEncoding.EncodeToString(fill(2, 32)), "0101010101", "0202020202", "sealed", "vault", "Bearer"} {
		if strings.Contains(text, secret) {
			b.t.Errorf("%q is in the log", secret)
		}
	}
}
