package daemon

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/server"
	"coldframe/ratchet"
)

// killsVariable is how many kills TestF03_KilledWhileTheySend makes; without it there are few.
const killsVariable = "COLDFRAME_KILLS"

// The processes. The number of an agent is that of its person.
const (
	ada = iota
	grace
	theCoordinator
)

var talkerNames = []string{"ada", "grace", "coordinator"}

func mailOf(who int) string { return talkerNames[who] + "@example.org" }

// life is one process between two kills.
type life struct {
	*process
	who    int
	killed bool
}

// said is a line of a process; the last of each has none.
type said struct {
	life *life
	line string
	over bool
}

// talkRig is two agents and a coordinator, each a process, with something in between that writes down what is posted. All but posts is used
// by the test's goroutine alone.
type talkRig struct {
	t      *testing.T
	random *rand.Rand
	now    [3]*life
	dirs   [3]string
	urls   [2]string // where an agent finds the coordinator
	heard  chan said
	posts  posts

	users   [2]string
	talks   [2]talk
	acked   [2]map[int]bool
	friends [2]bool
	stopped [2]bool
	reports [2]*talkReport

	kills   [3]int
	last    int  // who was killed
	worked  bool // who was killed last, or somebody with the coordinator that was
	sending int  // kills while a call was under way
	slowest time.Duration
}

func newTalkRig(t *testing.T, seed uint64) *talkRig {
	r := &talkRig{t: t, random: rand.New(rand.NewPCG(seed, 3)), heard: make(chan said, 64)} //nolint:gosec // moments of kills
	r.posts.keys = map[messageKey]map[string]bool{}
	r.dirs[theCoordinator] = t.TempDir()
	r.start(theCoordinator)
	for who := range r.urls {
		r.urls[who] = r.posts.front(t, who)
		r.dirs[who] = t.TempDir()
		r.acked[who] = map[int]bool{}
		r.talks[who] = talk{Dir: r.dirs[who], Mail: mailOf(who), URL: r.urls[who], Next: 1}
	}
	r.until("the coordinator listens", func() bool { return r.posts.address() != "" })
	for who := range r.urls {
		r.start(who)
		r.until("registered", func() bool { return r.users[who] != "" })
	}
	return r
}

func (r *talkRig) start(who int) {
	what, first := childIsTalker, any(r.dirs[who])
	if who == theCoordinator {
		what = childIsCoordinator
	} else {
		first = r.talks[who]
	}
	l := &life{process: startChild(r.t, what, first), who: who}
	l.lines.Buffer(nil, 16<<20)
	r.now[who] = l
	go func() {
		for l.lines.Scan() {
			r.heard <- said{life: l, line: l.lines.Text()}
		}
		r.heard <- said{life: l, over: true}
	}()
}

// hear takes note of a line. A process whose lines are over is started again if it was killed.
func (r *talkRig) hear(s said) {
	r.t.Helper()
	who, name := s.life.who, talkerNames[s.life.who]
	if s.over {
		err := s.life.cmd.Wait()
		if !s.life.killed {
			r.t.Fatalf("%s ended by itself: %v", name, err)
		}
		r.start(who)
		return
	}
	word, rest, _ := strings.Cut(s.line, " ")
	switch word {
	case "listening":
		r.posts.reach(rest)
		r.tell(ada, command{Do: "wake"})
		r.tell(grace, command{Do: "wake"})
	case "open":
		r.users[who] = rest
	case "contact":
		r.friends[who] = true
	case "begin":
		r.talks[who].Doubt = atoi(r.t, rest)
		r.talks[who].Next = r.talks[who].Doubt + 1
	case "ack":
		r.acked[who][atoi(r.t, rest)] = true
		r.talks[who].Doubt = 0
		r.worked = r.worked || (who == r.last || r.last == theCoordinator) && !r.now[r.last].killed
	case "stopped":
		r.stopped[who] = true
	case "report":
		r.reports[who] = &talkReport{}
		if err := json.Unmarshal([]byte(rest), r.reports[who]); err != nil {
			r.t.Fatal(err)
		}
	case "error":
		r.t.Fatalf("%s: %s", name, rest)
	}
	if word == "open" || word == "listening" {
		r.slowest = max(r.slowest, time.Since(s.life.begun))
	}
}

// tell tells an agent something, if it is alive.
func (r *talkRig) tell(who int, c command) {
	if l := r.now[who]; l != nil {
		json.NewEncoder(l.in).Encode(c) //nolint:errcheck // it may be dead
	}
}

// until hears until something is so.
func (r *talkRig) until(what string, so func() bool) {
	r.t.Helper()
	limit := time.After(time.Minute)
	for !so() {
		select {
		case s := <-r.heard:
			r.hear(s)
		case <-limit:
			r.t.Fatalf("never came: %s; %+v", what, r.reports)
		}
	}
}

// ask repeats a command until the answer is as it should be.
func (r *talkRig) ask(who int, c command, what string, so func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); {
		r.tell(who, c)
		select {
		case s := <-r.heard:
			r.hear(s)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("never came: %s; %+v", what, r.reports[who])
		}
	}
}

func (r *talkRig) kill(who int) {
	l := r.now[who]
	if l.killed {
		return // it is being started again
	}
	l.killed, r.last, r.worked = true, who, false
	l.cmd.Process.Kill() //nolint:errcheck // if it ended by itself, hear says so
	r.kills[who]++
	if r.talks[ada].Doubt != 0 || r.talks[grace].Doubt != 0 {
		r.sending++
	}
}

func (r *talkRig) killed() int { return r.kills[ada] + r.kills[grace] + r.kills[theCoordinator] }

// killAtRandom kills n processes in random moments: three quarters after the one that was killed last works again, the others whenever.
func (r *talkRig) killAtRandom(n int) {
	for r.killed() < n {
		who, busy := r.random.IntN(3), r.random.IntN(4) > 0
		if busy {
			r.until("work goes on", func() bool { return r.worked })
		}
		over := time.After(time.Duration(r.random.IntN(400)) * time.Millisecond)
		for waits := true; waits; {
			select {
			case s := <-r.heard:
				r.hear(s)
			case <-over:
				waits = false
			}
		}
		r.kill(who)
	}
}

// messageKey names the key of a Signal message: nothing else may ever be encrypted with it.
type messageKey struct {
	sender  int
	ratchet string
	counter uint64
}

// posts is what was posted to mailboxes, written down between the agents and the coordinator.
type posts struct {
	mu      sync.Mutex
	backend string
	all     int
	keys    map[messageKey]map[string]bool // ciphertexts
	bad     error
}

// reach says where the coordinator listens now.
func (p *posts) reach(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = address
}

func (p *posts) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backend
}

// front returns where an agent finds the coordinator, wherever that listens. While it does not, connections break.
func (p *posts) front(t *testing.T, sender int) string {
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", p.address() },
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if server.Operation(r.Method, r.URL.Path) == "sendMessage" {
			p.note(sender, body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = proxy.ErrorLog
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func (p *posts) note(sender int, body []byte) {
	var m coordinator.OutgoingMessage
	err := json.Unmarshal(body, &m)
	var key messageKey
	var inner []byte
	if err == nil {
		key, inner, err = keyOfMessage(sender, m.Body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all++; err != nil {
		p.bad = err
		return
	}
	if p.keys[key] == nil {
		p.keys[key] = map[string]bool{}
	}
	p.keys[key][string(inner)] = true
}

// keyOfMessage takes a message as it lies in a mailbox, type ‖ message, as far apart as its key needs (spec/signal-wire.md, section 8).
func keyOfMessage(sender int, b []byte) (key messageKey, inner []byte, err error) {
	if len(b) < 2 {
		return key, nil, fmt.Errorf("a message of %d bytes", len(b))
	}
	kind, inner := ratchet.MessageType(b[0]), b[1:]
	if kind == ratchet.TypePreKey {
		if _, inner, err = protoField(inner[1:], 4); err != nil {
			return key, nil, err
		}
	}
	if len(inner) < 9 {
		return key, nil, fmt.Errorf("an inner message of %d bytes", len(inner))
	}
	fields := inner[1 : len(inner)-8] // after the version byte, before the MAC
	_, ratchetKey, err := protoField(fields, 1)
	if err != nil || len(ratchetKey) != 33 {
		return key, nil, fmt.Errorf("a ratchet key of %d bytes, %w", len(ratchetKey), err)
	}
	counter, _, err := protoField(fields, 2)
	return messageKey{sender, string(ratchetKey), counter}, inner, err
}

// protoField returns a field of a protobuf message with varints and bytes alone.
func protoField(b []byte, number uint64) (n uint64, value []byte, err error) {
	for len(b) > 0 {
		tag, size := binary.Uvarint(b)
		if size <= 0 {
			break
		}
		b = b[size:]
		if n, size = binary.Uvarint(b); size <= 0 {
			break
		}
		b, value = b[size:], nil
		if tag&7 == 2 {
			if n > uint64(len(b)) {
				break
			}
			value, b = b[:n], b[n:]
		}
		if tag>>3 == number {
			return n, value, nil
		}
	}
	return 0, nil, fmt.Errorf("no field %d in a message", number)
}

// twice is how many keys have more than one ciphertext.
func (p *posts) twice() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ciphertexts := range p.keys {
		if len(ciphertexts) > 1 {
			n++
		}
	}
	return n
}
