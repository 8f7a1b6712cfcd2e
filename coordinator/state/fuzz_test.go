package state

import (
	"bytes"
	"testing"
	"time"
)

// FuzzRecords gives bytes to the decoder of each record: what is taken is written back to bytes that say the same.
func FuzzRecords(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	kinds := []func() any{
		func() any { return new(account) }, func() any { return new(counters) }, func() any { return new(Event) }, func() any { return new(invitation) },
		func() any { return new(session) }, func() any { return new(accessToken) }, func() any { return new(refreshToken) }, func() any { return new(Message) },
		func() any { return new(sentMessage) }, func() any { return new(Blob) }, func() any { return new(Body) }, func() any { return new(preKeys) }, func() any { return new(fetch) },
	}
	for i, v := range []any{
		account{Email: []byte("x"), Created: at, Proof: proofHash{Cost: DefaultCost}},
		counters{Mail: 1},
		Event{Type: MessageEvent},
		invitation{1, at},
		session{at},
		accessToken{"u", "s", at},
		refreshToken{User: "u"},
		Message{ID: "i", Time: at},
		sentMessage{Sequence: 1},
		Blob{Version: Version{Counter: 1, Time: at}, History: []Version{{Counter: 2}}},
		Body{Body: []byte("x")},
		preKeys{Count: 1},
		fetch{Target: "u"},
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
