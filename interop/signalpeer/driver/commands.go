package driver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
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
	if err := decoder.Decode(v); err != nil {
		return invalid("%v", err)
	}
	return nil
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

// remote names the other party.
type remote struct {
	Name   *string `json:"name"`
	Device *uint8  `json:"device"`
}

func (r remote) address() (ratchet.Address, error) {
	if r.Name == nil || r.Device == nil {
		return ratchet.Address{}, invalid("a remote has a name and a device")
	}
	return addressOf(*r.Name, *r.Device)
}

func addressOf(name string, device uint8) (ratchet.Address, error) {
	if device < 1 || device > 127 {
		return ratchet.Address{}, invalid("a device is 1 to 127")
	}
	return ratchet.Address{Name: name, Device: device}, nil
}

type initRequest struct {
	Name            string   `json:"name"`
	Device          *uint8   `json:"device"`
	RegistrationID  *uint32  `json:"registration_id"`
	IdentityPrivate hexBytes `json:"identity_private"`
}

func (d *driver) init(r initRequest) (fields, error) {
	p, err := newPeer(r)
	if err != nil {
		return nil, err
	}
	d.peer = p
	return p.about(), nil
}

func (d *driver) bundle(r struct {
	OneTime    bool `json:"one_time"`
	LastResort bool `json:"kyber_last_resort"`
},
) (fields, error) {
	p := d.peer
	options := ratchet.BundleOptions{OneTime: r.OneTime, LastResort: r.LastResort}
	made, err := p.preKeys.Bundles(1, options, time.Now(), func(record []byte) error {
		p.preKeyRecord = bytes.Clone(record)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fields{"bundle": bundleOf(&made[0])}, nil
}

func (d *driver) processBundle(r struct {
	Bundle bundleJSON `json:"bundle"`
},
) (fields, error) {
	b, err := r.Bundle.bundle()
	if err != nil {
		return nil, err
	}
	e := d.peer.entry(b.Address)
	if err := e.session.Start(b, time.Now()); err != nil {
		return nil, err
	}
	e.started = &r.Bundle
	d.peer.sessions[b.Address] = e
	return nil, nil
}

func (d *driver) encrypt(r struct {
	Remote    remote   `json:"remote"`
	Plaintext hexBytes `json:"plaintext"`
},
) (fields, error) {
	to, err := r.Remote.address()
	if err != nil {
		return nil, err
	}
	e, ok := d.peer.sessions[to]
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no session with this peer")
	}
	m, err := e.session.Encrypt(r.Plaintext, time.Now(), d.peer.saver(to, e))
	if err != nil {
		return nil, err
	}
	return fields{"type": m.Type, "ciphertext": hexBytes(m.Body)}, nil
}

func (d *driver) decrypt(r struct {
	Remote     remote   `json:"remote"`
	Type       uint8    `json:"type"`
	Ciphertext hexBytes `json:"ciphertext"`
},
) (fields, error) {
	from, err := r.Remote.address()
	if err != nil {
		return nil, err
	}
	e := d.peer.entry(from)
	m := ratchet.Message{Type: ratchet.MessageType(r.Type), Body: r.Ciphertext}
	plaintext, err := e.session.Decrypt(m, d.peer.preKeys, d.peer.saver(from, e))
	if err != nil {
		return nil, err
	}
	return fields{"plaintext": hexBytes(plaintext)}, nil
}

func (d *driver) fingerprint(r struct {
	RemoteIdentity publicKey `json:"remote_identity"`
	LocalID        hexBytes  `json:"local_id"`
	RemoteID       hexBytes  `json:"remote_id"`
},
) (fields, error) {
	f := ratchet.SafetyNumber(d.peer.local.Identity.Public(), r.LocalID, r.RemoteIdentity, r.RemoteID)
	return fields{"displayable": f.Digits(), "scannable": hexBytes(f.Scannable())}, nil
}

func (d *driver) session(r struct {
	Remote remote `json:"remote"`
},
) (fields, error) {
	a, err := r.Remote.address()
	if err != nil {
		return nil, err
	}
	info := d.peer.entry(a).session.Info()
	if !info.Exists {
		return fields{"exists": false}, nil
	}
	return fields{
		"exists": true, "unacknowledged": info.Unacknowledged, "epoch": info.Epoch, "archived": info.Archived,
		"remote_identity": publicKey(info.RemoteIdentity), "remote_registration_id": info.RemoteRegistrationID,
	}, nil
}

func (d *driver) dump(struct{}) (fields, error) {
	b, err := d.peer.dump()
	return fields{"state": hexBytes(b)}, err
}

func (d *driver) load(r struct {
	State hexBytes `json:"state"`
},
) (fields, error) {
	p, err := loadPeer(r.State)
	if err != nil {
		return nil, err
	}
	d.peer = p
	return p.about(), nil
}
