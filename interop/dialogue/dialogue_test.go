package dialogue

import (
	"fmt"
	"hash/fnv"
	"testing"

	"coldframe/interop/lines"
)

// Names of both kinds: service ids are authenticated in first messages, others are not.
var (
	uuids  = [2]string{"9d0652a3-dcc3-4d11-975f-74d61598733f", "796abedb-ca4e-4f18-8803-1fde5b921f9f"}
	phones = [2]string{"PNI:9d0652a3-dcc3-4d11-975f-74d61598733f", "796abedb-ca4e-4f18-8803-1fde5b921f9f"}
	plain  = [2]string{"ada@example.org", "+14155550100"}
)

// full reports whether the dialogues have their promised length.
func full() bool { return lines.Full() }

// length is how many messages a long dialogue has: 10,000 of each end.
func length() int {
	if full() {
		return 20_000
	}
	return 600
}

// tried returns the versions of libsignal to talk to.
func tried() []string { return lines.Tried() }

// eachPair runs a test between ours and each version of libsignal, in both roles.
func eachPair(t *testing.T, versions []string, test func(t *testing.T, initiator, responder string)) {
	for _, version := range versions {
		for _, pair := range [][2]string{{ours, version}, {version, ours}} {
			t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
				t.Parallel()
				test(t, pair[0], pair[1])
			})
		}
	}
}

// seedOf returns the seed of a test's choices: its own, and the same every time.
func seedOf(t *testing.T) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	return h.Sum64()
}

// converse holds one long dialogue between two new peers.
func converse(t *testing.T, initiator, responder string, names [2]string, options fields) {
	a, b := begin(t, initiator, responder, names, options)
	k := newTalk(t, seedOf(t), a, b)
	k.run(length())
	k.log()
	if full() && k.epoch-1 < epochsAtLeast {
		t.Errorf("%d post-quantum epochs, at least %d were promised", k.epoch-1, epochsAtLeast)
	}
	if k.repeated == 0 || k.forged == 0 || k.lost == 0 {
		t.Error("nothing was lost, repeated or forged")
	}
}

// Long dialogues with libsignal, each side as the initiator, with and without a one-time prekey, under names of each kind.
func TestInteropDialogue(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		for _, oneTime := range []bool{true, false} {
			t.Run(fmt.Sprint("one-time=", oneTime), func(t *testing.T) {
				names := uuids
				if !oneTime {
					names = plain
				}
				converse(t, initiator, responder, names, fields{"one_time": oneTime})
			})
		}
	})
}

// The harness itself: libsignal understands itself under it, and so do we.
func TestInteropHarness(t *testing.T) {
	for _, kind := range []string{versions[0], ours} {
		t.Run(kind, func(t *testing.T) {
			a, b := begin(t, kind, kind, uuids, fields{"one_time": true})
			k := newTalk(t, seedOf(t), a, b)
			k.run(4 * few)
			k.log()
		})
	}
}
