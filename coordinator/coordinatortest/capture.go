package coordinatortest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
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
// stores of all branches, in all files that they left, what was deleted included, and in the log. Letters count whatever their case, and a key counts in
// hexadecimal and base64 too. The answer names a canary by its number.
func (c *Coordinator) Leaks(canaries ...string) []string {
	places := map[string][]byte{"received bytes": c.Received(), "files": c.files(), "log": []byte(c.Log())}
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
		lower(text)
		for i, canary := range canaries {
			if canary == "" || contains(text, canary) {
				found = append(found, fmt.Sprintf("canary %d: %s", i, place))
			}
		}
	}
	slices.Sort(found)
	return found
}

// lower makes small letters of ASCII's large ones; bytes.ToLower would replace what is no UTF-8, as keys are.
func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

func contains(text []byte, canary string) bool {
	forms := append(inBase64(canary), canary, hex.EncodeToString([]byte(canary)), url.QueryEscape(canary))
	return slices.ContainsFunc(forms, func(f string) bool {
		b := []byte(f)
		lower(b)
		return bytes.Contains(text, b)
	})
}

// inBase64 returns what is the same in the base64 of every text with s in it, for each of the three places where s can begin in a group. The
// alphabet of URLs counts too.
func inBase64(s string) (forms []string) {
	if len(s) < 8 { // a part of it would be found by chance
		return []string{strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "=")}
	}
	for before := range 3 {
		code := strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("\x00\x00"[:before]+s)), "=")
		end := len(code)
		if (before+len(s))%3 != 0 {
			end-- // its last bits are those of what follows
		}
		code = code[[]int{0, 2, 3}[before]:end]
		forms = append(forms, code, strings.NewReplacer("+", "-", "/", "_").Replace(code))
	}
	return forms
}

// files returns the bytes of all files in the folder, blocks of zeros left out.
func (c *Coordinator) files() (all []byte) {
	zeros := make([]byte, 64<<10)
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for block := make([]byte, len(zeros)); ; {
			n, err := io.ReadFull(f, block)
			if !bytes.Equal(block[:n], zeros[:n]) {
				all = append(all, block[:n]...)
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				all = append(all, path+"\n"...)
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		c.t.Errorf("the coordinator's files: %v", err)
	}
	return all
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
