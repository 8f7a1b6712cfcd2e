// Package ratchet speaks the Signal protocol with one other party at a time. What is here now is the identity: the X25519 key pair
// that a user has for good, and its signatures. Handshake, sessions, their stored state and the wire come with a later version, on
// top of it.
//
// # Terms
//
// The identity key is an X25519 pair. It does two jobs: key agreement in the handshake, and signing with XEdDSA, which reads the
// same private scalar as an Edwards key. Its public form is the 32-byte u-coordinate; on the wire it is preceded by the type byte 05.
// It signs the user's signing key, and later prekeys and safety numbers.
//
// # Which XEdDSA
//
// It is the one that current clients of the protocol have, and it differs from the published paper: the private scalar is not
// negated to make the sign of the Edwards point 0; the sign travels in the top bit of the signature's last byte instead.
package ratchet
