package driver

import (
	"bytes"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
)

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
