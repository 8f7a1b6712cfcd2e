package mailbox

import (
	"bytes"
	"crypto/rand"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/messages"
	"coldframe/interop/lines"
)

// What a talk is made of.
const (
	usualBlock = 4
	longText   = 20_000
	hold       = 0.10 // of the messages are read, or posted, with the next block only
	again      = 0.10 // come twice
	forge      = 0.10 // come before with one bit turned, if nothing but the bit can be why they are refused
	restart    = 0.05 // of the turns come after an end, or the coordinator, was started again

	canary = "nobody-between-reads-this"
)

// Types of messages, as the first byte in the mailbox.
const (
	typeMessage = 2
	typePreKey  = 3
)

// figures of a talk.
type figures struct{ turns, ours, theirs, repeated, forged, overtaken int }

// talk is a dialogue of the two ends through the mailbox.
type talk struct {
	t      *testing.T
	c      *coordinatortest.Coordinator
	a      *ours
	b      *theirs
	random *mathrand.Rand

	flying   map[string]body // of ours, by id at the coordinator, not read yet
	posted   []string        // their ids, in the order in which they were sent
	waited   map[string]bool // of these, were left in the mailbox once
	coming   []body          // of theirs, in the mailbox, in its order
	late     [][]byte        // of theirs, made and not posted yet
	lateText []body

	version, saidByOurs, saidByTheirs int // of heads: the newest, and the newest that the other end has read
	dropped, aside                    int // events that are due
	figures
}

// know makes both ends; each publishes so many one-time prekeys, and we take theirs into our contacts.
func know(t *testing.T, version string, oneTime int) *talk {
	t.Helper()
	p := lines.Libsignal(t, version) // or skips the test
	c := coordinatortest.New(t, coordinatortest.Options{})
	k := &talk{
		t: t, c: c, b: newTheirs(t, c, p), a: newOurs(t, c), random: mathrand.New(mathrand.NewPCG(uint64(oneTime), 7)),
		flying: map[string]body{}, waited: map[string]bool{},
	}
	k.a.offer(oneTime)
	k.b.offer(oneTime)
	k.a.adds(k.b.user)
	return k
}

// text makes what to say.
func (k *talk) text(first bool) body {
	if first && k.random.IntN(4) == 0 {
		return body{Kind: messages.KindHeads} // one in a block: those that wait are one
	}
	size := k.random.IntN(300)
	if k.random.IntN(20) == 0 {
		size = k.random.IntN(longText)
	}
	return body{Kind: kindText, Payload: append([]byte(canary), make([]byte, size)...)}
}

// headsOf returns an end's heads of a version.
func headsOf(a *account, version int) []head {
	if version == 0 {
		return nil
	}
	return []head{a.head("vault", version), a.head("devices", version)}
}

// versionOf returns the version that heads are of.
func versionOf(list []head) int {
	if len(list) == 0 {
		return 0
	}
	return int(list[len(list)-1].Sequence)
}

// echoesOf returns what our end echoes: the latest that it heard of first.
func echoesOf(a *account, version int) []head {
	list := headsOf(a, version)
	slices.Reverse(list)
	return list
}

// oursSay has our end send n messages.
func (k *talk) oursSay(n int) {
	k.t.Helper()
	k.version++
	k.a.heads = headsOf(k.a.account, k.version)
	for i := range n {
		k.enqueue(k.text(i == 0))
	}
	k.send()
}

func (k *talk) enqueue(b body) {
	k.t.Helper()
	id, err := k.a.Enqueue(k.b.user, b.Kind, b.Payload)
	must(k.t, err)
	b.ID, b.Heads, b.Echoes = id, k.a.heads, echoesOf(k.b.account, k.saidByTheirs)
	k.flying[id.String()] = b
	k.posted = append(k.posted, id.String())
}

func (k *talk) send() {
	k.t.Helper()
	if _, err := k.a.Send(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	if left, err := k.a.Waiting(); err != nil || len(left) > 0 {
		k.t.Fatalf("%+v wait, %v", left, err)
	}
}

// theirsRead has libsignal open what is in its mailbox, in random order, and leave some of it there if it may.
func (k *talk) theirsRead(leave bool) {
	k.t.Helper()
	in := k.b.inbox()
	var ids []string
	for _, e := range in {
		ids = append(ids, e.Id)
	}
	if !slices.Equal(ids, k.posted) {
		k.t.Fatalf("the mailbox has %v, not %v", ids, k.posted)
	}
	k.random.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
	var done []coordinator.Acknowledgement
	for _, e := range in {
		if leave && !k.waited[e.Id] && k.random.Float64() < hold {
			k.waited[e.Id] = true
			k.overtaken++
			continue
		}
		k.theirsOpen(e)
		done = append(done, coordinator.Acknowledgement{Sequence: e.Sequence, Id: e.Id})
		k.posted = slices.DeleteFunc(k.posted, func(id string) bool { return id == e.Id })
	}
	if len(done) > 0 {
		must(k.t, k.b.client.Acknowledge(k.t.Context(), done...))
	}
}

// theirsOpen has libsignal open a message, and compares every byte of what it finds with what was to be said.
func (k *talk) theirsOpen(e coordinator.Message) {
	k.t.Helper()
	if e.Sender != k.a.user {
		k.t.Fatalf("a message of %s", e.Sender)
	}
	if forged := k.forgery(e.Body); forged != nil {
		if a := k.b.decrypt(e.Sender, forged); a.OK {
			k.t.Fatal("libsignal took a forgery")
		}
		k.forged++
	}
	a := k.b.decrypt(e.Sender, e.Body)
	if !a.OK {
		k.t.Fatalf("libsignal could not open a message of ours: %s: %s", a.Error, a.Detail)
	}
	want, plaintext := k.flying[e.Id], unhex(k.t, a.Plaintext)
	if len(plaintext) < 16 || !bytes.Equal(plaintext, encode(want, plaintext)) {
		k.t.Fatalf("libsignal found %x, which is not %+v", plaintext, want)
	}
	delete(k.flying, e.Id)
	k.ours++
	k.saidByOurs = max(k.saidByOurs, versionOf(want.Heads))
	if k.random.Float64() < again {
		if a := k.b.decrypt(e.Sender, e.Body); a.OK || a.Error != "replayed" {
			k.t.Fatalf("a second time: %v, %s %s", a.OK, a.Error, a.Detail)
		}
		k.repeated++
	}
}

// theirsSay has libsignal make n messages, which come into our mailbox in random order, some of them with the next block, twice or forged.
func (k *talk) theirsSay(n int) {
	k.t.Helper()
	k.version++
	for i := range n {
		k.make(k.text(i == 0))
	}
	k.post(true)
}

// make has libsignal make a message, which waits to be posted.
func (k *talk) make(b body) {
	k.t.Helper()
	b.ID, b.Heads, b.Echoes = messages.ID(randomBytes()), headsOf(k.b.account, k.version), headsOf(k.a.account, k.saidByOurs)
	k.late = append(k.late, k.b.encrypt(k.a.user, encode(b, randomBytes())))
	k.lateText = append(k.lateText, b)
}

// post brings what waits into our mailbox, in random order, but for some of it if it may wait.
func (k *talk) post(leave bool) {
	k.t.Helper()
	k.random.Shuffle(len(k.late), func(i, j int) {
		k.late[i], k.late[j] = k.late[j], k.late[i]
		k.lateText[i], k.lateText[j] = k.lateText[j], k.lateText[i]
	})
	keep := 0
	if leave && len(k.late) > 1 && k.random.Float64() < hold*usualBlock {
		keep = 1
		k.overtaken++
	}
	for i, m := range k.late[keep:] {
		if forged := k.forgery(m); forged != nil {
			k.b.post(k.a.user, coordinator.NewRequestID(), forged)
			k.forged++
			k.aside++
		}
		k.b.post(k.a.user, coordinator.NewRequestID(), m)
		k.coming = append(k.coming, k.lateText[keep+i])
		if k.random.Float64() < again {
			k.b.post(k.a.user, coordinator.NewRequestID(), m)
			k.repeated++
			k.dropped++
		}
	}
	k.late, k.lateText = k.late[:keep], k.lateText[:keep]
}

// oursRead has our end take its mailbox in, and compares what reached the application, and in which order.
func (k *talk) oursRead() {
	k.t.Helper()
	k.a.got = nil
	n, err := k.a.Receive(k.t.Context())
	must(k.t, err)
	var want []body
	for _, b := range k.coming {
		k.theirs++
		k.saidByTheirs = max(k.saidByTheirs, versionOf(b.Heads))
		if b.Kind == kindText {
			want = append(want, b)
		}
	}
	k.coming = nil
	if n != len(want) || len(k.a.got) != n {
		k.t.Fatalf("%d texts reached us, not %d; events: %v", n, len(want), k.a.events)
	}
	for i, r := range k.a.got {
		if !bytes.Equal(encode(r.Body, make([]byte, 16)), encode(want[i], make([]byte, 16))) {
			k.t.Fatalf("text %d is %+v, not %+v", i, r.Body, want[i])
		}
		if r.Sender != k.b.user || r.Identity != k.b.keys.Identity.Public() {
			k.t.Fatalf("text %d is of %s", i, r.Sender)
		}
	}
	k.checkOurs()
}

// checkOurs compares what our end says about itself with what came.
func (k *talk) checkOurs() {
	k.t.Helper()
	if e := k.a.events; e[messages.Dropped] != k.dropped || e[messages.SetAside] != k.aside || e[messages.RecordFault]+e[messages.Held] > 0 {
		k.t.Fatalf("events %v, with %d repeats and %d forgeries", e, k.dropped, k.aside)
	}
	if left := k.a.inbox(); len(left) > 0 {
		k.t.Fatalf("%d messages are left in our mailbox", len(left))
	}
	if f, err := k.a.CheckOwn(headsOf(k.a.account, k.version)); err != nil || len(f) > 0 {
		k.t.Fatalf("findings %+v, %v", f, err)
	}
}

// forgery returns some messages with a bit of the authentication code turned, its last 8 bytes; nil: this one is left alone.
func (k *talk) forgery(m []byte) []byte {
	if m[0] != typeMessage || k.random.Float64() >= forge {
		return nil
	}
	out := bytes.Clone(m)
	out[len(out)-1-k.random.IntN(8)] ^= 1 << k.random.IntN(8)
	return out
}

// run has both ends speak in turns, with what may befall them.
func (k *talk) run(turns int) {
	k.t.Helper()
	for range turns {
		k.turns++
		if k.random.Float64() < restart {
			k.restart()
		}
		k.oursSay(1 + k.random.IntN(usualBlock))
		if k.random.IntN(4) == 0 { // both write before either reads
			k.theirsSay(1 + k.random.IntN(usualBlock))
		}
		k.theirsRead(true)
		k.theirsSay(1 + k.random.IntN(usualBlock))
		k.oursRead()
	}
	k.post(false)
	k.oursRead()
	k.theirsRead(false)
	if len(k.flying) > 0 {
		k.t.Fatalf("%d messages of ours never came", len(k.flying))
	}
}

func (k *talk) restart() {
	switch k.random.IntN(3) {
	case 0:
		k.a.restart()
	case 1:
		k.b.reload()
	case 2:
		k.c.Main.Restart()
	}
}

// end tells the figures, and that nobody between has read anything, and returns what libsignal says of the session.
func (k *talk) end(epochs int) (s lines.Answer) {
	k.t.Helper()
	s = k.b.Must(k.t, "session", lines.Fields{"remote": remoteOf(k.a.user)})
	k.t.Logf("libsignal %s: %d messages of ours and %d of libsignal's in %d turns, %d overtaken, %d repeats and %d forgeries refused, "+
		"%d post-quantum epochs completed, %d sessions archived",
		k.b.Kind, k.ours, k.theirs, k.turns, k.overtaken, k.repeated, k.forged, s.Epoch-1, s.Archived)
	if s.Epoch-1 < epochs {
		k.t.Errorf("%d post-quantum epochs, not %d", s.Epoch-1, epochs)
	}
	if forks, err := k.a.Forks(); err != nil || len(forks) > 0 {
		k.t.Error(forks, err)
	}
	if list := k.c.Leaks(canary); len(list) > 0 {
		k.t.Error("the coordinator read along:", list)
	}
	return s
}

// types asks that there are messages in a mailbox, and all of one type.
func (k *talk) types(a *account, want byte) {
	k.t.Helper()
	in := a.inbox()
	for _, e := range in {
		if e.Body[0] != want {
			k.t.Fatalf("a message of type %d, not %d", e.Body[0], want)
		}
	}
	if len(in) == 0 {
		k.t.Fatal("no messages")
	}
}

func randomBytes() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}
