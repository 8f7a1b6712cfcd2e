package coordinatortest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"coldframe/coordinator"
)

// Record is what is kept of an exchange: the request as it came, and the last answer of a server.
type Record struct {
	Number    int
	Operation string
	Caller    coordinator.UserID
	Path      string
	Query     string
	Header    http.Header
	Body      []byte
	Status    int // 0: no server was asked
}

// Records returns all exchanges so far, in the order in which they began; with operations, only those of these.
func (c *Coordinator) Records(operations ...string) []Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Record
	for _, r := range c.records {
		if len(operations) == 0 || slices.Contains(operations, r.Operation) {
			out = append(out, r)
		}
	}
	return out
}

func (c *Coordinator) answered(e *Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records[e.Number-1].Status = e.Answer.Status
}

// Received returns every byte that reached the front so far, of all connections.
func (c *Coordinator) Received() []byte { return c.bytes.Bytes() }

// Leaks says where the coordinator was shown any of these texts or keys: in the bytes of its connections, in what JSON and base64 stand for there, in the
// stores of all branches. Letters count whatever their case, and a key counts in hexadecimal and base64 too. The answer names a canary by its number.
func (c *Coordinator) Leaks(canaries ...string) []string {
	places := map[string][]byte{"received bytes": c.Received()}
	for _, r := range c.Records() {
		target, err := url.QueryUnescape(r.Path + "?" + r.Query)
		if err != nil {
			target = r.Path + "?" + r.Query
		}
		places[fmt.Sprintf("request %d, %s", r.Number, r.Operation)] = append(unfold(r.Body), target...)
	}
	c.mu.Lock()
	all := slices.Clone(c.all)
	c.mu.Unlock()
	for i, b := range all {
		places[fmt.Sprintf("store of branch %d", i)] = b.Backup()
	}
	var found []string
	for place, text := range places {
		text = bytes.ToLower(text)
		for i, canary := range canaries {
			if canary == "" || contains(text, canary) {
				found = append(found, fmt.Sprintf("canary %d: %s", i, place))
			}
		}
	}
	slices.Sort(found)
	return found
}

func contains(lower []byte, canary string) bool {
	forms := []string{canary, hex.EncodeToString([]byte(canary)), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(canary)), "="), url.QueryEscape(canary)}
	return slices.ContainsFunc(forms, func(f string) bool { return bytes.Contains(lower, bytes.ToLower([]byte(f))) })
}

// unfold returns the strings in a JSON body, as they are and as base64.
func unfold(body []byte) (out []byte) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return body
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			out = append(append(out, v...), '\n')
			if b, err := base64.StdEncoding.DecodeString(v); err == nil {
				out = append(append(out, b...), '\n')
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for name, e := range v {
				walk(name)
				walk(e)
			}
		}
	}
	walk(v)
	return out
}
