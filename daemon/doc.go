// Package daemon is the agent: it joins the vault (keystore), the user's identity (ratchet) and encrypted datasets (columnar) into what
// the local API offers. It knows nothing of HTTP.
//
// # Terms
//
// The agent is one user's process. The session is what exists while the vault is open: the user's signing key, the local key, the open
// store. A gate counts the calls that use a session and ends them: callers have one from an unlock to the next lock, background work has
// another. In unattended mode locking closes the callers' gate only.
//
// A transfer is one reading or writing of a dataset's rows. A version is made by the switch: one transaction of the vault in which the
// version's keys, the dataset's heads, the signed manifest, the end of the journal entries and the stored answer of an Idempotency-Key
// commit together. Before it readers see the old version whole, after it the new one whole.
//
// The heads of a dataset are the highest roster and the highest version that this agent has seen, with their hashes. They are in the
// vault, whose counter and anchor make an old copy of the disk show. Every read begins with them: lower is rolled_back, the same number
// with another hash forked, a record that is not there incomplete.
//
// The journal names each object durably before it is made. An entry goes away in the switch that makes a manifest name the object, or
// after the object was removed. What is in the journal and not being written belongs to nobody, unless a pending change of the vault, whose
// answer the coordinator owes, takes it out of the journal: then it waits.
//
// # Write order
//
//  1. journal entry, durable
//  2. object, durable once its upload closed
//  3. the switch
//  4. answer, events
//
// A crash after 1 or 2 leaves an entry that the sweep clears; after 3 the version is there, and the same Idempotency-Key gets the answer
// that was lost. No step is ever undone after 3.
//
// # Start order
//
// Folders (made 0700, or checked), run lock, local store, event log, vault (closed), token file: New. Then Run: leftover spool files,
// unattended credential if there is one, ready. The journal is swept right after each opening of the vault, not before ready: the store's
// credentials are in the vault. It is swept again every hour.
//
// # Stop order
//
// No new calls; callers' contexts end with unavailable and their transfers clear up after themselves; background work ends; keys wiped
// and vault closed; subscribers' channels closed; token file removed; local store closed; run lock released. Each wait is bounded, the
// whole stays below ten seconds.
//
// # What is where
//
//	vault: identity, signing      the user's keys; the signing key is signed by the identity key
//	vault: local                  seals names of tokens and stored answers
//	vault: store                  where objects lie, and the credentials
//	vault: coordinator            which coordinator the account uses
//	vault: metadata/ID            a dataset's metadata keys and heads
//	vault: version-keys/ID/N      column keys of a version
//	vault: contact, stranger, secret, prekey-bundle   package contacts
//	dataset/ID/info, roster/, manifest/, object/   sealed title, signed chains, which version needs which object
//	tombstone/ID, garbage/NAME    deleted datasets, objects to be removed
//	meta/store                    settings of the store that this machine uses, sealed under the local key
//	meta/login-device             id of the device that the sessions are of; in no backup
//	coordinator/HASH/             tokens and login proofs for a coordinator, sealed under the local key; of this machine, in no backup
//	app/ID, idem/, event/N, upload/NAME            tokens by hash, stored answers, event log, journal
//
// # Coordinator
//
// Package link keeps the connection to the coordinator; a session has at most one link, which works behind the gate of background work, so
// that closing the session ends it. Whoever changes the setting stops the link first: two would exchange one refresh token. The network is
// never waited for with the lock of the account held, and the password is judged before the first byte leaves.
//
// # Events
//
// A logged event gets its number inside the transaction that writes it, so it can commit with what it tells of; subscribers read from the
// log in order and can come back with the last number they saw. Progress is sent to those who listen and then gone. An event holds ids,
// codes and numbers, never a name or a value, and so does every line of the process's log.
//
// # Memory
//
// One transfer holds at most what columnar's documentation says, plus a batch. limits.transfers of them run at a time, the others wait.
// Go's collector is told limits.memory_mib less 64 MiB, the share of libzstd, the local store's maps and the program.
package daemon
