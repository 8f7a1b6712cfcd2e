// Package ratchet speaks the Signal protocol with one other party at a time, byte for byte as current clients of the official library do:
// PQXDH with Kyber1024, the Double Ratchet, and the Sparse Post-Quantum Ratchet beside it. It does no I/O: what it keeps goes in and out
// as records, which its caller seals and stores. docs/ratchet.md has their form, and where the package is stricter than others.
//
// # Terms
//
// The identity key is an X25519 pair that a user has for good. It does two jobs: key agreement in the handshake, and signing with XEdDSA,
// which reads the same private scalar as an Edwards key. Its public form is the 32-byte u-coordinate; on the wire it is preceded by the
// type byte 05. It signs prekeys and the user's signing key.
//
// Prekeys are what others start a session with while we are away: signed, one-time, and KEM ones, of which one is the last resort. A
// bundle is one of each, published. Who starts is the initiator; the first messages carry the handshake until the responder has answered.
//
// A session is a root key, a sending chain, and a receiving chain for each of the peer's last five ratchet keys; a chain gives the seed of
// one message after the other, and SPQR gives each message a second key, made of an exchange of ML-KEM-768 keys that is cut into pieces
// that ordinary messages carry. Sessions that a newer one replaced are archived: messages may still come for them.
//
// # Order of steps
//
// Session.Encrypt and Session.Decrypt hand out nothing before the record that goes with it is stored (THREATS R6), and a record can be
// stored only after the one before it. So no message key is used twice, whoever else of the same user works on the same record, as long as
// the store lets only one of them have each counter. docs/ratchet.md has the rules for a store.
//
// # Which XEdDSA
//
// It is the one that current clients of the protocol have, and it differs from the published paper: the private scalar is not
// negated to make the sign of the Edwards point 0; the sign travels in the top bit of the signature's last byte instead.
package ratchet
