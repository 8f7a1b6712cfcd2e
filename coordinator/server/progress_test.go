package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// dial opens a connection that takes little before it is read.
func (b *bench) dial() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// head sends the head of a request, and says that length bytes follow.
func (b *bench) head(c net.Conn, method, path, token string, length int) {
	b.t.Helper()
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n", method, path, token)
	if length > 0 {
		text += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", length)
	}
	if _, err := io.WriteString(c, text+"\r\n"); err != nil {
		b.t.Fatal(err)
	}
}

// status reads an answer's status, which has to be there within 20 s.
func status(t *testing.T, c net.Conn) int {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}

func (b *bench) guard() *guard { return b.http.Handler.(*guard) }

// waitFor waits until n requests of an account have, or wait for, some of a pool.
func (b *bench) waitFor(p *pool, user string, n int) {
	b.t.Helper()
	have := 0
	for range 1000 {
		p.mu.Lock()
		if s := p.shares["account "+user]; s != nil {
			have = s.users
		}
		p.mu.Unlock()
		if have >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("%d of %d requests have come", have, n)
}

// vault is a request that makes a blob of a size.
func vault(size int) SwapRequest {
	return SwapRequest{Swaps: []Swap{{Name: "vault", Counter: 1, Previous: fill(0, 32), Nonce: fill(7, 16), Body: fill(9, size)}}}
}

// One account sends large bodies that never come, more than there is room for. Others log in, send messages, and send large bodies.
func TestF20_StalledBodies(t *testing.T) {
	b := newBench(t, open, Options{})
	alice, bob := b.user(1), b.user(2)
	for range 12 {
		b.head(b.dial(), "POST", "/v1/blobs", alice.AccessToken, 5632<<10)
	}
	b.waitFor(b.guard().large, alice.User, 12)
	b.send("POST", "/v1/sessions", "", Login{User: &bob.User, Device: deviceID(3), Proof: fill(2, 32)}).want(t, 200, "")
	b.send("POST", "/v1/users/"+alice.User+"/messages", bob.AccessToken, OutgoingMessage{Id: userID(7), Body: fill(1, 190<<10)}).want(t, 204, "")
	b.send("POST", "/v1/blobs", bob.AccessToken, vault(4<<20)).want(t, 200, "")
}

// Stalled logins of one address take its share and no more.
func TestF20_StalledLogins(t *testing.T) {
	r := defaultRoom
	r.logins = amounts{all: 16 * leastBody, address: 8 * leastBody}
	b := newBench(t, open, Options{room: r})
	alice := b.user(1)
	p := b.guard().logins
	for range 20 {
		b.head(b.dial(), "POST", "/v1/sessions", "", 1000)
	}
	b.waitForAddress(p, 20)
	if !p.total.TryAcquire(8 * leastBody) {
		t.Error("one address has more than its share")
	}
	p.total.Release(8 * leastBody)
	b.send("GET", "/v1/account", alice.AccessToken, nil).want(t, 200, "")
}

func (b *bench) waitForAddress(p *pool, n int) {
	b.t.Helper()
	for range 1000 {
		p.mu.Lock()
		s := p.shares["address 127.0.0.1"]
		there := s != nil && s.users >= n
		p.mu.Unlock()
		if there {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatal("the requests have not come")
}

// An account has a bounded number of requests in work, and a further one waits for a while. Other accounts do not notice.
func TestF20_RequestsOfOneAccount(t *testing.T) {
	p := defaultPace
	p.place = 100 * time.Millisecond
	b := newBench(t, open, Options{pace: p})
	alice, bob := b.user(1), b.user(2)
	var stalled []net.Conn
	for range 16 {
		c := b.dial()
		b.head(c, "POST", "/v1/lookup", alice.AccessToken, 100)
		stalled = append(stalled, c)
	}
	b.waitFor(b.guard().small, alice.User, 16)
	b.send("GET", "/v1/account", alice.AccessToken, nil).want(t, 503, fault.Busy)
	b.send("GET", "/v1/account", bob.AccessToken, nil).want(t, 200, "")
	for _, c := range stalled {
		c.Close()
	}
	for range 100 {
		if b.send("GET", "/v1/account", alice.AccessToken, nil).StatusCode == 200 {
			return
		}
	}
	t.Error("no place was given back")
}

// A body on a slow line is taken, whatever its size; one that stops is not waited for, nor is one that crawls.
func TestF20_SlowBodies(t *testing.T) {
	for name, c := range map[string]struct {
		pace   pace
		every  time.Duration // between pieces
		pieces int           // then it stops
		want   int
	}{
		"slow":  {pace{body: 500 * time.Millisecond, slowest: 64 << 10}, 15 * time.Millisecond, 1000, 200},
		"stops": {pace{body: 500 * time.Millisecond, slowest: 64 << 10}, time.Millisecond, 8, 408},
		"crawl": {pace{body: 500 * time.Millisecond, slowest: 4 << 20}, 100 * time.Millisecond, 1000, 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := defaultPace
			p.body, p.slowest = c.pace.body, c.pace.slowest
			b := newBench(t, open, Options{pace: p})
			alice := b.user(1)
			body, err := json.Marshal(vault(768 << 10))
			if err != nil {
				t.Fatal(err)
			}
			conn := b.dial()
			b.head(conn, "POST", "/v1/blobs", alice.AccessToken, len(body))
			ticker := time.NewTicker(c.every)
			defer ticker.Stop()
			for n := 0; n < c.pieces && len(body) > 0; n++ {
				<-ticker.C
				size := min(len(body), pieceSize)
				if _, err := conn.Write(body[:size]); err != nil {
					break // the server has answered
				}
				body = body[size:]
			}
			if got := status(t, conn); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
		})
	}
}

// A reader on a slow line gets the whole of its answer; one that stops or crawls loses it.
func TestF20_SlowReaders(t *testing.T) {
	for name, c := range map[string]struct {
		pace  pace
		every time.Duration // for each 64 KiB
		whole bool
	}{
		"slow":  {pace{answer: 700 * time.Millisecond, start: time.Minute, slowest: 16 << 10, large: 64 << 10}, 20 * time.Millisecond, true},
		"stops": {pace{answer: 700 * time.Millisecond, start: time.Minute, slowest: 16 << 10, large: 64 << 10}, time.Hour, false},
		"crawl": {pace{answer: time.Minute, start: 300 * time.Millisecond, slowest: 8 << 20, large: 8 << 20}, 50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := defaultPace
			p.answer, p.start, p.slowest, p.large = c.pace.answer, c.pace.start, c.pace.slowest, c.pace.large
			b := newBench(t, open, Options{pace: p})
			alice := b.user(1)
			b.send("POST", "/v1/blobs", alice.AccessToken, vault(4<<20)).want(t, 200, "")
			conn := b.dial()
			b.head(conn, "GET", "/v1/blobs/vault", alice.AccessToken, 0)
			b.waitFor(b.guard().answers, alice.User, 1)
			ticker := time.NewTicker(c.every)
			defer ticker.Stop()
			ended := make(chan struct{})
			go func() { // until the server has let go
				defer close(ended)
				for b.busy(b.guard().answers) {
					time.Sleep(10 * time.Millisecond)
				}
			}()
			r := &pacedReader{Conn: conn, tick: ticker.C, ended: ended}
			answer, err := http.ReadResponse(bufio.NewReaderSize(r, 64<<10), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got BlobBody
			if err := json.NewDecoder(answer.Body).Decode(&got); (err == nil) != c.whole {
				t.Errorf("%d bytes, %v", len(got.Body), err)
			}
		})
	}
}

// pacedReader reads as often as it ticks, and without a pause once the server has ended its part.
type pacedReader struct {
	net.Conn
	tick  <-chan time.Time
	ended chan struct{}
}

func (r *pacedReader) Read(p []byte) (int, error) {
	select {
	case <-r.tick:
	case <-r.ended:
	}
	return r.Conn.Read(p)
}

func (b *bench) busy(p *pool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.shares) > 0
}

// Five accounts ask for much, as often as they may, and read nothing. A sixth reads 4 MiB and small blobs meanwhile, and all of it costs a bounded amount of memory.
func TestF20_StalledAnswers(t *testing.T) {
	r := defaultRoom
	r.requests.address, r.answers.address = 0, 0 // all callers of this test have one address
	p := defaultPace
	p.place, p.answer, p.start = time.Minute, time.Minute, time.Minute // nobody is let go while it lasts
	b := newBench(t, open, Options{room: r, pace: p})
	readers := make([]Tokens, 6)
	for i := range readers {
		readers[i] = b.user(i + 1)
		b.send("POST", "/v1/blobs", readers[i].AccessToken, vault(4<<20)).want(t, 200, "")
	}
	alice := readers[5]
	small := vault(100)
	small.Swaps[0].Name = "small"
	b.send("POST", "/v1/blobs", alice.AccessToken, small).want(t, 200, "")
	before := heap()
	for _, k := range readers[:5] {
		for i := range 16 {
			if i%2 == 0 {
				b.head(b.dial(), "GET", "/v1/blobs/vault", k.AccessToken, 0)
				continue
			}
			c := b.dial()
			b.head(c, "POST", "/v1/blobs/read", k.AccessToken, len(readAll))
			io.WriteString(c, readAll)
		}
	}
	for _, k := range readers[:5] {
		b.waitFor(b.guard().answers, k.User, 15)
	}
	most := uint64(0)
	for range 5 {
		most = max(most, heap())
		b.send("GET", "/v1/blobs/vault", alice.AccessToken, nil).want(t, 200, "")
		b.send("GET", "/v1/blobs/small", alice.AccessToken, nil).want(t, 200, "")
		if got := into[BlobPage](t, b.send("POST", "/v1/blobs/read", alice.AccessToken, readAll)); len(got.Blobs) != 2 || len(*got.Blobs[1].Body) != 4<<20 {
			t.Fatalf("%d blobs", len(got.Blobs))
		}
	}
	grown := (int64(most) - int64(before)) >> 20
	t.Logf("80 stalled answers of 4 MiB take %d MiB", grown)
	if grown > 32 {
		t.Errorf("%d MiB for answers that nobody reads", grown)
	}
}

const readAll = `{"bodies":true}`

// Whoever has all the room for answers: small ones are made, large ones are refused after a while, and large bodies that all came at once are in work one after
// the other.
func TestF20_NoRoomLeft(t *testing.T) {
	p := defaultPace
	p.place = 100 * time.Millisecond
	b := newBench(t, open, Options{pace: p})
	alice, bob := b.user(1), b.user(2)
	b.send("POST", "/v1/blobs", alice.AccessToken, vault(1<<20)).want(t, 200, "")
	small := vault(20 << 10)
	small.Swaps[0].Name = "small"
	b.send("POST", "/v1/blobs", alice.AccessToken, small).want(t, 200, "")
	b.send("POST", "/v1/users/"+alice.User+"/messages", bob.AccessToken, OutgoingMessage{Id: userID(7), Body: fill(1, 20<<10)}).want(t, 204, "")
	g := b.guard()
	for _, pool := range []*pool{g.answers, g.decoded} {
		if !pool.total.TryAcquire(pool.all) {
			t.Fatal("somebody has some of it")
		}
	}
	for _, path := range []string{"/v1/blobs/small", "/v1/messages", "/v1/account", "/v1/users/" + alice.User + "/devices"} {
		b.send("GET", path, alice.AccessToken, nil).want(t, 200, "")
	}
	b.send("POST", "/v1/blobs/read", alice.AccessToken, `{"names":["small"],"bodies":true}`).want(t, 200, "")
	b.send("POST", "/v1/blobs/read", alice.AccessToken, `{}`).want(t, 200, "")
	b.send("GET", "/v1/blobs/vault", alice.AccessToken, nil).want(t, 503, fault.Busy)
	b.send("POST", "/v1/blobs", bob.AccessToken, vault(1<<20)).want(t, 503, fault.Busy)
	g.answers.total.Release(g.answers.all)
	g.decoded.total.Release(g.decoded.all)
	b.send("GET", "/v1/blobs/vault", alice.AccessToken, nil).want(t, 200, "")
	b.send("POST", "/v1/blobs", bob.AccessToken, vault(1<<20)).want(t, 200, "")
	if !g.large.total.TryAcquire(g.large.all) || !g.decoded.total.TryAcquire(g.decoded.all) {
		t.Error("something was not given back")
	}
}

// An account's share of each pool is a sixteenth at most, and what it may ask for has room in it.
func TestSharesOfAnAccount(t *testing.T) {
	r := defaultRoom
	for name, a := range map[string]amounts{"requests": r.requests, "small": r.small, "large": r.large, "answers": r.answers} {
		if a.account*16 > a.all || a.account == 0 {
			t.Errorf("%s: %d of %d", name, a.account, a.all)
		}
	}
	if r.requests.account*16 > r.handlers.all || r.logins.address*16 > r.logins.all {
		t.Error("one account has more than a sixteenth of the handlers, or one address of the logins")
	}
	if r.answers.account < state.MaxPageSize || r.small.account < smallBody || sendersSize > state.MaxPageSize {
		t.Error("there is no room for the largest answer")
	}
	if r.decoded.all < r.large.account {
		t.Error("there is no room for the largest body")
	}
	for _, rt := range routes {
		if rt.body && (rt.open && rt.bodyLimit() > r.logins.address || rt.bodyLimit() > r.large.account) {
			t.Errorf("%s: there is no room for its body", rt.operation)
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
