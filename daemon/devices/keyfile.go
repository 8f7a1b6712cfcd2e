package devices

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// The device key file:
//
//	magic "CFDK" ‖ format version (1) ‖ user id (16) ‖ device id (16) ‖ standing (1) ‖ number of generations, 1 or 2 (1)
//	‖ while it asks: pairing code (32) ‖ SHA-256 of its request (32) ‖ generations ‖ SHA-256 of all before (32)
//
// A generation is
//
//	role (1) ‖ made, Unix ms (8) ‖ seed of the HPKE pair (32) ‖ seed of the author key (32) ‖ SHA-256 of the HPKE public key (32)
//
// The first has the role present; a second is the next or the former. The checksum finds damage, and so does the hash of the public
// key, which is made anew from the seed. Whoever can write the file needs no more to put keys of his own in it: they are on no list.
const (
	keyMagic   = "CFDK"
	keyVersion = 1

	keyHeadSize   = len(keyMagic) + 1 + 16 + 16 + 1 + 1
	pairingLen    = secret.KeySize + sha256.Size
	generationLen = 1 + 8 + 2*secret.KeySize + sha256.Size
	keyFileMax    = keyHeadSize + pairingLen + 2*generationLen + sha256.Size
)

// standing is how far this machine is with becoming a device.
type standing byte

const (
	standingNew    standing = 1 // it has a key
	standingAsking standing = 2 // it made a request, and keeps the pairing code
	standingJoined standing = 3 // it began the list, or confirmed that it was approved
)

// role is what a generation of a device key is to the device list.
type role byte

const (
	rolePresent role = 1 // the list names it
	roleNext    role = 2 // durable here; a link may name it any moment
	roleFormer  role = 3 // the list named it before; opens the former wraps record
)

// encode returns the file, which the caller wipes.
func (d *Device) encode() []byte {
	out := make([]byte, 0, keyFileMax)
	out = append(out, keyMagic...)
	out = append(out, keyVersion)
	out = append(out, d.User[:]...)
	out = append(out, d.ID[:]...)
	out = append(out, byte(d.standing), 1)
	if d.standing == standingAsking {
		out = append(out, d.code.k.Bytes()...)
		out = append(out, d.request[:]...)
	}
	out = appendGeneration(out, rolePresent, d.present)
	if d.other != nil {
		out[keyHeadSize-1] = 2
		out = appendGeneration(out, d.otherRole, d.other)
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

func appendGeneration(b []byte, r role, p *pair) []byte {
	b = append(b, byte(r))
	b = binary.BigEndian.AppendUint64(b, uint64(p.made))
	b = append(b, p.seed.Bytes()...)
	b = append(b, p.author.Bytes()...)
	hash := p.hash()
	return append(b, hash[:]...)
}

var errKeyFile = fault.New(fault.NotAuthentic, "the device key file is damaged")

// parseKeyFile reads a device key file. Another format version is fault.Policy, whatever else is wrong fault.NotAuthentic.
func parseKeyFile(in []byte) (*Device, error) {
	if len(in) < keyHeadSize || !strings.HasPrefix(string(in[:len(keyMagic)]), keyMagic) {
		return nil, errKeyFile
	}
	if in[len(keyMagic)] != keyVersion {
		return nil, fault.New(fault.Policy, "the device key file has an unknown format")
	}
	n, status, at := int(in[keyHeadSize-1]), standing(in[keyHeadSize-2]), keyHeadSize
	if status == standingAsking {
		at += pairingLen
	}
	end := len(in) - sha256.Size
	if n < 1 || n > 2 || status < standingNew || status > standingJoined || end != at+n*generationLen {
		return nil, errKeyFile
	}
	if sum := sha256.Sum256(in[:end]); string(sum[:]) != string(in[end:]) {
		return nil, errKeyFile
	}
	d := &Device{User: UserID(in[5:]), ID: DeviceID(in[21:]), standing: status}
	ok := true
	if status == standingAsking {
		d.request = Hash(in[keyHeadSize+secret.KeySize:])
		d.code, ok = storedCode(in[keyHeadSize:])
	}
	if !d.parseGenerations(in[at:end]) || !ok {
		d.Wipe()
		return nil, errKeyFile
	}
	return d, nil
}

// parseGenerations reads one or two, and reports whether they are in order.
func (d *Device) parseGenerations(b []byte) bool {
	r, present := parseGeneration(b[:generationLen])
	d.present = present
	if present == nil || r != rolePresent || len(b) == generationLen {
		return present != nil && r == rolePresent
	}
	d.otherRole, d.other = parseGeneration(b[generationLen:])
	return d.other != nil && (d.otherRole == roleNext || d.otherRole == roleFormer)
}

// parseGeneration returns no pair if the hash is not that of the key.
func parseGeneration(b []byte) (role, *pair) {
	made := binary.BigEndian.Uint64(b[1:])
	p := &pair{made: int64(made), seed: keyAt(b[9:]), author: keyAt(b[9+secret.KeySize:])}
	p.public = p.private().PublicKey().Bytes()
	hash := p.hash()
	if made > maxMillis || string(hash[:]) != string(b[9+2*secret.KeySize:]) {
		p.wipe()
		return 0, nil
	}
	return role(b[0]), p
}

// keyAt copies the 32 bytes at the beginning of b into a key.
func keyAt(b []byte) secret.Key {
	k, err := secret.FromBytes(append([]byte{}, b[:secret.KeySize]...))
	if err != nil {
		panic("devices: " + err.Error())
	}
	return k
}
