package dialogue

import (
	"fmt"
	"os"
	"testing"
)

// Names of both kinds: service ids are authenticated in first messages, others are not.
const (
	uuidA, uuidB   = "9d0652a3-dcc3-4d11-975f-74d61598733f", "796abedb-ca4e-4f18-8803-1fde5b921f9f"
	plainA, plainB = "ada@example.org", "+14155550100"
)

// full reports whether the dialogues have their promised length.
func full() bool { return os.Getenv("COLDFRAME_DIALOGUES") == "full" }

// length is how many messages a long dialogue has: 10,000 of each end.
func length() int {
	if full() {
		return 20_000
	}
	return 600
}

// converse holds one long dialogue between two new peers.
func converse(t *testing.T, initiator, responder string, uuids bool, options fields) {
	names := [2]string{plainA, plainB}
	if uuids {
		names = [2]string{uuidA, uuidB}
	}
	a, b := start(t, initiator, names[0]), start(t, responder, names[1])
	a.starts(t, b, options)
	k := newTalk(t, 1, a, b)
	k.run(length())
	k.log()
	if full() && k.epoch-1 < epochsAtLeast {
		t.Errorf("%d post-quantum epochs, at least %d were promised", k.epoch-1, epochsAtLeast)
	}
	if k.repeated == 0 || k.forged == 0 || k.lost == 0 {
		t.Error("nothing was lost, repeated or forged")
	}
}

// The harness itself: two libsignals of one version understand each other under it.
func TestInteropHarness(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			for _, oneTime := range []bool{true, false} {
				t.Run(fmt.Sprint("oneTime=", oneTime), func(t *testing.T) {
					converse(t, version, version, oneTime, fields{"one_time": oneTime})
				})
			}
		})
	}
}
