package driver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"coldframe/internal/fault"
)

// driver answers requests, one after another.
type driver struct{ peer *peer }

// command is one that a request can name.
type command struct {
	first              bool // it needs no peer yet
	required, optional []string
	run                func(d *driver, request []byte) (fields, error)
}

var commands = map[string]command{
	"init": {
		first: true, required: []string{"name"}, optional: []string{"device", "registration_id", "identity_private"},
		run: decoded((*driver).init),
	},
	"bundle":         {optional: []string{"one_time", "kyber_last_resort"}, run: decoded((*driver).bundle)},
	"process_bundle": {required: []string{"bundle"}, run: decoded((*driver).processBundle)},
	"encrypt":        {required: []string{"remote", "plaintext"}, run: decoded((*driver).encrypt)},
	"decrypt":        {required: []string{"remote", "type", "ciphertext"}, run: decoded((*driver).decrypt)},
	"fingerprint":    {required: []string{"remote_identity", "local_id", "remote_id"}, run: decoded((*driver).fingerprint)},
	"session":        {required: []string{"remote"}, run: decoded((*driver).session)},
	"dump":           {run: decoded((*driver).dump)},
	"load":           {first: true, required: []string{"state"}, run: decoded((*driver).load)},
	"quit":           {first: true, run: decoded(func(*driver, struct{}) (fields, error) { return nil, nil })},
}

// check asks that a request has the fields it needs and no others, none of them null.
func (c *command) check(request map[string]json.RawMessage) error {
	for name, value := range request {
		if !slices.Contains(c.required, name) && !slices.Contains(c.optional, name) {
			return invalid("unknown field %q", name)
		}
		if string(value) == "null" {
			return invalid("%q is null", name)
		}
	}
	for _, name := range c.required {
		if _, ok := request[name]; !ok {
			return invalid("%q is missing", name)
		}
	}
	return nil
}

// decoded returns a command's function for one that takes the request's fields as a struct.
func decoded[T any](run func(*driver, T) (fields, error)) func(*driver, []byte) (fields, error) {
	return func(d *driver, b []byte) (fields, error) {
		var request T
		if err := strictly(b, &request); err != nil {
			return nil, err
		}
		return run(d, request)
	}
}

// strictly decodes JSON with no field that is not known.
func strictly(b []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(v)
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
