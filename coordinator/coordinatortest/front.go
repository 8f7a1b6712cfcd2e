package coordinatortest

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"coldframe/coordinator"
	"coldframe/coordinator/server"
)

const maxBody = 16 << 20

// serve turns a request into an exchange, asks the hook and answers.
func (c *Coordinator) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	e := &Exchange{
		Operation: server.Operation(r.Method, r.URL.Path), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(),
		Body: body, c: c, ctx: r.Context(),
	}
	hook := c.begin(e)
	defer e.close()
	if hook != nil {
		hook(e)
	}
	if e.Answer == nil && !e.dropped {
		e.Forward()
	}
	if e.dropped || e.Answer.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	e.send(w)
}

// begin numbers an exchange, finds out who calls and which branch that user meets, and records the request.
func (c *Coordinator) begin(e *Exchange) (hook func(*Exchange)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	e.Number, e.Caller = c.number, c.callerOf(e)
	if e.Branch = c.served[e.Caller]; e.Branch == nil {
		e.Branch = c.Main
	}
	c.records = append(c.records, Record{Number: e.Number, Operation: e.Operation, Caller: e.Caller, Path: e.Path, Query: e.Query, Header: e.Header.Clone(), Body: e.Body})
	return c.hook
}

// callerOf finds the user by the token, or without one by what the body says. The caller holds mu.
func (c *Coordinator) callerOf(e *Exchange) coordinator.UserID {
	if token, ok := strings.CutPrefix(e.Header.Get("Authorization"), "Bearer "); ok {
		return c.tokens[token]
	}
	var named struct {
		User         coordinator.UserID `json:"user"`
		EmailHash    string             `json:"email_hash"`
		RefreshToken string             `json:"refresh_token"`
	}
	if json.Unmarshal(e.Body, &named) != nil {
		return ""
	}
	switch {
	case named.RefreshToken != "":
		return c.tokens[named.RefreshToken]
	case named.User == "":
		return c.emails[named.EmailHash]
	case named.EmailHash != "":
		c.emails[named.EmailHash] = named.User
	}
	return named.User
}

// learn remembers whose the tokens in an answer are.
func (c *Coordinator) learn(body []byte) {
	var t coordinator.Tokens
	if json.Unmarshal(body, &t) != nil || t.AccessToken == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[t.AccessToken], c.tokens[t.RefreshToken] = t.User, t.User
}

// send writes the answer, or what the hook made of it.
func (e *Exchange) send(w http.ResponseWriter) {
	a := e.Answer
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	if a.stream != nil {
		w.WriteHeader(a.Status)
		e.sendEvents(w)
		return
	}
	if a.Header.Get("Content-Length") == "" && a.Status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	b := a.Body
	if a.Cut > 0 {
		b = b[:min(a.Cut, len(b))]
	}
	w.Write(b) //nolint:errcheck // the caller has gone
	if a.Cut > 0 {
		http.NewResponseController(w).Flush() //nolint:errcheck // as above
		panic(http.ErrAbortHandler)
	}
}

// sendEvents passes events on, one by one, until either side ends.
func (e *Exchange) sendEvents(w http.ResponseWriter) {
	r, control := bufio.NewReader(e.Answer.stream), http.NewResponseController(w)
	for event := ""; ; {
		line, err := r.ReadString('\n')
		if event += line; err != nil {
			panic(http.ErrAbortHandler)
		}
		if line != "\n" {
			continue
		}
		if e.OnEvent != nil && strings.Contains("\n"+event, "\ndata:") {
			event = e.OnEvent(event)
		}
		if e.dropped {
			panic(http.ErrAbortHandler)
		}
		if _, err := io.WriteString(w, event); err != nil || control.Flush() != nil {
			return
		}
		event = ""
	}
}

// tap keeps what is read from connections.
type tap struct {
	net.Listener
	to io.Writer
}

// Accept returns the next connection.
func (t *tap) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapped{c, t.to}, nil
}

type tapped struct {
	net.Conn
	to io.Writer
}

func (t *tapped) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.to.Write(p[:n]) //nolint:errcheck // into memory
	return n, err
}

// connections are those that are open at the front.
type connections struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

func (c *connections) change(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		c.all[conn] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	}
}

func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.all {
		conn.Close() //nolint:errcheck // it is meant to break
	}
}
