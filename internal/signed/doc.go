// Package signed makes and opens signed things: a value as deterministic CBOR (RFC 8949 section 4.2.1), signed with Ed25519
// (RFC 8032) under the name of its type. docs/signed.md has the format byte for byte.
//
// # Terms
//
// The payload is the value's CBOR. The envelope is the CBOR array [payload, signature]. The signature is over
// "coldframe/v1/" ‖ type ‖ 0 ‖ payload, so that a signature of one type never verifies as another (THREATS R8), and over the
// bytes as received: they are never encoded again to be checked. The hash of an envelope is what the next one of a chain names.
//
// # Strictness
//
// Before anything is allocated, the bytes are walked once: size, depth and number of elements within limits (THREATS R13), every
// length definite and of the shortest form, map keys in order and none twice, text valid UTF-8, no tags. One value has one encoding;
// nobody but the signer can make a second envelope of it. Fields that the reader does not know are refused.
//
// The same CBOR, without a signature, is what sealed bodies hold: Marshal and Unmarshal.
package signed
