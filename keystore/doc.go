// Package keystore keeps a user's keys in a vault: made at registration, opened with a password, closed by wiping.
//
// # Terms
//
//   - The root key comes from the password through argon2id and from the account key, 16 random bytes in a file beside the vault.
//     It opens one thing: the wrapped vault key.
//   - The vault key is random. A subkey of it for each purpose seals everything in the vault. It is replaced at each password
//     change; the keyring, a sealed record, keeps the old ones for items that were sealed under them.
//   - The header holds what opening needs: the derivation's parameters and the vault key wrapped by the root key, by the recovery
//     key of the printed kit and, where a machine starts without a person, by an unattended credential.
//   - An item is a sealed body with an id, a kind and a version. The index is a closed list of all items: a sealed root record
//     with a counter and the hash of header, keyring and up to 256 sealed shards, which name each item's version and hash.
//   - The anchor is a small file outside the database that remembers the highest counter and the root record's hash.
//
// # Opening
//
// The parameters found in a header are compared with local policy before anything is derived (THREATS R4). The root key unwraps
// the vault key, which authenticates the header; keyring, root, shards and items follow, each bound to user, type, id and version.
// Items that are missing, extra or changed keep the vault closed. Last the anchor: a lower counter is fault.RolledBack, the same
// counter with another root is fault.Forked.
//
// # Changing
//
// Update changes items and index in one durable transaction, in which a caller may write records of its own, and moves the anchor
// after the commit. A crash between the two leaves an anchor that is one behind, which the next opening repairs.
//
// # Replication
//
// A vault may be kept by a Replica, which is not believed in anything. There it is a tree of hashes under one record that changes, v-root,
// whose swap is the switch. Three words say how a change gets there:
//
//   - Propose: fn runs on the vault as it is here, and nothing is written (push.go).
//   - Pending: what it would write is durable, the replica is asked, and its answer decides (pending.go, resolve.go).
//   - Pull: the replica has another root; what came of the one that is here is verified and taken over, as one decided pending change,
//     and anything else is refused (pull.go, puller.go).
//
// docs/vault.md has every format byte for byte and says what a thief can do; docs/vectors/vault has the vectors.
package keystore
