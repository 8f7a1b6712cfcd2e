package keystore

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// The anchor file, 93 bytes: what the vault was at its highest counter. An older database beside it is noticed (THREATS V06).
//
//	magic "CFAN" ‖ format version (1) ‖ user id (16) ‖ counter (8, big-endian) ‖ SHA-256 of the root record (32) ‖ HMAC-SHA-256 (32)
//
// The HMAC is under a subkey of the keyring's anchor key, which password changes leave as it is: a vault from before one is old, not
// forged.
const (
	anchorMagic   = "CFAN"
	anchorVersion = 1
	anchorSize    = len(anchorMagic) + 1 + 16 + 8 + 32 + sha256.Size
)

type anchor struct {
	user    uuid.UUID
	counter uint64
	root    [32]byte
	mac     [32]byte
}

func (a anchor) signedPart() []byte {
	out := append([]byte(anchorMagic), anchorVersion)
	out = append(out, a.user[:]...)
	out = binary.BigEndian.AppendUint64(out, a.counter)
	return append(out, a.root[:]...)
}

func (a anchor) encode() []byte { return append(a.signedPart(), a.mac[:]...) }

func parseAnchor(in []byte) (anchor, error) {
	if len(in) != anchorSize || !strings.HasPrefix(string(in), anchorMagic) {
		return anchor{}, fault.New(fault.NotAuthentic, "the anchor is damaged")
	}
	if in[4] != anchorVersion {
		return anchor{}, fault.New(fault.Policy, "the anchor has an unknown format")
	}
	a := anchor{counter: binary.BigEndian.Uint64(in[21:])}
	copy(a.user[:], in[5:])
	copy(a.root[:], in[29:])
	copy(a.mac[:], in[61:])
	return a, nil
}

// anchorOf returns the anchor of the vault as it is now.
func anchorOf(c *contents) anchor {
	a := anchor{user: c.header.user, counter: c.counter, root: c.rootHash}
	a.mac = [32]byte(mac(c.keys.anchor, "vault/anchor", a.signedPart()))
	return a
}

// compare judges the vault by the anchor: fault.RolledBack, fault.Forked, or fault.NotAuthentic for an anchor of another vault.
func (a anchor) compare(c *contents) error {
	_, err := a.judge(c)
	return err
}

// judge is compare, and reports whether the anchor is recent enough for all of it.
func (a anchor) judge(c *contents) (known bool, err error) {
	if a.user != c.header.user || !hmac.Equal(a.mac[:], mac(c.keys.anchor, "vault/anchor", a.signedPart())) {
		return false, fault.New(fault.NotAuthentic, "the anchor belongs to another vault")
	}
	return c.follows(a.counter, a.root)
}

// checkAnchor compares the vault with the anchor file, and reports whether that is behind, as after a crash. No file is
// fault.RolledBack: absence proves nothing (THREATS R10).
func (v *Vault) checkAnchor(c *contents) (behind bool, err error) {
	raw, err := atomicfile.ReadFrom(v.o.Files, v.path(anchorFileName))
	if errors.Is(err, fault.NotFound) {
		return false, fault.New(fault.RolledBack, "the anchor is missing, so nobody knows whether this is the newest vault")
	}
	if err != nil {
		return false, err
	}
	a, err := parseAnchor(raw)
	if err != nil {
		return false, err
	}
	err = a.compare(c)
	if errors.Is(err, fault.RolledBack) || errors.Is(err, fault.Forked) {
		if given, why := v.gaveUp(c, raw); given || why != nil {
			return given, why
		}
	}
	return a.counter < c.counter, err
}

// givenUp is the record of the anchor of a vault that is given up for the one of a replica, 218 bytes: it ‖ the anchor of that one ‖ HMAC-SHA-256 of both,
// under the subkey "vault/given-up" of the anchor key.
func givenUp(c, next *contents) []byte {
	b := append(anchorOf(c).encode(), anchorOf(next).encode()...)
	return append(b, mac(c.keys.anchor, "vault/given-up", b)...)
}

// gaveUp reports whether an anchor is that of a vault that was given up for the one that is here: the process died before it was moved.
func (v *Vault) gaveUp(c *contents, anchor []byte) (is bool, err error) {
	err = v.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(recordGivenUp)
		if errors.Is(err, fault.NotFound) || err == nil && len(b) != 2*anchorSize+sha256.Size {
			return nil
		}
		if err != nil || !hmac.Equal(mac(c.keys.anchor, "vault/given-up", b[:2*anchorSize]), b[2*anchorSize:]) || !bytes.Equal(b[:anchorSize], anchor) {
			return err
		}
		next, err := parseAnchor(b[anchorSize : 2*anchorSize])
		if err != nil {
			return err
		}
		known, err := next.judge(c)
		is = known && err == nil
		return nil //nolint:nilerr // another vault than it was given up for
	})
	return is, err
}

// moveAnchor writes the anchor of c. The vault is durable already: a failure is logged and mended by the next change or opening.
func (v *Vault) moveAnchor(c *contents) {
	if err := v.writeAnchor(c); err != nil {
		v.o.Logger.Error("the vault's anchor was not moved", "code", string(fault.CodeOf(err)))
		v.notify(EventAnchorBehind)
	}
}

func (v *Vault) writeAnchor(c *contents) error {
	return atomicfile.WriteTo(v.o.Files, v.path(anchorFileName), anchorOf(c).encode(), atomicfile.Private)
}
