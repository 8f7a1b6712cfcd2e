package driver

import (
	"encoding/hex"
	"encoding/json"
	"errors"

	"coldframe/internal/fault"
)

// driver answers requests, one after another.
type driver struct{ peer *peer }

// command is one that a request can name.
type command struct {
	first    bool // it needs no peer yet
	required []string
	run      func(d *driver, request []byte) (fields, error)
}

var commands = map[string]command{
	"init":           {first: true, required: []string{"name"}, run: decoded((*driver).init)},
	"bundle":         {run: decoded((*driver).bundle)},
	"process_bundle": {required: []string{"bundle"}, run: decoded((*driver).processBundle)},
	"encrypt":        {required: []string{"remote", "plaintext"}, run: decoded((*driver).encrypt)},
	"decrypt":        {required: []string{"remote", "type", "ciphertext"}, run: decoded((*driver).decrypt)},
	"fingerprint":    {required: []string{"remote_identity", "local_id", "remote_id"}, run: decoded((*driver).fingerprint)},
	"session":        {required: []string{"remote"}, run: decoded((*driver).session)},
	"dump":           {run: decoded((*driver).dump)},
	"load":           {first: true, required: []string{"state"}, run: decoded((*driver).load)},
	"quit":           {first: true, run: decoded(func(*driver, struct{}) (fields, error) { return nil, nil })},
}

// check asks that a request has the fields it needs. What else it has is the outside harness's own business.
func (c *command) check(request map[string]json.RawMessage) error {
	for _, name := range c.required {
		if value, ok := request[name]; !ok || string(value) == "null" {
			return invalid("%q is missing", name)
		}
	}
	return nil
}

// decoded returns a command's function for one that takes the request's fields as a struct.
func decoded[T any](run func(*driver, T) (fields, error)) func(*driver, []byte) (fields, error) {
	return func(d *driver, b []byte) (fields, error) {
		var request T
		if err := decode(b, &request); err != nil {
			return nil, err
		}
		return run(d, request)
	}
}

// decode decodes JSON. An error is that of what was decoded, or fault.InvalidRequest.
func decode(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return invalid("%v", err)
}

// hexBytes are bytes as hex.
type hexBytes []byte

// UnmarshalText reads hex.
func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// MarshalText writes hex.
func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
