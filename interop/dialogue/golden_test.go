package dialogue

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "record the transcripts again, with libsignal")

// goldenDir holds what was recorded: libsignal's own bytes, so that tests without it read them too.
const goldenDir = "../../ratchet/ratchettest/testdata"

// transcript is what libsignal sent us in one dialogue: some of its blocks, each with our state before it.
type transcript struct {
	Libsignal string    `json:"libsignal"` // version
	About     string    `json:"about"`
	Segments  []segment `json:"segments"`
}

// segment is one block as it was delivered: in this order, without what was lost.
type segment struct {
	State    json.RawMessage `json:"state"` // what the driver's dump holds
	Remote   fields          `json:"remote"`
	Messages []golden        `json:"messages"`
	Epoch    int             `json:"epoch"` // of our post-quantum ratchet after them
}

type golden struct {
	Type       int    `json:"type"`
	Ciphertext string `json:"ciphertext"`
	Plaintext  string `json:"plaintext"`
}

// What is recorded: blocks from all through a dialogue, the first one always.
const (
	goldenMessages = 1_500
	goldenSegments = 10
	goldenBlock    = 20 // messages at most
)

// Each transcript is replayed from our stored states. With -update it is recorded first.
func TestKnownAnswersOfLibsignal(t *testing.T) {
	for _, c := range []struct {
		name, about string
		initiate    bool // libsignal does
		names       [2]string
		options     fields
	}{
		{"initiator", "libsignal began, with a one-time prekey; both names are service ids", true, uuids, fields{"one_time": true}},
		{
			"initiator-last-resort", "libsignal began, with the last-resort KEM prekey and no one-time prekey", true, plain,
			fields{"kyber_last_resort": true},
		},
		{"responder", "we began, with a one-time prekey", false, uuids, fields{"one_time": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(goldenDir, "libsignal-"+versions[0]+"-"+c.name+".json")
			if *update {
				kinds := [2]string{ours, versions[0]}
				if c.initiate {
					kinds = [2]string{versions[0], ours}
				}
				a, b := begin(t, kinds[0], kinds[1], c.names, c.options)
				write(t, file, transcript{versions[0], c.about, record(t, a, b)})
			}
			replay(t, file)
		})
	}
}

// record holds a dialogue and keeps some of the blocks that reach us.
func record(t *testing.T, a, b *peer) []segment {
	t.Helper()
	k := newTalk(t, seedOf(t), a, b)
	k.longest = 30
	random := rand.New(rand.NewPCG(1, 1))
	var out []segment
	k.around = func(to int, block []message, deliver func()) {
		p, from := k.ends[to], k.ends[1-to]
		due := k.sent * goldenSegments / goldenMessages
		if p.kind != ours || len(out) > due || len(block) > goldenBlock || len(block) < 3 && len(out) > 0 && random.IntN(4) > 0 {
			deliver()
			return
		}
		s := segment{Remote: from.address()}
		state, err := hex.DecodeString(p.must(t, "dump", nil).State)
		if err != nil {
			t.Fatal(err)
		}
		s.State = state
		deliver()
		for _, m := range block {
			s.Messages = append(s.Messages, golden{m.kind, hex.EncodeToString(m.body), m.plaintext})
		}
		s.Epoch = p.must(t, "session", fields{"remote": from.address()}).Epoch
		out = append(out, s)
	}
	k.run(goldenMessages)
	k.log()
	return out
}

func write(t *testing.T, file string, v transcript) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replay has our side read every block of a transcript, refuse each message a second time, and answer.
func replay(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all transcript
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Segments) < goldenSegments/2 {
		t.Fatalf("%d segments", len(all.Segments))
	}
	messages, epochs := 0, map[int]bool{}
	for i, s := range all.Segments {
		p := connect(t, ours)
		p.must(t, "load", fields{"state": hex.EncodeToString(s.State)})
		for _, again := range []bool{false, true} {
			for j, m := range s.Messages {
				a := p.call(t, "decrypt", fields{"remote": s.Remote, "type": m.Type, "ciphertext": m.Ciphertext})
				if again && (a.OK || a.Error != "replayed") {
					t.Errorf("segment %d, message %d, a second time: %v, %s %s", i, j, a.OK, a.Error, a.Detail)
				}
				if !again && (!a.OK || a.Plaintext != m.Plaintext) {
					t.Errorf("segment %d, message %d: %q, %s %s", i, j, a.Plaintext, a.Error, a.Detail)
				}
			}
		}
		if epoch := p.must(t, "session", fields{"remote": s.Remote}).Epoch; epoch != s.Epoch {
			t.Errorf("segment %d led to epoch %d, not %d", i, epoch, s.Epoch)
		}
		p.must(t, "encrypt", fields{"remote": s.Remote, "plaintext": "00"})
		messages, epochs[s.Epoch] = messages+len(s.Messages), true
	}
	t.Logf("%d messages of libsignal %s in %d segments and %d epochs", messages, all.Libsignal, len(all.Segments), len(epochs))
}
