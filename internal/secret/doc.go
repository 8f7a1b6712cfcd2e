// Package secret holds keys. A Key is 32 bytes that cannot be printed, encoded or logged by accident, and that can be wiped.
//
// # Memory
//
// The bytes of all keys live outside the Go heap, in an arena of anonymous pages that are locked (never swapped out), left out of
// core files and given to a forked child as zeros. Where the system refuses one of these, the arena goes on without it and the
// refusal is reported once, as a warning (see Harden). A key that is wiped is zeroed at once. A key that is merely dropped is
// zeroed after the collector found it, and no sooner than a minute later: a view taken with Bytes does not keep its key alive.
//
// # What stays behind
//
// Derive wipes all that it used. Ciphers and HMAC copy a key into state of their own on the Go heap; that state is not wiped, and
// neither are the copies that registers and stacks hold for a moment. Root, or other code in the same process, reads everything.
//
// # Terms
//
// A view is a slice over the key's own memory. Use hands one out and keeps the key from being wiped meanwhile; Bytes hands one out
// without that guard, for a call that takes a key and returns.
package secret
