// Package messages runs the user's Signal sessions over a coordinator that nobody has to trust: what is sent waits durably until it is in
// the receiver's mailbox, and what is received reaches the application once, whoever dies when, on whichever of the user's devices.
// docs/messages.md has the formats byte for byte.
//
// # Terms
//
// A record is the stored state of the sessions with one peer, or of the prekeys: a head and parts, each sealed by itself under the state
// key, each a blob at the coordinator. The head names version and hash of every part, so that a record opens whole or not at all.
// The remote copy is the truth; the local one saves reading it. The mark of a record is the highest version that was ever seen of it, with
// its hash: it outlives the record.
//
// A body is what one message carries: id, kind, payload, heads and echoes. A received body that the application has not taken yet is a blob
// of its own.
//
// # Order of writing
//
// Out: the entry is stored; the record is swapped at the coordinator, then copied here; the ciphertext is stored in the entry; it is posted
// under the entry's id; the entry goes. A crash costs at most a message key.
//
// In: one swap consumes the message key and stores the body as a blob; the application's own swap takes that blob away together with its
// effect; the body's id is marked as seen here; the mailbox is told. Whoever finds a message whose key is consumed looks for the blob: if
// it is there the application has not had it, if not, it has.
//
// # What is refused
//
// A record of a lower version than the mark is rolled_back, another one of the same version, or one that does not follow, is forked. Both
// are written down and stop that peer until Restart. Bytes that are not what was sealed for their place are not_authentic.
package messages
