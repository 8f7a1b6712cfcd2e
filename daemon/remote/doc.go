// Package remote is the coordinator as the agent's other packages ask for it: the vault's replica (Replica), the blobs and the mailbox of
// sessions (Blobs, Mailbox), people and prekeys (Directory), the links and sealed records of the user's devices (Links, Records). Each is an
// adapter over a Client, which may be another one at each call, and none at times.
//
// # What is believed
//
// Nothing. An answer is held to its question: these names and no others, in order, with hashes that fit what they name, no more than is
// bearable. Whether it is the newest, or what somebody meant, is for the caller to find out.
//
// # Failures
//
// All have one of this program's codes, and texts of its own. A change whose answer did not come or cannot be read is fault.Unavailable: it
// may have been made. After every other code it was not.
//
// # Marks
//
// A version of a blob is named by counter and hash, the same in keystore.Mark and in messages.Blob: what one of them read, the other can
// name in a swap (Before). A name that never was begins some way above the coordinator's floor, the highest counter among deletions that
// are forgotten there (docs/coordinator.md).
package remote
