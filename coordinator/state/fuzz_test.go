package state

import (
	"bytes"
	"testing"
	"time"

	"coldframe/coordinator"
)

// FuzzRecords gives bytes to the decoder of each record: what is taken is written back to bytes that say the same.
func FuzzRecords(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	kinds := []func() any{
		func() any { return new(account) }, func() any { return new(counters) }, func() any { return new(Event) }, func() any { return new(invitation) },
		func() any { return new(deviceRecord) }, func() any { return new(waiting) }, func() any { return new(sentID) }, func() any { return new(Message) },
		func() any { return new(sentMessage) }, func() any { return new(Blob) }, func() any { return new(preKeys) }, func() any { return new(fetch) },
		func() any { return new(Senders) }, func() any { return new(storedClock) }, func() any { return new(erasure) },
	}
	for i, v := range []any{
		account{Email: []byte("x"), Created: at, Proof: proofHash{Cost: DefaultCost}},
		counters{Mail: 1},
		Event{Type: MessageEvent},
		invitation{1, at},
		deviceRecord{Begun: at, Expires: at, Family: []byte("x"), Access: []accessToken{{[]byte("x"), at}}, Ends: at},
		waiting{1, 2},
		sentID{"i", at},
		Message{ID: "i", Time: at},
		sentMessage{Sequence: 1},
		Blob{Version: Version{Counter: 2, Time: at, Nonce: []byte("x")}, Earlier: []Version{{Counter: 1}}, Kept: 1},
		preKeys{First: 1, Epoch: "e"},
		fetch{Target: "u"},
		Senders{Sequence: 1, Blocked: []UserID{"u"}},
		storedClock{at},
		erasure{at},
	} {
		b, err := encoding.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		v, again := kinds[int(i)%len(kinds)](), kinds[int(i)%len(kinds)]()
		if decode(b, v) != nil {
			return
		}
		once, err := encoding.Marshal(v)
		if err != nil {
			return // a time that is out of range
		}
		if err := decode(once, again); err != nil {
			t.Fatalf("%x became %x, which is refused: %v", b, once, err)
		}
		if twice, err := encoding.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x, then %x", b, once, twice)
		}
	})
}

// FuzzToken: a text that is taken for a token is written back to the same text.
func FuzzToken(f *testing.F) {
	k := newToken("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
	f.Add(k.text(accessKind))
	f.Add(k.text(refreshKind))
	f.Add("cfa_")
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{accessKind, refreshKind} {
			k, ok := parseToken(kind, text)
			if ok && (k.text(kind) != text || !k.user.Valid() || !coordinator.IsUUID(string(k.device))) {
				t.Fatalf("%q is written back otherwise", text)
			}
		}
	})
}
