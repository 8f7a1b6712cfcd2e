package keystore

import (
	"encoding/binary"
	"time"

	"coldframe/internal/fault"
)

// Params are the costs of argon2id (RFC 9106).
type Params struct {
	Memory  uint32 // m, KiB
	Time    uint32 // t, passes
	Threads uint8  // p, lanes
}

// Profile is the local policy for argon2id: what is accepted, and how a new account's parameters are chosen. Parameters found in a
// vault or kit are compared with it, never obeyed (THREATS R4).
type Profile struct {
	Floor, Ceiling Params // accepted, both included; besides m ≥ 8·p KiB

	// Start is where timing begins: t grows, then m, until one derivation takes AtLeast..AtMost. Without AtMost there is no timing.
	Start           Params
	AtLeast, AtMost time.Duration

	// Fixed is the one accepted profile of an account without an account key, so that password and address alone lead to the
	// root key on any device.
	Fixed Params
}

// Production is the profile of the agent: 64-1024 MiB, 3-10 passes, 1-16 lanes, timed to 1.0-1.5 s from 256 MiB and 4 lanes on.
func Production() Profile {
	return Profile{
		Floor:   Params{Memory: 64 << 10, Time: 3, Threads: 1},
		Ceiling: Params{Memory: 1024 << 10, Time: 10, Threads: 16},
		Start:   Params{Memory: 256 << 10, Time: 3, Threads: 4},
		AtLeast: 1000 * time.Millisecond,
		AtMost:  1500 * time.Millisecond,
		Fixed:   Params{Memory: 256 << 10, Time: 8, Threads: 4},
	}
}

// check returns fault.Policy for parameters outside the profile.
func (p Profile) check(a Params) error {
	switch {
	case a.Memory < p.Floor.Memory || a.Memory > p.Ceiling.Memory:
		return fault.New(fault.Policy, "argon2id memory of %d KiB is outside %d-%d", a.Memory, p.Floor.Memory, p.Ceiling.Memory)
	case a.Time < p.Floor.Time || a.Time > p.Ceiling.Time:
		return fault.New(fault.Policy, "argon2id passes of %d are outside %d-%d", a.Time, p.Floor.Time, p.Ceiling.Time)
	case a.Threads < p.Floor.Threads || a.Threads > p.Ceiling.Threads:
		return fault.New(fault.Policy, "argon2id lanes of %d are outside %d-%d", a.Threads, p.Floor.Threads, p.Ceiling.Threads)
	case a.Memory < 8*uint32(a.Threads):
		return fault.New(fault.Policy, "argon2id memory of %d KiB is below 8 KiB for each of %d lanes", a.Memory, a.Threads)
	}
	return nil
}

// accept checks everything that a block asks for before a password goes near it.
func (p Profile) accept(b kdfBlock) error {
	if err := p.check(b.Params); err != nil {
		return err
	}
	if !b.accountKey && b.Params != p.Fixed {
		return fault.New(fault.Policy, "an account without account key has one argon2id profile, and this is another")
	}
	return nil
}

// The KDF parameter block, 28 bytes, integers big-endian:
//
//	type (1) ‖ version (1) ‖ flags (1) ‖ p (1) ‖ m (4, KiB) ‖ t (4) ‖ salt (16)
const (
	kdfBlockSize = 28
	saltSize     = 16

	kdfTypeArgon2id = 2    // the type y of RFC 9106 section 3.1; 0 and 1 are argon2d and argon2i
	kdfVersion13    = 0x13 // RFC 9106 section 3.1; 0x10 is the older draft

	flagAccountKey = 1 // the account key goes into the root key
)

// kdfBlock is what derives a root key, but for the secrets.
type kdfBlock struct {
	Params
	accountKey bool
	salt       [saltSize]byte
}

func (b kdfBlock) encode() []byte {
	out := make([]byte, 0, kdfBlockSize)
	var flags byte
	if b.accountKey {
		flags = flagAccountKey
	}
	out = append(out, kdfTypeArgon2id, kdfVersion13, flags, b.Threads)
	out = binary.BigEndian.AppendUint32(out, b.Memory)
	out = binary.BigEndian.AppendUint32(out, b.Time)
	return append(out, b.salt[:]...)
}

// parseKDFBlock reads a block; another type, version or flag is fault.Policy, another length fault.NotAuthentic. Costs are not judged.
func parseKDFBlock(in []byte) (kdfBlock, error) {
	if len(in) != kdfBlockSize {
		return kdfBlock{}, fault.New(fault.NotAuthentic, "the key derivation block has another length")
	}
	if in[0] != kdfTypeArgon2id || in[1] != kdfVersion13 || in[2]&^flagAccountKey != 0 {
		return kdfBlock{}, fault.New(fault.Policy, "the key derivation is not argon2id version 1.3")
	}
	b := kdfBlock{
		Params: Params{
			Threads: in[3],
			Memory:  binary.BigEndian.Uint32(in[4:]),
			Time:    binary.BigEndian.Uint32(in[8:]),
		},
		accountKey: in[2]&flagAccountKey != 0,
	}
	copy(b.salt[:], in[12:])
	return b, nil
}
